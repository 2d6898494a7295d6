"""The folder of one training run: who may write to it, which files it holds, and what the run cost."""

import os
import platform
import re
import resource
import subprocess
import sys
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Self

import torch

from core.checkpoint import load_checkpoint
from core.config import read_yaml
from core.errors import UserError
from core.files import leftovers, read_json, release_lock, take_lock, write_json
from core.ranks import ONE, Ranks
from core.train_config import FREE_ON_RESUME, TrainConfig

_PACKAGES = ("torch", "torchvision", "numpy", "pillow", "opencv-contrib-python", "scikit-learn")
_CONTENT = {"model": dict, "architecture": dict, "class_names": list, "preprocessing": dict, "config": dict}
_PEAK_UNIT = 1 if sys.platform == "darwin" else 1024  # of ru_maxrss: macOS counts bytes, Linux kilobytes


class RunDirectory:
    """The names of a run's files. Make one with `begin` to train, with `finished` to read.

    A run that was begun is a context manager; leaving it, or the end of this process in whatever way, lets
    another process go on with the folder.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.config = path / "config.yaml"
        self.env = path / "env.json"
        self.metrics = path / "metrics.csv"
        self.last = path / "last.pt"
        self.best = path / "best.pt"
        self.next_best = path / ".next-best.pt"  # until last.pt speaks of it
        self.eval = path / "eval.json"
        self.cost = path / "cost.json"
        self.curves = path / "curves.png"
        self.early = path / "early.npz"  # of networks that are read along their frames
        self.read_early = path / "evaluation" / "observed-test-last"  # where evaluate.py puts the same
        self.tensorboard = path / "tensorboard"
        self.log = path / "log.txt"  # the run's output, when a grid has started it
        self._lock_file = path / ".lock"
        self._lock: int | None = None

    @classmethod
    def begin(cls, config: TrainConfig, ranks: Ranks = ONE) -> Self:
        """Claim `config.out` for a training, new or resumed, and record how it was started.

        Of several ranks the first one locks and writes the folder.

        Raises:
            UserError: As of `refuse_if_taken`, or another process is writing to the folder, or it can't be
                written.
        """
        run = cls(config.out)
        run.refuse_if_taken(config, ranks)
        if ranks.first:
            run._begin(config, ranks)
        ranks.wait()
        return run

    def _begin(self, config: TrainConfig, ranks: Ranks) -> None:
        environment = _environment(ranks)  # before the lock, which no program that it starts may keep
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            self._lock = take_lock(self._lock_file)
            if self._lock is None:
                raise UserError(
                    f"another process is training in {self.path}; wait for it or choose another --out"
                )
            self._refuse_if_taken(config)  # again: whoever held the lock may have finished the run meanwhile
            for half_written in leftovers(self.path):
                half_written.unlink()
            config.to_yaml(self.config)
            write_json(self.env, environment)
        except OSError as error:
            self.__exit__()
            raise UserError(f"--out {self.path} can't be written: {error.strerror or error}") from None
        except BaseException:
            self.__exit__()
            raise

    @classmethod
    def finished(cls, path: Path) -> Self:
        """Open a run to read from it.

        Raises:
            UserError: The folder holds no run, or one that has not saved an epoch yet.
        """
        run = cls(path)
        if not path.is_dir():
            raise UserError(f"no run at {path}: no such folder")
        if not run.last.is_file():
            raise UserError(f"{path} is not a run, or has not finished an epoch: no last.pt in it")
        return run

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._lock is not None:
            release_lock(self._lock)
            self._lock = None

    def refuse_if_gone(self) -> None:
        """Refuse to write once the folder that was begun is gone, instead of making another of its name.

        Raises:
            UserError: It was removed, or its disk is no longer there.
        """
        if self._lock is None:
            return
        try:
            there = os.path.samestat(os.stat(self._lock_file), os.fstat(self._lock))
        except OSError:
            there = False
        if not there:
            raise UserError(
                f"--out {self.path} is gone: it was removed, or its disk is no longer there. What was saved "
                "before is where it went; bring it back and go on with --resume"
            )

    def checkpoint(self, which: str = "last") -> dict[str, Any]:
        """Load last.pt or best.pt.

        Raises:
            UserError: It is missing, damaged or not a checkpoint of this project.
        """
        content = load_checkpoint(self.path / f"{which}.pt")
        absent = sorted(key for key, kind in _CONTENT.items() if not isinstance(content.get(key), kind))
        if absent:
            missing = " and no ".join(absent)
            raise UserError(f"{self.path / which}.pt is not a checkpoint of this project: no {missing} in it")
        named, classes = len(content["class_names"]), content["architecture"].get("num_classes")
        if classes not in (None, named):
            raise UserError(
                f"{self.path / which}.pt contradicts itself: it names {named} classes, and its network has "
                f"{classes}; copy the run again"
            )
        return content

    def refuse_if_taken(self, config: TrainConfig, ranks: Ranks = ONE) -> None:
        """Refuse a folder that a training with `config` must not write to; nothing is changed.

        Raises:
            UserError: It holds a finished run, an unfinished one and --resume was not given, one with other
                settings, or other files.
        """
        if ranks.first:
            self._refuse_if_taken(config)
        ranks.wait()

    def _refuse_if_taken(self, config: TrainConfig) -> None:
        if not self.path.exists():
            return
        if not self.path.is_dir():
            raise UserError(f"--out {self.path} is a file; name a folder")
        if self.eval.exists():
            raise UserError(f"--out {self.path} holds a finished run; choose another --out or remove it")
        if not self.config.exists():
            ours = {self._lock_file, self.log, *leftovers(self.path)}
            if any(entry not in ours for entry in self.path.iterdir()):
                raise UserError(f"--out {self.path} holds files but no run; choose a new or empty folder")
            return
        if not config.resume:
            raise UserError(
                f"--out {self.path} holds an unfinished run; go on with --resume or choose another"
            )
        saved, asked = read_yaml(self.config), config.model_dump(mode="json")
        for key in [key for key in asked if key not in FREE_ON_RESUME]:
            if saved.get(key) != asked[key]:
                flag = key.replace("_", "-")
                raise UserError(
                    f"--out {self.path} was begun with --{flag} {saved.get(key)}, now it is {asked[key]}; "
                    "resume with the same settings or choose another --out"
                )


def read_eval(path: Path) -> dict[str, Any]:
    """Read a finished run's eval.json.

    Raises:
        UserError: The run has none, so it is not finished, or it is damaged.
    """
    file = RunDirectory(path).eval
    if not file.is_file():
        raise UserError(f"{path} has not finished: no eval.json in it")
    return read_json(file)


_GRID_ENDING = re.compile(r"-seed\d+-[0-9a-f]{10}$")


def run_names(runs: Sequence[Path]) -> list[str]:
    """Name runs by their folders, with as many parent folders as are needed to tell them apart.

    Where all paths end alike, as table/attention/seed0 and table/flow/seed0 do, the common end is left out,
    and so are the seed and the hash that a grid appends, unless the names differ only there.

    Raises:
        UserError: The same run twice.
    """
    paths = [run.resolve().parts[1:] for run in runs]
    if len(set(paths)) < len(paths):
        raise UserError("--runs names the same run twice; leave one out")
    while len(paths) > 1 and len({parts[-1] for parts in paths}) == 1 and min(map(len, paths)) > 1:
        paths = [parts[:-1] for parts in paths]
    for depth in range(1, max(map(len, paths)) + 1):
        names = ["_".join(parts[-depth:]) for parts in paths]
        if len(set(names)) == len(names):
            short = [_GRID_ENDING.sub("", name) for name in names]
            return short if len(set(short)) == len(short) else names
    raise AssertionError("different paths have different names")


def measure_cost(device: torch.device) -> dict[str, Any]:
    """Measure what this process has used so far, for cost.json.

    Returns:
        device: its name; peak_memory_gib: the most memory that this process held, without its loading
        processes; peak_gpu_memory_gib: the most that tensors held on the GPU, None without one.
    """
    on_gpu = device.type == "cuda"
    name = torch.cuda.get_device_name(device) if on_gpu else f"{platform.machine()} CPU"
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _PEAK_UNIT
    return {
        "device": name if on_gpu else f"{name}, {torch.get_num_threads()} threads",
        "peak_memory_gib": round(peak / 2**30, 3),
        "peak_gpu_memory_gib": round(torch.cuda.max_memory_allocated(device) / 2**30, 3) if on_gpu else None,
    }


def _environment(ranks: Ranks) -> dict[str, Any]:
    return {
        "command": [sys.executable, *sys.argv],
        "commit": _commit(),
        "python": platform.python_version(),
        "packages": {name: _version(name) for name in _PACKAGES},
        "cpus": os.cpu_count(),
        "processes": ranks.size,
        "threads": torch.get_num_threads(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
    }


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _commit() -> str | None:
    here = Path(__file__).resolve().parent
    try:
        found = subprocess.run(
            ["git", "describe", "--always", "--dirty", "--abbrev=12"],
            cwd=here, capture_output=True, text=True, timeout=10, check=True,
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return None
    return found.stdout.strip()


def read_evaluation(path: Path, split: str) -> dict[str, Any]:
    """Read what evaluate.py measured of a run's last checkpoint on the users of a split.

    Returns:
        The content of its eval.json; empty where there is none, or where it is of other users.
    """
    try:
        found = read_eval(path / "evaluation" / f"{split}-last")
    except UserError:
        return {}
    return found if found.get("split") == split else {}
