"""The synthetic kitchen's command: render a preset's clips with their truth, or pictures of single objects.

`python -m data.synthetic --out DIR --preset demo` writes the canonical tree, with the truth of each clip in
`DIR/truth/<user>/<action>/<n>.npz`; `python -m data.synthetic --out DIR --catalogue 8000` writes
`DIR/<class>/<n>.png`. The same seed gives the same bytes whatever --jobs is. Started again after a stop, it
goes on where it was.
"""

import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import cv2
import numpy as np
import yaml
from numpy.typing import NDArray

from core.config import read_yaml
from core.errors import UserError
from core.files import atomic_folder, atomic_path, write_text
from core.jobs import SpreadConfig, repeatable_opencv, spread
from core.progress import progress_bar
from data.synthetic import PresetName, Settings, presets
from data.synthetic.catalogue import Picture, draw_picture
from data.synthetic.clip import compose
from data.synthetic.presets import ClipSpec
from data.synthetic.scene import PEOPLE
from data.synthetic.truth import make_truth
from data.tree import rgb_folder, rgb_name, truth_file

MARK = "synthetic.yaml"
"""File that records what a folder holds."""

EDITION = 1
"""Raised whenever the same seed gives other pictures than before, so that no folder holds a mixture."""
HIDDEN_EDITION = 2
"""The same of clips with a hidden start. In the first, plates told actions apart."""

# Noisy pictures have no repeats to find: this takes half the time of OpenCV's default at the same file size.
# OpenCV before 4.12 can't choose the filter.
_PNG = [cv2.IMWRITE_PNG_STRATEGY, cv2.IMWRITE_PNG_STRATEGY_HUFFMAN_ONLY]
if hasattr(cv2, "IMWRITE_PNG_FILTER"):
    _PNG += [cv2.IMWRITE_PNG_FILTER, cv2.IMWRITE_PNG_FILTER_AVG]

_BATCH = 32
"""Pictures of a catalogue that a worker draws at a time."""

T = TypeVar("T")


def main(settings: Settings, plan: Callable[[PresetName, int], list[ClipSpec]] = presets.plan) -> None:
    """Write the preset's clips or the catalogue's pictures.

    Args:
        settings: Where to write what.
        plan: Lists the clips of a preset and a seed.

    Raises:
        UserError: The folder holds something else, or can't be written to.
    """
    out = settings.out
    try:
        claim(settings)
        if settings.preset is not None:
            specs = plan(settings.preset, settings.seed)
            specs = [replace(spec, hidden_start=settings.hidden_start) for spec in specs]
            missing = [spec for spec in specs if not _frames_folder(out, spec).is_dir()]
            _run(partial(render_clip, out), missing, settings, "frame", lambda spec: spec.frames)
            print(f"{out}: {len(specs)} clips, {sum(spec.frames for spec in specs)} frames")
        elif settings.catalogue is not None:
            starts = range(0, settings.catalogue, _BATCH)
            batches = [range(start, min(start + _BATCH, settings.catalogue)) for start in starts]
            _run(partial(draw_batch, settings), batches, settings, "picture", len)
            print(f"{out}: {settings.catalogue} pictures")
    except OSError as error:
        raise UserError(f"can't write to --out {out}: {error}; finished files are kept") from error


def claim(settings: Settings) -> None:
    """Mark the folder as holding what the settings ask for.

    Raises:
        UserError: It holds something else already; nothing is touched then.
    """
    out, mark = settings.out, settings.out / MARK
    fields = {"preset", "seed"} if settings.preset is not None else {"catalogue", "size", "seed"}
    fields |= {name for name in ("hidden_start", "without_users") if getattr(settings, name)}
    edition = HIDDEN_EDITION if settings.hidden_start else EDITION
    wanted = {"edition": edition, **settings.model_dump(mode="json", include=fields)}
    if out.exists() and not out.is_dir():
        raise UserError(f"--out {out} is a file; name a folder")
    if mark.is_file():
        held = read_yaml(mark)
        if held != wanted:
            raise UserError(
                f"--out {out} holds {_words(held)}, asked for was {_words(wanted)}; name another folder"
            )
    elif out.is_dir() and any(out.iterdir()):
        raise UserError(
            f"--out {out} holds files that are not the synthetic kitchen's; name a new or empty folder"
        )
    else:
        write_text(mark, yaml.safe_dump(wanted, sort_keys=False))


def _words(values: dict[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in values.items())


@repeatable_opencv()
def render_clip(root: Path, spec: ClipSpec) -> None:
    """Render one clip into the tree under `root`: its truth, then its frames, each whole or not at all."""
    frames, truth = _frames_folder(root, spec), truth_file(root, spec.user, spec.action, spec.instance)
    for folder in frames.parent.glob(f".{frames.name}.*"):  # what a killed run left
        shutil.rmtree(folder)
    for file in truth.parent.glob(f".{truth.stem}.*"):
        file.unlink()
    clip = compose(spec)
    shown = np.zeros((spec.frames, spec.size[1], spec.size[0]), np.uint8)
    with atomic_folder(frames) as folder:
        for k, (frame, layers) in enumerate(clip.frames(spec.size)):
            shown[k] = layers
            _write_png(folder / rgb_name(k + 1), frame)
        with atomic_path(truth) as temporary:
            arrays: Any = make_truth(clip.layers, clip.views, shown)
            np.savez_compressed(temporary, **arrays)


@repeatable_opencv()
def draw_batch(settings: Settings, numbers: range) -> None:
    """Draw the catalogue's pictures of these numbers, each file whole or not at all."""
    users = tuple(user for user in PEOPLE if user not in settings.without_users)
    for number in numbers:
        picture = Picture(number, settings.size, settings.seed, users)
        path = settings.out / picture.class_name / picture.file_name
        if not path.is_file():
            path.parent.mkdir(parents=True, exist_ok=True)
            temporary = path.with_name(f".{path.stem}.part.png")
            _write_png(temporary, draw_picture(picture))
            os.replace(temporary, path)


def _run(
    task: Callable[[T], None], work: Sequence[T], where: SpreadConfig, unit: str, size: Callable[[T], int]
) -> None:
    """Do all pieces of work behind a progress bar."""
    total = sum(map(size, work))
    with progress_bar(title="drawing", unit=unit, total=total, smoothing=0.05, shown=bool(work)) as bar:
        for piece, _ in spread(task, work, where):
            bar.update(size(piece))


def _frames_folder(root: Path, spec: ClipSpec) -> Path:
    return rgb_folder(root, spec.user, spec.action, spec.instance)


def _write_png(path: Path, image: NDArray[np.uint8]) -> None:
    if not cv2.imwrite(str(path), image[..., ::-1], _PNG):
        raise OSError(f"{path} could not be written; is the disk full?")
