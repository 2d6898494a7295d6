"""Networks over whole clips end to end on the tiny kitchen: train, evaluate, draw, and what is refused."""

import json
import shutil

import numpy as np
import pytest
import torch

import cam_viz
import evaluate
import published
import report
import train_video
from core.errors import UserError
from core.run_dir import RunDirectory
from data.actions import reversed_actions
from data.index import ClipIndex
from data.parts import read_input
from models.build import build_trained
from models.video import NETWORKS
from models.video.base import VideoNetwork
from tests.support.fake_grid import make_plan, read_table
from viz.viewer import open_viewers, window_size

SMALL = {"image_size": 32, "workers": 0, "batch_size": 12, "epochs": 1, "device": "cpu", "frames": 3}


def config(tree, out, **changes):
    return train_video.Config(**({"data": tree, "out": out, "weights": "none"} | SMALL | changes))


@pytest.fixture(scope="module")
def early_run(tree, frame_run, tmp_path_factory):
    out = tmp_path_factory.mktemp("video") / "early"
    with pytest.MonkeyPatch.context() as patch:
        patch.delattr(VideoNetwork, "_evidence")  # which a training has no use for
        train_video.main(config(tree, out, network="early", weights=str(frame_run)))
    return out


def test_the_first_weights_are_those_it_was_given(tree, frame_run, tmp_path):
    given = torch.load(frame_run / "last.pt", weights_only=True)["model"]
    asked = config(tree, tmp_path / "run", network="early", weights=str(frame_run))
    _, model = train_video.build(train_video.resolve(asked, {})[0], ("open_jam", "put_jam"), {})
    assert model.net.layer4[1].conv2.weight.equal(given["backbone.resnet.layer4.1.conv2.weight"])
    first = given["backbone.resnet.conv1.weight"]
    torch.testing.assert_close(model.net.conv1.weight[:, 3:6], first / 3)


def test_evaluate_repeats_the_runs_numbers_and_measures_its_attention(tree, early_run, tmp_path):
    evaluate.main(evaluate.Config(run=early_run, data=tree, out=tmp_path, workers=0))
    ours, theirs = (np.load(folder / "predictions.npz") for folder in (tmp_path, early_run))
    np.testing.assert_array_equal(ours["logits"], theirs["logits"])
    again, first = (json.loads((folder / "eval.json").read_text()) for folder in (tmp_path, early_run))
    assert again["attention"] and again["turned"] == first["turned"]
    cost = json.loads((early_run / "cost.json").read_text())
    assert cost["gmac"] > 0 and cost["parameters"] > 0


def test_turned_is_what_reversed_clips_give(tree, early_run):
    """Each paired clip by hand, its frames read and shown in reverse."""
    checkpoint = RunDirectory(early_run).checkpoint()
    model = build_trained(checkpoint["architecture"], checkpoint["model"], "the run").eval()
    index = ClipIndex.from_tree(tree).select(("S2",))
    inputs, rivals = read_input(checkpoint["preprocessing"]), reversed_actions(index.class_names)
    turns = []
    for item in map(inputs.dataset(index).__getitem__, inputs.test_keys(index)):
        if (rival := rivals[item["label"]]) >= 0:
            with torch.no_grad():
                seen = torch.stack([item["frames"], item["frames"].flip(0)])
                scores = model(seen).logits
            wins = scores[:, item["label"]] > scores[:, rival]
            turns.append(bool(wins[0] != wins[1]))
    found = json.loads((early_run / "eval.json").read_text())["turned"]
    assert found == pytest.approx(100 * np.mean(turns))


def test_views_are_sampled_averaged_and_drawn(tree, tmp_path):
    sampled = {"frames": None, "clip_len": 3, "frame_interval": 2, "num_clips": 2}
    train_video.main(config(tree, tmp_path / "run", network="early", **sampled))
    saved = json.loads((tmp_path / "run" / "eval.json").read_text())
    assert saved["protocol"] == "mean logits of 2 views of 3 frames, 2 apart, centre crop"
    evaluate.main(evaluate.Config(run=tmp_path / "run", data=tree, out=tmp_path / "e", workers=0))
    assert json.loads((tmp_path / "e" / "eval.json").read_text())["top1"] == saved["top1"]
    asked = {"runs": (tmp_path / "run",), "data": tree, "clips": ("S2/open_jam/1",), "device": "cpu"}
    cam_viz.main(cam_viz.Config(**asked, out=tmp_path / "heat"))
    assert np.load(next((tmp_path / "heat").glob("*.npy"))).shape[0] == 6
    with pytest.raises(UserError, match="takes views of a clip"):
        window_size(open_viewers((tmp_path / "run",), "cpu"))


def test_heat_is_drawn_for_every_frame(tree, early_run, tmp_path):
    for heat in ("attention", "cam"):
        asked = {"runs": (early_run,), "data": tree, "clips": ("S2/open_jam/1",), "device": "cpu"}
        cam_viz.main(cam_viz.Config(**asked, out=tmp_path / heat, heat=heat))
        (drawn,) = (tmp_path / heat).glob("*.npy")
        assert np.load(drawn).shape[0] == 3


def test_the_report_measures_and_draws_it_as_any_run(tree, early_run, tmp_path, command):
    run = shutil.copytree(early_run, tmp_path / "run")
    make_plan(tmp_path, {"early": [run]}, inputs={"data": tree})
    words = ("--grid", tmp_path, "--out", tmp_path / "report", "--attention", "--heat", "S2/open_jam/1")
    assert command(report.main, report.Config, *words)[0] == 0
    table = read_table(tmp_path / "report/table-attention-pointing.csv")
    assert {row["on"] for row in table} >= {"hand", "moving"}  # at 32 pixels no cell is of the object
    assert (tmp_path / "report/heat/table/S2_open_jam_1.png").is_file()


def test_it_has_no_published_form(early_run, tmp_path):
    with pytest.raises(UserError, match="EarlyFusion has no published form"):
        published.main(published.Config(run=early_run, out=tmp_path / "x.pth"))


def test_the_schedule_falls_at_thirds_of_any_length(tree, tmp_path):
    for epochs, milestones in ((1, ()), (2, (1,)), (12, (4, 8)), (50, (17, 33))):
        asked = config(tree, tmp_path / "run", network="early", epochs=epochs)
        resolved, stage = train_video.resolve(asked, {})
        assert resolved.milestones == stage.milestones == milestones
    asked = config(tree, tmp_path / "run", network="swin3d_t", milestones=(7,))
    _, stage = train_video.resolve(asked, {})
    assert (stage.optimizer, stage.milestones) == ("adamw", (7,))


def test_what_trains_is_in_two_groups_where_a_transformer_begins_trained(tmp_path):
    from models.video import NETWORKS

    with torch.device("meta"):
        model = NETWORKS["swin3d_t"]("swin3d_t", 5, frames=4)
    optimizer = NETWORKS["swin3d_t"].STAGE.override(lr=0.01).build_optimizer(model)
    assert isinstance(optimizer, torch.optim.AdamW)
    assert [group["lr"] for group in optimizer.param_groups] == [0.01, 0.001]
    for weights, factors in ((None, [1.0, 0.1]), ("none", [1.0, 1.0])):
        asked = train_video.Config(data=tmp_path, out=tmp_path / "run", network="swin3d_t", weights=weights)
        assert [group.factor for group in train_video.resolve(asked, {})[1].groups] == factors


def test_a_head_is_as_wide_as_asked_for_or_refused(tree, tmp_path):
    for asked, width in (({}, 64), ({"hidden": 32}, 32)):
        given = config(tree, tmp_path / "run", network="resnet18", temporal="e3d", **asked)
        assert train_video.resolve(given, {})[0].hidden == width


@pytest.mark.parametrize(
    "changes,words",
    [
        ({"network": "i3d-resnet18", "temporal": "avgpool"}, "--temporal belongs to resnet18, resnet34"),
        ({"network": "c3d", "time_padding": "zeros"}, "--time-padding belongs to i3d-resnet18"),
        ({"network": "s3d", "module": "tsm"}, "--module belongs to resnet18"),
        ({"network": "s3d", "partial_bn": True}, "--partial-bn belongs to resnet18"),
        ({"network": "resnet18", "partial_bn": True, "module": "tsm"}, "leave one of them out"),
        ({"network": "early", "frames": None, "num_clips": 3}, "--num-clips belongs to --clip-len"),
        ({"network": "early", "clip_len": 3}, "give either --frames"),
        ({"network": "resnet18", "temporal": "e3d", "hidden": 128}, "a --hidden of at most 64, got 128"),
        (
            {"network": "resnet18", "module": "tsm", "frames": None, "clip_len": 1},
            "and --clip-len 1 leaves none",
        ),
        ({"network": "resnet18", "temporal": "lsta"}, "which no network here has; train it by train_rgb.py"),
        ({"network": "i3d-resnet18", "partial_bn": True}, "with --weights none there are none"),
        ({"network": "mvit_v2_s"}, "takes clips of 16 frames of 224 pixels and nothing else"),
    ],
)
def test_flags_that_do_not_fit_the_network_are_refused(tree, tmp_path, changes, words):
    with pytest.raises(UserError, match=words):
        train_video.main(config(tree, tmp_path / "run", **changes))
    assert not (tmp_path / "run").exists()


def test_the_defaults_that_help_tells_are_those_of_the_networks():
    told = train_video.Config.DEFAULTS
    for name, network in NETWORKS.items():
        assert {flag: told[flag] for flag in network.FLAGS} == dict(network.FLAGS), name
        assert set(network.FLAGS) <= set(train_video.Config.model_fields), name
    without = [name for name, network in NETWORKS.items() if network.START == "none"]
    assert told["weights"][f"{', '.join(without[:-1])} and {without[-1]}"] == "none"


def test_an_unknown_network_is_answered_with_the_list(tree, tmp_path):
    with pytest.raises(UserError, match=r"no network is called 'x3d'; there are\n +resnet18 .*\n"):
        config(tree, tmp_path, network="x3d")


def test_checkpoints_carry_all_that_builds_the_network(early_run):
    checkpoint = RunDirectory(early_run).checkpoint()
    model = build_trained(checkpoint["architecture"], checkpoint["model"], "the run")
    assert (model.network, model.frames) == ("early", 3)


@pytest.mark.parametrize(
    "flags",
    [
        {"network": "i3d-resnet18", "time_padding": "zeros"},
        {"network": "resnet18", "temporal": "trn", "hidden": 8, "module": "tsm"},
    ],
    ids=str,
)
@torch.no_grad()
def test_the_architecture_has_every_flag_that_changes_the_network(flags, tree, tmp_path):
    """Some of them, such as the padding, change no weight and no shape."""
    resolved, _ = train_video.resolve(config(tree, tmp_path / "run", **flags), {})
    architecture, model = train_video.build(resolved, ("open_jam", "close_jam"), {})
    again = build_trained(architecture, model.state_dict(), "the run").eval()
    clip = torch.randn(1, resolved.length, 3, 64, 64)
    assert again(clip).logits.equal(model.eval()(clip).logits)
    assert flags.items() <= resolved.model_dump().items()
