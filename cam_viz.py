"""Draws where runs look: their attention, or the evidence for an action, over clips or any video.

Contact sheets, GIFs, MP4 films, raw heat, and with --html one page that plays everything. With --serve a live
page, on which clips are picked and videos uploaded.
"""

from pathlib import Path
from typing import ClassVar

from pydantic import Field, model_validator

from core.cli import read_flags, run
from core.config import Config as BaseConfig
from core.config import DeviceName, refuse_repeated
from models import HeatName
from viz import ColourMap


class Config(BaseConfig):
    """Draw where one or more runs look, over the frames of clips or of any video."""

    GROUPS: ClassVar[dict[str, str]] = {
        "clips": "data clips user action wrong sample seed",
        "video": "video start_sec stop_sec window_sec",
        "pictures": "html heat opacity colours",
        "live page": "serve host port upload_mb upload_sec",
    }

    runs: tuple[Path, ...] = Field(min_length=1)
    """Run directories; several are drawn side by side on the same frames."""
    heat: HeatName = "attention"
    """attention: the weights that the recurrence gives the cells. cam: class activation map of the predicted
    action, after a ConvLSTM on its state after each frame. gradcam: Grad-CAM of that action on each frame's
    last maps (needs pytorch-grad-cam). A flow run is drawn on the first frame of each stack, a two-stream run
    by its RGB stream."""
    data: Path | None = None
    """Tree of clips; choose among them with --clips, --user, --action, --wrong or --sample."""
    clips: tuple[str, ...] = ()
    """Names of clips, such as S2/open_jam/1."""
    user: tuple[str, ...] = ()
    """Clips of these users."""
    action: tuple[str, ...] = ()
    """Clips of these actions."""
    wrong: bool = False
    """Only clips of which a run predicts another action."""
    sample: int | None = Field(None, ge=1)
    """Draw this many of the clips at random."""
    seed: int = Field(0, ge=0)
    """Seed of the random draw."""
    video: Path | None = None
    """In place of --data: any video file. A window slides over it, and each position is drawn like a clip."""
    start_sec: float = Field(0.0, ge=0)
    """With --video: start."""
    stop_sec: float | None = Field(None, gt=0)
    """With --video: end (the end of the file)."""
    window_sec: float = Field(2.0, gt=0)
    """With --video or --serve: length of a window; windows overlap by half."""
    out: Path | None = None
    """Folder for the pictures: S2_open_jam_1.png, .gif, .mp4 of a clip S2/open_jam/1, and one .npy a run."""
    html: bool = False
    """Also write index.html, which plays everything in a browser and needs no network."""
    serve: bool = False
    """In place of pictures: a live page on which to pick clips of --data, if given, and to upload videos."""
    host: str = "127.0.0.1"
    """With --serve: address to listen on; 0.0.0.0 admits everybody who can reach this machine."""
    port: int = Field(7860, ge=1, le=65535)
    """With --serve: port to listen on."""
    upload_mb: float = Field(200.0, gt=0)
    """With --serve: largest upload, in 10^6 bytes."""
    upload_sec: float = Field(60.0, gt=0)
    """With --serve: longest uploaded video."""
    opacity: float = Field(0.6, ge=0, le=1)
    """Of the hottest place."""
    colours: ColourMap = "inferno"
    """Colour map; all but jet are safe for colour-blind readers."""
    device: DeviceName = "auto"
    """Where to compute; auto takes a GPU if there is one."""

    @model_validator(mode="after")
    def _page_or_pictures(self) -> "Config":
        refuse_repeated("--runs", self.runs)
        chosen = self._given("clips", "user", "action", "wrong", "sample")
        if self.serve:
            if given := [*chosen, *self._given("video", "start_sec", "stop_sec", "out", "html")]:
                raise ValueError(f"{given[0]} is about pictures, and --serve draws none")
            return self
        if given := self._given("host", "port", "upload_mb", "upload_sec"):
            raise ValueError(f"{given[0]} belongs to --serve")
        if self.out is None:
            raise ValueError("--out is missing: a folder for the pictures (or --serve, for a live page)")
        if (self.data is None) == (self.video is None):
            raise ValueError("choose either --data (a tree of clips) or --video (a file)")
        if self.data is not None and not chosen:
            raise ValueError("say which clips of --data: --clips, --user, --action, --wrong or --sample")
        if self.data is None and chosen:
            raise ValueError(f"{chosen[0]} chooses clips of --data, and this is a --video")
        if self.data is not None and self._given("start_sec", "stop_sec", "window_sec"):
            raise ValueError("--start-sec, --stop-sec and --window-sec belong to --video")
        if self.stop_sec is not None and self.stop_sec <= self.start_sec:
            raise ValueError(f"--stop-sec {self.stop_sec:g} should lie after --start-sec {self.start_sec:g}")
        return self

    def _given(self, *names: str) -> list[str]:
        """List the flags, of these settings, whose value is not the default."""
        fields = type(self).model_fields
        return [f"--{n.replace('_', '-')}" for n in names if getattr(self, n) != fields[n].default]


if __name__ == "__main__":
    flags = read_flags(Config)  # help and mistakes are told before what follows is loaded

from collections import deque
from collections.abc import Iterator, Sequence
from itertools import chain, islice

import numpy as np

from core.errors import UserError
from core.files import atomic_path, refuse_no_folder
from core.seeding import set_up_numerics
from data.clips import Clip, Kind
from data.index import ClipIndex
from data.video.untrusted import Limits
from data.video.windows import TimeSpan, read_windows
from viz.film import save_gif, save_mp4, save_png
from viz.live.page import Live
from viz.live.server import serve
from viz.overlay import Style, scale_to_peak
from viz.player import write_player
from viz.scene import Scene
from viz.storyboard import scene_film, scene_sheet
from viz.viewer import Viewer, open_viewers, view_clip, view_window, window_size


def choose_clips(config: Config, kinds: Sequence[Kind] = ("frames",)) -> tuple[Clip, ...]:
    """Find the clips that the flags choose; with --sample all of them, in random order.

    Raises:
        UserError: No clip fits, or one lacks images of the kinds.
    """
    assert config.data is not None
    index = ClipIndex.from_tree(config.data)
    fitting = index.select(config.user) if config.user else index
    fitting = fitting.of_actions(config.action) if config.action else fitting
    named = index.find(tuple(dict.fromkeys(config.clips))) if config.clips else index
    keys = set(fitting.keys)
    index = named.subset([number for number, key in enumerate(named.keys) if key in keys])
    if not len(index):
        raise UserError(f"no clip of {config.data} fits all of --clips, --user and --action")
    index.require(kinds)
    if config.sample is not None:
        index = index.subset(np.random.default_rng(config.seed).permutation(len(index)).tolist())
    return index.clips


def scenes(config: Config, viewers: Sequence[Viewer]) -> Iterator[Scene]:
    """Show the runs what the flags choose: clips, or the windows of a video."""
    if config.video is None:
        kinds = dict.fromkeys(kind for viewer in viewers for kind in viewer.inputs.kinds)
        found = (view_clip(clip, viewers, film=config.html) for clip in choose_clips(config, tuple(kinds)))
        yield from islice((scene for scene in found if scene.wrong or not config.wrong), config.sample)
        return
    span = TimeSpan(config.start_sec, config.stop_sec, config.window_sec)
    frames, short_side = window_size(viewers)
    for window in read_windows(config.video, frames, span, short_side):
        yield view_window(config.video.stem, window, viewers)


def draw_scene(scene: Scene, out: Path, style: Style) -> Scene:
    """Write the pictures, the film and the heat of one scene, and return it."""
    stem = scene.name.replace("/", "_")
    save_png(out / f"{stem}.png", scene_sheet(scene, style))
    film = scene_film(scene, style)
    save_gif(out / f"{stem}.gif", film)
    save_mp4(out / f"{stem}.mp4", film)
    for view in scene.views:
        with atomic_path(out / f"{stem}_{view.run}.npy") as temporary:
            np.save(temporary, scale_to_peak(view.heat))
    print(f"{scene.name}: {out / stem}.png, .gif and .mp4")
    return scene


def main(config: Config) -> None:
    """Draw the clips or the windows of a video, or serve the live page."""
    set_up_numerics()
    viewers = open_viewers(config.runs, config.device, config.heat)
    style = Style(config.opacity, config.colours)
    if config.serve:
        clips = None if config.data is None else ClipIndex.from_tree(config.data)
        limits = Limits(config.upload_mb, config.upload_sec)
        serve(Live(viewers, style, clips, limits, config.window_sec), config.host, config.port)
        return
    assert config.out is not None
    refuse_no_folder("--out", config.out)
    drawn = (draw_scene(scene, config.out, style) for scene in scenes(config, viewers))
    if (first := next(drawn, None)) is None:
        print("every run predicts the true action of each of these clips, so there is nothing to draw")
    elif config.html:
        write_player(config.out / "index.html", chain([first], drawn), style)
        print(f"open {config.out / 'index.html'}")
    else:
        deque(drawn, maxlen=0)


if __name__ == "__main__":
    run(main, flags)
