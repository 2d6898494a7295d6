"""Verbs and camera: every action can be seen, reverses are reverses, the camera keeps its pace."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data.sampling import observed_length
from data.synthetic.clip import bystanders, compose, compose_action, draw_phase
from data.synthetic.geometry import Role
from data.synthetic.presets import GTEA61_COUNTS, ClipSpec, plan
from data.synthetic.render import camera_path, steps_back
from data.synthetic.verbs import PROGRAMS

ACTIONS = sorted({spec.action for spec in plan("gtea61", 0)})


def with_new_words() -> set[str]:
    """Every verb and every noun is in one of these actions."""
    known, chosen = set[str](), set[str]()
    for action in ACTIONS:
        spec = ClipSpec("S1", action, "1", 10, (72, 40), 0)
        if words := {spec.verb, *spec.nouns} - known:
            known |= words
            chosen.add(action)
    return chosen


FIRST = with_new_words()


@pytest.mark.parametrize("action", ACTIONS)
def test_every_action_shows_hand_and_object(action: str) -> None:
    size = (72, 40)
    spec = ClipSpec("S3", action, "1", 9, size, 0)
    clip = compose(spec)
    assert len(clip.layers) < 255
    shown = np.stack([numbers for _, numbers in clip.frames(size)])
    roles = np.array([-1, *(layer.role for layer in clip.layers)])[shown]
    assert (roles == Role.HAND).any(axis=(1, 2)).sum() >= 2
    assert (roles == Role.OBJECT).mean(axis=(1, 2)).max() > 0.002


@pytest.mark.parametrize(
    ("action", "reverse"),
    [
        ("open_jam", "close_jam"),
        ("open_sugar", "close_sugar"),
        ("take_cheese", "put_cheese,bread"),
        ("take_bread", "put_bread,bread"),
    ],
)
def test_reverse_is_the_same_program_backwards(action: str, reverse: str) -> None:
    """Both draw the same numbers, and their motion takes the whole clip."""
    ahead, back = (
        compose_action(
            ClipSpec("S1", name, "1", 13, (114, 64), 0), np.linspace(0, 1, 13), np.random.default_rng(5)
        )
        for name in (action, reverse)
    )
    objects = [[layer for layer in clip.layers if layer.role is Role.OBJECT] for clip in (ahead, back)]
    assert len(objects[0]) == len(objects[1]) >= 1
    for one, other in zip(*objects, strict=True):
        np.testing.assert_allclose(one.poses, other.poses[::-1], atol=1e-9)
        np.testing.assert_array_equal(one.visible, other.visible[::-1])
    assert max(np.abs(layer.poses[0] - layer.poses[-1]).max() for layer in objects[0]) > 10
    np.testing.assert_array_equal(ahead.backdrop.image, back.backdrop.image)


@pytest.mark.parametrize("samples", [7, 16])
def test_a_bag_of_sampled_frames_does_not_tell_the_direction(samples: int) -> None:
    """Frames sampled as the models see them show the start of a motion as often as its end."""
    rng = np.random.default_rng(0)
    seen = []
    for _ in range(3000):
        frames = int(rng.integers(16, 33))
        numbers = np.floor(np.linspace(1, frames, samples, endpoint=False)).astype(int)
        seen.append(draw_phase(frames, rng)[numbers - 1])
    phase = np.stack(seen)
    slack = {7: 0.01, 16: 0.05}[samples]
    assert abs(phase.mean() - 0.5) < slack
    assert abs((phase < 0.02).mean() - (phase > 0.98).mean()) < 2 * slack
    assert (np.diff(phase, axis=1) >= 0).all() and phase.min() == 0 and phase.max() == 1


@pytest.mark.parametrize("samples", [8, 16])
def test_a_hidden_start_leaves_a_bag_that_does_not_tell_it_either(samples: int) -> None:
    rng, seen = np.random.default_rng(0), []
    for _ in range(3000):
        frames = int(rng.integers(16, 33))
        hidden = observed_length(frames, 0.25)
        numbers = np.floor(np.linspace(1, frames, samples, endpoint=False)).astype(int)
        phase = draw_phase(frames, rng, hidden)
        assert phase[hidden] == 0
        seen.append(phase[numbers[numbers > hidden] - 1])
    phases = np.concatenate(seen)
    assert abs(phases.mean() - 0.5) < 0.015
    assert abs((phases < 0.02).mean() - (phases > 0.98).mean()) < 0.02


def test_what_stands_on_the_table_tells_no_action_before_a_hidden_start() -> None:
    """Otherwise it does: nothing stands there that is in use."""
    for share, lists in ((0.25, 1), (0.0, 4)):
        actions = ("open_jam", "close_mustard", "pour_water,cup", "stir_spoon,cup")
        specs = [ClipSpec("S1", action, "1", 20, (114, 64), 0, share) for action in actions]
        assert len({tuple(bystanders(spec)) for spec in specs}) == lists
        assert not any({*bystanders(spec)} & {*spec.nouns} for spec in specs)


@pytest.mark.parametrize(
    ("action", "reverse"), [("open_jam", "close_jam"), ("take_cheese", "put_cheese,bread")]
)
@pytest.mark.parametrize("share", [0.0, 0.25])
def test_a_hidden_start_shows_nothing_of_an_action_and_its_reverse_the_same(
    action: str, reverse: str, share: float
) -> None:
    """With the same draws the first quarter is equal pixel by pixel; without a hidden start it is not."""
    size, frames, shown, roles = (114, 64), 14, [], []
    for name in (action, reverse):
        spec, rng = ClipSpec("S1", name, "1", frames, size, 0, share), np.random.default_rng(5)
        clip = compose_action(spec, draw_phase(frames, rng, spec.hidden_frames), rng)
        pictures, numbers = zip(*clip.frames(size), strict=True)
        shown.append(np.stack(pictures))
        roles.append(np.array([-1, *(layer.role for layer in clip.layers)])[np.stack(numbers)])
    first = observed_length(frames, 0.25)
    assert np.array_equal(shown[0][:first], shown[1][:first]) == (share > 0)
    assert not np.array_equal(shown[0][first:], shown[1][first:])
    for role in roles if share else ():
        assert (role[:first] == -1).all(), "no hands, things or shadows"
        assert (role[first:] == Role.OBJECT).any(axis=(1, 2)).sum() >= 5


@pytest.mark.parametrize(
    "action",
    [pytest.param(action, marks=() if action in FIRST else pytest.mark.stress) for action in ACTIONS],
)
def test_of_no_action_is_anything_seen_in_a_hidden_start(
    action: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = ClipSpec("S4", action, "1", 10, (72, 40), 0, 0.25)
    clip = compose(spec)
    monkeypatch.setitem(PROGRAMS, spec.verb, lambda shot, nouns: None)
    assert np.array_equal(clip.backdrop.image, compose(spec).backdrop.image), "nothing in use stands there"
    assert not any(layer.visible[:3].any() for layer in clip.layers)
    assert any(layer.visible[3] for layer in clip.layers if layer.role is Role.OBJECT)


@given(
    st.integers(2, 40), st.floats(0.5, 8), st.sampled_from([(455, 256), (228, 128)]), st.integers(0, 10**6)
)
@settings(max_examples=15, deadline=None)
def test_camera_keeps_its_pace(frames: int, shake: float, size: tuple[int, int], seed: int) -> None:
    views = camera_path(frames, shake, size, np.random.default_rng(seed))
    back = steps_back(views)
    w, h = size
    x, y = np.meshgrid(w * (np.arange(9) + 0.5) / 9, h * (np.arange(9) + 0.5) / 9)
    points = np.stack([x.ravel(), y.ravel(), np.ones(81)])
    for step in back[1:]:
        moved = step @ points
        motion = np.linalg.norm(moved[:2] / moved[2] - points[:2], axis=0).mean()
        assert 1.0 < motion < 6.0


def test_gtea61_has_the_real_set_s_counts() -> None:
    specs = plan("gtea61", 0)
    assert len(specs) == 457 and sum(spec.frames for spec in specs) == 22708 and len(ACTIONS) == 61
    assert sum(spec.user == "S2" for spec in specs) == 116
    assert len({(spec.user, spec.action, spec.instance) for spec in specs}) == 457


def test_gtea61_counts_are_the_manifest_s() -> None:
    manifest = Path(__file__).parents[2].parent / "shared" / "gtea61_manifest.csv"
    if not manifest.is_file():
        pytest.skip("no ../shared/gtea61_manifest.csv beside the checkout")
    ours = [line.rsplit(",", 1) for line in GTEA61_COUNTS.read_text().splitlines()[1:]]
    assert [f"{address},{count}" for address, count in ours] == [
        ",".join(line.rsplit(",", 5)[:2]) for line in manifest.read_text().splitlines()[1:]
    ]


@pytest.mark.parametrize(
    ("preset", "actions", "clips", "lengths"), [("tiny", 6, 2, (16, 24)), ("demo", 20, 7, (16, 32))]
)
def test_presets(preset: str, actions: int, clips: int, lengths: tuple[int, int]) -> None:
    specs = plan(preset, 1)
    names = {spec.action for spec in specs}
    assert len(names) == actions and names <= set(ACTIONS)
    assert len(specs) == actions * clips * 4
    assert all(lengths[0] <= spec.frames <= lengths[1] and spec.size == (228, 128) for spec in specs)
    pairs = [name for name in names if name.replace("open_", "close_") in names and name.startswith("open_")]
    pairs += [name for name in names if name.startswith("take_") and f"put_{name[5:]},bread" in names]
    assert len(pairs) >= 2
