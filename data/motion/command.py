"""Add optical flow and motion maps to a canonical tree: `python -m data.motion --root DIR`."""

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import yaml
from tqdm import tqdm

from core.config import read_yaml
from core.errors import UserError
from core.files import write_text
from core.jobs import SpreadConfig, spread
from data.clips import Clip, Kind
from data.flow import Method
from data.motion.clip import MotionSettings, make_clip, missing_series
from data.motion.notes import MotionLog, Notes, summary
from data.provenance import RECORD as RECORD
from data.scan import Scan, scan_tree
from data.tree_kinds import Place


class MotionConfig(SpreadConfig):
    """Compute flow images and motion maps from the frames of a canonical tree.

    What is there is left alone: a stopped run goes on where it was, and flow that came with a data set stays.
    Pairs of frames that have no flow of their own are listed in ROOT/motion.log.
    """

    root: Path
    """Root of the tree, the folder that holds processed_frames2."""
    flow: Method = "dis"
    """Flow algorithm; docs/motion.md compares their errors and their cost."""
    warp: bool = True
    """Whether the camera's motion is removed from the flow images (warp flow)."""
    maps: bool = False
    """Make the motion maps too."""


@dataclass(frozen=True)
class Task:
    """What one process is handed: a clip, what to make of it, and how."""

    clip: Clip
    folders: dict[Kind, Path]
    places: dict[Kind, Place]
    settings: MotionSettings


@dataclass(frozen=True)
class Outcome:
    """What became of a clip: notes on odd pairs, and the fault that stopped it, if any."""

    clip: Clip
    notes: Notes = field(default_factory=dict)
    fault: str = ""


def main(config: MotionConfig) -> int:
    """Make what is missing; return 1 when a clip could not be made.

    Raises:
        UserError: No tree there, its flow was made with other settings, or it can't be written to.
    """
    try:
        return _add_motion(config)
    except OSError as error:
        raise UserError(f"can't read or write --root {config.root}: {error}; finished clips stay") from error


def _add_motion(config: MotionConfig) -> int:
    scan = scan_tree(config.root)
    settings = MotionSettings(config.flow, config.warp, config.maps)
    if settings.maps and "maps" not in scan.tree.places:
        raise UserError(f"{config.root} is a JPG tree, which has no place for maps; run without --maps")
    record_settings(config.root, settings)
    broken = {fault.clip: str(fault) for fault in scan.faults if fault.kind == "frames"}
    tasks = _tasks(scan, settings, set(broken))
    print(f"{len(scan.clips)} clips, {len(tasks)} of them to do with {_words(_record(settings))}")
    log = MotionLog(config.root)
    outcomes = list(_with_progress(_outcomes(tasks, config), tasks, log))
    faults = broken | {outcome.clip.key: outcome.fault for outcome in outcomes if outcome.fault}
    print(f"{sum(not outcome.fault for outcome in outcomes)} clips made, {len(faults)} failed")
    for line in summary({outcome.clip.key: outcome.notes for outcome in outcomes}, log.path):
        print(line)
    for key, fault in faults.items():
        print(f"failed: {key}: {fault}", file=sys.stderr)
    return 1 if faults else 0


def record_settings(root: Path, settings: MotionSettings) -> None:
    """Write down how the tree's motion is made, and refuse to mix two ways in one tree.

    Raises:
        UserError: The tree was begun with other settings.
    """
    path, now = root / RECORD, _record(settings)
    if not path.exists():
        write_text(path, yaml.safe_dump(now, sort_keys=False))
    elif (before := read_yaml(path)) != now:
        raise UserError(
            f"the motion of {root} was made with {_words(before)}, this run has {_words(now)}; use the same "
            f"settings, or remove {path} and the folders of flow and maps"
        )


def _record(settings: MotionSettings) -> dict[str, Any]:
    return {"flow": settings.flow, "warp": settings.warp}


def _words(values: dict[str, Any]) -> str:
    return ", ".join(f"{key} {value}" for key, value in values.items())


def _tasks(scan: Scan, settings: MotionSettings, broken: set[str]) -> list[Task]:
    """List what is to do, longest first, so that no process is left alone with a long clip at the end."""
    tasks = []
    for clip in sorted(scan.clips, key=lambda clip: -clip.num_frames):
        folders = missing_series(scan.tree, scan.root, clip, settings)
        if folders and clip.key not in broken:
            tasks.append(Task(clip, folders, scan.tree.places, settings))
    return tasks


def _outcomes(tasks: Sequence[Task], config: MotionConfig) -> Iterator[Outcome]:
    return (outcome for _, outcome in spread(_attempt, tasks, config))


def _attempt(task: Task) -> Outcome:
    try:
        notes = make_clip(task.clip, task.settings, task.folders, task.places)
    except (ValueError, OSError, cv2.error) as error:
        return Outcome(task.clip, fault=str(error))
    return Outcome(task.clip, notes)


def _with_progress(outcomes: Iterator[Outcome], tasks: Sequence[Task], log: MotionLog) -> Iterator[Outcome]:
    frames = sum(task.clip.num_frames for task in tasks)
    with tqdm(total=frames, unit="frame", disable=None if tasks else True) as bar:
        for outcome in outcomes:
            bar.update(outcome.clip.num_frames)
            if not outcome.fault:
                log.put(outcome.clip.key, outcome.notes, outcome.clip.num_frames - 1)
            yield outcome
