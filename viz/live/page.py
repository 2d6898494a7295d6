"""What the live page shows: clips of a tree and uploaded videos, each as the page that plays scenes.

Nothing is left on disk: answers are text, and an uploaded file is deleted once it was looked at.
"""

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from html import escape
from pathlib import Path

from core.errors import UserError
from data.index import ClipIndex
from data.video.untrusted import Limits, read_untrusted
from data.video.windows import Part
from viz.player import player_page
from viz.scene import Scene
from viz.storyboard import Style
from viz.viewer import Viewer, frames_of_a_window, look_at_clip, look_at_window, video_short_side

_VIDEO = "the video"  # what an upload is called where it is decoded, and so in messages
_ALERT = "border-left: .3rem solid #c22; padding: .4rem .8rem; font-size: 1.1rem"


@dataclass(frozen=True)
class Live:
    """What the page can look at, and with what.

    Attributes:
        viewers: The runs.
        style: How heat is drawn.
        clips: The clips that can be picked, None without a tree.
        limits: How much of an upload is taken.
        window_sec: Length of a window of a video.
    """

    viewers: Sequence[Viewer]
    style: Style
    clips: ClipIndex | None
    limits: Limits
    window_sec: float

    def show_clip(self, key: str | None) -> str:
        """Look at a clip of the tree; gives HTML."""
        return _shown(self._clip_scenes(key), self.style)

    def show_video(self, upload: Path | None, start_sec: object, stop_sec: object) -> str:
        """Look at a part of an uploaded video and delete it; gives HTML.

        Args:
            upload: The file, called as its owner calls it; None when there is none.
            start_sec: Where the part begins, as it was typed.
            stop_sec: Where it ends.
        """
        return _shown(self._video_scenes(upload, start_sec, stop_sec), self.style)

    def _clip_scenes(self, key: str | None) -> Iterator[Scene]:
        if self.clips is None or key is None:
            raise UserError("no clip was picked; pick one from the list")
        found = self.clips.find([key])
        found.require(list({kind for viewer in self.viewers for kind in viewer.inputs.kinds}))
        yield from (look_at_clip(clip, self.viewers) for clip in found.clips)

    def _video_scenes(self, upload: Path | None, start_sec: object, stop_sec: object) -> Iterator[Scene]:
        if upload is None or not upload.is_file():
            raise UserError(
                "there is no video; upload one (again, for another part: it is deleted every time)"
            )
        with taken(upload) as video:
            part = _part(start_sec, stop_sec, self.window_sec)
            frames, short_side = frames_of_a_window(self.viewers), video_short_side(self.viewers)
            windows = read_untrusted(video, frames, part, short_side, self.limits)
        yield from (look_at_window(upload.stem, window, self.viewers) for window in windows)


def _part(start_sec: object, stop_sec: object, window_sec: float) -> Part:
    numbers = [second for second in (start_sec, stop_sec) if isinstance(second, int | float)]
    if len(numbers) == 2 and 0 <= numbers[0] < numbers[1]:
        return Part(numbers[0], numbers[1], window_sec)
    raise UserError(f"from second {start_sec} to second {stop_sec} is no part; let it end after it begins")


@contextmanager
def taken(upload: Path) -> Iterator[Path]:
    """Give an upload a name that nothing can be read into, and delete it afterwards, whatever happens."""
    try:
        with tempfile.TemporaryDirectory(dir=upload.parent) as folder:
            yield upload.rename(Path(folder) / _VIDEO)
    finally:
        upload.unlink(missing_ok=True)


def _shown(scenes: Iterator[Scene], style: Style) -> str:
    """Put the page that plays the scenes into a frame that can't reach out, or say what is wrong."""
    try:
        page = player_page(list(scenes), style)
    except UserError as error:
        return f'<p role="alert" style="{_ALERT}">{escape(str(error))}</p>'
    return (
        '<iframe title="Where the network looks" sandbox="allow-scripts" '
        f'style="width: 100%; height: 72rem; border: 0" srcdoc="{escape(page)}"></iframe>'
    )
