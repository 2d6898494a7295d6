"""Cut videos into the canonical tree of clips: `python -m data.prepare --annotations CSV --out DIR`.

Ranges in seconds and --fps use the video's average frame rate: where the rate varies, such a range may start
a little early or late. Frame numbers are always exact.
"""

import hashlib
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import yaml
from pydantic import Field
from tqdm import tqdm

from core.config import Config, read_yaml
from core.errors import UserError
from core.files import write_text
from data.prepare.annotations import Annotation, by_video, read_annotations
from data.prepare.cutting import Cut, cut_video, past_end
from data.video.reader import Video, count_frames, open_video

RECORD = "prepare.yaml"


class PrepareConfig(Config):
    """Cut videos by an annotation file into a tree of clips; a stopped run continues where it stopped."""

    annotations: Path
    """CSV file with columns video,user,action and start_frame,stop_frame (from 0, stop excluded) or
    start_sec,stop_sec; video paths are relative to its folder."""
    out: Path
    """Root of the tree to make: a new folder, or one that the same command started."""
    short_side: int = Field(256, ge=32)
    """Pixels that the shorter side of a frame is scaled to."""
    fps: float | None = Field(None, gt=0)
    """Frames per second to take; by default, every frame of the video."""


def main(config: PrepareConfig) -> None:
    """Check every row against its video, then cut the clips that are still missing.

    Raises:
        UserError: A row, a video or the output folder is bad; the message names it.
    """
    rows = read_annotations(config.annotations)
    check_output(config)
    plan = {video: plan_video(video, found, config.fps) for video, found in by_video(rows)}
    try:
        write_text(config.out / RECORD, yaml.safe_dump(describe(config), sort_keys=False))
        cut_all(plan, config)
    except OSError as error:
        raise UserError(
            f"can't write to {config.out}: {error}; mend that and run the command again, finished clips stay"
        ) from None
    users, actions = {row.user for row in rows}, {row.action for row in rows}
    print(f"{len(rows)} clips of {len(actions)} actions and {len(users)} users in {config.out}")


def cut_all(plan: Mapping[Path, Sequence[Cut]], config: PrepareConfig) -> None:
    """Cut the planned clips of every video that are still missing."""
    with tqdm(total=sum(map(len, plan.values())), desc="cutting", unit="clip", disable=None) as bar:
        for video, cuts in plan.items():
            todo = [cut for cut in cuts if not cut.row.folder(config.out).exists()]
            bar.update(len(cuts) - len(todo))
            for _ in cut_video(video, todo, config.out, config.short_side):
                bar.update()


def describe(config: PrepareConfig) -> dict[str, object]:
    """Describe what decides the tree's content, to compare when a run continues."""
    digest = "sha256 " + hashlib.sha256(config.annotations.read_bytes()).hexdigest()
    return {"annotations": digest, "short_side": config.short_side, "fps": config.fps}


def check_output(config: PrepareConfig) -> None:
    """Refuse a folder that holds something else.

    Raises:
        UserError: The folder is a file, holds other things, or was started with other settings.
    """
    record = config.out / RECORD
    if record.exists():
        before, now = read_yaml(record), describe(config)
        if changed := [key for key in now if before.get(key) != now[key]]:
            raise UserError(f"{config.out} was started with other {', '.join(changed)}; choose a new --out")
    elif config.out.exists() and (not config.out.is_dir() or any(config.out.iterdir())):
        raise UserError(f"--out {config.out} exists and was not made by this command; choose a new folder")


def plan_video(path: Path, rows: Sequence[Annotation], fps: float | None) -> list[Cut]:
    """Turn a video's rows into frame numbers, and check that the video has these frames.

    Raises:
        UserError: The video can't be decoded, doesn't state a frame rate that is needed, or ends before a
            row's range does.
    """
    try:
        with open_video(path) as video:
            cuts = [Cut(row, frame_numbers(row, video, fps)) for row in rows]
            stated, decodes = video.stated_frames, video.skip()
    except UserError as error:
        raise UserError(f"{rows[0].where}: {error}") from None
    if not decodes:
        raise UserError(
            f"{rows[0].where}: {path} has no frame that can be decoded; convert it to another format"
        )
    needed = max(cut.stop for cut in cuts)
    # The stated number is a guess in some formats, so the frames are counted before a row is refused.
    if not needed <= stated and (frames := count_frames(path, needed)) < needed:
        raise next(past_end(cut, frames) for cut in cuts if cut.stop > frames)
    return cuts


def frame_numbers(row: Annotation, video: Video, fps: float | None) -> tuple[int, ...]:
    """Choose a clip's frames in its video.

    Frame j of a clip taken at `fps` is the last one that the video shows at or before j / fps seconds after
    the clip's start. Seconds are rounded to the nearest frame.

    Args:
        row: The annotation.
        video: Its video.
        fps: Frames per second to take, None for all.

    Returns:
        Frame numbers from 0, at least one.

    Raises:
        UserError: The video doesn't state its frame rate and it is needed.
    """
    if (row.seconds or fps is not None) and math.isnan(video.fps):
        raise UserError(
            f"{video.path} doesn't state its frame rate; give start_frame,stop_frame and no --fps"
        )
    rate = video.fps if row.seconds else 1.0
    start, stop = (math.floor(value * rate + 0.5) for value in (row.start, row.stop))
    stop = max(stop, start + 1)
    step = 1.0 if fps is None else video.fps / fps
    # The small term keeps 30 fps taken at 10 from losing a frame to rounding.
    offsets = (math.floor(j * step + 1e-6) for j in range(math.ceil((stop - start) / step)))
    return tuple(start + offset for offset in offsets if start + offset < stop)
