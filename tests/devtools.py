"""As much of Chromium's DevTools protocol as the tests of pages need, over two pipes: no port, no package."""

import base64
import fcntl
import json
import os
import select
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

PROGRAMS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
SECONDS = 30.0  # for an answer
_FLAGS = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
    "--mute-audio", "--autoplay-policy=no-user-gesture-required", "--disable-background-networking",
    "--remote-debugging-pipe",
)  # fmt: skip


def find_browser() -> str | None:
    return next(filter(None, map(shutil.which, PROGRAMS)), None)


class Browser:
    """A headless Chromium; `events` holds what it told of its own accord."""

    def __init__(self, program: str, folder: Path) -> None:
        ends = [fcntl.fcntl(end, fcntl.F_DUPFD, 10) for end in (*os.pipe(), *os.pipe())]
        theirs_in, self._out, self._in, theirs_out = ends

        def as_three_and_four() -> None:  # where Chromium looks for them
            os.dup2(theirs_in, 3)
            os.dup2(theirs_out, 4)

        command = [program, *_FLAGS, f"--user-data-dir={folder}", "about:blank"]
        self.process = subprocess.Popen(
            command, preexec_fn=as_three_and_four, pass_fds=(3, 4), stderr=subprocess.DEVNULL
        )
        os.close(theirs_in)
        os.close(theirs_out)
        self._read = b""
        self._number = 0
        self.events: list[dict[str, Any]] = []

    def call(self, method: str, session: str | None = None, **parameters: Any) -> dict[str, Any]:
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        if session:
            message["sessionId"] = session
        data = json.dumps(message).encode() + b"\0"
        while data:
            data = data[os.write(self._out, data) :]
        number, until = self._number, time.monotonic() + SECONDS
        while (found := self._next(until - time.monotonic())) is not None:
            if found.get("id") == number:
                if "error" in found:
                    raise RuntimeError(f"{method}: {found['error']}")
                return found["result"]
        raise TimeoutError(method)

    def listen(self, seconds: float) -> None:
        """Take what is told within this time."""
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0 and self._next(left) is not None:
            pass

    def _next(self, seconds: float) -> dict[str, Any] | None:
        until = time.monotonic() + seconds
        while b"\0" not in self._read:
            ready, _, _ = select.select([self._in], [], [], max(0.0, until - time.monotonic()))
            data = os.read(self._in, 1 << 20) if ready else b""
            if not data:
                return None
            self._read += data
        message, _, self._read = self._read.partition(b"\0")
        found = json.loads(message)
        if "method" in found:
            self.events.append(found)
        return found

    def close(self) -> None:
        self.process.terminate()
        self.process.wait(SECONDS)
        os.close(self._in)
        os.close(self._out)


class Page:
    """A tab with one file in it."""

    def __init__(self, browser: Browser, path: Path) -> None:
        self.browser = browser
        for other in browser.call("Target.getTargets")[
            "targetInfos"
        ]:  # tabs in the background are slowed down
            if other["type"] == "page" and other["url"] != "about:blank":
                browser.call("Target.closeTarget", targetId=other["targetId"])
        target = browser.call("Target.createTarget", url="about:blank")["targetId"]
        self.session = browser.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        browser.events.clear()
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.call(f"{domain}.enable")
        self.call("Page.navigate", url=path.as_uri())
        self.wait_for("document.readyState === 'complete' && location.protocol === 'file:'")

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        return self.browser.call(method, self.session, **parameters)

    def value(self, script: str) -> Any:
        """What a script comes to; promises are waited for."""
        found = self.call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in found:
            raise RuntimeError(f"{script}: {found['exceptionDetails']}")
        return found["result"].get("value")

    def wait_for(self, script: str, seconds: float = SECONDS) -> None:
        wait(lambda: self.value(script), script, seconds)

    def click(self, selector: str) -> None:
        """A click of the mouse in the middle of the first element of this kind."""
        middle = f"""(async () => {{
            const box = document.querySelector({json.dumps(selector)});
            let before = "";
            for (let tries = 0; tries < 100; tries++) {{  // lines out of sight get their height late
                box.scrollIntoView({{block: "center", behavior: "instant"}});
                const area = box.getBoundingClientRect();
                const place = [area.left + area.width / 2, area.top + area.height / 2];
                const isThere = box.contains(document.elementFromPoint(...place));
                if (isThere && String(place) === before) return place;
                before = String(place);
                await new Promise((done) => setTimeout(done, 50));
            }}
            throw new Error("cannot be clicked");
        }})()"""
        self.value(
            f"document.querySelector({json.dumps(selector)})"
            ".addEventListener('click', () => { window.wasHit = true; }, {once: true, capture: true})"
        )
        for _ in range(5):  # on a busy machine lines move once more after they were looked at
            self.value("window.wasHit = false")
            x, y = self.value(middle)
            for kind in ("mousePressed", "mouseReleased"):
                self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)
            if self.value("window.wasHit"):
                return
        raise RuntimeError(f"{selector} was missed five times")

    def write(self, text: str) -> None:
        self.call("Input.insertText", text=text)

    def press(self, key: str, code: int) -> None:
        sent = {"key": key, "code": key, "windowsVirtualKeyCode": code}
        if key == "Enter":
            sent["text"] = "\r"
        for kind in ("keyDown", "keyUp"):
            self.call("Input.dispatchKeyEvent", type=kind, **sent)

    def picture(self, path: Path, width: int, scheme: str = "light", media: str = "screen") -> None:
        """All of the page as it looks at this width."""
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        self.call("Emulation.setEmulatedMedia", media=media, features=features)
        size = {"width": width, "height": 1000, "deviceScaleFactor": 1, "mobile": width < 600}
        self.call("Emulation.setDeviceMetricsOverride", **size)
        found = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=True)
        path.write_bytes(base64.b64decode(found["data"]))

    def asked_for(self) -> list[str]:
        """Addresses of all requests."""
        sent = [e for e in self.browser.events if e["method"] == "Network.requestWillBeSent"]
        return [event["params"]["request"]["url"] for event in sent]

    def complaints(self) -> list[dict[str, Any]]:
        """Errors on the console, exceptions, and what the policy of the page refused."""
        found = []
        for event in self.browser.events:
            said = event.get("params", {})
            if event["method"] == "Runtime.exceptionThrown":
                found.append(said["exceptionDetails"])
            if event["method"] == "Runtime.consoleAPICalled" and said["type"] in ("error", "assert"):
                found.append(said)
            if event["method"] == "Log.entryAdded" and said["entry"]["level"] == "error":
                found.append(said["entry"])
        return found


def wait(condition: Callable[[], Any], what: str, seconds: float = SECONDS) -> None:
    until = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > until:
            raise TimeoutError(f"did not come about in {seconds:g} s: {what}")
        time.sleep(0.05)
