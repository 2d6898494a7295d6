"""Draws where runs look: their attention over the frames of clips or of any video.

Contact sheets, GIFs, MP4 films, raw heat, and with --html one page that plays it all.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from pydantic import Field, model_validator
from torch import Tensor

from data.clips import Clip
from data.frames import read_frames
from data.index import ClipIndex
from data.inputs import RgbInput, read_input
from data.sampling import rgb_frame_numbers
from data.transforms import transform_frames
from data.windows import Part, Window, read_windows
from engine.cli import run
from engine.config import Config as BaseConfig
from engine.errors import UserError
from engine.files import atomic_path
from engine.run_dir import RunDirectory
from engine.seeding import DeviceName, choose_device, set_up_numerics
from models import build_model
from viz.film import best_codec, save_mp4
from viz.overlay import ColourMap, centre_box, normalise
from viz.player import write_player
from viz.scene import Look, Scene
from viz.sheet import save_gif, save_png
from viz.storyboard import Style, scene_film, scene_sheet

_VIDEO_SHORT_SIDE = 256  # what clips are prepared to, and all that a reader of small pictures can see


class Config(BaseConfig):
    """Draw the attention of one or more runs over the frames of clips, or of any video."""

    runs: tuple[Path, ...] = Field(min_length=1)
    """Run directories; several are drawn side by side on the same frames."""
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
    """With --video: how long a window is; the next one begins half a window later."""
    out: Path
    """Folder for the pictures: S2_open_jam_1.png, .gif, .mp4 of a clip S2/open_jam/1, and an .npy a run."""
    html: bool = False
    """Also write index.html, which plays everything in a browser, without a network."""
    opacity: float = Field(0.6, ge=0, le=1)
    """Of the hottest place."""
    colours: ColourMap = "inferno"
    """Colour map; all but jet are safe for colour-blind readers."""
    device: DeviceName = "auto"
    """Where to compute; auto takes a GPU if there is one."""

    @model_validator(mode="after")
    def _clips_or_video(self) -> "Config":
        picked = self._given("clips", "user", "action", "wrong", "sample")
        if (self.data is None) == (self.video is None):
            raise ValueError("give either --data (a tree of clips) or --video (a file)")
        if self.data is not None and not picked:
            raise ValueError("say which clips of --data: --clips, --user, --action, --wrong or --sample")
        if self.data is None and picked:
            raise ValueError(f"--{picked[0]} chooses clips of --data, and this is a --video")
        if self.data is not None and self._given("start_sec", "stop_sec", "window_sec"):
            raise ValueError("--start-sec, --stop-sec and --window-sec belong to --video")
        if self.stop_sec is not None and self.stop_sec <= self.start_sec:
            raise ValueError(f"--stop-sec {self.stop_sec:g} should lie after --start-sec {self.start_sec:g}")
        return self

    def _given(self, *names: str) -> list[str]:
        """Name the settings that are not as they are when left out."""
        return [name for name in names if getattr(self, name) != type(self).model_fields[name].default]


@dataclass(frozen=True)
class Viewer:
    """A run ready to look at frames."""

    name: str
    model: torch.nn.Module
    class_names: tuple[str, ...]
    inputs: RgbInput

    @classmethod
    def open(cls, path: Path, name: str, device: DeviceName) -> "Viewer":
        """Load a run's last checkpoint, and call it `name` in pictures and files.

        Raises:
            UserError: It is no run, or one that has no attention to show.
        """
        checkpoint = RunDirectory.finished(path).checkpoint("last")
        if checkpoint["architecture"].get("attention") == "none":
            raise UserError(
                f"{path} was trained with --attention none, so it has no attention to draw; "
                "name a run with --attention cam, or one of train_frame.py"
            )
        inputs = read_input(checkpoint["preprocessing"])
        if not isinstance(inputs, RgbInput):
            raise UserError(
                f"{path} looks at flow, which pictures of frames can't show; name a run of train_rgb.py or "
                "train_frame.py, such as the one that a joint training began with"
            )
        model = build_model(checkpoint["architecture"]).to(choose_device(device)).eval()
        model.load_state_dict(checkpoint["model"])
        return cls(name, model, tuple(checkpoint["class_names"]), inputs)

    @torch.no_grad()
    def look(self, frames: Tensor) -> Look:
        """Run the model on frames, seen as in the test. Shape: (T, 3, H, W), RGB, uint8."""
        device, pixels = next(self.model.parameters()).device, self.inputs.pixels
        output = self.model(transform_frames(frames, pixels, None)[None].to(device))
        chances = output.logits[0].softmax(dim=0)
        winner = int(chances.argmax())
        box = centre_box(*frames.shape[-2:], pixels.image_size / pixels.short_side)
        heat = output.heat[0].cpu().numpy()
        return Look(self.name, heat, box, self.class_names[winner], float(chances[winner]))


def open_viewers(config: Config) -> list[Viewer]:
    """Load all runs.

    Raises:
        UserError: A run can't be drawn, or not together with the others.
    """
    named = zip(config.runs, run_names(config.runs), strict=True)
    viewers = [Viewer.open(path, name, config.device) for path, name in named]
    if len({viewer.inputs.frames for viewer in viewers}) > 1:
        lengths = ", ".join(f"{viewer.name}: {viewer.inputs.frames}" for viewer in viewers)
        raise UserError(f"runs that see different numbers of frames can't be drawn together ({lengths})")
    return viewers


def run_names(runs: Sequence[Path]) -> list[str]:
    """Call runs by their folders' names, with as many of the folders above as it takes to tell them apart.

    Where all end alike, as table/attention/seed0 and table/flow/seed0 do, the end is left out.

    Raises:
        UserError: The same run twice.
    """
    paths = [run.resolve().parts[1:] for run in runs]
    if len(set(paths)) < len(paths):
        raise UserError("--runs names the same run twice; leave one out")
    while len(paths) > 1 and len({parts[-1] for parts in paths}) == 1 and min(map(len, paths)) > 1:
        paths = [parts[:-1] for parts in paths]
    for depth in range(1, max(map(len, paths)) + 1):
        names = ["_".join(parts[-depth:]) for parts in paths]
        if len(set(names)) == len(names):
            return names
    raise AssertionError("different paths have different names")


def choose_clips(config: Config) -> tuple[Clip, ...]:
    """Find the clips that were asked for, in the order of the lot where one is drawn.

    Raises:
        UserError: There is none.
    """
    assert config.data is not None
    index = ClipIndex.from_tree(config.data)
    fitting = index.select(config.user) if config.user else index
    fitting = fitting.of_actions(config.action) if config.action else fitting
    named = index.find(config.clips) if config.clips else index
    index = named.subset([n for n, key in enumerate(named.keys) if key in set(fitting.keys)])
    if not len(index):
        raise UserError(f"{config.data} has no clip that is all of what --clips, --user and --action ask for")
    if config.sample is not None:
        index = index.subset(np.random.default_rng(config.seed).permutation(len(index)).tolist())
    return index.clips


def scenes(config: Config, viewers: Sequence[Viewer]) -> Iterator[Scene]:
    """Look at whatever was asked for, clips or a video."""
    return clip_scenes(config, viewers) if config.video is None else window_scenes(config, viewers)


def clip_scenes(config: Config, viewers: Sequence[Viewer]) -> Iterator[Scene]:
    """Look at the clips that were asked for, one after the other."""
    seen = (look_at_clip(clip, viewers) for clip in choose_clips(config))
    yield from islice((scene for scene in seen if scene.wrong or not config.wrong), config.sample)


def look_at_clip(clip: Clip, viewers: Sequence[Viewer]) -> Scene:
    """Have every run look at the frames of a clip."""
    numbers = rgb_frame_numbers(clip.num_frames, viewers[0].inputs.frames)
    frames = read_frames(clip.frames, numbers.tolist())
    return Scene(
        clip.key,
        clip.action,
        frames.permute(0, 2, 3, 1).numpy(),
        tuple(f"frame {number} of {clip.num_frames}" for number in numbers),
        tuple(((numbers - 1) / max(clip.num_frames - 1, 1)).tolist()),
        tuple(viewer.look(frames) for viewer in viewers),
    )


def window_scenes(config: Config, viewers: Sequence[Viewer]) -> Iterator[Scene]:
    """Look at a video, one window after the other."""
    assert config.video is not None
    part = Part(config.start_sec, config.stop_sec, config.window_sec)
    short_side = max(_VIDEO_SHORT_SIDE, *(viewer.inputs.pixels.short_side for viewer in viewers))
    for window in read_windows(config.video, viewers[0].inputs.frames, part, short_side):
        yield look_at_window(config.video.stem, window, viewers)


def look_at_window(name: str, window: Window, viewers: Sequence[Viewer]) -> Scene:
    """Have every run look at the frames of a window."""
    return Scene(
        f"{name}_{window.times_sec[0]:07.2f}s",
        None,
        window.frames.permute(0, 2, 3, 1).numpy(),
        tuple(f"{time:.2f} s" for time in window.times_sec),
        window.times,
        tuple(viewer.look(window.frames) for viewer in viewers),
    )


def draw_scene(scene: Scene, config: Config, style: Style) -> None:
    """Write the pictures, the film and the heat of one scene."""
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
    """Draw every clip, or every window of a video, that was asked for."""
    set_up_numerics()
    codec = best_codec()[1]
    viewers, style = open_viewers(config), Style(config.opacity, config.colours)
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
