"""Tables of what a tree holds, as plain text."""

from collections.abc import Sequence

from data.clips import Clip, natural_key

_MAX_USER_COLUMNS = 8


def user_table(clips: Sequence[Clip]) -> str:
    """Tabulate each user's clips: how many, of how many classes, their frames, maps and flow."""
    header = ("user", "clips", "classes", "frames", "shortest", "longest", "maps", "flow")
    rows = [(user, *_user_counts([clip for clip in clips if clip.user == user])) for user in _users(clips)]
    return format_table([header, *rows, ("all", *_user_counts(clips))])


def class_table(clips: Sequence[Clip]) -> str:
    """Tabulate each class: clips of each user (or of how many users, when they are many) and lengths."""
    users = _users(clips)
    wide = len(users) > _MAX_USER_COLUMNS
    header = ("class", *(("users",) if wide else users), "clips", "frames", "shortest", "longest")
    rows = []
    for action in sorted({clip.action for clip in clips}):
        chosen = [clip for clip in clips if clip.action == action]
        per_user = [sum(clip.user == user for clip in chosen) for user in users]
        columns = [sum(count > 0 for count in per_user)] if wide else per_user
        rows.append((action, *columns, len(chosen), *_lengths(chosen)))
    return format_table([header, *rows])


def format_table(rows: Sequence[Sequence[object]]) -> str:
    """Set rows in columns: the first to the left, the others to the right; zero is shown as a dot."""
    cells = [[str(cell) if cell != 0 else "." for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = [
        "  ".join(
            cell.rjust(width) if number else cell.ljust(width)
            for number, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in cells
    ]
    return "\n".join(lines)


def _users(clips: Sequence[Clip]) -> list[str]:
    return sorted({clip.user for clip in clips}, key=natural_key)


def _user_counts(clips: Sequence[Clip]) -> tuple[int, ...]:
    classes = len({clip.action for clip in clips})
    with_maps, with_flow = (
        sum(clip.maps is not None for clip in clips),
        sum(clip.num_flow > 0 for clip in clips),
    )
    return len(clips), classes, *_lengths(clips), with_maps, with_flow


def _lengths(clips: Sequence[Clip]) -> tuple[int, int, int]:
    lengths = [clip.num_frames for clip in clips]
    return sum(lengths), min(lengths), max(lengths)
