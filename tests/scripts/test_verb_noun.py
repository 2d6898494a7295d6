"""Actions as the sum of a verb's and a noun's score, and actions that no training clip shows."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

import evaluate
import train_video
from core.checkpoint import save_checkpoint
from core.errors import UserError
from core.ranks import ONE
from core.run_dir import RunDirectory
from core.task import Composition
from data.index import ClipIndex
from models.build import build_trained
from models.verb_noun import VerbNoun
from models.video import NETWORKS
from tests.scripts.test_video_path import config
from training.batches import open_clips

PAIRS = [(0, 0), (1, 0), (0, 2), (1, 1)]


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return VerbNoun(NETWORKS["early"]("early", 2 + 3, frames=3), PAIRS).eval()


@torch.no_grad()
def test_an_actions_score_is_its_verbs_and_its_nouns(model):
    seen = torch.randn(2, 3, 3, 32, 32)
    output, scores = model(seen), model.network(seen).logits
    by_hand = [[float(row[verb] + row[2 + noun]) for verb, noun in PAIRS] for row in scores]
    np.testing.assert_allclose(output.logits.numpy(), by_hand, rtol=1e-5)
    maps, logits = model.last_maps({"frames": seen[:1]})
    torch.testing.assert_close(logits(maps), output.logits[:1], rtol=1e-4, atol=1e-5)
    found = model.evidence({"frames": seen[:1]}, 2).mean()
    bias = model.network.classifier.bias
    torch.testing.assert_close(found + bias[0] + bias[4], output.logits[0, 2], rtol=1e-4, atol=1e-5)


def test_the_loss_is_that_of_both_heads_and_unseen_actions_are_counted(model):
    numbers = {"verb": torch.tensor([0, 1, 0, 1]), "noun": torch.tensor([0, 0, 2, 1])}
    task = Composition(model, ("frames",), numbers)
    batch = {"frames": torch.randn(3, 3, 3, 32, 32), "label": torch.tensor([0, 2, 3])}
    output = task(batch)
    verbs = model.network(batch["frames"]).logits[:, :2].log_softmax(1)
    nouns = model.network(batch["frames"]).logits[:, 2:].log_softmax(1)
    by_hand = -sum(verbs[i, v] + nouns[i, n] for i, (v, n) in enumerate([(0, 0), (0, 2), (1, 1)])) / 3
    torch.testing.assert_close(output.loss, by_hand)
    scores = model.network(batch["frames"]).logits
    said = list(zip(scores[:, :2].argmax(1).tolist(), scores[:, 2:].argmax(1).tolist(), strict=True))
    for label, (verb, noun) in enumerate(PAIRS):  # each detail is of its own head
        given = task(batch | {"label": torch.full((3,), label)}).details
        assert given["verb_right"].tolist() == [found == verb for found, _ in said]
        assert given["noun_right"].tolist() == [found == noun for _, found in said]
        assert given["right"].tolist() == (output.logits.argmax(dim=1) == label).tolist()
    details = {
        "verb_right": [1, 1, 0, 1],
        "noun_right": [1, 0, 0, 1],
        "right": [1, 0, 0, 0],
        "seen": [1, 1, 0, 0],
    }
    found = task.measure({name: np.array(values, float) for name, values in details.items()})
    assert found == {
        **{"verb_alone": 75, "noun_alone": 50, "composed": 50},
        **{"unseen": 0, "unseen_composed": 50, "n_unseen": 2},
    }


def test_a_training_without_clips_of_an_action(tree, tmp_path, capsys):
    asked = config(tree, tmp_path / "run", network="early", labels="verb+noun", unseen=("open_jam",))
    train_video.main(asked)
    saved = json.loads((tmp_path / "run" / "eval.json").read_text())
    assert saved["n_unseen"] == 2 and {"verb_alone", "noun_alone", "composed", "unseen"} <= set(saved)
    said = capsys.readouterr().out
    assert "30 of 36 training clips" in said and "no training clip has the verb of open_jam" in said
    assert "the noun of open_jam" not in said  # close_jam has it
    checkpoint = RunDirectory(tmp_path / "run").checkpoint()
    model = build_trained(checkpoint["architecture"], checkpoint["model"], "the run")
    names = checkpoint["class_names"]
    assert [name for name, seen in zip(names, model.seen, strict=True) if not seen] == ["open_jam"]
    evaluate.main(evaluate.Config(run=tmp_path / "run", data=tree, out=tmp_path / "e", workers=0))
    again = json.loads((tmp_path / "e" / "eval.json").read_text())
    numbers = [name for name, value in saved.items() if isinstance(value, float)]
    assert {"top1", "noun_alone", "unseen_composed"} <= set(numbers)
    assert [again[name] for name in numbers] == pytest.approx([saved[name] for name in numbers])


def test_the_epoch_is_not_selected_on_clips_of_unseen_actions(tree, tmp_path):
    asked = config(
        tree, tmp_path / "run", network="early", labels="verb+noun", unseen=("open_jam",), val_fraction=0.5
    )
    data = open_clips(asked, train_video.show(train_video.resolve(asked, {})[0], {}))
    assert "open_jam" in {clip.action for clip in data.split.val.clips}
    kept = train_video.keep_unseen_out(asked, data, ONE)
    assert "open_jam" not in {clip.action for clip in (*kept.split.val.clips, *kept.split.train.clips)}
    assert len(kept.split.val) > 0
    held = data.split.val
    alike = held.subset([n for n, clip in enumerate(held.clips) if clip.action == "open_jam"])
    with pytest.raises(
        UserError, match="all clips that --val-fraction holds out"
    ):  # not the test clips instead
        train_video.keep_unseen_out(asked, replace(data, split=replace(data.split, val=alike)), ONE)


def test_an_action_that_is_not_there_cant_be_left_out(tree, tmp_path):
    asked = config(tree, tmp_path / "run", network="early", labels="verb+noun", unseen=("open_door",))
    with pytest.raises(UserError, match=r"--unseen open_door: no such action; there are \['"):
        train_video.main(asked)


def test_unseen_actions_that_make_no_sense_are_refused_or_noted(tree, tmp_path, command):
    words = ("--network", "early", "--data", tree, "--out", tmp_path / "run")
    status, _, said = command(train_video.main, train_video.Config, *words, "--unseen", "open_jam")
    assert status == 2 and "--unseen belongs to --labels verb+noun" in said
    names = ClipIndex.from_tree(tree).class_names
    with pytest.raises(UserError, match="leaves none to learn from"):
        train_video.main(config(tree, tmp_path / "run", network="early", labels="verb+noun", unseen=names))
    learned = {"train_users": ["S1"], "unseen": ["close_jam"]}
    save_checkpoint(tmp_path / "learned" / "last.pt", {"config": learned})
    asked = {"labels": "verb+noun", "unseen": ("close_jam", "open_jam"), "weights": str(tmp_path / "learned")}
    with pytest.raises(UserError, match="learned has learned from clips, those of open_jam too"):
        train_video.main(config(tree, tmp_path / "run", network="early", **asked))
    assert not (tmp_path / "run").exists()
