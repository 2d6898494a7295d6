"""grid.py with real trainings on the tiny kitchen: nothing is trained twice, and only what has changed."""

import random
import shutil
import signal
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path

import pytest
import torch
import yaml

import grid
import grids.worker
import train_rgb
from core.cli import parse
from data.index import ClipIndex
from grids.plan import TablePlan
from grids.run import Run

ROOT = Path(grid.__file__).resolve().parent
STAGE_1 = {"stage": 1, "backbone": "resnet18", "weights": "none", "frames": 2, "hidden": 4}
SMALL = {"batch_size": 24, "epochs": 1}


@pytest.fixture
def thin_worker(tmp_path, monkeypatch):
    """Let the worker's process, otherwise as it is, fork trainings of thin networks and no figures too."""
    (tmp_path / "worker.py").write_text(
        f"import runpy, sys\nsys.path[0] = {str(ROOT)!r}\n"
        "from tests.support.thin import thin_networks\n"
        "from tests.support.lean import undrawn_figures\n"
        "with thin_networks(), undrawn_figures():\n"
        f"    runpy.run_path({grids.worker.__file__!r}, run_name='__main__')\n"
    )
    monkeypatch.setattr(grids.worker, "__file__", str(tmp_path / "worker.py"))


class InThisProcess:
    """Workers without processes of their own, each of which would take seconds to load torch."""

    def __init__(self, config: grid.Config) -> None:
        self.over: list[tuple[Run, bool]] = []

    def free_slots(self) -> int:
        return 1

    def start(self, run: Run) -> None:
        script = grid.load_script(run.training.script)
        script.main(parse(script.Config, run.command[1:]))
        self.over.append((run, run.done))

    def ended(self) -> list[tuple[Run, bool]]:
        over, self.over = self.over, []
        return over

    def stop(self, runs: object) -> None:
        pass


main_in_this_process = partial(grid.main, engines={"local": InThisProcess})


def write_recipe(folder: Path, rates: list[float]) -> Path:
    trainings = [
        {"name": "first", "script": "train_rgb", "settings": STAGE_1 | SMALL | {"image_size": 64}},
        {
            "name": "second",
            "script": "train_rgb",
            "row": "rate {lr}",
            "parents": {"init": "first"},
            "settings": {"stage": 2} | SMALL,
            "grid": {"lr": rates},
        },
    ]
    content = {"title": "t", "inputs": {"data": "clips"}, "seeds": [0], "trainings": trainings}
    (folder / "small.yaml").write_text(yaml.safe_dump(content))
    return folder / "small.yaml"


def test_a_new_row_takes_the_parent_that_is_there_and_nothing_is_trained_twice(
    moving_tree, tmp_path, command, thin_worker, stress
):
    """In the long version the last two trainings are processes of their own, as all are outside of tests."""

    def start(main, rates, *flags):
        words = (
            "--data",
            moving_tree,
            "--out",
            tmp_path / "out",
            "--workers",
            "0",
            "--device",
            "cpu",
            *flags,
        )
        return command(main, grid.Config, "--recipe", write_recipe(tmp_path, rates), *words)

    def started(rates, *flags, main=main_in_this_process):
        status, said, _ = start(main, rates, *flags)
        assert status == 0, said
        return [
            line.split()[1].rpartition("-")[0] for line in said.splitlines() if line.startswith("started")
        ]

    assert started([1e-4], "--dry-run") == [] and not (tmp_path / "out").exists()
    assert started([1e-4]) == ["first-seed0", "second-lr-0.0001-seed0"]
    assert started([1e-4]) == []
    rates = [1e-4, 2e-3, 5e-3]
    assert started(rates, main=grid.main if stress else main_in_this_process) == [
        "second-lr-0.002-seed0",
        "second-lr-0.005-seed0",
    ]
    table = TablePlan.from_yaml(tmp_path / "out/tables/small.yaml")
    assert [row.row for row in table.rows] == ["rate 0.0001", "rate 0.002", "rate 0.005"]
    for row in table.rows:
        saved = yaml.safe_load((tmp_path / "out" / row.runs[0].folder / "config.yaml").read_text())
        assert saved["lr"] == row.settings["lr"] and saved["frames"] == 2
    last = table.rows[2].runs[0]
    if stress:
        second, third = (
            (tmp_path / "out" / row.runs[0].folder / "log.txt").read_text() for row in table.rows[1:]
        )
        assert "epoch 1/1: train loss" in second and "top-1" in second.splitlines()[-3]
        assert "of frames in RAM, decoded by a training before" in third
    alone = parse(train_rgb.Config, last.command[2:]).replace(out=tmp_path / "again/runs" / last.folder.name)
    train_rgb.main(alone)
    found, name = numbers(tmp_path / "out"), last.folder.name
    ours = {file: content for file, content in found.items() if file.startswith(name)}
    assert ours == numbers(tmp_path / "again") and len(ours) > 5
    edited = tmp_path / "out" / table.rows[0].runs[0].folder / "config.yaml"
    edited.write_text(edited.read_text().replace("frames: 2", "frames: 3"))
    status, _, said = start(grid.main, rates)
    assert status == 2 and f"{edited} of training second-lr-0.0001" in said and "frames: 3" in said


def test_a_rehearsal_tells_the_time_and_leaves_nothing(tree, tmp_path, monkeypatch, command):
    """Stage 2 is rehearsed from a rehearsed stage 1; two learning rates are one kind."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    words = ("--recipe", write_recipe(tmp_path, [1e-4, 2e-3]), "--data", tree, "--out", tmp_path / "out")
    words = (*words, "--workers", "0", "--device", "cpu", "--epochs", "40", "--dry-run", "--rehearse", "8")
    status, said, _ = command(main_in_this_process, grid.Config, *words)
    assert status == 0 and not (tmp_path / "out").exists()
    assert not list((tmp_path / "temporary").glob("egornn-rehearsal-*"))
    rehearsed = [line.split()[1] for line in said.splitlines() if line.startswith("rehearsed")]
    assert rehearsed == ["first:", "second-lr-0.002:"]
    assert "2 classes, 6 training, 2 test clips" in said
    assert said.splitlines()[-1].startswith("time: about ")


@pytest.mark.parametrize(
    "flags, message",
    [
        ("--recipe none.yaml --data {tree}", "none.yaml"),
        ("--recipe {recipe} --data nowhere", "no such folder or file: {here}/nowhere"),
        ("--recipe {recipe}", "not given: data (clips); add --data FOLDER"),
        ("--recipe {recipe} --data {tree} --inputs films=x", "the input films is unknown to the recipes"),
        ("--recipe {recipe} --data {tree} --inputs films", "--inputs films should look like NAME=FOLDER"),
        ("--recipe {recipe} --data {tree} --settings amp", "--settings amp should look like NAME=VALUE"),
        ("--recipe {recipe} --data {tree} --settings lr=[", "not a value"),
        ("--recipe {recipe} {recipe} --data {tree}", "twice; name each once"),
        ("--recipe {recipe} {recipe.parent}/x/../{recipe.name} --data {tree}", "twice; name each once"),
        (
            "--recipe {recipe} --data {tree} --settings val-fraction=0 val_fraction=1",
            "sets val_fraction twice",
        ),
        ("--recipe {recipe} --data {tree} --seeds 1 2 1", "the seed 1 is listed twice"),
        ("--recipe {recipe} --data {tree} --search optuna", "has ranges under `search:`"),
        ("--recipe {recipe} --data {tree} --address here:1", "--address needs --engine ray"),
        ("--recipe {recipe} --data {tree} --rehearse 8", "--rehearse needs --dry-run"),
        ("--recipe {recipe} --data {tree} --only all", "no such row; there are: rate 0.1"),
        ("--recipe {recipe} --data {tree} --settings second*.frames=3", "--frames 3: "),
        (
            "--recipe {recipe} --data {tree} --settings second*.ms=regression",
            "data.motion --root {tree} --maps",
        ),
    ],
)
def test_mistakes_leave_nothing_behind(moving_tree, tmp_path, command, flags, message):
    assert ClipIndex.from_tree(moving_tree).clips[0].maps is None
    names = {"recipe": write_recipe(tmp_path, [0.1]), "tree": moving_tree, "here": Path.cwd()}
    words = flags.format(**names).split()
    status, _, said = command(grid.main, grid.Config, *words, "--out", tmp_path / "out")
    assert status == 2 and message.format(**names) in " ".join(said.split())
    assert not (tmp_path / "out").exists()


def test_a_script_that_does_not_exist(tmp_path, moving_tree, command):
    file = write_recipe(tmp_path, [0.1])
    file.write_text(file.read_text().replace("train_rgb", "train_sound"))
    words = ("--recipe", file, "--data", moving_tree, "--out", tmp_path / "out")
    status, _, said = command(grid.main, grid.Config, *words)
    assert status == 2 and "no script is called train_sound; there are train_flow, train_frame" in said


STRESS = {
    "title": "killed",
    "inputs": {"data": "clips"},
    "seeds": [0],
    "trainings": [
        {
            "name": "first",
            "script": "train_rgb",
            "row": "stage 1",
            "settings": STAGE_1 | {"image_size": 64, "batch_size": 12, "epochs": 8},
        },
        {
            "name": "second",
            "script": "train_rgb",
            "row": "stage 2",
            "parents": {"init": "first"},
            "settings": {"stage": 2, "batch_size": 12, "epochs": 6},
            "grid": {"lr": [1.0e-4, 1.0e-3]},
        },
    ],
}


def numbers(out: Path) -> dict[str, bytes]:
    """Every file of every run that a table or a later training takes, without the times."""
    found = {}
    for name in ("eval.json", "predictions.npz", "per_class.csv", "confusion.png"):
        found |= {f"{path.parent.name}/{name}": path.read_bytes() for path in out.glob(f"runs/*/{name}")}
    for path in out.glob("runs/*/metrics.csv"):
        lines = [line.rsplit(",", 2)[0] for line in path.read_text().splitlines()]
        found[f"{path.parent.name}/metrics.csv"] = "\n".join(lines).encode()
    for path in out.glob("runs/*/last.pt"):
        weights = torch.load(path, weights_only=True)["model"]
        found |= {f"{path.parent.name}/{key}": value.numpy().tobytes() for key, value in weights.items()}
    return found


@pytest.mark.stress
def test_a_grid_killed_ten_times_gives_the_table_of_an_undisturbed_one(moving_tree, tmp_path):
    """With loaders of their own, which outlive a killed training for a while."""
    (tmp_path / "killed.yaml").write_text(yaml.safe_dump(STRESS))
    command = [sys.executable, "grid.py", "--recipe", tmp_path / "killed.yaml", "--data", moving_tree]
    command += ["--device", "cpu", "--workers", "1", "--jobs", "2", "--out"]
    subprocess.run([*command, tmp_path / "whole"], cwd=ROOT, check=True, capture_output=True)
    out, lot, starts, made = tmp_path / "out", random.Random(0), 0, 0
    for _ in range(10):
        process = subprocess.Popen([*command, out], cwd=ROOT, stdout=subprocess.PIPE, text=True)
        if any(line.startswith("started") for line in process.stdout):
            try:
                process.wait(lot.uniform(0, 12))
            except subprocess.TimeoutExpired:
                process.kill()
        status = process.wait()
        assert status in (0, -signal.SIGKILL)
        if (
            status == 0
        ):  # all has finished, maybe just before the last kill; the next grid starts from nothing
            starts, made = starts + count_starts(out), made + 3
            shutil.rmtree(out)
    subprocess.run([*command, out], cwd=ROOT, check=True, capture_output=True)
    whole = numbers(tmp_path / "whole")
    assert numbers(out) == whole and len(whole) > 3 * 5
    assert starts + count_starts(out) > made + 3, "the kills met running trainings"


def count_starts(out: Path) -> int:
    return sum(path.read_text().count(" train_rgb.py ") for path in out.glob("runs/*/log.txt"))
