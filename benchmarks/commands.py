"""Whole commands: from a command to its first step, several trainings at once, a table to its report.

Steps and epochs are measured elsewhere; here everything around them counts too.
"""

import importlib
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any, cast

from benchmarks.steps import Size
from core.errors import UserError
from core.files import read_csv, read_json
from core.run_dir import RunDirectory
from grids.inputs import Input
from grids.local import LocalWorkers, open_log, visible_gpus
from grids.plan import GridOptions, Script, make_plan
from grids.recipe import Recipe
from grids.run import Run, Schedule, run_all
from grids.worker import Worker

Found = dict[str, Any]
CODE = Path(__file__).resolve().parents[1]
ROWS = (
    "ConvLSTM, 7 frames",
    "ConvLSTM-attention, 7 frames",
    "temporal warp flow",
    "two-stream (joint), 7 frames",
)
"""Of recipes/step1.yaml."""
AT_ONCE = (1, 2, 4)


def _network(size: Size) -> dict[str, Any]:
    """The settings of stage 1 at a size, from random weights: steps take as long with any."""
    return {
        "stage": 1, "frames": size.frames, "image_size": size.side, "hidden": size.hidden,
        "backbone": size.backbone, "weights": "none", "batch_size": size.batch,
    }  # fmt: skip


def _words(settings: dict[str, Any]) -> list[str]:
    return [word for name, value in settings.items() for word in (f"--{name.replace('_', '-')}", str(value))]


def measure_start(tree: Path, size: Size) -> Found:
    """Time the way from a command to its first step, of stage 1 on all clips of a tree.

    Returns:
        Seconds by part, of a training that is started alone, and of the first and the next one of a grid.
    """
    found: Found = {}
    with tempfile.TemporaryDirectory(prefix="egornn-start-") as name:
        folder = Path(name)
        for number, started in enumerate(("alone", "first of a grid", "next of a grid")):
            file, out = folder / f"{number}.json", folder / str(number)
            flags = _words(_network(size) | {"data": tree, "out": out, "device": size.device, "amp": "bf16"})
            command = ("first_step.py", str(time.time()), str(file), *flags)
            with open_log(command, out) as log:
                if number == 0:
                    words = [sys.executable, str(CODE / "benchmarks" / command[0]), *command[1:]]
                    subprocess.run(words, stdout=log, stderr=log, check=False)
                else:
                    if number == 1:
                        worker = Worker(CODE / "benchmarks", {})
                    worker.start(command, out, log.fileno(), {}).wait()
            if not file.exists():
                raise UserError(f"the training that was timed failed: {_last_line(RunDirectory(out).log)}")
            found[started] = json.loads(file.read_text())
    return found


class _Quiet:
    """Shows nothing of a schedule."""

    def started(self, run: Run) -> None:
        """Show nothing."""

    def ended(self, run: Run, finished: bool) -> None:
        """Refuse to time trainings that failed."""
        if not finished:
            raise UserError(f"a training that was timed failed: {run.last_log_line()}")

    def refresh(self) -> None:
        """Show nothing."""


def measure_together(
    tree: Path, size: Size, epochs: int, trainings: int = 4, at_once: Sequence[int] = AT_ONCE
) -> Found:
    """Time trainings of stage 1 with several seeds, so many of them at a time on one device.

    Returns:
        By trainings at a time: "trainings", "seconds" of all, "epoch", the median seconds of an epoch and its
        measurement after the first, and "memory", the most GiB that tensors of one held on a GPU, or None.
    """
    found: Found = {}
    settings = _network(size) | {"epochs": epochs, "amp": "bf16"}
    training = {"name": "stage-1", "script": "train_rgb", "row": "stage 1", "settings": settings}
    recipe = Recipe(
        title="at once",
        inputs={"data": "clips"},
        seeds=tuple(range(trainings)),
        trainings=(training,),
    )
    for jobs in at_once:
        with tempfile.TemporaryDirectory(prefix="egornn-together-") as folder:
            options = GridOptions(
                out=Path(folder),
                inputs={"data": Input.open(tree)},
                load_script=lambda name: cast(Script, importlib.import_module(name)),
                runtime_settings={"device": size.device},
            )
            runs = list(make_plan({Path("together.yaml"): recipe}, options).runs.values())
            workers = LocalWorkers(CODE, jobs, visible_gpus(size.device)[:1])
            start = time.perf_counter()
            if not run_all(Schedule(runs), workers, _Quiet()):
                raise KeyboardInterrupt
            seconds = time.perf_counter() - start
            memory = [read_json(RunDirectory(run.folder).cost)["peak_gpu_memory_gib"] for run in runs]
            found[str(jobs)] = {
                "trainings": trainings,
                "seconds": seconds,
                "epoch": median(second for run in runs for second in _epochs(run.folder)[1:]),
                "memory": None if None in memory else max(memory),
            }
    return found


def _epochs(folder: Path) -> list[float]:
    """Read a run's seconds of each epoch, with its measurement."""
    seconds: dict[str, float] = {}
    for row in read_csv(RunDirectory(folder).metrics, "epoch", "seconds"):
        seconds[row["epoch"]] = seconds.get(row["epoch"], 0.0) + float(row["seconds"])
    return list(seconds.values())


def measure_rows(tree: Path, size: Size, epochs: int | None = None) -> Found:
    """Time the four rows of recipes/step1.yaml at 7 frames with one seed, from the command to the report.

    Args:
        tree: Clips with flow.
        size: The network and the device.
        epochs: Upper limit of each training's epochs; None: the published ones.

    Returns:
        "trainings": by name, the seconds of each epoch with its measurement; "grid" and "report": seconds of
        the two commands.
    """
    network = _network(size)
    settings = [f"batch_size={size.batch}", "amp=bf16", f"*stage1*.hidden={size.hidden}"]
    for name in ("image_size", "backbone", "weights"):
        settings += [f"*stage1*.{name}={network[name]}", f"flow.{name}={network[name]}"]
    limit = [] if epochs is None else ["--epochs", str(epochs)]
    with tempfile.TemporaryDirectory(prefix="egornn-rows-") as name:
        out = Path(name) / "grid"
        given = ["--recipe", CODE / "recipes/step1.yaml", "--data", tree, "--out", out, "--seeds", 0]
        given += ["--only", *ROWS, "--device", size.device, *limit, "--settings", *settings]
        grid = _timed("grid.py", given)
        report = _timed("report.py", ["--grid", out, "--out", Path(name) / "report"])
        runs = sorted((out / "runs").iterdir(), key=lambda run: RunDirectory(run).eval.stat().st_mtime)
        trainings = {run.name.partition("-seed")[0]: _epochs(run) for run in runs}
    return {"trainings": trainings, "grid": grid, "report": report}


def _timed(script: str, flags: Sequence[object]) -> float:
    """Run a command of the project and return its seconds.

    Raises:
        UserError: It failed.
    """
    start = time.perf_counter()
    words = [sys.executable, str(CODE / script), *map(str, flags)]
    done = subprocess.run(words, cwd=CODE, capture_output=True, text=True)
    if done.returncode:
        said = (done.stderr or done.stdout).strip().splitlines()
        raise UserError(f"{script} failed: {said[-1] if said else 'without a word'}")
    return time.perf_counter() - start


def _last_line(log: Path) -> str:
    return log.read_text(encoding="utf-8", errors="replace").strip().splitlines()[-1]
