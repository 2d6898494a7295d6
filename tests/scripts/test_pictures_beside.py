"""Pictures learned beside clips: their loss, their draws, bits that stay, bad folders."""

import csv
import json
import os
from functools import partial

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import cam_viz
import evaluate
import train_video
from core.errors import UserError
from core.files import digest, identify
from core.ranks import ONE, Ranks
from core.run_dir import RunDirectory
from core.stage import Group
from core.task import AndPictures, Classification
from data.epochs import draws_for_epoch
from data.index import ClipIndex
from data.parts import ClipInput, Frames
from data.pictures import PictureIndex
from data.transforms import Draw, Preprocessing
from models.base import Entry
from models.build import build_trained
from models.verb_noun import VerbNoun
from models.video import NETWORKS
from models.with_pictures import WithPictures
from tests.scripts.test_video_path import config
from training.batches import ClipData, LoaderSettings, Split
from training.pictures import ClipsWithPictures
from training.record import Recorder

COLOURS = {"blue": (30, 40, 200), "green": (40, 180, 60), "red": (200, 50, 30), "white": (230, 230, 220)}


def paint(folder, classes=COLOURS, each=2):
    """Pictures of noise in the colour of their class."""
    rng = np.random.default_rng(0)
    for name, colour in classes.items():
        (folder / name).mkdir(parents=True)
        for number in range(each):
            noise = rng.normal(colour, 20, (40, 48, 3)).clip(0, 255).astype(np.uint8)
            Image.fromarray(noise).save(folder / name / f"{number}.png")
    return folder


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    return paint(tmp_path_factory.mktemp("beside") / "pictures")


def test_names_that_are_not_utf8_are_names(tmp_path):
    """As old archives have them: Latin-1 bytes, which Python reads as lone surrogates."""
    folder = paint(tmp_path / "pictures")
    (folder / "red" / "0.png").rename(os.fsdecode(os.fsencode(folder / "red") + b"/caf\xe9.png"))
    index = PictureIndex.from_folder(folder)
    assert digest(index.keys).startswith("8 ") and identify(index.paths)


@pytest.fixture(scope="module")
def run(mapped_tree, pictures, tmp_path_factory):
    """Two epochs with verbs, nouns and pictures."""
    out = tmp_path_factory.mktemp("beside") / "run"
    train_video.main(config(mapped_tree, out, **WITH_ALL, pictures=pictures))
    return out


WITH_ALL = {"network": "early", "labels": "verb+noun", "epochs": 2}


def rows(out):
    with (out / "metrics.csv").open() as file:
        return list(csv.DictReader(file))


def task_of(name, classes=4, weight=1.0, **options):
    torch.manual_seed(0)
    network = NETWORKS[name](name, 5, frames=3, dropout=0.0, **options)
    model = WithPictures(network, [str(number) for number in range(classes)])
    return AndPictures(Classification(model, ("frames",)), model.still, model.pictures, weight, model)


def batch(clips=4, pictures=4, size=32):
    draw = partial(torch.randn, generator=torch.Generator().manual_seed(1))
    return {
        "frames": draw(clips, 3, 3, size, size),
        "label": torch.arange(clips) % 5,
        "pictures": draw(pictures, 1, 3, size, size),
        "picture_label": torch.arange(pictures) % 4,
    }


@pytest.mark.parametrize("name", ["resnet18", "i3d-resnet18"])
def test_the_loss_is_the_clips_and_w_times_the_pictures_and_falls(name):
    """On 8 clips and 8 pictures; the statistics that the test uses are those of the clips alone."""
    task, given = task_of(name, weight=0.5), batch(8, 8)
    alone = task_of(name).task
    task.model.train(), alone.model.train()
    output = task(given)
    clips = alone({name: given[name] for name in ("frames", "label")})
    assert all(torch.equal(a, b) for a, b in zip(task.model.buffers(), alone.model.buffers(), strict=True))
    assert output.logits.equal(clips.logits) and output.parts["clips"].equal(clips.loss)
    scores = task.model.pictures(task.model.network(given["pictures"].expand(-1, 3, -1, -1, -1)).features)
    by_hand = nn.functional.cross_entropy(scores, given["picture_label"])
    torch.testing.assert_close(output.parts["pictures"], by_hand, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(output.loss, clips.loss + 0.5 * by_hand, rtol=1e-4, atol=1e-5)
    optimizer = torch.optim.SGD(task.model.parameters(), lr=0.02, momentum=0.9)
    for _ in range(7):
        optimizer.zero_grad()
        task(given).loss.backward()
        optimizer.step()
    after = task(given)
    assert after.parts["clips"] < 0.7 * output.parts["clips"]
    assert after.parts["pictures"] < 0.7 * output.parts["pictures"]
    assert after.parts["pictures_accuracy"] > output.parts["pictures_accuracy"]


def test_a_single_frame_teaches_what_a_still_clip_does_where_frames_are_averaged():
    given = batch()
    model = task_of("resnet18").model.train().double()
    assert model.still(given["pictures"]).shape[1] == 1
    gradients = []
    for frames in (1, 3):
        model.zero_grad()
        still = given["pictures"].double().expand(-1, frames, -1, -1, -1)
        nn.functional.cross_entropy(
            model.pictures(model.network(still).features), given["picture_label"]
        ).backward()
        gradients.append(model.network.net.conv1.weight.grad.clone())
    torch.testing.assert_close(*gradients)
    for options in ({"module": "tsm"}, {"temporal": "convlstm", "hidden": 4}):
        assert task_of("resnet18", **options).model.still(given["pictures"]).shape[1] == 3


@pytest.mark.stress
def test_compiled_it_learns_the_same_and_keeps_the_same_statistics():
    plain, compiled = task_of("resnet18"), task_of("resnet18")
    torch._dynamo.reset()
    entry = Entry(compiled.model)
    entry.compile(backend="aot_eager")
    compiled.entry = compiled.task.entry = entry
    for _ in range(2):
        outputs = [task(batch()) for task in (plain, compiled)]
        torch.testing.assert_close(outputs[1].parts, outputs[0].parts)
    torch.testing.assert_close(compiled.model.state_dict(), plain.model.state_dict())
    outputs[1].loss.backward()
    assert compiled.model.pictures.weight.grad.any()


def test_norms_that_are_left_as_they_are_stay_so():
    task = task_of("resnet18")
    stage = NETWORKS["resnet18"].PARTIAL_BN.below("network.")
    stage.set_modes(task.model)
    task(batch())
    norms = [module for module in task.model.modules() if isinstance(module, nn.BatchNorm2d)]
    assert [int(norm.num_batches_tracked) for norm in norms] == [1] + [0] * (len(norms) - 1)
    assert all(norm.track_running_stats for norm in norms)


def test_with_weight_0_the_network_learns_the_same_bits_as_without(mapped_tree, pictures, tmp_path):
    """No draw of the clips changes; of dropout, which is off here, the pictures draw too."""
    common = {"network": "resnet18", "dropout": 0.0}
    train_video.main(config(mapped_tree, tmp_path / "with", **common, pictures=pictures, pictures_weight=0))
    train_video.main(config(mapped_tree, tmp_path / "without", **common))
    ours, theirs = (RunDirectory(tmp_path / name).checkpoint()["model"] for name in ("with", "without"))
    assert len(ours) == len(theirs) + 2
    assert all(ours[f"network.{name}"].equal(value) for name, value in theirs.items())
    assert [row["clips"] for row in rows(tmp_path / "with")][::2] == [
        row["loss"] for row in rows(tmp_path / "without")
    ][::2]


def test_a_stopped_training_goes_on_to_the_same_bits(mapped_tree, run, tmp_path, monkeypatch):
    record = Recorder.record

    def stop(*arguments):
        record(*arguments)
        raise KeyboardInterrupt

    monkeypatch.setattr(Recorder, "record", stop)
    asked = config(mapped_tree, tmp_path / "run", **WITH_ALL, pictures=paint(tmp_path / "same"))
    with pytest.raises(KeyboardInterrupt):
        train_video.main(asked)
    monkeypatch.undo()
    another = (tmp_path / "same" / "red" / "1.png").rename(tmp_path / "same" / "red" / "2.png")
    with pytest.raises(UserError, match="begun with other clips or pictures"):
        train_video.main(asked.replace(resume=True))
    another.rename(another.with_name("1.png"))
    train_video.main(asked.replace(resume=True))
    ours, theirs = (RunDirectory(out).checkpoint()["model"] for out in (tmp_path / "run", run))
    assert all(ours[name].equal(value) for name, value in theirs.items())


def test_other_commands_read_the_run_as_any_other(mapped_tree, run, tmp_path):
    saved, first = json.loads((run / "eval.json").read_text()), rows(run)
    train, test = first[0], first[1]
    total = float(train["verb"]) + float(train["noun"])
    assert float(train["clips"]) == pytest.approx(total, rel=1e-5)
    assert float(train["loss"]) == pytest.approx(total + float(train["pictures"]), rel=1e-5)
    assert 0 <= float(train["pictures_accuracy"]) <= 100 and test["pictures"] == ""
    checkpoint = RunDirectory(run).checkpoint()
    model = build_trained(checkpoint["architecture"], checkpoint["model"], "the run")
    assert isinstance(model, VerbNoun) and model.network.names == tuple(COLOURS)
    evaluate.main(evaluate.Config(run=run, data=mapped_tree, out=tmp_path / "e", workers=0))
    assert json.loads((tmp_path / "e" / "eval.json").read_text())["top1"] == saved["top1"]
    for heat in ("attention", "cam", "gradcam"):
        if heat == "gradcam":
            pytest.importorskip("pytorch_grad_cam")
        asked = {"runs": (run,), "data": mapped_tree, "clips": ("S2/open_jam/1",), "device": "cpu"}
        cam_viz.main(cam_viz.Config(**asked, out=tmp_path / heat, heat=heat))
        assert next((tmp_path / heat).glob("*.npy"))


@pytest.fixture(scope="module")
def data(tree, pictures):
    index = ClipIndex.from_tree(tree)
    split = Split(index.select(("S1", "S3", "S4")), None, index.select(("S2",)))
    clips = ClipData(split, ClipInput(Frames(1, Preprocessing.rgb(32))))
    return ClipsWithPictures.of(clips, PictureIndex.from_folder(pictures), 1)


def beside(data, epoch, size=36, seed=0, ranks=ONE):
    """The picture of every clip in an epoch."""
    sets = data.sets(LoaderSettings(size, 0, seed), ranks)
    found = {}
    for made in sets.train.batches(epoch):
        assert made["pictures"].shape == (len(made["clip"]), 1, 3, 32, 32)
        for number, picture in zip(made["clip"].tolist(), made["pictures"], strict=True):
            found[number] = picture
    return found


def test_a_clips_picture_depends_on_seed_epoch_and_clip_alone(data):
    first = beside(data, 1)
    assert len(first) == 36
    for again in (beside(data, 1), beside(data, 1, size=7), first):
        assert all(again[clip].equal(picture) for clip, picture in first.items())
    halves = {**beside(data, 1, 12, ranks=Ranks(0, 2)), **beside(data, 1, 12, ranks=Ranks(1, 2))}
    assert all(halves[clip].equal(picture) for clip, picture in first.items())
    for other in (beside(data, 2), beside(data, 1, seed=1)):
        assert not any(other[clip].equal(picture) for clip, picture in first.items())


def test_pictures_come_with_their_class_and_whatever_the_clips_crop_is(data):
    """The mean colour, normalisation undone, is that of its class; equal crops come with others."""
    pixels, beside_draw = Preprocessing.rgb(32), dict[Draw, set[int]]()
    mean, std = (torch.tensor(values) for values in (pixels.mean, pixels.std))
    colours = torch.tensor([COLOURS[name] for name in sorted(COLOURS)]) / 255
    sets = data.sets(LoaderSettings(12, 0, 0), ONE)
    for epoch in (1, 2, 3):
        draws = draws_for_epoch(0, epoch, 36)
        for made in sets.train.batches(epoch):
            seen = made["pictures"].mean(dim=(1, 3, 4)) * std + mean
            assert (seen[:, None] - colours).norm(dim=2).argmin(dim=1).equal(made["picture_label"])
            assert (seen - colours[made["picture_label"]]).abs().max() < 0.05
            for clip, label in zip(made["clip"].tolist(), made["picture_label"].tolist(), strict=True):
                beside_draw.setdefault(draws[clip], set()).add(label)
    assert set.union(*beside_draw.values()) == {0, 1, 2, 3}
    assert any(len(labels) > 1 for labels in beside_draw.values())


def test_held_pictures_are_those_that_are_read(tree, data, pictures):
    from core.memory import Room

    room = Room("auto", torch.device("cpu"))
    held = ClipsWithPictures(data.split, data.inputs, pictures=data.pictures, room=room)
    first, again = beside(data, 1, 12), beside(held, 1, 12)
    assert all(again[clip].equal(picture) for clip, picture in first.items())


def test_what_is_no_folder_of_classes_is_refused(tree, tmp_path):
    def refused(words, **changes):
        with pytest.raises(UserError, match=words):
            train_video.main(config(tree, tmp_path / "run", network="early", **changes))
        assert not (tmp_path / "run").exists()

    refused("no such folder: .*nowhere", pictures=tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    refused("empty has 0 class folders with PNG or JPEG pictures; at least two", pictures=tmp_path / "empty")
    one = paint(tmp_path / "one", {"red": COLOURS["red"]})
    refused("one has 1 class folder", pictures=one)
    broken = paint(tmp_path / "broken")
    (broken / "red" / "1.png").write_bytes((broken / "red" / "1.png").read_bytes()[:500])
    refused("red/1.png: the image is cut off.*leave it out", pictures=broken)
    refused("--pictures-weight belongs to --pictures", pictures_weight=0.5)


def test_the_second_head_learns_at_the_stages_rate(tree, pictures, tmp_path):
    asked = config(tree, tmp_path / "run", network="swin3d_t", pictures=pictures)
    resolved, stage = train_video.resolve(asked, {})
    assert stage.groups[-1] == Group(("pictures.*",)) and resolved.pictures_weight == 1.0
