"""Pages in a real browser, without a screen and without a network."""

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any, NamedTuple

import pytest

_NAMES = ("chromium", "chromium-browser", "google-chrome")
_QUIET = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync --enable-logging=stderr --virtual-time-budget=5000 "
    "--dump-dom"
).split()


class Visit(NamedTuple):
    """A look at a page: what was found on it, what its console said, which addresses it asked for."""

    found: Any
    console: list[str]
    fetched: list[str]


def visit(page: Path, expression: str, scratch: Path, width: int = 1300) -> Visit:
    """Open a page, wait until it has loaded, and evaluate a JavaScript expression in it.

    Args:
        page: The HTML file.
        expression: What is asked of the page; its value is passed on as JSON.
        scratch: Folder for a copy of the page and the browser's profile.
        width: Of the window, pixels.
    """
    browser = next(filter(None, map(shutil.which, _NAMES)), None)
    if browser is None:
        pytest.skip(f"none of {', '.join(_NAMES)} is installed, so the page was not looked at")
    copy = scratch / "visited.html"
    copy.write_text(page.read_text(encoding="utf-8") + _asking(expression), encoding="utf-8")
    flags = [f"--user-data-dir={scratch / 'profile'}", f"--window-size={width},900", *_QUIET]
    done = subprocess.run([browser, *flags, copy.as_uri()], capture_output=True, text=True, timeout=60)
    answer = re.search(r'<pre id="answer">(.*?)</pre>', done.stdout, flags=re.DOTALL)
    console = re.findall(r"CONSOLE[^\]]*\] (.*)", done.stderr)
    assert answer, f"the page gave no answer; its console: {console}"
    said = json.loads(_plain(answer[1]))
    return Visit(said["found"], console, said["fetched"])


def _asking(expression: str) -> str:
    return (
        "<script>addEventListener('load', () => {"
        f"const found = ({expression});"
        "const fetched = performance.getEntriesByType('resource').map((entry) => entry.name)"
        ".filter((name) => !name.startsWith('data:'));"
        "const answer = document.createElement('pre'); answer.id = 'answer';"
        "answer.textContent = JSON.stringify({found, fetched}); document.body.append(answer);"
        "});</script>"
    )


def _plain(text: str) -> str:
    return text.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")
