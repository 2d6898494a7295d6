"""Cut videos into the canonical tree of clips: `python -m data.prepare --annotations CSV --out DIR`."""

import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path

import yaml

from core.config import read_yaml
from core.errors import UserError
from core.files import write_text
from core.progress import progress_bar
from data.prepare import PrepareConfig
from data.prepare.annotations import Annotation, Annotations, BadRow, read_annotations
from data.prepare.cutting import BreaksOffError, Cut, cut_video
from data.prepare.planning import past_end, plan_video, repeated_frames
from data.prepare.record import (
    ASIDE,
    Source,
    Sources,
    clip_folder,
    name_clips,
    read_sources,
    set_aside,
    write_sources,
)
from data.video.reader import open_video

RECORD = "prepare.yaml"
_MOST_NOTES = 10


def main(config: PrepareConfig) -> int:
    """Check every row against its video, then cut the clips that are still missing.

    Returns:
        Exit status: 1 if rows were skipped.

    Raises:
        UserError: The table or the output folder is bad, or rows are and aren't to be skipped; the message
            names every bad row.
    """
    table = read_annotations(config.annotations)
    sources = check_output(config)
    cuts, bad, notes = plan(table, config.fps)
    if bad and not (config.skip_broken and cuts):
        raise UserError(listing(config.annotations, bad))
    for note in (*table.notes, *notes, *shortened(repeated_frames(list(cuts.values())))):
        print(f"note: {note}")
    named, unwanted, unsure = assign(table, cuts, sources, config.out)
    if unsure:
        print(
            f"note: {len(unsure)} clips that no valid row asks for stay, since rows that are skipped may: "
            f"{', '.join(unsure[:_MOST_NOTES])}{' …' if len(unsure) > _MOST_NOTES else ''}"
        )
    try:
        if moved := set_aside(config.out, unwanted):
            print(f"note: clips that no row asks for are now in {config.out / ASIDE}: {', '.join(moved)}")
        write_text(config.out / RECORD, yaml.safe_dump(describe(config), sort_keys=False))
        kept = {key: source for key, source in (sources or {}).items() if key not in {*named, *unwanted}}
        write_sources(config.out, named, kept)
        bad += cut_all(named, config)
    except OSError as error:
        raise UserError(
            f"can't write to {config.out}: {error}; mend that and run the command again, finished clips stay"
        ) from None
    skipped = {row.line for row in bad}
    done = [cut.row for cut in named.values() if cut.row.line not in skipped]
    users, actions = {row.user for row in done}, {row.action for row in done}
    print(f"{len(done)} clips of {len(actions)} actions and {len(users)} users in {config.out}")
    if bad:
        print(f"{len(skipped)} rows skipped:\n{listing(config.annotations, bad)}")
    return 1 if bad else 0


def listing(path: Path, bad: Iterable[BadRow]) -> str:
    """Say what is wrong with rows, in their order, a line each."""
    return "\n".join(f"{path} line {line}: {problem}" for line, problem in sorted(bad))


def shortened(notes: list[str]) -> list[str]:
    """Keep the first notes of a kind, and count the others."""
    more = len(notes) - _MOST_NOTES
    return [*notes[:_MOST_NOTES], f"{more} more pairs of lines show the same frames"] if more > 0 else notes


def check_output(config: PrepareConfig) -> Sources | None:
    """Refuse a folder that holds something else; return what its clips were cut from, None if unknown.

    Raises:
        UserError: The folder is a file, holds other things, or was started with other settings.
    """
    record = config.out / RECORD
    if not record.exists():
        if config.out.exists() and (not config.out.is_dir() or any(config.out.iterdir())):
            raise UserError(
                f"--out {config.out} exists and was not made by this command; choose a new folder"
            )
        return {}
    before, now, sources = read_yaml(record), describe(config), read_sources(config.out)
    # Without the clips' sources, only the very same table is known to mean the same clips.
    decisive = [key for key in now if key != "annotations" or sources is None]
    if changed := [key for key in decisive if before.get(key) != now[key]]:
        raise UserError(f"{config.out} was started with other {', '.join(changed)}; choose a new --out")
    return sources


def describe(config: PrepareConfig) -> dict[str, object]:
    """Describe what decides the tree's content, to compare when a run continues."""
    digest = "sha256 " + hashlib.sha256(config.annotations.read_bytes()).hexdigest()
    return {"annotations": digest, "short_side": config.short_side, "fps": config.fps}


def plan(table: Annotations, fps: float | None) -> tuple[dict[int, Cut], list[BadRow], list[str]]:
    """Choose the frames of every row.

    Returns:
        The clips to cut by line of their row, the rows that can't be cut, and notes on videos.
    """
    cuts: dict[int, Cut] = {}
    bad, notes = list(table.bad), []
    by_video: dict[Path, list[Annotation]] = {}
    for row in table.rows:
        by_video.setdefault(row.video, []).append(row)
    for video, rows in progress_bar(by_video.items(), title="checking", unit="video"):
        try:
            found = plan_video(video, rows, fps)
        except UserError as error:
            bad += [BadRow(row.line, str(error)) for row in rows]
        else:
            cuts |= {cut.row.line: cut for cut in found.cuts}
            bad += found.bad
            notes += found.notes
    return {row.line: cuts[row.line] for row in table.rows if row.line in cuts}, bad, notes


def assign(
    table: Annotations, cuts: Mapping[int, Cut], sources: Sources | None, out: Path
) -> tuple[dict[str, Cut], list[str], list[str]]:
    """Give every clip its key, and list the existing clips that no row asks for.

    An existing clip may be that of a row which is skipped now: such clips stay, and so does every clip that
    this command didn't cut. One whose frames a valid row asks for under another name does not: it has the old
    name of a row that was corrected.

    Returns:
        The clips by key, the existing ones to move aside, and those that stay for rows that are skipped.
    """
    ours = sources or {}
    wanted = [Source.of(cut) for cut in cuts.values()]
    skipped = {row.group for row in table.rows if row.line not in cuts}

    def stays(key: str) -> bool:
        if key in ours:
            if ours[key] in wanted:
                return False
            return bool(table.bad) or key.rpartition("/")[0] in skipped
        return sources is not None and clip_folder(out, key).exists()

    named = name_clips(table.rows, cuts, ours, stays)
    asked = {key: Source.of(cut) for key, cut in named.items()}
    left = [key for key, source in ours.items() if asked.get(key) != source]
    return named, [key for key in left if not stays(key)], [key for key in left if stays(key)]


def cut_all(named: Mapping[str, Cut], config: PrepareConfig) -> list[BadRow]:
    """Cut the clips that are still missing.

    Returns:
        The rows whose video breaks off before they end.

    Raises:
        UserError: There are such rows and they are not to be skipped.
    """
    todo: dict[Path, dict[Path, Cut]] = {}
    for key, cut in named.items():
        folder = clip_folder(config.out, key)
        if not folder.exists():
            todo.setdefault(cut.row.video, {})[folder] = cut
    bad: list[BadRow] = []
    finished = len(named) - sum(map(len, todo.values()))
    with progress_bar(total=len(named), initial=finished, title="cutting", unit="clip") as bar:
        for video, cuts in todo.items():
            try:
                for _ in cut_video(video, cuts, config.short_side):
                    bar.update()
            except BreaksOffError as end:
                with open_video(video) as opened:
                    stated = opened.stated_frames
                late = [cut.row for cut in cuts.values() if cut.stop > end.frames]
                bad += [BadRow(row.line, past_end(row, end.frames, stated)) for row in late]
                if not config.skip_broken:
                    raise UserError(listing(config.annotations, bad)) from None
    return bad
