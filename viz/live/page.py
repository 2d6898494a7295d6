"""The answers of the live page: clips of a tree and uploaded videos, each as the page that plays scenes.

Nothing is left on disk: answers are text, and an uploaded file is deleted as soon as it has been viewed.
"""

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from markupsafe import Markup

from core.errors import UserError
from data.index import ClipIndex
from data.video.untrusted import Limits, read_untrusted
from data.video.windows import TimeSpan
from viz.overlay import Style
from viz.player import player_page
from viz.scene import Scene
from viz.viewer import Viewer, view_clip, view_window, window_size

_VIDEO = "the video"  # name of every upload while it is decoded, and so in messages
# Markup.format escapes what is put in.
_ALERT = Markup(
    '<p role="alert" style="border-left: .3rem solid #c22; padding: .4rem .8rem; font-size: 1.1rem">{}</p>'
)
_FRAME = Markup(
    '<iframe title="Where the network looks" sandbox="allow-scripts" '
    'style="width: 100%; height: 72rem; border: 0" srcdoc="{}"></iframe>'
)


@dataclass(frozen=True)
class Live:
    """The runs, and what can be shown to them.

    Attributes:
        viewers: The runs.
        style: How heat is drawn.
        clips: The clips that can be picked, None without a tree.
        limits: Bounds of an upload.
        window_sec: Length of a window of a video, in seconds.
    """

    viewers: Sequence[Viewer]
    style: Style
    clips: ClipIndex | None
    limits: Limits
    window_sec: float

    def show_clip(self, key: str | None) -> str:
        """Show a clip of the tree to the runs; returns HTML."""
        return self._answer(self._clip_scenes(key))

    def show_video(self, upload: Path | None, start_sec: object, stop_sec: object) -> str:
        """Show a part of an upload, under its owner's name, between seconds as typed, and delete it; HTML."""
        return self._answer(self._video_scenes(upload, start_sec, stop_sec))

    def _clip_scenes(self, key: str | None) -> Iterator[Scene]:
        if self.clips is None or key is None:
            raise UserError("no clip was picked; pick one from the list")
        found = self.clips.find([key])
        found.require(list({kind for viewer in self.viewers for kind in viewer.inputs.kinds}))
        yield from (view_clip(clip, self.viewers, film=True) for clip in found.clips)

    def _video_scenes(self, upload: Path | None, start_sec: object, stop_sec: object) -> Iterator[Scene]:
        if upload is None or not upload.is_file():
            raise UserError("there is no video; upload it (again for another part, since it is deleted)")
        with taken(upload) as video:
            seconds = [second for second in (start_sec, stop_sec) if isinstance(second, int | float)]
            if len(seconds) < 2 or not 0 <= seconds[0] < seconds[1]:
                raise UserError(f"second {start_sec} to {stop_sec} is not a part; let it end later")
            span = TimeSpan(seconds[0], seconds[1], self.window_sec)
            frames, short_side = window_size(self.viewers)
            windows = read_untrusted(video, frames, span, short_side, self.limits)
        yield from (view_window(upload.stem, window, self.viewers) for window in windows)

    def _answer(self, scenes: Iterator[Scene]) -> str:
        """Put the page that plays the scenes into a frame without access to this one, or show the error."""
        try:
            return _FRAME.format(player_page(list(scenes), self.style))
        except UserError as error:
            return _ALERT.format(error)


@contextmanager
def taken(upload: Path) -> Iterator[Path]:
    """Rename an upload to a harmless name, and delete it afterwards, whatever happens."""
    try:
        with tempfile.TemporaryDirectory(dir=upload.parent) as folder:
            yield upload.rename(Path(folder) / _VIDEO)
    finally:
        upload.unlink(missing_ok=True)
