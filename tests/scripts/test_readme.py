"""Every command of the README runs, on the tiny kitchen, with the sizes turned down."""

import csv
import os
import re
import runpy
import shlex
import shutil
import sys
from glob import glob
from pathlib import Path

import cv2
import numpy as np
import pytest

from data.motion import command as motion
from models.video import NETWORKS
from tests.support.fake_grid import make_plan
from tests.support.lean import costs_counted_once, undrawn_figures
from tests.support.thin import thin_networks

ROOT = Path(__file__).resolve().parents[2]
MAKE_TARGETS = {"demo", "test"}  # .ci/run calls both

_FAST = "--epochs 1 --workers 0 --device cpu --batch-size 12 --image-size 64"
_BACKBONE = "--backbone resnet18 --weights none"
SMALLER = {
    "train_rgb.py --stage 1": f"{_FAST} {_BACKBONE} --frames 2 --hidden 4",
    "train_rgb.py --stage 1 --weights runs": f"{_FAST} --frames 2 --hidden 4",
    "train_rgb.py --stage 1 --predict": f"{_FAST} {_BACKBONE} --frames 4 --hidden 4",
    "train_rgb.py --stage joint": f"{_FAST} {_BACKBONE} --frames 2 --hidden 4",
    "train_rgb.py --stage 2": "--epochs 1 --workers 0 --device cpu --batch-size 12",
    "train_frame.py --data": f"{_FAST} {_BACKBONE} --frames 1",
    "train_frame.py --images": _FAST,
    "train_flow.py": f"{_FAST} {_BACKBONE}",
    "train_twostream.py": "--epochs 1 --workers 0 --device cpu --batch-size 12",
    "train_video.py": f"{_FAST} --weights none --network resnet18 --frames 2",
    "evaluate.py": "--workers 0 --device cpu",
    "cam_viz.py": "--device cpu",
    "report.py": "--device cpu",
    "grid.py": "--dry-run",
    "-m data.motion": "--jobs 1 --flow dis",
    "-m data.synthetic --preset": "--jobs 1",
    "-m data.synthetic --catalogue": "--jobs 1 --size 32",
}


@pytest.fixture(scope="module", autouse=True)
def thin():
    """Thin networks; here the first figures of each kind are drawn."""
    with thin_networks(), undrawn_figures(drawn=1), costs_counted_once():
        yield


def commands() -> list[str]:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```\n(.*?)^```", text, flags=re.DOTALL | re.MULTILINE)
    lines = "".join(blocks).replace("\\\n", " ").splitlines()
    return [re.sub(r"\s+#.*", "", line).strip() for line in lines if line.strip()]


def smaller(words: list[str]) -> list[str]:
    """Replace repeated flags, so that what is run differs from the README in its sizes alone.

    Of networks over whole clips the smallest stands for all; their names are checked here.
    """
    if "--network" in words:
        NETWORKS.known(words[words.index("--network") + 1])
    fitting = [key for key in SMALLER if set(key.split()) <= {w.split("/")[0] for w in words}]
    extra = SMALLER[max(fitting, key=len)].split() if fitting else []
    for flag in [word for word in extra if word.startswith("--")]:
        if flag in words:
            position = words.index(flag)
            words = words[:position] + words[position + 2 :]
    return words + extra


def run(words: list[str], monkeypatch: pytest.MonkeyPatch) -> int:
    """Run a command line as Python would, but in this process, which has torch loaded already."""
    monkeypatch.setattr(sys, "argv", words[1:] if words[0] == "-m" else words)
    with pytest.raises(SystemExit) as left:
        if words[0] == "-m":
            runpy.run_module(words[1], run_name="__main__", alter_sys=True)
        else:
            runpy.run_path(str(ROOT / words[0]), run_name="__main__")
    return int(left.value.code or 0)


def test_make_targets_are_the_ones_that_are_there():
    named = {line.split()[1] for line in commands() if line.startswith("make ")}
    assert named == MAKE_TARGETS
    makefile = (ROOT / "Makefile").read_text()
    assert all(re.search(rf"^{target}:", makefile, flags=re.MULTILINE) for target in named)


def test_every_python_command_runs(tree, tmp_path, monkeypatch):
    """The tiny clips are those of all tests here: data.synthetic finds them drawn."""
    lines = [line for line in commands() if not line.startswith("make ")]
    assert len(lines) >= 10
    monkeypatch.chdir(tmp_path)
    film(tmp_path)
    (tmp_path / "recipes").symlink_to(ROOT / "recipes")
    for line in sorted(lines, key=needs_others):
        words = shlex.split(line.replace("--preset demo", "--preset tiny").replace("3200", "64"))
        assert words[0] == "python", line
        if "data.synthetic" in words and "--preset" in words:
            shutil.copytree(tree, words[words.index("--out") + 1], copy_function=os.link)
        if "GTEA61" in words and not Path("GTEA61").exists():
            stand_in(Path("KITCHEN"), Path("GTEA61"))
        if "GRID" in words and not Path("GRID").exists():
            make_plan(
                Path("GRID"), {"a row": [Path("runs/rgb2").absolute()]}, inputs={"data": Path("GTEA61")}
            )
        if "demo_out" in line:
            finished_demo(Path("demo_out"))
        words = [name for word in words for name in (sorted(glob(word)) if "*" in word else [word])]
        assert run(smaller(words[1:]), monkeypatch) == 0, line


def needs_others(line: str) -> int:
    """The README presents; a reader without data makes it first, cuts a video before its flow, trains."""
    first = ("data.synthetic", "data.prepare", "data.motion", "--images")
    place = next((place for place, name in enumerate(first) if name in line), len(first))
    return place + ("demo_out" in line)


def stand_in(kitchen: Path, tree: Path) -> None:
    """GTEA61 as the README takes it for granted, with flow and maps: a clip of two actions and all users."""
    for folder in kitchen.glob("processed_frames2/S*/[co]*/1"):
        shutil.copytree(folder, tree / folder.relative_to(kitchen), copy_function=os.link)
    motion.main(motion.MotionConfig(root=tree, flow="dis", maps=True, jobs=1))


def finished_demo(out: Path) -> None:
    """What the demo leaves, as far as the README goes on with it: the runs trained by its other commands."""
    for name, run in {"attention-7-stage1": "rgb1", "attention-7": "rgb2"}.items():
        shutil.copytree(Path("runs") / run, out / "runs" / f"{name}-seed0-0123456789", copy_function=os.link)
    (out / "kitchen").symlink_to(Path("KITCHEN").resolve())


def film(folder: Path) -> None:
    """A video with its annotations."""
    writer = cv2.VideoWriter(str(folder / "kitchen.avi"), cv2.VideoWriter.fourcc(*"MJPG"), 10.0, (96, 64))
    for brightness in range(40, 60):
        writer.write(np.full((64, 96, 3), brightness, np.uint8))
    writer.release()
    with (folder / "annotations.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["video", "user", "action", "start_frame", "stop_frame"])
        table.writerow(["kitchen.avi", "S1", "pour_honey,cup", 0, 8])


@pytest.mark.parametrize("page", [ROOT / "README.md", *(ROOT / "docs").glob("*.md")])
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)#]+)\)", page.read_text(encoding="utf-8")):
        assert target.startswith("https://") or (page.parent / target).exists(), f"{page.name}: {target}"
