"""Runs ready to look at frames: of a clip, or of a window of a video."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from core.errors import UserError
from core.run_dir import RunDirectory
from core.seeding import DeviceName, choose_device
from data.clips import Clip
from data.frames import read_frames, read_maps
from data.parts import ClipInput, read_input
from data.sampling import Numbers
from data.transforms import Preprocessing, transform_maps
from data.video.windows import Window
from models.build import build_trained
from selfsup import MotionSettings
from selfsup.targets import MOVING_SHARE, binary, reduce_maps
from viz.heat_sources import HeatName, find_heat, require_heat
from viz.overlay import Box, centre_box
from viz.scene import Look, Motion, Scene

_GRID_ENDING = re.compile(r"-seed\d+-[0-9a-f]{10}$")
_VIDEO_SHORT_SIDE = 256  # what clips are prepared to, and all that a reader of small pictures can see


@dataclass(frozen=True)
class Viewer:
    """A run ready to look at frames.

    Attributes:
        name: What it is called in pictures and files.
        model: In eval mode.
        class_names: Of the actions, by the model's classes.
        inputs: What it is shown of a clip.
        heat: Which heat is drawn of it.
        motion: The settings of its motion heads, None without any.
    """

    name: str
    model: nn.Module
    class_names: tuple[str, ...]
    inputs: ClipInput
    heat: HeatName = "attention"
    motion: MotionSettings | None = None

    @classmethod
    def open(cls, path: Path, name: str, device: DeviceName, heat: HeatName = "attention") -> "Viewer":
        """Load a run's last checkpoint.

        Raises:
            UserError: It is no run, or one that has no such heat to show, or that needs a package which is
                not installed.
        """
        checkpoint = RunDirectory.finished(path).checkpoint("last")
        inputs = read_input(checkpoint["preprocessing"])
        model = build_trained(checkpoint["architecture"], checkpoint["model"], str(path))
        model.to(choose_device(device)).eval()
        require_heat(heat, model, path)
        headed = "motion" in checkpoint["architecture"]
        motion = MotionSettings.of_run(checkpoint["config"]) if headed else None
        return cls(name, model, tuple(checkpoint["class_names"]), inputs, heat, motion)

    @torch.no_grad()
    def look(self, frames: Tensor, clip: Clip | None = None, numbers: Sequence[int] = ()) -> Look:
        """Run the model on frames, seen as in the test.

        Args:
            frames: RGB, uint8. Shape: (T, 3, H, W).
            clip: Where they are from, which a run that looks at flow has to know.
            numbers: Their numbers there, from 1. Length: T.
        """
        inputs = self._to_device(self.inputs.look(frames, clip, numbers))
        output = self.model(**inputs)
        logits = output.logits[0]
        if clip is not None and (own := self.inputs.shown_numbers(clip).tolist()) != list(numbers):
            # Heat belongs to the frames that are drawn, but the prediction stays that of the test.
            logits = self.model(**self._to_device(self.inputs.look(frames, clip, own))).logits[0]
        chances = logits.softmax(dim=0)
        winner = int(chances.argmax())
        heat = find_heat(self.heat, self.model, inputs, output.heat, winner)
        height, width = frames.shape[-2:]
        box = centre_box(height, width, self.inputs.sizes.seen_share)
        motion = self._motion(output.motion, box)
        return Look(self.name, heat, box, self.class_names[winner], float(chances[winner]), motion)

    def _motion(self, scores: Mapping[str, Tensor], box: Box) -> tuple[Motion, ...]:
        """What the motion heads tell, by their scores (1, T, ...)."""
        if self.motion is None:
            return ()
        loss, level = self.motion.motion_loss(), self.motion.motion_target().decision
        return tuple(
            Motion(f"{self.name}, {layer} motion", loss.moving(found)[0].cpu().numpy(), level, box)
            for layer, found in scores.items()
        )

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
    lengths = {viewer.name: viewer.inputs.num_frames for viewer in viewers if viewer.inputs.num_frames}
    if len(set(lengths.values())) > 1:
        said = ", ".join(f"{name}: {length}" for name, length in lengths.items())
        raise UserError(f"runs that see different numbers of frames can't be drawn together ({said})")
    return viewers


def frames_of_a_window(viewers: Sequence[Viewer]) -> int:
    """Give the number of frames that a window of a video should have.

    Raises:
        UserError: A run looks at flow, which a video does not have.
    """
    for viewer in viewers:
        if "flow" in viewer.inputs.names:
            raise UserError(
                f"{viewer.name} looks at flow, which a video does not have; make clips of it (python -m "
                "data.prepare), flow of these (python -m data.motion), and name them with --data"
            )
    return viewers[0].inputs.num_frames


def run_names(runs: Sequence[Path]) -> list[str]:
    """Call runs by their folders' names, with as many of the folders above as it takes to tell them apart.

    Where all end alike, as table/attention/seed0 and table/flow/seed0 do, the end is left out, and so are the
    seed and the hash that a grid puts behind a name, where names differ without.

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
            plain = [_GRID_ENDING.sub("", name) for name in names]
            return plain if len(set(plain)) == len(plain) else names
    raise AssertionError("different paths have different names")


def video_short_side(viewers: Sequence[Viewer]) -> int:
    """Pixels that the short side of a video's larger frames is scaled to, enough for every run."""
    return max(_VIDEO_SHORT_SIDE, *(viewer.inputs.sizes.short_side for viewer in viewers))


def look_at_clip(clip: Clip, viewers: Sequence[Viewer]) -> Scene:
    """Have every run look at the frames of a clip: those that are seen, where no run sees any, flow's."""
    leader = max(viewers, key=lambda viewer: "frames" in viewer.inputs.names)
    numbers = leader.inputs.shown_numbers(clip)
    frames = read_frames(clip.frames, numbers.tolist())
    looks = tuple(viewer.look(frames, clip, numbers.tolist()) for viewer in viewers)
    return Scene(
        clip.key,
        clip.action,
        frames.permute(0, 2, 3, 1).numpy(),
        tuple(f"frame {number} of {clip.num_frames}" for number in numbers),
        tuple(((numbers - 1) / max(clip.num_frames - 1, 1)).tolist()),
        looks,
        leader.heat,
        _motion_map(clip, numbers, leader.inputs.sizes, looks),
    )


def _motion_map(clip: Clip, numbers: Numbers, sizes: Preprocessing, looks: Sequence[Look]) -> Motion | None:
    """Read the motion map that motion heads are held against, on the finest of their cells."""
    told = [motion for look in looks for motion in look.motion]
    if clip.maps is None or not told:
        return None
    maps = transform_maps(read_maps(clip.maps, numbers.tolist()), sizes, None)
    finest = max(told, key=lambda motion: motion.cells.shape[-1])
    cells = reduce_maps(binary(maps)[None], finest.cells.shape[-1], "area")[0].numpy()
    return Motion("motion map", cells, MOVING_SHARE, finest.box)


def look_at_window(name: str, window: Window, viewers: Sequence[Viewer]) -> Scene:
    """Have every run look at the frames of a window; none may look at flow (`frames_of_a_window`)."""
    return Scene(
        f"{name}_{window.times_sec[0]:07.2f}s",
        None,
        window.frames.permute(0, 2, 3, 1).numpy(),
        tuple(f"{time:.2f} s" for time in window.times_sec),
        window.times,
        tuple(viewer.look(window.frames) for viewer in viewers),
        viewers[0].heat,
    )
