"""Runs ready to look at frames: of a clip, or of a window of a video."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from data.clips import Clip
from data.frames import read_frames
from data.inputs import RgbInput, read_input
from data.sampling import rgb_frame_numbers
from data.transforms import transform_frames
from data.windows import Window
from engine.errors import UserError
from engine.run_dir import RunDirectory
from engine.seeding import DeviceName, choose_device
from models import build_model
from viz.overlay import centre_box
from viz.scene import Look, Scene

_VIDEO_SHORT_SIDE = 256  # what clips are prepared to, and all that a reader of small pictures can see


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
        height, width = frames.shape[-2:]
        box = centre_box(height, width, pixels.image_size / pixels.short_side)
        heat = output.heat[0].cpu().numpy()
        return Look(self.name, heat, box, self.class_names[winner], float(chances[winner]))


def open_viewers(runs: Sequence[Path], device: DeviceName) -> list[Viewer]:
    """Load all runs.

    Raises:
        UserError: A run can't be drawn, or not together with the others.
    """
    named = zip(runs, run_names(runs), strict=True)
    viewers = [Viewer.open(path, name, device) for path, name in named]
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


def video_short_side(viewers: Sequence[Viewer]) -> int:
    """Pixels that the short side of a video's larger frames is scaled to, enough for every run."""
    return max(_VIDEO_SHORT_SIDE, *(viewer.inputs.pixels.short_side for viewer in viewers))


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
