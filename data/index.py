"""The clips of a tree in a fixed order, with labels that do not depend on which clips are selected."""

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from core.errors import UserError
from core.files import digest, identify
from data.clips import Clip, Fault, Kind, natural_key, one_form
from data.faults import header_faults
from data.tree import scan_tree


class Memory(Protocol):
    """Remembers facts from one command to the next."""

    def knows(self, fact: str) -> bool:
        """Say whether a fact was remembered."""

    def remember(self, fact: str) -> None:
        """Remember a fact, or do nothing where that is not possible."""


@dataclass(frozen=True)
class ClipIndex:
    """Clips of a tree, or some of them.

    Attributes:
        root: The tree.
        clips: In natural order of user, action, instance.
        class_names: All actions of the tree, sorted; a clip's label is a position here. Selecting clips does
            not change them.
        notes: Oddities of the whole tree that do no harm, one line each.
        faults: What is wrong with the names of maps and flow; `verify` raises it when these are to be read.
    """

    root: Path
    clips: tuple[Clip, ...]
    class_names: tuple[str, ...]
    notes: tuple[str, ...] = ()
    faults: tuple[Fault, ...] = ()

    @classmethod
    def from_tree(cls, root: str | Path) -> "ClipIndex":
        """Index a tree of clips by its file names; no image is opened.

        Args:
            root: Folder that holds `processed_frames2`, `processed_frames` or `frames`.

        Raises:
            UserError: No such folder, no clips in it, or clips whose frames are missing or have gaps.
        """
        scan = scan_tree(Path(root))
        _raise_first([fault for fault in scan.faults if fault.kind == "frames"], scan.root)
        names = tuple(sorted({clip.action for clip in scan.clips}))
        return cls(scan.root, scan.clips, names, scan.notes, tuple(scan.faults))

    def __len__(self) -> int:
        return len(self.clips)

    @property
    def users(self) -> tuple[str, ...]:
        """The users, in natural order."""
        return tuple(sorted({clip.user for clip in self.clips}, key=natural_key))

    @property
    def labels(self) -> tuple[int, ...]:
        """The label of each clip."""
        return tuple(clip.label for clip in self.clips)

    @property
    def keys(self) -> tuple[str, ...]:
        """The name of each clip, such as "S2/open_jam/1"."""
        return tuple(clip.key for clip in self.clips)

    @property
    def digest(self) -> str:
        """Their names and numbers of frames, counted and hashed."""
        return digest(f"{clip.key} {clip.num_frames}" for clip in self.clips)

    def select(self, users: Iterable[str]) -> "ClipIndex":
        """Select the clips of some users; class names and labels stay.

        Raises:
            UserError: A user is not in the tree.
        """
        chosen = {one_form(user) for user in users}
        if unknown := sorted(chosen - set(self.users)):
            there = ", ".join(self.users)
            raise UserError(f"{self.root} has no user {', '.join(unknown)}; its users are {there}")
        return self.subset([number for number, clip in enumerate(self.clips) if clip.user in chosen])

    def of_actions(self, actions: Iterable[str]) -> "ClipIndex":
        """Select the clips of some actions; class names and labels stay.

        Raises:
            UserError: No clip of the tree has such an action.
        """
        chosen = {one_form(action) for action in actions}
        if unknown := sorted(chosen - set(self.class_names)):
            there = ", ".join(self.class_names[:5]) + (", ..." if len(self.class_names) > 5 else "")
            raise UserError(f"{self.root} has no action {unknown[0]}; its actions are {there}")
        return self.subset([number for number, clip in enumerate(self.clips) if clip.action in chosen])

    def subset(self, numbers: Sequence[int]) -> "ClipIndex":
        """Select clips by their positions in `clips`, in the given order."""
        clips = tuple(self.clips[number] for number in numbers)
        keys = {clip.key for clip in clips}
        return replace(self, clips=clips, faults=tuple(f for f in self.faults if f.clip in keys))

    def find(self, keys: Sequence[str]) -> "ClipIndex":
        """Select clips by name, such as "S2/open_jam/1", in the given order.

        Raises:
            UserError: There is no clip of that name.
        """
        numbers = {clip.key: number for number, clip in enumerate(self.clips)}
        keys = [one_form(key) for key in keys]
        if unknown := [key for key in keys if key not in numbers]:
            example = self.clips[0].key if self.clips else "USER/ACTION/1"
            raise UserError(f"{self.root} has no clip {unknown[0]}; names look like {example}")
        return self.subset([numbers[key] for key in keys])

    def with_classes(self, class_names: Sequence[str]) -> "ClipIndex":
        """Label the clips by other class names, such as those a model was trained on.

        Raises:
            UserError: A clip's action is not among them.
        """
        labels = {one_form(name): label for label, name in enumerate(class_names)}
        if unknown := sorted({clip.action for clip in self.clips} - labels.keys()):
            raise UserError(
                f"{self.root} has {len(unknown)} actions that are not among the {len(labels)} classes wanted "
                f"(such as {unknown[0]}); use data with the classes that the model was trained on"
            )
        clips = tuple(replace(clip, label=labels[clip.action]) for clip in self.clips)
        return replace(self, clips=clips, class_names=tuple(class_names))

    def verify(
        self, kinds: Sequence[Kind] = ("frames",), *, show: str = "", memory: Memory | None = None
    ) -> None:
        """Open every image that training will read, without decoding it, so that faults are found before.

        Args:
            kinds: The kinds of images that will be read.
            show: Title of the progress bar; none is shown when empty.
            memory: Remembers which images were found sound, so that they are opened again only after a
                change.

        Raises:
            UserError: An image is empty, cut off, unreadable or of another size than the clip's others, or
                the kind is missing or has gaps; the message names the first fault and counts the others.
        """
        _raise_first([fault for fault in self.faults if fault.kind in set(kinds)], self.root)
        # Images that some clips have and others lack are among the faults already.
        if absent := [kind for kind in kinds if any(clip.series(kind) is None for clip in self.clips)]:
            remedy = f"make them with `{motion_command(self.root, absent)}`"
            raise UserError(f"{self.root} has no {' and no '.join(absent)} images; {remedy}")
        paths = [s.paths for clip in self.clips for kind in kinds if (s := clip.series(kind)) is not None]
        fact = "" if memory is None else f"sound images {identify(itertools.chain(*paths))}"
        if memory is not None and memory.knows(fact):
            return
        _raise_first(header_faults(self.clips, kinds, show=show), self.root)
        if memory is not None:
            memory.remember(fact)

    def require(self, kinds: Sequence[Kind]) -> None:
        """Refuse clips that lack images.

        Raises:
            UserError: A clip has no images of a kind; the message says how they are made.
        """
        for clip in self.clips:
            if lacking := [kind for kind in kinds if clip.series(kind) is None]:
                remedy = f"make them with `{motion_command(self.root, lacking)}`"
                raise UserError(f"{self.root}: clip {clip.key} has no {' and no '.join(lacking)}; {remedy}")


def motion_command(root: Path, kinds: Sequence[Kind]) -> str:
    """Return the command that makes the flow or maps that a tree lacks."""
    return f"python -m data.motion --root {root}" + (" --maps" if "maps" in kinds else "")


def _raise_first(faults: Sequence[Fault], root: Path) -> None:
    if len(faults) == 1:
        raise UserError(str(faults[0]))
    if faults:
        more = f"{len(faults) - 1} more such faults: `python -m data.check {root}` lists them all"
        raise UserError(f"{faults[0]} ({more})")
