"""The live page: what it shows, what it refuses, and that nothing stays behind."""

import html
import importlib.util
import json
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

import cv2
import numpy as np
import pytest

import cam_viz
from core.errors import UserError
from data import ClipIndex
from data.video.untrusted import Limits
from viz.live import server as server_module
from viz.live.page import Live
from viz.overlay import Style
from viz.player import player_page
from viz.viewer import open_viewers, view_clip

ROOT = Path(__file__).resolve().parents[2]
KEY = "S2/open_jam/1"


@pytest.fixture(scope="module")
def live(stage_1, tree):
    index = ClipIndex.from_tree(tree)
    return Live(open_viewers([stage_1], "cpu"), Style(), index, Limits(), window_sec=1.0)


def film(path, brightness=40):
    """Two seconds that become brighter."""
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 10.0, (96, 64))
    for number in range(20):
        writer.write(np.full((64, 96, 3), brightness + 5 * number, np.uint8))
    writer.release()
    return path


@pytest.fixture
def upload(tmp_path):
    """A film as a browser sends it, in a folder of its own."""
    (tmp_path / "sent").mkdir()
    return film(tmp_path / "sent" / "my <film>.avi")


def played(answer):
    """The page inside the frame that was given."""
    (page,) = re.findall(r'sandbox="allow-scripts" .* srcdoc="([^"]*)"></iframe>$', answer)
    return html.unescape(page)


def scenes(answer):
    (block,) = re.findall(r'id="data">(.*?)</script>', played(answer), flags=re.DOTALL)
    return json.loads(block)["scenes"]


def test_a_clip_looks_as_it_does_in_the_page_on_disk(live):
    (clip,) = live.clips.find([KEY]).clips
    expected = player_page([view_clip(clip, live.viewers, film=True)], live.style)
    assert played(live.show_clip(KEY)) == expected
    assert "no clip S9/none/1" in live.show_clip("S9/none/1") and "pick one" in live.show_clip(None)


def test_a_video_is_seen_as_cam_viz_sees_it_and_deleted(live, upload, stage_1, tmp_path):
    config = cam_viz.Config(runs=(stage_1,), video=upload, stop_sec=1.5, window_sec=1.0, out=tmp_path)
    expected = list(cam_viz.scenes(config, live.viewers))
    answer = live.show_video(upload, 0, 1.5)
    assert list(upload.parent.iterdir()) == []
    found = scenes(answer)
    assert "<film>" not in answer.replace(html.escape(played(answer)), "")
    assert [scene["name"] for scene in found] == [scene.name for scene in expected]
    for scene, other in zip(found, expected, strict=True):
        assert scene["name"].startswith("my <film>_") and scene["labels"] == list(other.labels)
        assert (
            f"{other.views[0].predicted} ({100 * other.views[0].confidence:.0f} %)"
            in scene["views"][0]["title"]
        )


@pytest.mark.parametrize(
    "start_sec, stop_sec, said",
    [
        (1, 1, "is not a part"),
        (None, 2, "is not a part"),
        ("<b>", 2, "second &lt;b&gt; to"),
        (1.9, 2, "has 1 frames"),
    ],
)
def test_refusals_are_one_escaped_sentence_and_the_video_is_gone(live, upload, start_sec, stop_sec, said):
    answer = live.show_video(upload, start_sec, stop_sec)
    assert answer.startswith('<p role="alert"') and said in answer and answer.count("<") == 2
    assert list(upload.parent.iterdir()) == []
    assert "there is no video" in live.show_video(upload, 0, 1)
    assert "there is no video" in live.show_video(None, 0, 1)


def test_a_failure_of_ours_leaves_no_video_either(live, upload, monkeypatch):
    def fail(*args):
        raise RuntimeError

    monkeypatch.setattr("viz.live.page.read_untrusted", fail)
    with pytest.raises(RuntimeError):
        live.show_video(upload, 0, 1)
    assert list(upload.parent.iterdir()) == []


def test_only_what_was_uploaded_is_taken(tmp_path):
    (tmp_path / "up").mkdir()
    (tmp_path / "secret").write_text("keep")
    (tmp_path / "up" / "film").write_text("film")
    (tmp_path / "up" / "link").symlink_to(tmp_path / "secret")
    for made_up in (
        None,
        [],
        {},
        {"path": str(tmp_path / "secret")},
        {"path": str(tmp_path / "up" / "link")},
    ):
        assert server_module.uploaded_file(tmp_path / "up", made_up) is None
    assert (
        server_module.uploaded_file(tmp_path / "up", {"path": str(tmp_path / "up" / "film")}).read_text()
        == "film"
    )


@pytest.mark.parametrize(
    "words, said",
    [
        (["--serve", "--out", "x"], "--out is about pictures"),
        (["--serve", "--start-sec", "1"], "--start-sec is about pictures"),
        (["--port", "80", "--out", "x", "--video", "x.avi"], "--port belongs to --serve"),
        (["--upload-mb", "5", "--out", "x", "--video", "x.avi"], "--upload-mb belongs to --serve"),
        (["--video", "x.avi"], "--out is missing"),
    ],
)
def test_flags_that_contradict_each_other(command, stage_1, words, said):
    status, _, error = command(cam_viz.main, cam_viz.Config, "--runs", stage_1, *words)
    assert status == 2 and said in error


def test_without_gradio_it_says_how_to_get_it(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "gradio", None)
    with pytest.raises(UserError, match=r"pip install -r requirements-extras\.txt"):
        server_module.import_gradio(tmp_path)


@pytest.fixture
def server(stage_1, tree):
    """The page as a user starts it: its address, the folder that it keeps files in, its process."""
    if importlib.util.find_spec("gradio") is None:
        pytest.skip("gradio is not installed; pip install -r requirements-extras.txt")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    words = f"--serve --runs {stage_1} --data {tree} --device cpu --port {port} --upload-mb 1".split()
    # A short path: decoding processes are reached by sockets in it, whose names have at most 107 characters.
    with tempfile.TemporaryDirectory() as kept:
        process = subprocess.Popen(
            [sys.executable, "tests/support/thin.py", "cam_viz.py", *words],
            cwd=ROOT,
            env={"TMPDIR": kept, "PATH": "", "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
            stdout=subprocess.PIPE,
            text=True,
        )
        try:
            assert f"open http://127.0.0.1:{port}" in process.stdout.readline()
            yield f"http://127.0.0.1:{port}", Path(kept), process
        finally:
            process.kill()
            process.communicate()


def status_of(url):
    try:
        return urllib.request.urlopen(url, timeout=10).status
    except urllib.error.HTTPError as error:
        return error.code


def test_the_server_looks_at_what_it_is_sent_and_leaves_nothing(server, upload):
    from gradio_client import Client, handle_file

    url, kept, process = server
    assert status_of(url) == 200
    for path in ("gradio_api/process_recording", "monitoring", "gradio_api/file=/etc/passwd"):
        assert status_of(f"{url}/{path}") == 404
    page = urllib.request.urlopen(url, timeout=10).read().decode()
    assert "fonts.googleapis.com" not in page and "cdn" not in page

    client = Client(url, verbose=False, analytics_enabled=False)
    assert scenes(client.predict(KEY, api_name="/clip"))[0]["name"] == KEY
    # Two at once, of whom one waits.
    sent = [handle_file(upload), handle_file(film(upload.with_name("other.avi"), 60))]
    jobs = [client.submit(file, 0, 2, api_name="/video") for file in sent]
    names = [scenes(job.result(timeout=300)[0])[0]["name"] for job in jobs]
    assert names[1] == "other_0000.00s" and names[0].endswith("film_0000.00s")
    (bad := upload.with_name("bad.mp4")).write_text("no video")
    assert "can&#39;t be decoded" in client.predict(handle_file(bad), 0, 2, api_name="/video")[0]
    bad.write_bytes(bytes(1_100_000))
    with pytest.raises(Exception, match="413|exceed"):
        client.predict(handle_file(bad), 0, 2, api_name="/video")
    assert not [path for path in kept.glob("live_page_*/**/*") if path.is_file()]

    process.send_signal(signal.SIGINT)
    begun = time.monotonic()
    assert process.wait(timeout=60) == 130 and time.monotonic() - begun < 30
    assert not list(kept.glob("live_page_*"))
