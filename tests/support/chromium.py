"""A page open in headless Chromium, driven by the DevTools protocol over two pipes: no packages needed."""

import base64
import fcntl
import io
import itertools
import json
import os
import select
import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

PROGRAM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
_FLAGS = (
    "--headless --no-sandbox --disable-gpu --no-first-run --disable-sync --disable-quic "
    "--disable-background-networking --disable-component-update --hide-scrollbars --remote-debugging-pipe"
)
_PATIENCE_SEC = 60.0


class Page:
    """A context manager; `errors` collects the console's errors and uncaught exceptions."""

    def __init__(self, file: Path, *, width: int = 1300, height: int = 900) -> None:
        self.errors: list[str] = []
        self._numbers, self._unread, self._loaded, self._session = itertools.count(1), b"", False, None
        theirs_in, self._out = _pipe()
        self._in, theirs_out = _pipe()
        # Its last helpers may still be writing there when it has ended.
        self._profile = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        # Chromium reads commands from descriptor 3 and answers on 4.
        start = f'exec "$@" 3<&{theirs_in} 4>&{theirs_out}'
        assert PROGRAM is not None, "tests of pages are left out where there is no Chromium"
        flags = [*_FLAGS.split(), f"--user-data-dir={self._profile.name}", f"--window-size={width},{height}"]
        self._process = subprocess.Popen(
            ["bash", "-c", start, "bash", PROGRAM, *flags],
            pass_fds=(theirs_in, theirs_out),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(theirs_in)
        os.close(theirs_out)
        self._open(file)

    def __enter__(self) -> "Page":
        return self

    def __exit__(self, *_: object) -> None:
        self._session = None
        self._call("Browser.close")
        self._process.wait(_PATIENCE_SEC)
        self._profile.cleanup()
        os.close(self._in)
        os.close(self._out)

    def reload(self) -> None:
        """Load the page again."""
        self._load("Page.reload")

    def run(self, script: str) -> Any:
        """Evaluate a JavaScript expression in the page."""
        answer = self._call("Runtime.evaluate", expression=script, returnByValue=True)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def until(self, script: str) -> None:
        """Wait until an expression is true."""
        stop = time.monotonic() + _PATIENCE_SEC
        while not self.run(script):
            assert time.monotonic() < stop, f"never came true: {script}"
            time.sleep(0.02)

    def click(self, selector: str) -> None:
        """Click the middle of an element with the mouse, which fails if something covers it."""
        x, y, width, height = self.box(selector)
        self.click_at(x + width / 2, y + height / 2)

    def click_at(self, x: float, y: float) -> None:
        """Click a place, in pixels of the window."""
        for kind in ("mousePressed", "mouseReleased"):
            self._call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    def press(self, key: str) -> None:
        """Press a key, named as in JavaScript's KeyboardEvent.key; letters also as text."""
        text = {"text": key} if len(key) == 1 else {}
        self._call("Input.dispatchKeyEvent", type="keyDown", key=key, **text)
        self._call("Input.dispatchKeyEvent", type="keyUp", key=key)

    def set(self, selector: str, value: object) -> None:
        """Set a slider or a list, as a user does."""
        self.run(
            f"(() => {{ const e = document.querySelector({json.dumps(selector)}); e.value = "
            f"{json.dumps(str(value))}; for (const kind of ['input', 'change']) "
            "e.dispatchEvent(new Event(kind, { bubbles: true })); })()"
        )

    def box(self, selector: str) -> list[float]:
        """Return left, top, width and height of an element, in pixels of the window."""
        found: list[float] = self.run(
            f"(() => {{ const b = document.querySelector({json.dumps(selector)}).getBoundingClientRect(); "
            "return [b.left, b.top, b.width, b.height]; })()"
        )
        return found

    def prefer(self, scheme: str) -> None:
        """Ask for "light" or "dark" pages, as a user's settings do."""
        self._call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])

    def media(self, kind: str) -> None:
        """Lay the page out for "print", or "screen"."""
        self._call("Emulation.setEmulatedMedia", media=kind)

    def printed(self) -> bytes:
        """Return the page as a PDF."""
        return base64.b64decode(self._call("Page.printToPDF", printBackground=True)["data"])

    def screenshot(self) -> np.ndarray:
        """Return the window's pixels, RGB."""
        data = self._call("Page.captureScreenshot", format="png")["data"]
        return np.asarray(Image.open(io.BytesIO(base64.b64decode(data))).convert("RGB"))

    def _open(self, file: Path) -> None:
        target = self._call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self._call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Runtime", "Log", "Page"):
            self._call(f"{domain}.enable")
        self._load("Page.navigate", url=file.resolve().as_uri())

    def _load(self, method: str, **parameters: Any) -> None:
        self._loaded = False
        self._call(method, **parameters)
        while not self._loaded:
            self._note(self._read())

    def _call(self, method: str, **parameters: Any) -> dict[str, Any]:
        number = next(self._numbers)
        message = {"id": number, "method": method, "params": parameters}
        message |= {"sessionId": self._session} if self._session else {}
        os.write(self._out, json.dumps(message).encode() + b"\0")
        while (answer := self._read()).get("id") != number:
            self._note(answer)
        assert "error" not in answer, f"{method}: {answer['error']}"
        result: dict[str, Any] = answer["result"]
        return result

    def _read(self) -> dict[str, Any]:
        while b"\0" not in self._unread:
            assert select.select([self._in], [], [], _PATIENCE_SEC)[0], "Chromium does not answer"
            piece = os.read(self._in, 1 << 20)
            assert piece, "Chromium has ended"
            self._unread += piece
        text, _, self._unread = self._unread.partition(b"\0")
        message: dict[str, Any] = json.loads(text)
        return message

    def _note(self, event: dict[str, Any]) -> None:
        match event.get("method"), event.get("params"):
            case "Page.loadEventFired", _:
                self._loaded = True
            case (
                ("Runtime.exceptionThrown", details)
                | ("Runtime.consoleAPICalled", {"type": "error" | "warning"} as details)
                | ("Log.entryAdded", {"entry": {"level": "error" | "warning"} as details})
            ):
                self.errors.append(json.dumps(details))


def _pipe() -> list[int]:
    """Open a pipe whose descriptors are above 9; the child needs the low ones for itself."""
    ends = os.pipe()
    high = [fcntl.fcntl(end, fcntl.F_DUPFD_CLOEXEC, 10) for end in ends]
    for end in ends:
        os.close(end)
    return high
