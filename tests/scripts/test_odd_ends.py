"""Trainings whose batches end oddly, with batch norm over maps of one cell, which takes no single item."""

import csv
import os
import shutil

import numpy as np
import pytest
from PIL import Image

import train_flow
import train_frame
import train_rgb
from core.errors import UserError
from data.index import ClipIndex
from data.parts import ClipInput, SingleFrames
from data.pictures import PictureIndex
from data.transforms import Preprocessing
from tests.support.small_runs import flow_config, stage_1_config
from training.batches import LoaderSettings

ONE_CELL = {"image_size": 32, "epochs": 1}


@pytest.fixture(scope="module")
def few_clips(moving_tree, tmp_path_factory):
    """The clips of two actions: three learned from and one tested each."""
    root = tmp_path_factory.mktemp("few") / "tree"
    for clip in ClipIndex.from_tree(moving_tree).clips:
        if clip.action in ("open_jam", "close_jam"):
            for part in (clip.frames, clip.flow_x, clip.flow_y):
                there = root / part.folder.relative_to(moving_tree)
                shutil.copytree(part.folder, there, copy_function=os.link)
    return root


def losses(run):
    with (run / "metrics.csv").open() as file:
        return [row["loss"] for row in csv.DictReader(file)]


def test_a_last_batch_of_one_joins_the_one_before(few_clips, frame_run, tmp_path):
    """6 clips in batches of 5."""
    train_flow.main(flow_config(few_clips, frame_run, tmp_path / "a", batch_size=5, **ONE_CELL))
    train_flow.main(flow_config(few_clips, frame_run, tmp_path / "b", batch_size=6, **ONE_CELL))
    assert losses(tmp_path / "a") == losses(tmp_path / "b")


def joint_config(tree, weights, out, **changes):
    """SparNet on single frames."""
    return stage_1_config(tree, weights, out, stage="joint", frames=1, **ONE_CELL, **changes)


def test_so_it_does_where_frames_are_cached(few_clips, frame_run, tmp_path):
    cached = joint_config(few_clips, frame_run, tmp_path / "a", batch_size=5, cache=tmp_path / "cache")
    train_rgb.main(cached)
    train_rgb.main(joint_config(few_clips, frame_run, tmp_path / "b", batch_size=6))
    assert losses(tmp_path / "a") == losses(tmp_path / "b")


def test_so_it_does_where_outputs_of_layers_are_cached(few_clips, frame_run, tmp_path):
    for name, size in (("a", 5), ("b", 6)):
        cache = {"cache": tmp_path / "cache", "batch_size": size, "dropout": 0.0, "epochs": 1}
        train_rgb.main(stage_1_config(few_clips, frame_run, tmp_path / name, **cache))
    assert losses(tmp_path / "a") == losses(tmp_path / "b")


def test_batches_of_one_are_refused_before_anything_is_written(few_clips, frame_run, tmp_path):
    flow = flow_config(few_clips, frame_run, tmp_path / "a", batch_size=1, **ONE_CELL)
    joint = joint_config(few_clips, frame_run, tmp_path / "b", batch_size=1)
    for main, config in ((train_flow.main, flow), (train_rgb.main, joint)):
        with pytest.raises(UserError, match="batches of one item.*--batch-size above 1.*--image-size"):
            main(config)
        assert not config.out.exists()


def test_batches_of_one_are_taken_where_batch_norm_sees_several_cells(few_clips, frame_run, tmp_path):
    train_flow.main(flow_config(few_clips, frame_run, tmp_path / "a", batch_size=1, epochs=1))


def test_a_last_picture_joins_the_batch_before(tmp_path, capfd):
    """Two classes of five pictures, of which one each is held out: 8 in batches of 7."""
    rng = np.random.default_rng(0)
    for name in ("a", "b"):
        (tmp_path / "pictures" / name).mkdir(parents=True)
        for number in range(5):
            pixels = rng.integers(0, 255, (40, 40, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / "pictures" / name / f"{number}.png")
    shared = {"backbone": "resnet18", "weights": "none", "device": "cpu", "workers": 0, "held_out": 0.2}
    for out, size in (("x", 7), ("y", 8)):
        train_frame.main(
            train_frame.Config(
                images=tmp_path / "pictures", out=tmp_path / out, batch_size=size, **ONE_CELL, **shared
            )
        )
    assert losses(tmp_path / "x") == losses(tmp_path / "y")
    assert " pictures/s, " in "".join(capfd.readouterr())


@pytest.mark.parametrize(
    "sizes, named",
    [
        ([10, 4, 1], "2 small classes without a test picture: b, c\n"),
        ([1] * 6 + [10], ": a, b, c, d, e and others"),
        ([10, 10], ""),
    ],
)
def test_classes_that_have_no_test_picture_are_named(tmp_path, capsys, sizes, named):
    classes = dict(zip("abcdefg", sizes, strict=False))
    labels = tuple(label for label, size in enumerate(sizes) for _ in range(size))
    paths = tuple(
        tmp_path / name / f"{number}.png" for name, size in classes.items() for number in range(size)
    )
    pictures = PictureIndex(tmp_path, paths, labels, tuple(classes))
    shown = ClipInput(SingleFrames(1, Preprocessing.rgb(32)))
    train_frame.PictureData(pictures, 0.1, shown).sets(LoaderSettings(batch_size=2, workers=0, seed=0))
    said = capsys.readouterr().out
    assert named in said if named else "note" not in said
