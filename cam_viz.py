"""Draws where runs look: their attention, or what speaks for the action, over clips or any video.

Contact sheets, GIFs, MP4 films, raw heat, and with --html one page that plays it all. With --serve a live
page, on which clips are picked and videos uploaded.
"""

from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path

import numpy as np
from pydantic import Field, model_validator

from core.cli import run
from core.config import Config as BaseConfig
from core.errors import UserError
from core.files import atomic_path
from core.seeding import DeviceName, set_up_numerics
from data.clips import Clip, Kind
from data.index import ClipIndex
from data.video.untrusted import Limits
from data.video.windows import Part, read_windows
from viz.film import best_codec, save_mp4
from viz.heat_sources import HeatName
from viz.live.page import Live
from viz.live.server import serve
from viz.overlay import ColourMap, normalise
from viz.player import write_player
from viz.scene import Scene
from viz.sheet import save_gif, save_png
from viz.storyboard import Style, scene_film, scene_sheet
from viz.viewer import (
    Viewer,
    frames_of_a_window,
    look_at_clip,
    look_at_window,
    open_viewers,
    video_short_side,
)


class Config(BaseConfig):
    """Draw where one or more runs look, over the frames of clips or of any video."""

    runs: tuple[Path, ...] = Field(min_length=1)
    """Run directories; several are drawn side by side on the same frames."""
    heat: HeatName = "attention"
    """attention: what the recurrence is weighted with. cam: class activation map of the action that the run
    names, behind a ConvLSTM of its state after each frame. gradcam: Grad-CAM of that action in each frame's
    last maps (needs pytorch-grad-cam). Of flow each frame shows the stack that begins with it; of two streams
    the RGB stream is drawn."""
    data: Path | None = None
    """Tree of clips; say which of them with --clips, --user, --action, --wrong or --sample."""
    clips: tuple[str, ...] = ()
    """Names of clips, such as S2/open_jam/1."""
    user: tuple[str, ...] = ()
    """Clips of these users."""
    action: tuple[str, ...] = ()
    """Clips of these actions."""
    wrong: bool = False
    """Only clips that a run takes for another action."""
    sample: int | None = Field(None, ge=1)
    """So many of the clips, drawn by lot."""
    seed: int = Field(0, ge=0)
    """Of the lot; the same seed draws the same clips."""
    video: Path | None = None
    """In place of --data: any video file. A window slides over it, and each is drawn as a clip is."""
    start_sec: float = Field(0.0, ge=0)
    """With --video: where to begin."""
    stop_sec: float | None = Field(None, gt=0)
    """With --video: where to end (the end of the file)."""
    window_sec: float = Field(2.0, gt=0)
    """With --video or --serve: how long a window is; the next one begins half a window later."""
    out: Path | None = None
    """Folder for the pictures: S2_open_jam_1.png, .gif, .mp4 of a clip S2/open_jam/1, and an .npy a run."""
    html: bool = False
    """Also write index.html, which plays everything in a browser, without a network."""
    serve: bool = False
    """In place of pictures: a live page to pick clips of --data on, if given, and to upload videos to."""
    host: str = "127.0.0.1"
    """With --serve: address to listen at; 0.0.0.0 lets everybody in who can reach this machine."""
    port: int = Field(7860, ge=1, le=65535)
    """With --serve: port to listen at."""
    upload_mb: float = Field(200.0, gt=0)
    """With --serve: size of an upload, at most."""
    upload_sec: float = Field(60.0, gt=0)
    """With --serve: length of an uploaded video, at most."""
    opacity: float = Field(0.6, ge=0, le=1)
    """Of the hottest place."""
    colours: ColourMap = "inferno"
    """Colour map; all but jet are safe for colour-blind readers."""
    device: DeviceName = "auto"
    """Where to compute; auto takes a GPU if there is one."""

    @model_validator(mode="after")
    def _page_or_pictures(self) -> "Config":
        of_the_page = self._given("host", "port", "upload_mb", "upload_sec")
        of_pictures = self._given(
            "clips", "user", "action", "wrong", "sample", "video", "start_sec", "stop_sec", "out", "html"
        )
        if self.serve and of_pictures:
            raise ValueError(f"{_flag(of_pictures[0])} is about pictures, and --serve draws none")
        if not self.serve and of_the_page:
            raise ValueError(f"{_flag(of_the_page[0])} belongs to --serve")
        if not self.serve and self.out is None:
            raise ValueError("--out is missing: a folder for the pictures (or --serve, for a live page)")
        return self if self.serve else self._clips_or_video()

    def _clips_or_video(self) -> "Config":
        picked = self._given("clips", "user", "action", "wrong", "sample")
        if (self.data is None) == (self.video is None):
            raise ValueError("give either --data (a tree of clips) or --video (a file)")
        if self.data is not None and not picked:
            raise ValueError("say which clips of --data: --clips, --user, --action, --wrong or --sample")
        if self.data is None and picked:
            raise ValueError(f"{_flag(picked[0])} chooses clips of --data, and this is a --video")
        if self.data is not None and self._given("start_sec", "stop_sec", "window_sec"):
            raise ValueError("--start-sec, --stop-sec and --window-sec belong to --video")
        if self.stop_sec is not None and self.stop_sec <= self.start_sec:
            raise ValueError(f"--stop-sec {self.stop_sec:g} should lie after --start-sec {self.start_sec:g}")
        return self

    def _given(self, *names: str) -> list[str]:
        """Name the settings that are not as they are when left out."""
        return [name for name in names if getattr(self, name) != type(self).model_fields[name].default]


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")


def choose_clips(config: Config, kinds: Sequence[Kind] = ("frames",)) -> tuple[Clip, ...]:
    """Find the clips that were asked for, in the order of the lot where one is drawn.

    Args:
        config: What was asked for.
        kinds: The images that they should have.

    Raises:
        UserError: There is none, or one lacks images.
    """
    assert config.data is not None
    index = ClipIndex.from_tree(config.data)
    fitting = index.select(config.user) if config.user else index
    fitting = fitting.of_actions(config.action) if config.action else fitting
    named = index.find(config.clips) if config.clips else index
    index = named.subset([n for n, key in enumerate(named.keys) if key in set(fitting.keys)])
    if not len(index):
        raise UserError(f"{config.data} has no clip that is all of what --clips, --user and --action ask for")
    index.require(kinds)
    if config.sample is not None:
        index = index.subset(np.random.default_rng(config.seed).permutation(len(index)).tolist())
    return index.clips


def scenes(config: Config, viewers: Sequence[Viewer]) -> Iterator[Scene]:
    """Look at whatever was asked for, clips or a video."""
    return clip_scenes(config, viewers) if config.video is None else window_scenes(config, viewers)


def clip_scenes(config: Config, viewers: Sequence[Viewer]) -> Iterator[Scene]:
    """Look at the clips that were asked for, one after the other."""
    kinds = {kind: None for viewer in viewers for kind in viewer.inputs.kinds}
    seen = (look_at_clip(clip, viewers) for clip in choose_clips(config, tuple(kinds)))
    yield from islice((scene for scene in seen if scene.wrong or not config.wrong), config.sample)


def window_scenes(config: Config, viewers: Sequence[Viewer]) -> Iterator[Scene]:
    """Look at a video, one window after the other."""
    assert config.video is not None
    part = Part(config.start_sec, config.stop_sec, config.window_sec)
    frames, short_side = frames_of_a_window(viewers), video_short_side(viewers)
    for window in read_windows(config.video, frames, part, short_side):
        yield look_at_window(config.video.stem, window, viewers)


def draw_scene(scene: Scene, config: Config, style: Style) -> None:
    """Write the pictures, the film and the heat of one scene."""
    assert config.out is not None
    stem = scene.name.replace("/", "_")
    save_png(config.out / f"{stem}.png", scene_sheet(scene, style))
    film = scene_film(scene, style)
    save_gif(config.out / f"{stem}.gif", film)
    save_mp4(config.out / f"{stem}.mp4", film)
    for look in scene.looks:
        with atomic_path(config.out / f"{stem}_{look.run}.npy") as temporary:
            np.save(temporary, normalise(look.heat))
    print(f"{scene.name}: {config.out / stem}.png, .gif and .mp4")


def main(config: Config) -> None:
    """Draw every clip, or every window of a video, that was asked for, or serve the live page."""
    set_up_numerics()
    viewers = open_viewers(config.runs, config.device, config.heat)
    style = Style(config.opacity, config.colours)
    if config.serve:
        clips = None if config.data is None else ClipIndex.from_tree(config.data)
        limits = Limits(config.upload_mb, config.upload_sec)
        serve(Live(viewers, style, clips, limits, config.window_sec), config.host, config.port)
    else:
        draw(config, viewers, style)


def draw(config: Config, viewers: Sequence[Viewer], style: Style) -> None:
    """Write the pictures of everything that was asked for."""
    assert config.out is not None
    codec = best_codec().name
    drawn, kept = 0, list[Scene]()
    for scene in scenes(config, viewers):
        draw_scene(scene, config, style)
        drawn += 1
        kept += [scene] if config.html else []
    if not drawn:
        print("every run is right about each of these clips, so there is nothing to draw")
        return
    print(f"films are written in {codec}")
    if config.html:
        write_player(config.out / "index.html", kept, style)
        print(f"open {config.out / 'index.html'}")


if __name__ == "__main__":
    run(main, Config)
