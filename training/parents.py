"""The finished runs that a training starts from, and the checks that it may."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from core.checkpoint import load_checkpoint
from core.errors import UserError
from core.run_dir import RunDirectory
from core.train_config import ClipTrainConfig
from data.provenance import refuse_other_motion

# Flags that name a run, or a file, whose weights a training starts from.
_STARTS = ("weights", "init", "rgb", "flow")
# What decides which training clips are held out.
_HELD_OUT_BY = ("val_fraction", "seed", "train_users")


@dataclass(frozen=True)
class ParentKind:
    """The kind of run that a flag takes.

    Attributes:
        network: Name of its model's class.
        script: The command that trains it.
    """

    network: str
    script: str


@dataclass(frozen=True)
class Parent:
    """A finished run that a training starts from.

    Attributes:
        where: Flag and folder, for messages.
        checkpoint: Content of its last.pt.
        sha256: Hash of its last.pt.
    """

    where: str
    checkpoint: dict[str, Any]
    sha256: str

    @property
    def settings(self) -> dict[str, Any]:
        """What it was trained with; of a published checkpoint only the architecture is known."""
        return {**self.checkpoint["architecture"], **self.checkpoint["config"]}

    @classmethod
    def open(cls, path: Path, flag: str, kind: ParentKind, sha256: str | None) -> "Parent":
        """Load the run that a flag names.

        Args:
            path: Its run directory.
            flag: Such as "--init".
            kind: The kind of run that the flag takes.
            sha256: The hash that its last.pt should have; None takes any.

        Raises:
            UserError: The run is missing, unfinished, of another network, or has another hash.
        """
        run, where = RunDirectory.finished(path), f"{flag} {path}"
        checkpoint = run.checkpoint("last")
        _facts(run.last, checkpoint)  # for the search through its ancestors, which begins with it
        found = checkpoint["architecture"].get("name")
        if found != kind.network:
            raise UserError(f"{where} holds a {found}; {flag} takes a run of {kind.script}")
        if not run.eval.exists() and "published" not in checkpoint:
            raise UserError(f"{where} has not finished; resume it first (the same command with --resume)")
        with run.last.open("rb") as file:
            parent = cls(where, checkpoint, hashlib.file_digest(file, "sha256").hexdigest())
        if sha256 not in (None, parent.sha256):
            raise UserError(
                f"{where} is not the run this was configured with: the hash of its last.pt is "
                f"{parent.sha256}, not {sha256}; leave {flag}-sha256 out to take it all the same"
            )
        return parent

    def check(self, config: ClipTrainConfig, class_names: Sequence[str], images: Mapping[str, str]) -> None:
        """Refuse a run with other classes than the data, or that has learned from clips to be held out.

        Args:
            config: The training's flags.
            class_names: The classes of the data.
            images: Digests of the clips as checkpoints hold them, under "train" those that are learned from.

        Raises:
            UserError: The class lists differ, the motion in the data was made in another way, or the run
                learned from a test user or from held-out clips.
        """
        check_classes(self.checkpoint["class_names"], class_names, where=self.where)
        refuse_other_motion(self.checkpoint, config.data, config.reads, self.where)
        saved = self.checkpoint["config"]
        if seen := sorted(set(saved["train_users"]) & set(config.test_users)):
            raise UserError(
                f"{self.where} has learned from {', '.join(seen)}, whom --test-users would test on; take a "
                "run with the same --train-users and --test-users"
            )
        ours = {key: getattr(config, key) for key in _HELD_OUT_BY}
        theirs = {key: saved[key] for key in ours} | {"train_users": tuple(saved["train_users"])}
        if config.val_fraction > 0 and theirs != ours:
            raise _held_out_others(self.where, theirs, ours)
        learned = self.checkpoint.get("images", {}).get("train")
        if config.val_fraction > 0 and learned not in (None, images.get("train")):
            raise UserError(
                f"{self.where} learned from other clips than there are now, so those held out differ; train "
                "it again on this tree"
            )


def open_parents(config: ClipTrainConfig, kinds: Mapping[str, ParentKind]) -> dict[str, Parent]:
    """Load the runs that a training starts from, by the names of the flags that are given.

    Raises:
        UserError: As of `Parent.open`.
    """
    return {
        name: Parent.open(getattr(config, name), f"--{name}", kind, getattr(config, f"{name}_sha256"))
        for name, kind in kinds.items()
        if getattr(config, name) is not None
    }


@dataclass(frozen=True)
class Ancestor:
    """A run that a training's first weights come from, directly or through the runs between.

    Attributes:
        where: Flag, folder, and the runs between, for messages.
        facts: What its checkpoint says of its training.
    """

    where: str
    facts: dict[str, Any]

    @property
    def settings(self) -> dict[str, Any]:
        """What it was trained with; empty where it learned from pictures, which belong to no user."""
        saved: dict[str, Any] = self.facts["config"]
        return {} if saved.get("images") is not None else saved

    @classmethod
    def of(
        cls, settings: Mapping[str, Any], where: str = "", known: frozenset[Path] = frozenset()
    ) -> Iterator[Self]:
        """Find the runs that a training with these settings starts from, and those that they started from.

        Of files that are no checkpoint of this project, and of runs that are gone, nothing is known.

        Args:
            settings: The training's flags.
            where: Names the training, if it is an ancestor itself.
            known: The checkpoints between.

        Raises:
            UserError: A checkpoint is damaged.
        """
        for flag in _STARTS:
            path = Path(settings.get(flag) or "none")
            file = path / "last.pt" if path.is_dir() else path
            if not file.is_file() or file in known:
                continue
            facts, here = _facts(file), f"{where}--{flag} {path}"
            if isinstance(facts.get("config"), dict):
                yield cls(here, facts)
                yield from cls.of(facts["config"], f"{here}, which began from ", known | {file})


_ABOUT = ("config", "selected_on")
_FACTS: dict[tuple[Path, int, int, int], dict[str, Any]] = {}


def _facts(file: Path, content: dict[str, Any] | None = None) -> dict[str, Any]:
    """What a checkpoint says of its training; read once, as long as the file stays as it is.

    Raises:
        UserError: The file is damaged.
    """
    found = file.stat()
    version = (file, found.st_ino, found.st_size, found.st_mtime_ns)
    if version not in _FACTS:
        content = load_checkpoint(file) if content is None else content
        _FACTS[version] = {name: content[name] for name in _ABOUT if name in content}
    return _FACTS[version]


def refuse_seen_users(config: ClipTrainConfig) -> None:
    """Refuse first weights that know clips to be tested on, or held out, from the runs they come from.

    Raises:
        UserError: One of these has learned from a test user or from held-out clips, or its epoch was selected
            on a test user.
    """
    ours = {key: getattr(config, key) for key in _HELD_OUT_BY}
    for run in Ancestor.of(config.model_dump()):
        saved, tested = run.settings, set(config.test_users)
        if seen := sorted(tested & set(saved.get("train_users", ()))):
            raise UserError(
                f"{run.where} has learned from {', '.join(seen)}, whom --test-users would test on; take "
                "a run that was trained without them"
            )
        selected = run.facts.get("selected_on") == "test"
        if selected and (seen := sorted(tested & set(saved.get("test_users", ())))):
            raise UserError(
                f"{run.where} was selected on clips of {', '.join(seen)}, whom --test-users would test on; "
                "take the run's folder, whose last epoch was not chosen"
            )
        theirs = {key: saved.get(key) for key in ours} | {"train_users": tuple(saved.get("train_users", ()))}
        shared = set(config.train_users) & set(theirs["train_users"])
        if config.val_fraction > 0 and shared and theirs != ours:
            raise _held_out_others(run.where, theirs, ours)


def untrained_note(saved: Mapping[str, Any], where: str) -> str | None:
    """Note that a stage 1 has no initial weights: its backbone is never trained, and stays random.

    Args:
        saved: Settings of the run.
        where: Names the run.
    """
    if saved.get("stage") != 1 or saved.get("weights") != "none":
        return None
    return f"note: the backbone of {where} is untrained: stage 1 leaves it as it is, at --weights none"


def check_classes(known: Sequence[str], found: Sequence[str], *, where: str) -> None:
    """Refuse data with other classes than a run was trained on.

    Raises:
        UserError: The lists differ; the message names the first differences.
    """
    if tuple(known) == tuple(found):
        return
    missing, extra = sorted(set(known) - set(found)), sorted(set(found) - set(known))
    raise UserError(
        f"{where}: the run knows {len(known)} classes, the data has {len(found)}; "
        f"only the run has {missing[:5]}, only the data has {extra[:5]}"
    )


def _held_out_others(where: str, theirs: dict[str, Any], ours: dict[str, Any]) -> UserError:
    return UserError(
        f"{where} held out other clips ({_words(theirs)}) than this training would ({_words(ours)}), so it "
        "has learned from some of them; use the same three"
    )


def _words(values: dict[str, Any]) -> str:
    return ", ".join(f"--{key.replace('_', '-')} {value}" for key, value in values.items())
