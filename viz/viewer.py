"""Runs loaded to view frames: those of a clip, or of a window of a video.

Axes: T frames, H W pixels.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from core.config import DeviceName
from core.errors import UserError
from core.run_dir import RunDirectory, run_names
from core.seeding import choose_device
from data.clips import Clip
from data.images import read_frames, read_maps
from data.parts import ClipInput, Frames, Views, read_input
from data.sampling import Numbers
from data.transforms import Preprocessing, transform_maps
from data.video.windows import Window
from models import HeatName
from models.base import ClipModel
from models.build import build_trained
from selfsup.losses import MotionLoss
from selfsup.settings import MOVING_SHARE, MotionSettings
from selfsup.targets import MotionTarget, binary, pool_maps
from viz.heat import find_heat, require_heat
from viz.overlay import centre_square, resized
from viz.scene import Film, Motion, RunView, Scene

_VIDEO_SHORT_SIDE = 256  # as clips are prepared, and enough detail for small pictures
_MOST_IN_FILM, _FILM_WIDTH = 90, 480  # so that a page with all clips of a test stays small
_CLIP_PER_SECOND = 15.0  # GTEA's rate; trees of frames do not say theirs


@dataclass(frozen=True)
class Viewer:
    """A trained run that frames can be shown to.

    Attributes:
        name: Its name in pictures and files.
        model: In eval mode.
        class_names: Of the actions, by the model's classes.
        inputs: What the network takes of a clip.
        heat: Which heat is drawn.
        motion: The settings of its motion heads, None without any.
    """

    name: str
    model: ClipModel
    class_names: tuple[str, ...]
    inputs: ClipInput
    heat: HeatName = "attention"
    motion: MotionSettings | None = None

    @classmethod
    def open(cls, path: Path, name: str, device: DeviceName, heat: HeatName = "attention") -> "Viewer":
        """Load a run's last checkpoint.

        Raises:
            UserError: The path is not a finished run, the run has no such heat, or the package that computes
                it is not installed.
        """
        checkpoint = RunDirectory.finished(path).checkpoint("last")
        inputs = read_input(checkpoint["preprocessing"])
        model = build_trained(checkpoint["architecture"], checkpoint["model"], str(path))
        model.to(choose_device(device)).eval()
        require_heat(heat, model, path)
        has_heads = "motion" in checkpoint["architecture"]
        motion = MotionSettings.of_run(checkpoint["config"]) if has_heads else None
        return cls(name, model, tuple(checkpoint["class_names"]), inputs, heat, motion)

    @torch.no_grad()
    def view(self, frames: Tensor, clip: Clip | None = None, numbers: Sequence[int] = ()) -> RunView:
        """Run the model on frames (T, 3, H, W), RGB, uint8, preprocessed as in the test.

        A run that takes flow needs the clip that they are from, and their T numbers in it, from 1.
        """
        inputs = self._to_device(self.inputs.look(frames, clip, numbers))
        output = self.model(**inputs)
        logits = output.logits[0]  # (K,)
        if clip is not None and (own := self.inputs.shown_numbers(clip).tolist()) != list(numbers):
            # The heat belongs to the frames that are drawn, but the prediction stays that of the test.
            logits = self.model(**self._to_device(self.inputs.look(frames, clip, own))).logits[0]
        probabilities = logits.softmax(dim=0)
        action = int(probabilities.argmax())
        heat = find_heat(self.heat, self.model, inputs, output.heat, action)
        height, width = frames.shape[-2:]
        square = centre_square(height, width, self.inputs.sizes.seen_share)
        motion: list[Motion] = []
        if self.motion is not None:
            loss, threshold = MotionLoss.of(self.motion), MotionTarget.of(self.motion).decision
            for layer, scores in output.motion.items():
                cells = loss.moving(scores)[0].cpu().numpy()
                motion.append(Motion(f"{self.name}, {layer} motion", cells, threshold, square))
        confidence = float(probabilities[action])
        return RunView(self.name, heat, square, self.class_names[action], confidence, tuple(motion))

    def _to_device(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        device = next(self.model.parameters()).device
        return {name: tensor.to(device) for name, tensor in inputs.items()}


def open_viewers(runs: Sequence[Path], device: DeviceName, heat: HeatName = "attention") -> list[Viewer]:
    """Load all runs.

    Raises:
        UserError: A run can't be drawn, or not together with the others.
    """
    named = zip(runs, run_names(runs), strict=True)
    viewers = [Viewer.open(path, name, device, heat) for path, name in named]
    parts = {viewer.name: viewer.inputs.part(Frames) for viewer in viewers}
    seen = {name: part.describe("test") for name, part in parts.items() if part is not None}
    if len(set(seen.values())) > 1:
        listed = "; ".join(f"{name}: {frames}" for name, frames in seen.items())
        raise UserError(f"runs that take different frames can't be drawn together ({listed})")
    return viewers


def window_size(viewers: Sequence[Viewer]) -> tuple[int, int]:
    """Tell how many frames all runs take of a window of a video, and their short side in pixels.

    Larger videos are scaled down to this side, which is enough for every run.

    Raises:
        UserError: A run takes flow, which a video does not have, or views.
    """
    for viewer in viewers:
        if "flow" in viewer.inputs.names:
            raise UserError(
                f"{viewer.name} takes flow, which a video does not have; cut the video into clips (python -m "
                "data.prepare), compute their flow (python -m data.motion), and name them with --data"
            )
        if viewer.inputs.part(Views) is not None:
            raise UserError(
                f"{viewer.name} takes views of a clip, whose frames lie closer than those of a window; cut "
                "the video into clips (python -m data.prepare) and name them with --data"
            )
    sides = [viewer.inputs.sizes.short_side for viewer in viewers]
    return viewers[0].inputs.num_frames, max(_VIDEO_SHORT_SIDE, *sides)


def view_clip(clip: Clip, viewers: Sequence[Viewer], *, film: bool = False) -> Scene:
    """Show a clip to every run: the frames that the RGB runs take, or if none does those of the flow runs.

    Args:
        clip: The clip.
        viewers: The runs.
        film: Read the frames between, too, for a page that plays the clip.
    """
    leader = max(viewers, key=lambda viewer: "frames" in viewer.inputs.names)
    numbers = leader.inputs.shown_numbers(clip)
    frames = read_frames(clip.frames, numbers.tolist())
    views = tuple(viewer.view(frames, clip, numbers.tolist()) for viewer in viewers)
    return Scene(
        clip.key,
        clip.action,
        frames.permute(0, 2, 3, 1).numpy(),  # (T, 3, H, W) to (T, H, W, 3)
        _labels(clip, numbers),
        _times(clip, numbers),
        views,
        leader.heat,
        _motion_map(clip, numbers, leader.inputs.sizes, views),
        _film(clip, numbers) if film else None,
    )


def _labels(clip: Clip, numbers: Numbers) -> tuple[str, ...]:
    return tuple(f"frame {number} of {clip.num_frames}" for number in numbers)


def _times(clip: Clip, numbers: Numbers) -> tuple[float, ...]:
    return tuple(((numbers - 1) / max(clip.num_frames - 1, 1)).tolist())


def _film(clip: Clip, seen: Numbers) -> Film:
    """Read all frames of a clip, of a long one every few, and those that are seen."""
    step = -(-clip.num_frames // _MOST_IN_FILM)
    numbers = np.union1d(np.arange(1, clip.num_frames + 1, step), seen)
    frames = read_frames(clip.frames, numbers.tolist()).permute(0, 2, 3, 1).numpy()  # to (N, H, W, 3)
    if frames.shape[2] > _FILM_WIDTH:
        frames = resized(frames, _FILM_WIDTH)
    return Film(frames, _labels(clip, numbers), _times(clip, numbers), _CLIP_PER_SECOND / step)


def view_window(name: str, window: Window, viewers: Sequence[Viewer]) -> Scene:
    """Show a window of a video to every run; none may take flow (`window_size`)."""
    return Scene(
        f"{name}_{window.times_sec[0]:07.2f}s",
        None,
        window.frames.permute(0, 2, 3, 1).numpy(),  # (T, 3, H, W) to (T, H, W, 3)
        tuple(f"{time:.2f} s" for time in window.times_sec),
        window.times,
        tuple(viewer.view(window.frames) for viewer in viewers),
        viewers[0].heat,
    )


def _motion_map(
    clip: Clip, numbers: Numbers, sizes: Preprocessing, views: Sequence[RunView]
) -> Motion | None:
    """Read the clip's motion map on the finest grid of the motion heads; None without a map or a head."""
    predicted = [motion for view in views for motion in view.motion]
    if clip.maps is None or not predicted:
        return None
    finest = max(predicted, key=lambda motion: motion.cells.shape[-1])
    maps = transform_maps(read_maps(clip.maps, numbers.tolist()), sizes, None)  # (T, 1, S, S)
    cells = pool_maps(binary(maps)[None], finest.cells.shape[-1], "area")[0].numpy()  # (T, n, n)
    return Motion("motion map", cells, MOVING_SHARE, finest.square)
