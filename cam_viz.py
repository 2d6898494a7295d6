"""Draws where a run looks: its attention over the frames of clips, as contact sheets, GIFs and raw heat."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pydantic import Field

from data.datasets import RgbClips
from data.frames import read_frames
from data.index import ClipIndex
from data.sampling import rgb_frame_numbers
from data.transforms import Preprocessing
from engine.cli import run
from engine.config import Config as BaseConfig
from engine.errors import UserError
from engine.files import atomic_path
from engine.run_dir import RunDirectory
from engine.seeding import DeviceName, choose_device, set_up_numerics
from models import build_model
from viz.overlay import ColourMap, Heat, Picture, centre_box, normalise, overlay
from viz.sheet import caption, contact_sheet, save_gif, save_png


class Config(BaseConfig):
    """Draw the attention of one or more runs over the frames of clips."""

    runs: tuple[Path, ...] = Field(min_length=1)
    """Run directories; several are drawn under each other on the same frames."""
    data: Path
    """Tree of clips."""
    clips: tuple[str, ...] = Field(min_length=1)
    """Names of clips, such as S2/open_jam/1."""
    out: Path
    """Folder for the pictures: S2_open_jam_1.png and .gif for a clip S2/open_jam/1, and an .npy a run."""
    opacity: float = Field(0.6, ge=0, le=1)
    """Of the hottest place."""
    colours: ColourMap = "inferno"
    """Colour map; all but jet are safe for colour-blind readers."""
    device: DeviceName = "auto"
    """Where to compute; auto takes a GPU if there is one."""


@dataclass(frozen=True)
class Look:
    """What one run makes of one clip.

    Attributes:
        run: Name of the run.
        heat: Attention, summing to 1 over a frame's cells. Shape: (T, h, w).
        predicted: Name of the winning class.
        confidence: Its softmax probability, in [0, 1].
    """

    run: str
    heat: Heat
    predicted: str
    confidence: float


@dataclass(frozen=True)
class Viewer:
    """A run ready to look at clips."""

    name: str
    model: torch.nn.Module
    class_names: tuple[str, ...]
    frames: int
    pixels: Preprocessing

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
        model = build_model(checkpoint["architecture"]).to(choose_device(device)).eval()
        model.load_state_dict(checkpoint["model"])
        saved = checkpoint["preprocessing"]
        names = tuple(checkpoint["class_names"])
        return cls(name, model, names, saved["frames"], Preprocessing.from_dict(saved["pixels"]))

    @torch.no_grad()
    def look(self, index: ClipIndex, number: int) -> Look:
        """Run the model on a clip of the index, seen as in the test."""
        device = next(self.model.parameters()).device
        sample: dict[str, Any] = RgbClips(index, self.frames, self.pixels)[(number, None)]
        output = self.model(sample["frames"][None].to(device))
        chances = output.logits[0].softmax(dim=0)
        winner = int(chances.argmax())
        heat = output.heat[0].cpu().numpy()
        return Look(self.name, heat, self.class_names[winner], float(chances[winner]))


def draw_clip(index: ClipIndex, number: int, viewers: list[Viewer], config: Config) -> None:
    """Write the pictures and the heat of one clip."""
    clip = index.clips[number]
    numbers = rgb_frame_numbers(clip.num_frames, viewers[0].frames)
    frames = read_frames(clip.frames, numbers.tolist()).permute(0, 2, 3, 1).numpy()
    looks = [viewer.look(index, number) for viewer in viewers]
    drawn = [_draw(frames, look, viewer.pixels, config) for look, viewer in zip(looks, viewers, strict=True)]
    titles = [f"{look.run}: {look.predicted} ({100 * look.confidence:.0f} %)" for look in looks]
    verdicts = ["right" if look.predicted == clip.action else "wrong" for look in looks]
    stem = config.out / clip.key.replace("/", "_")
    rows = [[caption(frame, f"frame {n}") for frame, n in zip(frames, numbers, strict=True)], *drawn]
    heads = [f"{clip.key}   true: {clip.action}", *map(" - ".join, zip(titles, verdicts, strict=True))]
    sheet = [[caption(contact_sheet([row]), head)] for head, row in zip(heads, rows, strict=True)]
    save_png(stem.with_name(stem.name + ".png"), contact_sheet(sheet))
    columns = [[caption(frame, f"{clip.key}\ntrue: {clip.action}") for frame in frames]]
    columns += [
        [caption(picture, f"{title}\n{verdict}") for picture in row]
        for row, title, verdict in zip(drawn, titles, verdicts, strict=True)
    ]
    save_gif(stem.with_name(stem.name + ".gif"), [contact_sheet([row]) for row in zip(*columns, strict=True)])
    for look in looks:
        with atomic_path(stem.with_name(f"{stem.name}_{look.run}.npy")) as temporary:
            np.save(temporary, normalise(look.heat))


def _draw(frames: Picture, look: Look, pixels: Preprocessing, config: Config) -> list[Picture]:
    height, width = frames.shape[1:3]
    box = centre_box(height, width, pixels.image_size / pixels.short_side)
    heat = normalise(look.heat)
    return [
        overlay(frame, cells, box, opacity=config.opacity, colours=config.colours)
        for frame, cells in zip(frames, heat, strict=True)
    ]


def run_names(runs: Sequence[Path]) -> list[str]:
    """Call runs by their folders' names, with as many of the folders above as it takes to tell them apart.

    Raises:
        UserError: The same run twice.
    """
    paths = [run.resolve().parts[1:] for run in runs]
    if len(set(paths)) < len(paths):
        raise UserError("--runs names the same run twice; leave one out")
    for depth in range(1, max(map(len, paths)) + 1):
        names = ["_".join(parts[-depth:]) for parts in paths]
        if len(set(names)) == len(names):
            return names
    raise AssertionError("different paths have different names")


def main(config: Config) -> None:
    """Draw every clip that was asked for."""
    set_up_numerics()
    named = zip(config.runs, run_names(config.runs), strict=True)
    viewers = [Viewer.open(path, name, config.device) for path, name in named]
    if len({viewer.frames for viewer in viewers}) > 1:
        lengths = ", ".join(f"{viewer.name}: {viewer.frames}" for viewer in viewers)
        raise UserError(f"runs that see different numbers of frames can't be drawn together ({lengths})")
    index = ClipIndex.from_tree(config.data).find(config.clips)
    for number, clip in enumerate(index.clips):
        draw_clip(index, number, viewers, config)
        print(f"{clip.key}: {config.out / clip.key.replace('/', '_')}.png and .gif")


if __name__ == "__main__":
    run(main, Config)
