"""Add optical flow and motion maps to a tree of clips: `python -m data.motion --root DIR`."""

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import yaml

from core.config import read_yaml
from core.errors import UserError
from core.files import write_text
from core.jobs import spread
from core.progress import progress_bar
from data.clips import Clip, Kind
from data.motion import MotionConfig
from data.motion.clip import FLOW_KINDS, FlowSettings, MotionLog, Notes, make_clip, summary
from data.provenance import RECORD as RECORD
from data.tree import Place, Scan, scan_tree


@dataclass(frozen=True)
class Task:
    """One clip's work, as a process receives it: what to make of the clip, and how."""

    clip: Clip
    folders: dict[Kind, Path]
    places: dict[Kind, Place]
    settings: FlowSettings


@dataclass(frozen=True)
class Outcome:
    """Result of a clip: notes on stand-ins, and the fault that stopped it, if any."""

    notes: Notes = field(default_factory=dict)
    fault: str = ""


def main(config: MotionConfig) -> int:
    """Make what is missing; return 1 when a clip could not be made.

    Raises:
        UserError: There is no tree, its flow was made with other settings, or it can't be written to.
    """
    try:
        return _add_motion(config)
    except OSError as error:
        raise UserError(f"can't read or write --root {config.root}: {error}; finished clips stay") from error


def _add_motion(config: MotionConfig) -> int:
    scan = scan_tree(config.root)
    settings = FlowSettings(config.flow, config.warp, config.maps)
    faults = {fault.clip: str(fault) for fault in scan.faults if fault.kind == "frames"}
    tasks = [task for task in plan(scan, settings) if task.clip.key not in faults]
    refuse_occupied(config.root, tasks)
    if tasks or not flow_given(scan):
        record_settings(config.root, settings, given=flow_given(scan), tasks=tasks)
    print(f"{len(scan.clips)} clips, {len(tasks)} of them to do with {_words(_record(settings))}")
    log = MotionLog(config.root)
    notes: dict[str, Notes] = {}
    frames = sum(task.clip.num_frames for task in tasks)
    with progress_bar(total=frames, title="computing", unit="frame", shown=bool(tasks)) as bar:
        for task, outcome in spread(attempt, tasks, config):
            bar.update(task.clip.num_frames)
            if outcome.fault:
                faults[task.clip.key] = outcome.fault
            else:
                notes[task.clip.key] = outcome.notes
                log.put(task.clip.key, outcome.notes, task.clip.num_frames - 1)
    print(f"{len(notes)} clips made, {len(faults)} failed")
    for line in summary(notes, log.path):
        print(line)
    for key, fault in faults.items():
        print(f"failed: {key}: {fault}", file=sys.stderr)
    return 1 if faults else 0


def flow_given(scan: Scan) -> bool:
    """Whether the tree has flow that this command did not make, such as that of a published data set."""
    record = scan.root / RECORD
    if record.is_file():
        return read_yaml(record).get("flow") == GIVEN
    return any(clip.series(kind) is not None for clip in scan.clips for kind in FLOW_KINDS)


def record_settings(root: Path, settings: FlowSettings, *, given: bool, tasks: Sequence[Task]) -> None:
    """Record how the tree's motion is made, and refuse to mix two ways in one tree.

    Args:
        root: The tree.
        settings: How what is missing is made.
        given: Whether there is flow that was made elsewhere.
        tasks: What is missing.

    Raises:
        UserError: The tree was begun with other settings, or has flow from elsewhere and clips without.
    """
    path, now = root / RECORD, _record(settings)
    if given and (lacking := [task.clip.key for task in tasks if {*task.folders} & {*FLOW_KINDS}]):
        raise UserError(
            f"{root} has flow that was not made here, and {len(lacking)} clips without, {lacking[0]} first; "
            f"flow by {_words(now)} would be of another kind. Get theirs from where the other came from, or "
            "move the folders of flow elsewhere to compute all of it"
        )
    if given:
        now = {"flow": GIVEN, "maps": f"by {_words(now)}"}
    if not path.exists():
        write_text(path, yaml.safe_dump(now, sort_keys=False))
    elif (before := read_yaml(path)) != now:
        raise UserError(
            f"the motion of {root} was made with {_words(before)}, this run has {_words(now)}; use the same "
            f"settings, or move {path} and the folders of flow and maps elsewhere"
        )


GIVEN = "given"
"""In the record: the flow was there before."""


def _record(settings: FlowSettings) -> dict[str, Any]:
    return {"flow": settings.flow, "warp": settings.warp}


def _words(values: dict[str, Any]) -> str:
    return ", ".join(f"{key} {value}" for key, value in values.items())


def plan(scan: Scan, settings: FlowSettings) -> list[Task]:
    """List the clips that lack something, longest first, so that no process ends alone on a long clip."""
    kinds: list[Kind] = [*FLOW_KINDS, "maps"] if settings.maps else [*FLOW_KINDS]
    places, tasks = scan.tree.places, []
    for clip in sorted(scan.clips, key=lambda clip: -clip.num_frames):
        lacking = [kind for kind in kinds if clip.series(kind) is None]
        folders = {kind: places[kind].folder(scan.root, clip.key) for kind in lacking}
        if folders:
            tasks.append(Task(clip, folders, places, settings))
    return tasks


def refuse_occupied(root: Path, tasks: Sequence[Task]) -> None:
    """Refuse to compute what has no room: folders that hold other files, such as flow under other names.

    Raises:
        UserError: There are such folders; the message names the first.
    """
    folders = [folder for task in tasks for folder in task.folders.values() if folder.is_dir()]
    if occupied := {folder: names for folder in folders if (names := sorted(os.listdir(folder)))}:
        folder, names = next(iter(occupied.items()))
        raise UserError(
            f"{folder} holds {names[0]} ({len(names)} files) where new images would be written (folders in "
            f"all: {len(occupied)}); nothing was computed. If these are the clip's images under other names, "
            f"`python -m data.check {root} --fix COPY` renames them in a copy; else move them elsewhere"
        )


def attempt(task: Task) -> Outcome:
    """Make what a clip lacks; a fault is returned instead of raised, so that other clips go on."""
    try:
        return Outcome(make_clip(task.clip, task.settings, task.folders, task.places))
    except (ValueError, OSError, cv2.error) as error:
        return Outcome(fault=str(error))
