"""The finished runs that a training starts from, and the checks that it may."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.errors import UserError
from core.run_dir import RunDirectory
from core.train_config import ClipTrainConfig
from data.provenance import refuse_other_motion


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

    def check(self, config: ClipTrainConfig, class_names: Sequence[str]) -> None:
        """Refuse a run with other classes than the data, or that has learned from clips to be held out.

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
        ours = {key: getattr(config, key) for key in ("val_fraction", "seed", "train_users")}
        theirs = {key: saved[key] for key in ours} | {"train_users": tuple(saved["train_users"])}
        if config.val_fraction > 0 and theirs != ours:
            raise UserError(
                f"{self.where} held out other clips ({_words(theirs)}) than this training would "
                f"({_words(ours)}), so it has learned from some of them; use the same three"
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


def refuse_seen_users(weights: str | None, test_users: Sequence[str]) -> None:
    """Refuse initial weights that have learned from clips of a test user.

    Args:
        weights: The value of --weights; only of a run directory is it known whose clips it learned from.
        test_users: The users to measure on.

    Raises:
        UserError: They have.
    """
    run = RunDirectory(Path(weights or "none"))
    saved = run.checkpoint("last")["config"] if run.last.is_file() else {}
    if saved.get("images") is not None:  # trained on pictures, which have no users
        return
    if seen := sorted(set(saved.get("train_users", ())) & set(test_users)):
        raise UserError(
            f"--weights {weights} has learned from {', '.join(seen)}, whom --test-users would test on; take "
            "a run that was trained without them"
        )


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


def _words(values: dict[str, Any]) -> str:
    return ", ".join(f"--{key.replace('_', '-')} {value}" for key, value in values.items())
