"""Files from the web: over HTTP and HTTPS alone, one connection at a time, resumed, and checked for length.

Redirects are followed here, not by the library, so that each address is looked at before it is asked for:
what begins as http cannot end at `file:`. A file is there whole, or as `<name>.part` with a note of its
version: the next run asks for the rest of that version, and for all of it if there is another one now.
A server that sends a byte now and then does not hold us for ever: each file has a limit of time.
"""

import http.client
import json
import os
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.parse import quote, urljoin, urlsplit, urlunsplit
from urllib.request import HTTPHandler, HTTPSHandler, OpenerDirector, ProxyHandler, Request

from multimodal_ser import __version__
from multimodal_ser.cache import atomic_path, hash_bytes, write_json
from multimodal_ser.errors import InputError
from multimodal_ser.offline import OfflineError
from multimodal_ser.transcripts.cues import tidy

USER_AGENT = f"multimodal-ser/{__version__} (podcast scoring; one connection at a time)"
SECONDS = 60.0  # without an answer, or without a byte
MOST_HOURS = 6.0  # for one file in one run: 8 GiB at 3 Mbit/s
MOST_REDIRECTS = 10
MOST_BYTES = 8 * 2**30  # of one file: a day of stereo in CD quality is twice that, and nobody offers it
_BLOCK = 1 << 16
_REDIRECTS = (301, 302, 303, 307, 308)
_PATH_SIGNS = "/%:@!$&'()*+,;=~"
_RANGE = re.compile(r"bytes (?:(\d{1,18})-\d{1,18}|\*)/(\d{1,18}|\*)")


def ask(url: str, headers: dict[str, str] | None = None) -> http.client.HTTPResponse:
    """The answer to a GET, after redirects; `url` of it is where it came from."""
    here = url
    for _ in range(MOST_REDIRECTS + 1):
        request = Request(checked_address(here), headers={**_HEADERS, **(headers or {})})
        try:
            response = _OPENER.open(request, timeout=SECONDS)
        except (OSError, http.client.HTTPException, ValueError) as error:
            reason = error.reason if isinstance(error, URLError) else error
            if isinstance(reason, OfflineError):
                raise reason from None
            raise InputError(f"{here}: no answer ({_said(reason)}); check address and connection") from error
        if response.status not in _REDIRECTS:
            return response
        with response:
            target = response.headers.get("Location")
        if not target:
            raise InputError(f"{here}: the server redirects, but does not say where to")
        try:
            here = checked_address(urljoin(here, target))
        except (InputError, ValueError):
            raise InputError(
                f"{here}: redirects to {target[:200]!r}; only http:// and https:// addresses are followed"
            ) from None
    raise InputError(f"{url}: more than {MOST_REDIRECTS} redirects")


def checked_address(url: str) -> str:
    """The address in the letters that HTTP knows; what is not http(s) is refused."""
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
        if parts.scheme not in ("http", "https") or not host:
            raise ValueError
        place = parts.netloc if parts.netloc.isascii() else parts.netloc.encode("idna").decode("ascii")
    except ValueError:
        raise InputError(
            f"{url[:200]!r} is no http:// or https:// address; others are not asked for"
        ) from None
    if parts.username is not None:
        raise InputError(
            f"{host}: addresses with a user name in them are not supported; ask for one with a token"
        )
    return urlunsplit(
        (parts.scheme, place, quote(parts.path, _PATH_SIGNS), quote(parts.query, _PATH_SIGNS + "?"), "")
    )


def download(
    url: str, path: Path, said: int | None = None, most: int = MOST_BYTES, hours: float = MOST_HOURS
) -> int:
    """Bring a file unless it is there; its size. said: bytes it should have, if the server is silent.

    If a silent server ends below what was said, it is asked once more: where it ends at the same byte again,
    that is the file, and what was said is wrong.
    """
    if path.is_file():
        return path.stat().st_size
    part, note = path.with_name(path.name + ".part"), path.with_name(path.name + ".part.json")
    path.parent.mkdir(parents=True, exist_ok=True)
    until = time.monotonic() + hours * 3600
    got, wanted, is_silent = _more(url, part, note, most, until)
    if is_silent and said is not None and 0 < got < said:
        before = got
        got, wanted, is_silent = _more(url, part, note, most, until)
        if is_silent:
            wanted = got if got == before else said
    if got == 0 or (wanted is not None and got < wanted):
        raise InputError(
            f"{url}: the server stopped after {got:,}{'' if wanted is None else f' of {wanted:,}'} bytes; "
            "what came is kept, and the same command goes on"
        )
    os.replace(part, path)
    note.unlink(missing_ok=True)
    return got


def _more(url: str, part: Path, note: Path, most: int, until: float) -> tuple[int, int | None, bool]:
    """Go on with a file: bytes that are here, of how many, and whether the server keeps silent about that."""
    have, version = _kept(part, note, url)
    with ask(url, {"Range": f"bytes={have}-", "If-Range": version} if have else {}) as response:
        start, total = _place(url, response, have, part)
        if start != total and total is not None and total > most:
            raise InputError(f"{url}: {total:,} bytes, more than the {most:,} that are taken")
        if start == 0:
            write_json(note, {"url": url, **_version(response)})
        got = start if start == total else _receive(url, response, part, start, most, until)
    return got, total, total is None and not response.chunked


def cached(url: str, folder: Path, most: int, hours: float = MOST_HOURS) -> tuple[bytes, str]:
    """The content at an address and where it came from; a copy in `folder` if the server says it is the same.

    Without a connection because of --offline, the copy if there is one.
    """
    stem = hash_bytes(url.encode())
    copy, note = folder / f"{stem}.xml", folder / f"{stem}.json"
    known = _read_note(note) if copy.is_file() else {}
    asked = {"etag": "If-None-Match", "last_modified": "If-Modified-Since"}
    try:
        response = ask(url, {header: known[name] for name, header in asked.items() if known.get(name)})
    except OfflineError:
        if not known:
            raise
        return copy.read_bytes(), known["from"]
    with response:
        if response.status == 304 and known:
            return copy.read_bytes(), known["from"]
        _check(url, response, (200,))
        data = _read_all(url, response, most, time.monotonic() + hours * 3600)
        note.unlink(missing_ok=True)  # it must not speak of another copy than the one that is there
        with atomic_path(copy) as temporary:
            temporary.write_bytes(data)
        write_json(note, {"url": url, "from": response.url, **_version(response)})
        return data, response.url


def _read_all(url: str, response: http.client.HTTPResponse, most: int, until: float) -> bytes:
    length = response.length
    data = bytearray()
    try:
        for block in _blocks(url, response, until):
            data += block
            if len(data) > most:
                raise InputError(f"{url}: more than the {most >> 20} MiB that are taken")
    except (OSError, http.client.HTTPException) as error:
        raise InputError(f"{url}: the server stopped half-way ({_said(error)}); try again") from error
    if length is not None and len(data) < length:
        raise InputError(f"{url}: the server stopped after {len(data):,} of {length:,} bytes; try again")
    return bytes(data)


def _blocks(url: str, response: http.client.HTTPResponse, until: float) -> Iterator[bytes]:
    """The body as it comes, not longer than the server says, and not beyond a moment of `time.monotonic`."""
    left = response.length  # None: until the connection ends, or the last chunk
    while left is None or left > 0:
        block = response.read1(_BLOCK if left is None else min(_BLOCK, left))
        if not block:
            return
        left = None if left is None else left - len(block)
        yield block
        if left != 0 and time.monotonic() > until:
            raise InputError(
                f"{url}: too slow, not here within the time that one file may take (--download-hours); what "
                "came is kept, and the same command goes on"
            )


def _kept(part: Path, note: Path, url: str) -> tuple[int, str]:
    """How many bytes are here of which version; none where the version cannot be told."""
    known = _read_note(note)
    etag = known.get("etag") or ""
    version = etag if etag and not etag.startswith("W/") else known.get("last_modified")  # weak: not by bytes
    if known.get("url") != url or not version or not part.is_file():
        return 0, ""
    return part.stat().st_size, version


def _place(url: str, response: http.client.HTTPResponse, have: int, part: Path) -> tuple[int, int | None]:
    """Where in the file the answer begins, and how long the file is."""
    if response.status in (206, 416) and have:
        found = _RANGE.fullmatch(response.headers.get("Content-Range", ""))
        total = int(found[2]) if found and found[2] != "*" else None
        if response.status == 206 and found and found[1] == str(have):
            _check(url, response, (206,))
            return have, total
        if response.status == 416 and total == have:
            return have, have
        part.unlink(missing_ok=True)
        raise InputError(f"{url}: the server does not go on where it stopped; the same command begins anew")
    _check(url, response, (200,))
    length = response.headers.get("Content-Length", "")
    return 0, int(length) if length.isdigit() and not response.chunked else None


def _receive(
    url: str, response: http.client.HTTPResponse, part: Path, start: int, most: int, until: float
) -> int:
    got = start
    with part.open("ab" if start else "wb") as file:
        try:
            for block in _blocks(url, response, until):
                got += len(block)
                if got > most:
                    break
                file.write(block)
        except (OSError, http.client.HTTPException) as error:
            raise InputError(
                f"{url}: the server stopped after {got:,} bytes ({_said(error)}); what came is kept, and "
                "the same command goes on"
            ) from error
    if got > most:
        part.unlink()
        raise InputError(f"{url}: more than the {most:,} bytes that are taken")
    return got


def _check(url: str, response: http.client.HTTPResponse, expected: tuple[int, ...]) -> None:
    if response.status not in expected:
        raise InputError(f"{url}: the server answers {response.status} {tidy(response.reason)}".rstrip())
    if (encoding := response.headers.get("Content-Encoding", "identity").lower()) != "identity":
        raise InputError(f"{url}: sent as {encoding[:20]!r} though it was asked for as it is")


def _version(response: http.client.HTTPResponse) -> dict[str, str | None]:
    headers = response.headers
    etag = headers.get("ETag")
    return {"etag": etag, "last_modified": headers.get("Last-Modified")}


def _read_note(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _said(error: object) -> str:
    return tidy(str(error))[:200] or type(error).__name__


def _opener() -> OpenerDirector:
    """Knows HTTP and HTTPS and the user's proxies; no files, no FTP, no redirects, no passwords."""
    opener = OpenerDirector()
    for handler in (ProxyHandler(), HTTPHandler(), HTTPSHandler()):
        opener.add_handler(handler)
    return opener


_HEADERS = {"User-Agent": USER_AGENT, "Accept-Encoding": "identity", "Accept": "*/*"}
_OPENER = _opener()
