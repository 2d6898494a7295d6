"""What only a GPU can show: graphs, copies beside the training, and memory that is held or full."""

import csv
import importlib
import json
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import train_flow
import train_rgb
import train_twostream
from core.run_dir import RunDirectory
from core.task import Classification
from core.train_config import TrainConfig
from data.epochs import EpochSampler
from data.index import ClipIndex
from data.parts import ClipInput, Flow, Frames, Maps, SingleFrames
from data.resident import Resident
from data.transforms import Preprocessing
from grids.inputs import Input
from grids.local import LocalWorkers
from grids.plan import GridOptions, make_plan
from grids.recipe import Recipe
from tests.support.small_runs import flow_config, joint_config, stage_1_config, stage_2_config
from tests.support.toy import Toy, batches
from tests.support.trees import png_tree, save
from training.batches import KeyBatches, ResidentClips, load_clips
from training.cache.held import HeldOutputs
from training.graphs import GraphedStep
from training.record import Recorder, TrainingState
from training.step import Step

ON_GPU = {"device": "cuda"}
GPU = torch.device("cuda")
STAGES = ("stage 1", "stage 2", "stage 2 with --ms", "stage joint with --ms", "flow", "two streams")


@pytest.fixture
def training(request):
    """Trains a stage by its name into a folder, with flags."""

    def train(stage, out, **flags):
        made, flags = request.getfixturevalue, ON_GPU | flags
        if stage == "stage 1":
            train_rgb.main(stage_1_config(made("tree"), made("frame_run"), out, **flags))
        elif stage == "stage 2":
            train_rgb.main(stage_2_config(made("tree"), made("stage_1"), out, **flags))
        elif stage == "stage 2 with --ms":
            train_rgb.main(
                stage_2_config(made("mapped_tree"), made("stage_1"), out, ms="classification", **flags)
            )
        elif stage == "stage joint with --ms":
            joint = {"stage": "joint", "ms": "regression"} | flags
            train_rgb.main(stage_1_config(made("mapped_tree"), made("frame_run"), out, **joint))
        elif stage == "flow":
            train_flow.main(flow_config(made("moving_tree"), made("frame_run"), out, **flags))
        else:
            parts = made("moving_tree"), made("stage_2"), made("flow_run")
            train_twostream.main(joint_config(*parts, out, **flags))
        return losses(out)

    return train


def losses(out):
    with (out / "metrics.csv").open() as file:
        return [float(row["loss"]) for row in csv.DictReader(file) if row["split"] == "train"]


@pytest.mark.parametrize("amp", ["off", "bf16"])
@pytest.mark.parametrize("stage", STAGES)
def test_every_stage_learns_and_its_steps_are_one_graph(training, stage, amp, tmp_path, capsys):
    found = training(stage, tmp_path / "run", amp=amp, epochs=40, eval_every=40)
    assert np.mean(found[-8:]) < np.mean(found[:8]), found
    assert json.loads((tmp_path / "run" / "eval.json").read_text())["n_clips"] > 0
    assert "replayed as one CUDA graph" in capsys.readouterr().out


@pytest.mark.parametrize("stage", STAGES)
def test_graphs_train_as_plain_steps_do(training, stage, tmp_path, capsys):
    """Dropout included, which draws the same; a last, smaller batch; a rate that falls in the middle."""
    flags = {"epochs": 3, "batch_size": 10} | (
        {} if stage in ("flow", "two streams") else {"milestones": (1,)}
    )
    graphs = training(stage, tmp_path / "graphs", **flags)
    assert "replayed as one CUDA graph" in capsys.readouterr().out
    plain = training(stage, tmp_path / "plain", graphs="off", **flags)
    assert "CUDA graph" not in capsys.readouterr().out
    np.testing.assert_allclose(graphs, plain, rtol=5e-3)


def test_every_replay_drops_other_units():
    said, model = [], Toy().to(GPU).train()
    made = torch.optim.SGD(model.parameters(), 1e-9, fused=True)
    step = GraphedStep(Step(Classification(model, ("x",)), made, GPU), model, said.append)
    found = [float(step(batches(np.arange(24))[0])[0]) for _ in range(5)]
    assert said == ["steps are replayed as one CUDA graph"] and len(set(found)) == 5


class Reading(nn.Module):
    """A model that looks at its input on the CPU, which no graph can hold."""

    def __init__(self):
        super().__init__()
        self.toy = Toy()

    def forward(self, x):
        return self.toy(x * (1.0 if x.sum().item() > -1e9 else 0.0))


def test_what_can_not_be_recorded_runs_as_it_is():
    """With dropout afterwards: a recording that fails must not keep the generator."""
    said, model = [], Reading().to(GPU).train()
    made = torch.optim.Adam(model.parameters(), 0.01, fused=True)
    step = GraphedStep(Step(Classification(model, ("x",)), made, GPU), model, said.append)
    found = [float(step(batches(np.arange(24))[0])[0]) for _ in range(20)]
    assert len(said) == 1 and said[0].startswith("note: steps are not recorded")
    assert np.isfinite(found).all() and len(set(found)) == 20
    assert torch.cuda.current_stream() == torch.cuda.default_stream()


def test_a_copy_is_of_its_epoch_though_training_goes_on(tmp_path):
    """The thread that writes reads from the GPU what a later step overwrites."""
    model = nn.Linear(4096, 4096, bias=False).to(GPU)
    optimizer = torch.optim.SGD(model.parameters(), 1.0, momentum=0.9, fused=True)
    state = TrainingState(model, optimizer, torch.optim.lr_scheduler.MultiStepLR(optimizer, [2]))
    about = {"architecture": {}, "class_names": [], "preprocessing": {}, "config": {}}
    run = RunDirectory.begin(TrainConfig(out=tmp_path / "run"))
    with run, Recorder(run, about) as recorder:
        recorder.resume(state)
        for epoch in (1, 2, 3):
            state.epoch = epoch
            nn.init.constant_(model.weight, epoch)
            recorder.record(state, [{"epoch": epoch, "split": "val", "loss": 0.0, "accuracy": 0.0, "lr": ""}])
            nn.init.constant_(model.weight, -1.0)
    saved = torch.load(run.last, weights_only=True)
    assert saved["epoch"] == 3 and (saved["model"]["weight"] == 3.0).all()
    assert (torch.load(run.best, weights_only=True)["model"]["weight"] == 1.0).all()
    assert saved["model"]["weight"].device.type == "cpu"


PIXELS = Preprocessing(32, 37, (0.4, 0.5, 0.6), (0.2, 0.3, 0.4))
INPUTS = {
    "frames": ClipInput(Frames(3, PIXELS)),
    "single frames": ClipInput(SingleFrames(3, PIXELS)),
    "frames, maps and flow": ClipInput(
        Frames(3, PIXELS), Maps(3, PIXELS), Flow(2, 4, Preprocessing.flow(32))
    ),
    "flow that is not scaled": ClipInput(Flow(2, 4, Preprocessing(32, 32, (0.449,), (0.226,)))),
}


@pytest.fixture(scope="module")
def noise(tmp_path_factory):
    """Clips of two sizes, of noise, whose scaling could go wrong in any pixel; one is shorter than T."""
    root, rng = tmp_path_factory.mktemp("noise"), np.random.default_rng(0)
    for user, size in {"S1": (48, 32), "S2": (45, 60)}.items():
        png_tree(root, {f"{user}/open_jam/1": 6, f"{user}/close_jam/1": 2 if user == "S2" else 5}, size=size)
        for path in sorted((root / "processed_frames2" / user).rglob("*.png")):
            if not path.name.startswith("map"):
                colours = (3,) if path.name.startswith("rgb") else ()
                save(path, rng.integers(0, 256, (*size[::-1], *colours)))
    return ClipIndex.from_tree(root)


@pytest.mark.parametrize("limit,where", [("auto", "GPU memory"), (1e-6, "RAM")])
@pytest.mark.parametrize("name", INPUTS)
def test_held_pixels_are_within_a_grey_level(noise, name, limit, where, capsys):
    """From pixels in its memory, and from pixels that are brought from RAM."""
    inputs = INPUTS[name]
    sampler = EpochSampler(inputs.training_items(noise), 4, inputs.training_key(noise))
    keys = KeyBatches(sampler, 4)
    batches = ResidentClips(Resident(limit, GPU))(inputs, 2, noise, keys)
    for ours, theirs in zip(batches, load_clips(inputs, 0, noise, keys), strict=True):
        assert torch.equal(ours["clip"], theirs["clip"]) and torch.equal(ours["label"], theirs["label"])
        for part in inputs.parts:
            one, other = ours[part.name], theirs[part.name]
            assert one.is_cuda and one.dtype == other.dtype and one.shape == other.shape
            level = 0 if part.name == "maps" else 1 / 255 / min(part.pixels.std)
            assert (one.cpu().float() - other.float()).abs().max() <= level * 1.001
    assert f" in {where}" in capsys.readouterr().out


def test_trainings_of_a_grid_hand_on_their_pixels(tree, tmp_path):
    """Each opens the GPU for itself; the second has the pixels of the first, and trains as it would alone."""
    settings = {"stage": 1, "backbone": "resnet18", "weights": "none", "frames": 2, "hidden": 4}
    settings |= {"image_size": 64, "batch_size": 12, "epochs": 2}
    training = {"name": "stage-1", "script": "train_rgb", "row": "stage 1", "settings": settings}

    def train(folder, *seeds):
        recipe = Recipe(title="t", inputs={"data": "clips"}, seeds=seeds, trainings=[training])
        options = GridOptions(folder, {"data": Input.open(tree)}, importlib.import_module)
        runs = list(make_plan({Path("t.yaml"): recipe}, options).runs.values())
        workers = LocalWorkers(Path(train_rgb.__file__).parent, 1, ["0"])
        for run in runs:
            workers.start(run)
            while not (ended := workers.ended()):
                time.sleep(0.1)
            assert ended == [(run, True)], run.log.read_text()
        return runs

    first, second = train(tmp_path / "both", 0, 1)
    assert "frames in GPU memory, decoded by a training before" in second.log.read_text()
    assert "before" not in first.log.read_text()
    [alone] = train(tmp_path / "alone", 1)
    np.testing.assert_allclose(losses(second.folder), losses(alone.folder), rtol=1e-3)


@pytest.mark.parametrize("stage", ["stage 1", "stage 2", "two streams"])
def test_held_outputs_and_those_on_disk_train_alike(training, stage, tmp_path, capsys):
    held = training(stage, tmp_path / "held", epochs=3)
    assert "of the training clips in" in capsys.readouterr().out
    flags = {"epochs": 3, "cache": tmp_path / "cache"}
    made_each_time = training(stage, tmp_path / "off", epochs=3, resident="off")
    filling = training(stage, tmp_path / "filling", **flags)
    filled = training(stage, tmp_path / "filled", **flags)
    for other in (made_each_time, filling, filled):
        np.testing.assert_allclose(other, held, rtol=1e-2)


@pytest.mark.parametrize("stage", ["stage 2", "flow"])
@pytest.mark.parametrize("amp", ["off", "bf16"])
def test_a_stopped_training_goes_on(training, stage, amp, tmp_path, monkeypatch):
    whole = training(stage, tmp_path / "whole", amp=amp, epochs=3)
    record = Recorder.record

    def stop(*arguments):
        record(*arguments)
        raise KeyboardInterrupt

    monkeypatch.setattr(Recorder, "record", stop)
    with pytest.raises(KeyboardInterrupt):
        training(stage, tmp_path / "run", amp=amp, epochs=3)
    monkeypatch.undo()
    found = training(stage, tmp_path / "run", amp=amp, epochs=3, resume=True)
    np.testing.assert_allclose(found, whole, rtol=5e-2)


def test_too_little_memory_is_a_line_and_a_way_on(training, tmp_path, capsys):
    """First a limit that nothing fits under, then a GPU that another job has filled."""
    found = training("stage 1", tmp_path / "limit", epochs=2, resident=1e-6)
    said = capsys.readouterr().out
    assert "no room" in said and len(found) == 2
    free, _ = torch.cuda.mem_get_info()
    assert not HeldOutputs({"x": (2**20,)}, {"x": torch.float32}, GPU).take(2 * free // 2**22)
    taken = torch.empty(max(0, free - 3 * 2**30), dtype=torch.uint8, device=GPU)
    assert len(training("stage 1", tmp_path / "full", epochs=2)) == 2
    del taken
