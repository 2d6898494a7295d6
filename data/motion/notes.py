"""Pairs of frames whose flow is a stand-in: a line a clip in `motion.log` beside the flow, and a summary."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from core.files import write_text
from data.clips import natural_key

LOG = "motion.log"
MOST_SHOWN = 3
"""Clips that the summary names."""

Notes = dict[str, list[int]]
"""Frames (from 1) whose flow to the next one is a stand-in, by the reason."""


class MotionLog:
    """The log of a tree: a line for each clip with notes, in the order of the clips, kept over runs."""

    def __init__(self, root: Path) -> None:
        """Read what earlier runs wrote."""
        self.path = root / LOG
        text = self.path.read_text(encoding="utf-8") if self.path.exists() else ""
        parts = [line.partition(": ") for line in text.splitlines()]
        self._lines = {key: notes for key, _, notes in parts}

    def put(self, key: str, notes: Notes, num_pairs: int) -> None:
        """Write a clip's line, or take it out when the clip made anew has no notes."""
        before = self._lines.pop(key, None)
        if notes:
            self._lines[key] = "; ".join(
                f"{why}: {len(numbers)} of {num_pairs} pairs, from frame {_ranges(numbers)}"
                for why, numbers in notes.items()
            )
        if self._lines.get(key) != before:
            ordered = sorted(self._lines.items(), key=lambda item: natural_key(item[0]))
            write_text(self.path, "".join(f"{clip}: {line}\n" for clip, line in ordered))


def summary(notes_by_clip: Mapping[str, Notes], log: Path) -> Iterator[str]:
    """Count the pairs of each reason, and name the clips that have most of them.

    Yields:
        One line a reason, and one that says where all of the pairs are listed.
    """
    for why in sorted({why for notes in notes_by_clip.values() for why in notes}):
        counts = {key: len(notes[why]) for key, notes in notes_by_clip.items() if why in notes}
        worst = sorted(counts, key=lambda key: (-counts[key], natural_key(key)))[:MOST_SHOWN]
        named = ", ".join(f"{key} ({counts[key]})" for key in worst)
        where = f"{_many(len(counts), 'clip')}{', most in' if len(counts) > MOST_SHOWN else ':'} {named}"
        yield f"{why}: {_many(sum(counts.values()), 'pair')} of {where}"
    if any(notes_by_clip.values()):
        yield f"all of them: {log}"


def _ranges(numbers: Sequence[int]) -> str:
    """Write ascending numbers with runs drawn together: 1-3, 7."""
    starts = [n for n in numbers if n - 1 not in numbers]
    ends = [n for n in numbers if n + 1 not in numbers]
    return ", ".join(
        str(start) if start == end else f"{start}-{end}" for start, end in zip(starts, ends, strict=True)
    )


def _many(count: int, noun: str) -> str:
    return f"{count} {noun}" + ("s" if count != 1 else "")
