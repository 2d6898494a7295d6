"""The live page as a server: gradio, kept offline and to itself, and of it no more than the page needs.

gradio is an optional package and has no types, so it is handed on as Any.
"""

import os
import tempfile
import threading
from contextlib import suppress
from html import escape
from importlib import import_module
from multiprocessing import active_children
from pathlib import Path
from typing import Any

from core.errors import UserError
from viz.live.page import Live

_MAX_WAITING = 16
_SWEEP_SEC, _ABANDONED_SEC = 60, 600  # what was uploaded and never looked at is deleted after ten minutes
_PART_SEC = 10.0

# gradio answers far more than this page asks for, such as requests to convert a film in no worker at all.
_PATHS = ("/assets/", "/static/", "/theme.css", "/config", "/favicon.ico", "/manifest.json") + tuple(
    f"/gradio_api/{name}"
    for name in ("info", "queue/", "upload", "upload_progress", "heartbeat/", "startup-events", "app_id")
)
_ONE_AT_A_TIME = {"concurrency_limit": 1, "concurrency_id": "look"}  # the others wait in line
_TAKEN = "at most {:g} MB and {:g} s long; deleted once it was looked at"


def serve(live: Live, host: str, port: int) -> None:
    """Show the page until Ctrl-C or SIGTERM.

    Args:
        live: What it shows.
        host: Address that it listens at.
        port: Port of it.

    Raises:
        UserError: gradio isn't installed, or the page can't listen there.
        KeyboardInterrupt: It was ended; nothing is left of it.
    """
    with tempfile.TemporaryDirectory(prefix="live_page_", ignore_cleanup_errors=True) as folder:
        page = build_page(import_gradio(Path(folder)), live, Path(folder))
        try:
            listen(page, live, host, port)
            print(f"open http://{host}:{port} (Ctrl-C ends it)", flush=True)
            threading.Event().wait()
        finally:
            for child in active_children():  # or else the end would wait for the video that is being decoded
                child.kill()
            page.close(verbose=False)


def import_gradio(folder: Path) -> Any:
    """Import gradio, told to keep its files in a folder and all it knows to itself.

    Raises:
        UserError: It isn't installed.
    """
    os.environ |= {
        "GRADIO_TEMP_DIR": str(folder),
        "GRADIO_EXAMPLES_CACHE": str(folder / "examples"),
        "GRADIO_ANALYTICS_ENABLED": "False",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "HF_HUB_OFFLINE": "1",
    }
    try:
        return import_module("gradio")
    except ImportError as error:
        raise UserError(
            f"--serve needs gradio ({error}); install it with `pip install -r requirements-extras.txt`"
        ) from None


def build_page(gradio: Any, live: Live, folder: Path) -> Any:
    """Lay out the page; uploads lie in the folder until they were looked at."""
    sweep = (_SWEEP_SEC, _ABANDONED_SEC)
    with gradio.Blocks(title="Live heat maps", analytics_enabled=False, delete_cache=sweep) as page:
        names = ", ".join(viewer.name for viewer in live.viewers)
        gradio.HTML(f"<h1>Look with {escape(names)}</h1>")
        shown = gradio.HTML(render=False)
        if live.clips is not None:
            with gradio.Tab("A clip"):
                _clip_tab(gradio, live, shown)
        with gradio.Tab("A video of yours"):
            _video_tab(gradio, live, folder, shown)
        shown.render()
    page.queue(max_size=_MAX_WAITING, api_open=False)
    return page


def _clip_tab(gradio: Any, live: Live, shown: Any) -> None:
    assert live.clips is not None
    keys = list(live.clips.keys)
    clip = gradio.Dropdown(keys, value=keys[0], label="Clip; type to find one", filterable=True)
    look = gradio.Button("Look at the clip", variant="primary")
    look.click(live.show_clip, clip, shown, api_name="clip", **_ONE_AT_A_TIME)


def _video_tab(gradio: Any, live: Live, folder: Path, shown: Any) -> None:
    def show(upload: Any, start_sec: Any, stop_sec: Any) -> tuple[str, None]:
        path = _uploaded(folder, upload)
        try:
            return live.show_video(path, start_sec, stop_sec), None
        finally:
            if path is not None:
                with suppress(OSError):  # the same bytes may have been uploaded again
                    path.parent.rmdir()

    limits = live.limits
    label = "A video, " + _TAKEN.format(limits.megabytes, limits.length_sec)
    video = gradio.File(label=label, file_types=["video"])
    with gradio.Row():
        start_sec = gradio.Number(0.0, label="From second", minimum=0)
        stop_sec = gradio.Number(min(_PART_SEC, limits.length_sec), label="To second", minimum=0)
    look = gradio.Button("Look at the video", variant="primary")
    inputs, outputs = [video, start_sec, stop_sec], [shown, video]
    # Where gradio prepares files itself, it leaves an empty one beside each.
    look.click(show, inputs, outputs, api_name="video", preprocess=False, **_ONE_AT_A_TIME)


def _uploaded(folder: Path, upload: Any) -> Path | None:
    """Give the file of an upload, and nothing for what a made-up request calls one."""
    if not isinstance(upload, dict):
        return None
    path = Path(str(upload.get("path", ""))).resolve()
    return path if path.is_relative_to(folder.resolve()) and path.is_file() else None


def listen(page: Any, live: Live, host: str, port: int) -> None:
    """Let the page answer, in threads of its own.

    Raises:
        UserError: It can't listen there.
    """
    # Named fonts are looked for on the reader's machine, gradio's own choice on the network.
    theme = import_module("gradio.themes").Base(font=["system-ui", "sans-serif"], font_mono=["monospace"])
    _ask_no_proxy(host)
    off = dict.fromkeys(("share", "ssr_mode", "mcp_server", "pwa", "enable_monitoring", "run_history"), False)
    try:
        page.launch(
            server_name=host,
            server_port=port,
            theme=theme,
            max_file_size=live.limits.bytes,
            footer_links=[],
            quiet=True,
            prevent_thread_lock=True,
            app_kwargs={"middleware": [_only(_PATHS)]},
            **off,
        )
    except OSError as error:
        where = f"--host {host} --port {port}"
        raise UserError(f"the page can't listen at {where}: {error}; name another port") from None


def _ask_no_proxy(host: str) -> None:
    """The server asks itself whether it is up, and a proxy could not tell."""
    named = os.environ.get("no_proxy") or os.environ.get("NO_PROXY")
    os.environ["no_proxy"] = os.environ["NO_PROXY"] = ",".join(filter(None, (named, host, "localhost")))


def _only(paths: tuple[str, ...]) -> Any:
    """Make a middleware that knows the page itself and a few paths, and no others."""
    not_found = import_module("starlette.responses").PlainTextResponse("not found", status_code=404)

    class Only:
        def __init__(self, app: Any) -> None:
            self.app = app

        async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
            path = scope.get("path", "/")
            known = path == "/" or path.startswith(paths)
            await (self.app if known else not_found)(scope, receive, send)

    return import_module("starlette.middleware").Middleware(Only)
