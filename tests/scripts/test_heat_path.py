"""What cam_viz.py draws of every kind of run, from trained runs to the files."""

import numpy as np
import pytest
import torch
import tyro
from PIL import Image

import cam_viz
import train_rgb
from core.errors import UserError
from data import ClipIndex
from data.images import read_frames
from data.sampling import rgb_frame_numbers
from data.transforms import Preprocessing, transform_frames
from models.base import ClipModel
from models.build import build_model
from tests.support.thin import thin_resnet18
from training.run import look_at
from viz.viewer import open_viewers, view_clip

KEY = "S2/open_jam/1"


def clip_of(tree, key=KEY):
    return ClipIndex.from_tree(tree).find([key]).clips[0]


def saved_chances(run):
    """Each test clip's winning class and its softmax, as the run itself saved them."""
    with np.load(run / "predictions.npz") as saved:
        chances = np.exp(saved["logits"] - saved["logits"].max(axis=1, keepdims=True))
        chances /= chances.sum(axis=1, keepdims=True)
        return dict(
            zip(saved["clip"].tolist(), zip(chances.argmax(1), chances.max(1), strict=True), strict=True)
        )


def test_a_run_is_drawn_once(tmp_path):
    with pytest.raises(UserError, match="--runs names .*x/../rgb twice; name each once"):
        cam_viz.Config(runs=(tmp_path / "rgb", tmp_path / "x/../rgb"), data=tmp_path, sample=1, out=tmp_path)


@torch.no_grad()
def test_attention_is_what_the_equations_give(tree, stage_1):
    """M = w_c f for each frame's winning class c, softmax over the cells, on torchvision's own network."""
    (viewer,) = open_viewers([stage_1], "cpu")
    clip = clip_of(tree)
    view = view_clip(clip, [viewer]).views[0]
    prefix, weights = "backbone.resnet.", torch.load(stage_1 / "last.pt", weights_only=True)["model"]
    weights = {name.removeprefix(prefix): w for name, w in weights.items() if name.startswith(prefix)}
    net = thin_resnet18(num_classes=len(weights["fc.weight"])).eval()
    net.load_state_dict(weights)
    body = torch.nn.Sequential(*list(net.children())[:-2])
    numbers = rgb_frame_numbers(clip.num_frames, 3).tolist()
    frames = transform_frames(read_frames(clip.frames, numbers), Preprocessing.rgb(64), None)
    for frame, found in zip(frames, view.heat, strict=True):
        f = body(frame[None])[0]
        row = net.fc.weight[net.fc(f.mean(dim=(1, 2))).argmax()]
        heat = np.exp(np.tensordot(row.numpy(), f.numpy(), 1).astype(float))
        np.testing.assert_allclose(found, heat / heat.sum(), atol=1e-6)


@pytest.mark.parametrize("heat", ["attention", "cam"])
def test_every_stream_on_the_same_frames_with_the_predictions_of_its_test(
    moving_tree, stage_2, flow_run, joint_run, heat
):
    runs = {"rgb": stage_2, "flow": flow_run, "joint": joint_run}
    viewers = open_viewers(list(runs.values()), "cpu", heat)
    index = ClipIndex.from_tree(moving_tree).select(["S2"])
    for clip in index.clips[:2]:
        scene = view_clip(clip, viewers)
        numbers = rgb_frame_numbers(clip.num_frames, 3)
        assert scene.labels == tuple(f"frame {number} of {clip.num_frames}" for number in numbers)
        for view, run in zip(scene.views, runs.values(), strict=True):
            winner, chance = saved_chances(run)[clip.key]
            assert view.predicted == index.class_names[winner]
            assert view.confidence == pytest.approx(chance, rel=1e-4)
            assert view.heat.shape == (3, 2, 2) and view.heat.min() >= 0
            sums = view.heat.sum(axis=(1, 2))
            assert (np.isclose(sums, 1, atol=1e-5) | (sums == 0)).all()


def test_a_finished_run_names_a_command_that_works(tree, stage_1, tmp_path):
    """Stage 1 is followed by stage 2; other networks are looked at, with a heat map that they have."""
    saved = torch.load(stage_1 / "last.pt", weights_only=True)
    model, config = build_model(saved["architecture"]), train_rgb.Config(**saved["config"])
    python, script, *words = map(str, train_rgb.following(config, model))
    assert (python, script) == ("python", "train_rgb.py") and words[-1] == "RUN"
    assert tyro.cli(train_rgb.Config, args=[*words[:-1], str(tmp_path)]).init == config.out
    python, script, *words = map(str, look_at(config, model))
    assert (python, script) == ("python", "cam_viz.py")
    looked = tyro.cli(cam_viz.Config, args=words)
    assert looked.runs == (config.out,) and looked.heat == "attention" and looked.html
    blind = build_model(saved["architecture"] | {"attention": "none", "temporal": "avgpool"})
    assert tyro.cli(cam_viz.Config, args=list(map(str, look_at(config, blind)[2:]))).heat == "cam"
    assert look_at(config, ClipModel()) == ()


def test_a_page_gets_the_frames_between_as_well(tree, stage_1):
    clip = clip_of(tree)
    scene = view_clip(clip, open_viewers([stage_1], "cpu"), film=True)
    assert scene.film is not None and len(scene.film.frames) == clip.num_frames
    every = read_frames(clip.frames, list(range(1, clip.num_frames + 1))).permute(0, 2, 3, 1).numpy()
    assert (scene.film.frames == every).all() and set(scene.labels) < set(scene.film.labels)
    seen = [scene.film.labels.index(label) for label in scene.labels]
    assert (scene.film.frames[seen] == scene.frames).all()


def test_flow_alone_shows_the_frames_its_stacks_begin_with(moving_tree, flow_run, tmp_path):
    cam_viz.main(cam_viz.Config(runs=(flow_run,), data=moving_tree, clips=(KEY,), heat="cam", out=tmp_path))
    clip = clip_of(moving_tree)
    scene = view_clip(clip, open_viewers([flow_run], "cpu", "cam"))
    last = clip.num_flow - 3 + 1  # stacks of 3
    assert scene.labels == (
        f"frame 1 of {clip.num_frames}",
        f"frame {1 + (last - 1) // 2} of {clip.num_frames}",
    )
    assert np.load(tmp_path / f"S2_open_jam_1_{flow_run.name}.npy").shape == (2, 2, 2)
    with Image.open(tmp_path / "S2_open_jam_1.gif") as gif:
        assert gif.n_frames == 2


@pytest.mark.parametrize("run", ["flow_run", "joint_run"])
def test_flow_is_asked_for_where_there_is_none(tree, tmp_path, command, request, run):
    settings = ("--runs", request.getfixturevalue(run), "--out", tmp_path / "out")
    status, _, said = command(cam_viz.main, cam_viz.Config, *settings, "--data", tree, "--clips", KEY)
    assert status == 2 and "has no flow_x" in said and "data.motion" in said
    status, _, said = command(cam_viz.main, cam_viz.Config, *settings, "--video", tree / "none.mp4")
    assert status == 2 and "takes flow, which a video does not have" in said
    assert not (tmp_path / "out").exists()
