"""The live page as a server: gradio without network access, reduced to the requests that the page needs.

gradio is an optional package without types, so it is passed on as Any.
"""

import os
import tempfile
import threading
from contextlib import suppress
from importlib import import_module
from multiprocessing import active_children
from pathlib import Path
from typing import Any

from markupsafe import Markup

from core.errors import UserError
from viz.live.page import Live

_MAX_WAITING = 16
_SWEEP_SEC, _ABANDONED_SEC = 60, 600  # uploads that nobody has viewed are deleted after ten minutes
_PART_SEC = 10.0

# gradio answers far more than this page asks for, such as requests to convert a film outside any worker.
_PATHS = ("/assets/", "/static/", "/theme.css", "/config", "/favicon.ico", "/manifest.json") + tuple(
    f"/gradio_api/{name}"
    for name in ("info", "queue/", "upload", "upload_progress", "heartbeat/", "startup-events", "app_id")
)
_ONE_AT_A_TIME = {"concurrency_limit": 1, "concurrency_id": "view"}  # the others wait in a queue


def serve(live: Live, host: str, port: int) -> None:
    """Serve the page at an address until Ctrl-C or SIGTERM.

    Raises:
        UserError: gradio is not installed, or the page can't listen there.
        KeyboardInterrupt: It was ended; no file and no process of it is left.
    """
    with tempfile.TemporaryDirectory(prefix="live_page_", ignore_cleanup_errors=True) as folder:
        page = build_page(import_gradio(Path(folder)), live, Path(folder))
        try:
            listen(page, live, host, port)
            print(f"open http://{host}:{port} (Ctrl-C ends it)", flush=True)
            threading.Event().wait()
        finally:
            for child in active_children():  # closing would wait for a video that is being decoded
                child.kill()
            page.close(verbose=False)


def import_gradio(folder: Path) -> Any:
    """Import gradio, set up to keep its files in a folder and to report nothing to anyone.

    Raises:
        UserError: It is not installed.
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
    """Lay out the page; uploads are kept in the folder until they have been viewed."""
    sweep = (_SWEEP_SEC, _ABANDONED_SEC)
    with gradio.Blocks(title="Live heat maps", analytics_enabled=False, delete_cache=sweep) as page:
        names = ", ".join(viewer.name for viewer in live.viewers)
        gradio.HTML(Markup("<h1>Where {} looks</h1>").format(names))
        answer = gradio.HTML(render=False)
        if live.clips is not None:
            with gradio.Tab("A clip"):
                keys = list(live.clips.keys)
                clip = gradio.Dropdown(keys, value=keys[0], label="Clip; type to find one", filterable=True)
                button = gradio.Button("Show the clip", variant="primary")
                button.click(live.show_clip, clip, answer, api_name="clip", **_ONE_AT_A_TIME)
        with gradio.Tab("Your video"):
            _video_tab(gradio, live, folder, answer)
        answer.render()
    page.queue(max_size=_MAX_WAITING, api_open=False)
    return page


def _video_tab(gradio: Any, live: Live, folder: Path, answer: Any) -> None:
    def show(upload: Any, start_sec: Any, stop_sec: Any) -> tuple[str, None]:
        path = uploaded_file(folder, upload)
        try:
            return live.show_video(path, start_sec, stop_sec), None
        finally:
            if path is not None:
                with suppress(OSError):  # not empty if the same bytes were uploaded again
                    path.parent.rmdir()

    limits = live.limits
    bounds = f"at most {limits.megabytes:g} MB and {limits.length_sec:g} s long; deleted after viewing"
    video = gradio.File(label=f"A video, {bounds}", file_types=["video"])
    with gradio.Row():
        start_sec = gradio.Number(0.0, label="From second", minimum=0)
        stop_sec = gradio.Number(min(_PART_SEC, limits.length_sec), label="To second", minimum=0)
    button = gradio.Button("Show the video", variant="primary")
    inputs, outputs = [video, start_sec, stop_sec], [answer, video]
    # Where gradio prepares files itself, it leaves an empty one next to each.
    button.click(show, inputs, outputs, api_name="video", preprocess=False, **_ONE_AT_A_TIME)


def uploaded_file(folder: Path, upload: Any) -> Path | None:
    """Return the file of an upload, or None if a forged request names anything outside the folder."""
    if not isinstance(upload, dict):
        return None
    path = Path(str(upload.get("path", ""))).resolve()
    return path if path.is_relative_to(folder.resolve()) and path.is_file() else None


def listen(page: Any, live: Live, host: str, port: int) -> None:
    """Start answering requests, in threads of its own.

    Raises:
        UserError: It can't listen there.
    """
    # gradio's default theme loads fonts from the network; these are the reader's own.
    theme = import_module("gradio.themes").Base(font=["system-ui", "sans-serif"], font_mono=["monospace"])
    # The server asks itself whether it is up, which a proxy could not tell.
    direct = os.environ.get("no_proxy") or os.environ.get("NO_PROXY")
    os.environ["no_proxy"] = os.environ["NO_PROXY"] = ",".join(filter(None, (direct, host, "localhost")))
    off = ("share", "ssr_mode", "mcp_server", "pwa", "enable_monitoring", "run_history")
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
            **dict.fromkeys(off, False),
        )
    except OSError as error:
        where = f"--host {host} --port {port}"
        raise UserError(f"the page can't listen on {where}: {error}; name another port") from None


def _only(paths: tuple[str, ...]) -> Any:
    """Make a middleware that answers the page itself and a few paths, and 404 to everything else."""
    not_found = import_module("starlette.responses").PlainTextResponse("not found", status_code=404)

    class Only:
        def __init__(self, app: Any) -> None:
            self.app = app

        async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
            path = scope.get("path", "/")
            known = path == "/" or path.startswith(paths)
            await (self.app if known else not_found)(scope, receive, send)

    return import_module("starlette.middleware").Middleware(Only)
