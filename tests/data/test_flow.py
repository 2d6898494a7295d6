from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from data.flow import METHODS, compute_flow, decode, encode, flow_colours
from tests.support.motion_scene import make_scene

SAMPLES = Path(__file__).parents[3] / "shared" / "gtea61_samples"


def test_encode_is_the_formula():
    displacements = np.array([-25, -20, -19.95, -0.1, 0, 0.1, 1, 7.3, 20, 99], np.float32)
    expected = [round(255 * (min(max(float(u), -20), 20) + 20) / 40) for u in displacements]
    assert encode(displacements).tolist() == expected
    assert encode(displacements).dtype == np.uint8
    assert encode(np.zeros(1)).item() == 128


def test_encode_gives_not_a_number_a_meaning():
    assert encode(np.array([np.nan, np.inf, -np.inf])).tolist() == [128, 255, 0]


@given(st.floats(-30, 30), st.sampled_from([10.0, 15.0, 20.0]))
def test_decode_undoes_encode_within_half_a_level(displacement, bound):
    there_and_back = decode(encode(np.array([displacement]), bound), bound).item()
    assert abs(there_and_back - np.clip(displacement, -bound, bound)) <= bound / 255 + 1e-4


@given(st.floats(-30, 30))
def test_a_flip_of_the_picture_is_255_minus_the_level(displacement):
    level, mirrored = encode(np.array([displacement, -displacement])).astype(int)
    assert abs(255 - level - mirrored) <= 1


@pytest.mark.parametrize("method", METHODS)
def test_flow_finds_a_known_motion(method):
    scene = make_scene(num_frames=2, height=96, width=128, camera_px=2.5, noise=0.5)
    truth, _ = scene.flow(1)
    found = compute_flow(scene.frames[0], scene.frames[1], method)
    assert found.shape == (96, 128, 2) and found.dtype == np.float32
    error = np.linalg.norm(found - truth, axis=2)[10:-10, 10:-10]
    assert np.median(np.linalg.norm(truth, axis=2)) > 2
    assert np.median(error) < 0.25


@pytest.mark.parametrize("method", METHODS)
def test_frames_without_motion_or_structure_have_zero_flow(method):
    textured = make_scene(num_frames=1, height=48, width=64).frames[0]
    black, white = np.zeros_like(textured), np.full_like(textured, 255)
    for prev, cur in [
        (textured, textured),
        (black, black),
        (black, white),
        (black, textured),
        (textured, white),
    ]:
        assert not compute_flow(prev, cur, method).any()


@pytest.mark.parametrize("method", METHODS)
def test_flow_does_not_depend_on_the_sizes_seen_before(method):
    """OpenCV's solvers remember the size of their last frames."""
    pairs = [make_scene(num_frames=2, height=h, width=w).frames for h, w in ((96, 128), (32, 32), (64, 96))]
    alone = []
    for pair in pairs:
        for width in range(33, 43):  # more sizes than solvers are kept, so that this pair gets a new one
            compute_flow(*np.zeros((2, 32, width), np.uint8), method)
        alone.append(compute_flow(*pair, method))
    together = [compute_flow(*pair, method) for pair in (*pairs, *pairs)]
    assert all(map(np.array_equal, together, alone + alone))


@pytest.mark.parametrize("method", METHODS)
def test_flow_of_unrelated_frames_is_finite(method):
    rng = np.random.default_rng(0)
    prev, cur = rng.integers(0, 256, (2, 48, 64), dtype=np.uint8)
    assert np.isfinite(compute_flow(prev, cur, method)).all()


@pytest.mark.parametrize("shape", [(32, 32), (33, 57), (101, 40)])
@pytest.mark.parametrize("method", METHODS)
def test_flow_takes_odd_and_small_sizes(method, shape):
    prev, cur = np.random.default_rng(0).integers(0, 256, (2, *shape), dtype=np.uint8)
    assert compute_flow(prev, cur, method).shape == (*shape, 2)


def test_what_is_no_pair_of_frames_is_refused():
    frame = np.zeros((40, 50), np.uint8)
    with pytest.raises(ValueError, match="one size"):
        compute_flow(frame, frame[:39])
    with pytest.raises(ValueError, match="grey"):
        compute_flow(np.zeros((40, 50, 3), np.uint8), frame)
    with pytest.raises(ValueError, match="at least 32"):
        compute_flow(frame[:31], frame[:31])
    with pytest.raises(ValueError, match="tvl1, dis"):
        compute_flow(frame, np.eye(40, 50, dtype=np.uint8), "lucas")


def test_flow_colours():
    flow = np.zeros((2, 3, 2), np.float32)
    flow[0, 1:] = [(8, 0), (-8, 0)]
    colours = flow_colours(flow, largest_px=8)
    assert colours.dtype == np.uint8
    assert colours[0, 0].tolist() == [255, 255, 255]
    assert colours[0, 1].tolist() == [255, 0, 0]  # right is red: RGB, not BGR
    assert colours[0, 2].tolist() == [0, 255, 255]


@pytest.mark.skipif(not SAMPLES.is_dir(), reason="needs the real files of ../shared/gtea61_samples")
def test_real_flow_files_decode_to_small_motion():
    paths = sorted(SAMPLES.glob("flow_*.png"))
    assert len(paths) == 6
    for path in paths:
        image = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
        assert image.shape == (256, 455, 3)
        assert (image == image[..., :1]).all()
        displacement = decode(image[..., 0])
        assert np.abs(displacement).max() < 20
        assert abs(np.median(displacement)) < 1.5
        assert (encode(displacement) == image[..., 0]).all()
