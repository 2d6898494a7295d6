"""A run of a grid: a training with everything decided, and a folder named by all that decides its numbers."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from core.stage import Stage
from core.train_config import FREE_ON_RESUME, TrainConfig
from grids.recipe import Training

_SCHEDULE = ("optimizer", "lr", "weight_decay", "milestones", "gamma", "epochs", "eps", "momentum")

Fingerprint = Mapping[str, str]
"""Hashes of the parts of an input, by the names that `TrainConfig.reads` uses."""


class Script(Protocol):
    """What a training script offers to be planned by."""

    @property
    def Config(self) -> type[TrainConfig]:  # noqa: N802
        """Its flags."""

    def resolve(self, config: Any, parents: Mapping[str, Mapping[str, Any]]) -> tuple[TrainConfig, Stage]:
        """Fill in what was left out, from the settings of the runs that its flags name."""


@dataclass(frozen=True, eq=False)
class Run:
    """A training with one seed and everything decided.

    Attributes:
        key: Hash of all that decides its numbers; two runs with one key are one run.
        training: The training.
        config: Every flag that is known before a parent is read.
        words: Its command, the script first.
        decided: The settings that the key stands for.
        parents: The runs that it starts from.
    """

    key: str
    training: Training
    config: TrainConfig
    words: tuple[str, ...]
    decided: Mapping[str, Any]
    parents: tuple["Run", ...]

    @property
    def folder(self) -> Path:
        """Its run directory."""
        return self.config.out

    @property
    def name(self) -> str:
        """What messages call it: the name of its folder."""
        return self.folder.name

    @property
    def epochs(self) -> int:
        """Its length."""
        assert self.config.epochs is not None
        return self.config.epochs

    @property
    def done(self) -> bool:
        """Whether it has finished; eval.json is the last file that a run writes."""
        return (self.folder / "eval.json").is_file()


def decided_settings(config: TrainConfig, training: Training) -> dict[str, Any]:
    """Give what a run's numbers depend on: not where it runs, nor where its data and parents lie.

    Settings without a value are left out, so that a flag that is added to a script changes no earlier key.
    """
    elsewhere = {*FREE_ON_RESUME, *training.inputs, *training.parents}
    elsewhere |= {f"{flag}_sha256" for flag in training.parents}
    values = config.model_dump(mode="json", exclude=elsewhere)
    return {name: value for name, value in values.items() if value is not None}


def run_key(
    training: Training,
    decided: Mapping[str, Any],
    stage: Stage,
    parents: Mapping[str, Run],
    inputs: Mapping[str, Fingerprint],
    reads: Iterable[str],
) -> str:
    """Hash what decides a run's numbers; a changed value or default gives another key.

    Args:
        training: The training.
        decided: Its settings, all of them.
        stage: Its schedule.
        parents: The runs that it starts from, by flag.
        inputs: Fingerprints of the recipe's inputs, by name.
        reads: The parts of its inputs that it reads; of an input with none of these it reads all.
    """
    data = {flag: _parts(inputs[name], reads) for flag, name in training.inputs.items()}
    content = {
        "script": training.script,
        "settings": dict(decided),
        "schedule": {name: getattr(stage, name) for name in _SCHEDULE},
        "parents": {flag: run.key for flag, run in parents.items()},
        "inputs": data,
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:10]


def _parts(found: Fingerprint, reads: Iterable[str]) -> dict[str, str]:
    return {part: found[part] for part in reads if part in found} or dict(found)


def command_words(script: str, values: Mapping[str, Any]) -> tuple[str, ...]:
    """Write a script's settings as its command line; values of None are left out."""
    words = [f"{script}.py"]
    for name, value in values.items():
        flag = "--" + name.replace("_", "-")
        if value is True:
            words.append(flag)
        elif isinstance(value, list | tuple):
            words += [flag, *map(str, value)]
        elif value is not None and value is not False:
            words += [flag, str(value)]
    return tuple(words)
