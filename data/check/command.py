"""Count what a tree of clips holds, and name everything that is broken: `python -m data.check DIR`."""

from collections.abc import Iterator, Sequence

from data.check import CheckConfig
from data.check.contents import Contents
from data.check.mend import mend_tree
from data.check.page import page_path, write_check_page
from data.clips import Clip, natural_key
from data.faults import decode_faults
from data.tree import scan_tree

_MAX_USER_COLUMNS = 8


def main(config: CheckConfig) -> int:
    """Check a tree, or its mended copy, and print what was found.

    Returns:
        Exit status: 1 with faults, else 0.

    Raises:
        UserError: There is no tree, it holds no clips, or the copy can't be made.
    """
    page = None if config.page is None else page_path(config.page)
    scan = scan_tree(config.root)
    if config.fix is not None:
        lines = mend_tree(scan, config.fix)
        for line in lines:
            print(f"mended: {line}")
        print(f"{len(lines)} mended, now checking {config.fix}")
        scan = scan_tree(config.fix)
    contents = Contents(scan.clips)
    decoded = decode_faults(scan.clips, threads=config.jobs, show="decoding", look=contents.look)
    faults = scan.faults + decoded
    if scan.clips:
        print(f"{class_table(scan.clips)}\n\n{user_table(scan.clips)}\n")
    notes = [*scan.notes, *contents.notes(), *_odd_classes(scan.clips)]
    for note in notes:
        print(f"note: {note}")
    faults = sorted(faults, key=lambda fault: (natural_key(fault.clip), natural_key(str(fault.path))))
    for fault in faults:
        print(f"fault: {fault}")
    print(f"{len(faults)} faults" if faults else "no faults")
    if page is not None:
        write_check_page(page, config.fix or config.root, scan.clips, notes, faults)
        print(f"open {page}")
    return 1 if faults else 0


def user_table(clips: Sequence[Clip]) -> str:
    """Tabulate each user's clips: their number, classes, frames, maps and flow."""

    def counts(name: str, chosen: Sequence[Clip]) -> tuple[object, ...]:
        classes = len({clip.action for clip in chosen})
        maps = sum(clip.maps is not None for clip in chosen)
        flow = sum(clip.num_flow > 0 for clip in chosen)
        return name, len(chosen), classes, *_lengths(chosen), maps, flow

    header = ("user", "clips", "classes", "frames", "shortest", "longest", "maps", "flow")
    rows = [counts(user, [clip for clip in clips if clip.user == user]) for user in _users(clips)]
    return _format([header, *rows, counts("all", clips)])


def class_table(clips: Sequence[Clip]) -> str:
    """Tabulate each class: clips of each user (or the number of users, when they are many) and lengths."""
    users = _users(clips)
    wide = len(users) > _MAX_USER_COLUMNS
    header = ("class", *(("users",) if wide else users), "clips", "frames", "shortest", "longest")
    rows = []
    for action in sorted({clip.action for clip in clips}):
        chosen = [clip for clip in clips if clip.action == action]
        per_user = [sum(clip.user == user for clip in chosen) for user in users]
        columns = [sum(count > 0 for count in per_user)] if wide else per_user
        rows.append((action, *columns, len(chosen), *_lengths(chosen)))
    return _format([header, *rows])


def _format(rows: Sequence[Sequence[object]]) -> str:
    """Set rows in columns: the first flush left, the others flush right; zero is shown as a dot."""
    cells = [[str(cell) if cell != 0 else "." for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = []
    for first, *others in cells:
        columns = [cell.rjust(width) for cell, width in zip(others, widths[1:], strict=True)]
        lines.append("  ".join([first.ljust(widths[0]), *columns]))
    return "\n".join(lines)


def _users(clips: Sequence[Clip]) -> list[str]:
    return sorted({clip.user for clip in clips}, key=natural_key)


def _lengths(clips: Sequence[Clip]) -> tuple[int, int, int]:
    lengths = [clip.num_frames for clip in clips]
    return sum(lengths), min(lengths), max(lengths)


def _odd_classes(clips: Sequence[Clip]) -> Iterator[str]:
    """Name the classes that could not be learned if their only user were the test user."""
    for user in _users(clips):
        others = {clip.action for clip in clips if clip.user != user}
        own = sorted({clip.action for clip in clips} - others)
        if own and others:
            yield f"only {user} has {', '.join(own)}; testing on {user} alone would be refused"
