"""As much of a model hub as its client asks for, on this machine: repositories are folders below one folder.

Commits that come in are kept as files of the repository, and every request body that was received is
remembered, so that a test can say what never left.
"""

import base64
import contextlib
import hashlib
import http.server
import json
import threading
from collections.abc import Iterator
from pathlib import Path

COMMIT = "0123456789abcdef0123456789abcdef01234567"


class Hub(http.server.BaseHTTPRequestHandler):
    """The repositories in `folder`, as owner/name; `received` holds the bodies of all requests."""

    folder: Path
    licences: dict[str, str]
    received: list[bytes]

    def do_HEAD(self) -> None:
        self.answer(body=False)

    def do_GET(self) -> None:
        self.answer(body=True)

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.received.append(body)
        address = self.path.split("?")[0]
        if address == "/api/repos/create":
            asked = json.loads(body)
            name = f"{asked['organization']}/{asked['name']}"
            (self.folder / name).mkdir(parents=True, exist_ok=True)
            return self.send(json.dumps({"url": f"{self.here}/{name}", **asked}), body=True)
        if address == "/api/validate-yaml":
            return self.send(json.dumps({"errors": [], "warnings": []}), body=True)
        name, _, action = address.removeprefix("/api/models/").removesuffix("/main").rpartition("/")
        if action == "preupload":
            files = [
                {"path": file["path"], "uploadMode": "regular", "shouldIgnore": False}
                for file in json.loads(body)["files"]
            ]
            return self.send(json.dumps({"files": files}), body=True)
        if action == "commit":
            for line in map(json.loads, body.splitlines()):
                if line["key"] == "file":
                    path = self.folder / name / line["value"]["path"]
                    path.write_bytes(base64.b64decode(line["value"]["content"]))
            said = {"commitUrl": f"{self.here}/{name}/commit/{COMMIT}", "commitOid": COMMIT}
            return self.send(json.dumps({"success": True, **said}), body=True)
        return self.refuse()

    def answer(self, body: bool) -> None:
        address = self.path.split("?")[0]
        if address.startswith("/api/models/"):
            name, _, asked = address.removeprefix("/api/models/").partition("/tree/")
            name = name.partition("/revision/")[0]
            folder = self.folder / name
            if not folder.is_dir():
                return self.refuse()
            files = sorted(folder.iterdir())
            if asked:
                return self.send(json.dumps([self.entry(path) for path in files]), body)
            found = {
                "id": name,
                "sha": COMMIT,
                "siblings": [{"rfilename": path.name} for path in files],
                "cardData": {"license": self.licences.get(name)},
            }
            return self.send(json.dumps(found), body)
        name, _, file = address.removeprefix("/").partition(f"/resolve/{COMMIT}/")
        path = self.folder / name / file
        return self.send(path.read_bytes(), body) if file and path.is_file() else self.refuse()

    @property
    def here(self) -> str:
        return f"http://{self.headers['Host']}"

    @staticmethod
    def entry(path: Path) -> dict[str, object]:
        return {"type": "file", "path": path.name, "size": path.stat().st_size, "oid": "0" * 40}

    def refuse(self) -> None:
        self.send_response(404)
        self.send_header("X-Error-Code", "RepoNotFound")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def send(self, content: bytes | str, body: bool) -> None:
        content = content.encode() if isinstance(content, str) else content
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.send_header("ETag", f'"{hashlib.sha256(content).hexdigest()}"')
        self.send_header("X-Repo-Commit", COMMIT)
        self.end_headers()
        if body:
            self.wfile.write(content)

    def log_message(self, *_: object) -> None: ...


@contextlib.contextmanager
def running_hub(folder: Path, licences: dict[str, str] | None = None) -> Iterator[tuple[str, list[bytes]]]:
    """A hub with the repositories in `folder`: its address, and the list of what it receives."""
    received: list[bytes] = []
    facts = {"folder": folder, "licences": licences or {}, "received": received}
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), type("FolderHub", (Hub,), facts))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", received
    finally:
        server.shutdown()
