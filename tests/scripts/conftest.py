"""One tiny synthetic tree and one tiny chain of runs, made once and shared by the test processes."""

import fcntl
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import train_flow
import train_frame
import train_rgb
import train_twostream
from data import ClipIndex
from data.motion import command as motion
from data.synthetic import command as synthetic
from tests.support.lean import costs_counted_once, undrawn_figures
from tests.support.small_runs import SMALL, flow_config, joint_config, stage_1_config, stage_2_config
from tests.support.thin import thin_networks


@pytest.fixture(scope="module", autouse=True)
def thin():
    """The scripts' tests are about what is around the network, and many train one."""
    with thin_networks(), undrawn_figures(), costs_counted_once():
        yield


@pytest.fixture(scope="session")
def once(tmp_path_factory, worker_id) -> Callable[[str, Callable[[Path], None]], Path]:
    """Make a folder by name unless a test process has made it already."""
    base = tmp_path_factory.getbasetemp()
    base = base if worker_id == "master" else base.parent

    def make(name: str, build: Callable[[Path], None]) -> Path:
        with (base / f"{name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            done = base / f"{name}.done"
            if not done.exists():
                with thin_networks(), undrawn_figures(), costs_counted_once():
                    build(base / name)
                done.touch()
        return base / name

    return make


@pytest.fixture(scope="session")
def tree(once) -> Path:
    """The preset tiny: 6 actions, 4 users, 48 clips."""
    return once(
        "tree", lambda out: synthetic.main(synthetic.Settings(out=out, preset="tiny", seed=0, jobs=1))
    )


@pytest.fixture(scope="session")
def frame_run(once, tree) -> Path:
    """A backbone that has seen the tiny tree's frames for one epoch."""

    def build(out: Path) -> None:
        settings = SMALL | {"epochs": 1, "frames": 2, "batch_size": 24}
        train_frame.main(
            train_frame.Config(data=tree, out=out, backbone="resnet18", weights="none", **settings)
        )

    return once("frame_run", build)


@pytest.fixture(scope="session")
def stage_1(once, tree, frame_run) -> Path:
    """Stage 1 on top of `frame_run`."""

    def build(out: Path) -> None:
        train_rgb.main(stage_1_config(tree, frame_run, out))

    return once("stage_1", build)


@pytest.fixture(scope="session")
def moving_tree(once, tree) -> Path:
    """The first clip of every action and user of `tree`, 24 in all, with flow."""

    def build(out: Path) -> None:
        for clip in ClipIndex.from_tree(tree).clips:
            if clip.instance == "1":
                folder = out / clip.frames.folder.relative_to(tree)
                shutil.copytree(clip.frames.folder, folder, copy_function=os.link)
        motion.main(motion.MotionConfig(root=out, flow="dis", warp=False, jobs=1))

    return once("moving_tree", build)


@pytest.fixture(scope="session")
def mapped_tree(once, tree) -> Path:
    """The clips of `moving_tree` with motion maps in place of flow: what the renderer knows to move."""

    def build(out: Path) -> None:
        for clip in ClipIndex.from_tree(tree).clips:
            if clip.instance == "1":
                folder = out / clip.frames.folder.relative_to(tree)
                shutil.copytree(clip.frames.folder, folder, copy_function=os.link)
                (folder.parent / "mmaps").mkdir()
                with np.load(tree / "truth" / f"{clip.key}.npz") as truth:
                    for number, moving in enumerate(truth["moving"], start=1):
                        picture = Image.fromarray(moving.astype(np.uint8) * 255)
                        picture.save(folder.parent / "mmaps" / f"map{number:04}.png")

    return once("mapped_tree", build)


@pytest.fixture(scope="session")
def stage_2(once, moving_tree, stage_1) -> Path:
    """Stage 2 on top of `stage_1`."""
    return once("stage_2", lambda out: train_rgb.main(stage_2_config(moving_tree, stage_1, out, epochs=1)))


@pytest.fixture(scope="session")
def flow_run(once, moving_tree, frame_run) -> Path:
    """A flow stream that began with the weights of `frame_run`."""
    return once("flow_run", lambda out: train_flow.main(flow_config(moving_tree, frame_run, out)))


@pytest.fixture(scope="session")
def joint_run(once, moving_tree, stage_2, flow_run) -> Path:
    """Both streams, trained jointly."""
    return once(
        "joint_run", lambda out: train_twostream.main(joint_config(moving_tree, stage_2, flow_run, out))
    )
