import cv2
import numpy as np
import pytest

from data.motion.camera import (
    STILL,
    Camera,
    camera_homography,
    even_corners,
    is_cut,
    pixel_grid,
    warp_back,
    warp_flow,
    zero_flow_where_still,
)
from data.motion.homography import fit_homography, refine, transform
from tests.support.motion_scene import Patch, apply, make_scene

TRUE = np.array([[1.01, 0.02, -3.0], [-0.015, 0.99, 2.0], [2e-5, -1e-5, 1.0]])
HANDS = (Patch((40, 90), (4, -2), (26, 22)), Patch((125, 60), (-3, 2), (18, 24)))


def matches(rng, count, wrong=0.0, noise=0.0):
    """Matches that obey TRUE (target to source), some of them wrong."""
    target = rng.uniform(0, [320, 240], (count, 2))
    source = apply(TRUE, target) + rng.normal(0, noise, (count, 2)) if noise else apply(TRUE, target)
    bad = rng.random(count) < wrong
    source[bad] += rng.uniform(5, 20, (int(bad.sum()), 2))
    return source.astype(np.float32), target.astype(np.float32)


def grid_error(found, true, height, width):
    """Mean distance between where two homographies put the pixels."""
    pixels = pixel_grid(height, width).astype(np.float64)
    return np.linalg.norm(apply(found, pixels) - apply(true, pixels), axis=2).mean()


def test_transform_is_the_projective_map():
    points = np.array([[0, 0], [10, 5], [300, 200]], np.float32)
    assert transform(TRUE, points) == pytest.approx(apply(TRUE, points.astype(float)), abs=1e-3)
    assert transform(TRUE, np.empty((0, 2), np.float32)).shape == (0, 2)


def test_a_homography_is_found_among_wrong_matches():
    source, target = matches(np.random.default_rng(0), 200, wrong=0.4)
    fit = fit_homography(source, target)
    assert fit is not None
    assert grid_error(fit.homography, TRUE, 240, 320) < 1e-3
    assert 90 < fit.inliers < 150


def test_too_few_matches_or_inliers_give_no_homography():
    rng = np.random.default_rng(0)
    assert fit_homography(*matches(rng, 50)) is None
    assert fit_homography(*matches(rng, 51)) is not None
    source, target = rng.uniform(0, 300, (2, 60, 2)).astype(np.float32)
    assert fit_homography(source, target) is None
    same = np.full((80, 2), 7, np.float32)
    assert fit_homography(same, same) is None


def test_the_refinement_ignores_slowly_moving_points():
    """A third of the points is off by less than RANSAC's pixel, all the same way, as a slow hand is."""
    source, target = matches(np.random.default_rng(1), 300, noise=0.03)
    source[:100, 0] += 0.6
    squares, _ = cv2.findHomography(target, source, 0)
    refined = refine(np.asarray(squares), source, target)
    assert grid_error(squares, TRUE, 240, 320) > 0.1
    assert grid_error(refined, TRUE, 240, 320) < 0.03


def test_the_refinement_takes_its_scale_from_the_matches_that_agree():
    """Most matches are wrong, so that the median distance of all would let these in."""
    source, target = matches(np.random.default_rng(2), 200, wrong=0.6)
    start = TRUE + np.array([[0, 0, 0.3], [0, 0, 0], [0, 0, 0]])
    assert grid_error(refine(start, source, target), TRUE, 240, 320) < 1e-3


@pytest.mark.parametrize("seed", range(3))
def test_camera_motion_of_a_scene_with_moving_things(seed):
    scene = make_scene(seed=seed, num_frames=3, patches=HANDS)
    for k in (1, 2):
        camera = camera_homography(scene.frames[k - 1], scene.frames[k])
        assert camera.accepted
        assert grid_error(camera.homography, scene.homography(k), 120, 160) < 0.1
        truth, _ = make_scene(seed=seed, num_frames=3).flow(k)
        assert np.linalg.norm(camera.flow(120, 160) - truth, axis=2).mean() < 0.1


def test_textured_hands_on_a_plain_table_do_not_drag_the_camera():
    """Half of the strongest corners move: the homography holds on to the weak ones that don't."""
    scene = make_scene(
        seed=3, num_frames=2, height=256, width=340, noise=0, patches=(Patch((170, 190), (6, -3), (90, 60)),)
    )
    rng = np.random.default_rng(0)
    plain = []
    for frame, moving in zip(scene.frames, scene.moving, strict=True):
        faint = 128 + 0.1 * (frame.astype(float) - 128)
        plain.append(
            np.clip(np.where(moving, frame, faint) + rng.normal(0, 1.5, frame.shape), 0, 255).astype(np.uint8)
        )
    camera = camera_homography(*plain)
    assert grid_error(camera.homography, scene.homography(1), 256, 340) < 0.3


def test_corners_are_spread():
    rng = np.random.default_rng(0)
    frame = rng.integers(118, 138, (160, 256), dtype=np.uint8)
    frame[:80, :128] = rng.integers(0, 256, (80, 128))
    corners = even_corners(frame)
    left_top = ((corners[:, 0] < 120) & (corners[:, 1] < 72)).mean()
    assert left_top < 0.35  # a quarter of the frame holds nearly all strong corners
    assert len({tuple(corner) for corner in corners.tolist()}) == len(corners)


def test_a_small_frame_has_about_as_many_corners_as_a_large_one():
    frame = make_scene(seed=2, num_frames=1, height=256, width=340, noise=0).frames[0]
    halved = cv2.resize(frame, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
    assert len(even_corners(halved)) > 0.9 * len(even_corners(frame)) > 100


def test_warping_back_shows_the_current_frame_from_the_previous_camera():
    scene = make_scene(num_frames=2, noise=0)
    camera = Camera(scene.homography(1), 99, 99, True)
    seen = warp_back(scene.frames[0], scene.frames[1], camera)
    inner = np.abs(seen.astype(int) - scene.frames[0])[8:-8, 8:-8]
    assert np.abs(scene.frames[1].astype(int) - scene.frames[0])[8:-8, 8:-8].mean() > 10
    assert inner.mean() < 3
    unseen = np.float64([[1, 0, -40], [0, 1, 0], [0, 0, 1]])
    moved = warp_back(scene.frames[0], scene.frames[1], Camera(unseen, 99, 99, True))
    assert (moved[:, -39:] == scene.frames[0][:, -39:]).all()


def test_warp_flow_takes_the_camera_away():
    scene = make_scene(
        seed=1, num_frames=2, height=180, width=240, patches=(Patch((120, 90), (5, -4), (35, 25)),)
    )
    whole, own = scene.flow(1)
    warped = warp_flow(scene.frames[0], scene.frames[1])
    moving = scene.moving[0]
    background = np.linalg.norm(warped.flow_px, axis=2)[~moving]
    assert np.median(np.linalg.norm(whole, axis=2)[~moving]) > 2
    assert np.median(background) < 0.05
    assert (background < 0.5).mean() > 0.97
    inner = cv2.erode(moving.astype(np.uint8), np.ones((9, 9), np.uint8)) > 0
    assert np.median(np.linalg.norm(warped.flow_px - own, axis=2)[inner]) < 0.5


def test_shadows_and_exposure_count_as_still_and_motion_does_not():
    rng = np.random.default_rng(0)
    noise = np.full((160, 200, 2), 1.0, np.float32)  # what a flow method may say of a plain table
    prev = cv2.GaussianBlur(rng.uniform(0, 255, (160, 200)), (0, 0), 2)
    prev = np.clip(128 + 4 * (prev - prev.mean()), 0, 255)
    shadow = np.ones_like(prev)
    shadow[:, 60:140] = cv2.GaussianBlur(np.full((160, 80), 0.8), (0, 0), 3)
    shadow = cv2.GaussianBlur(shadow, (0, 0), 15)
    shaded = np.clip(prev * shadow, 0, 255).astype(np.uint8)
    prev = prev.astype(np.uint8)
    assert not zero_flow_where_still(noise, prev, shaded).any()
    assert not zero_flow_where_still(noise, prev, cv2.add(prev, 6)).any()
    shifted = np.roll(prev, 3, axis=1)
    true = np.zeros((160, 200, 2), np.float32)
    true[..., 0] = 3
    assert (zero_flow_where_still(true, prev, shifted)[10:-10, 10:-10] == true[10:-10, 10:-10]).mean() > 0.99


@pytest.mark.parametrize("grey", [0, 255, 128])
def test_without_anything_to_hold_on_to_the_camera_is_taken_as_still(grey):
    flat = np.full((64, 96), grey, np.uint8)
    warped = warp_flow(flat, flat)
    assert not warped.camera.accepted
    assert (warped.camera.homography == np.eye(3)).all()
    assert not warped.flow_px.any()
    assert warp_back(flat, flat, STILL) is flat


def test_identical_frames_have_a_still_camera():
    frame = make_scene(num_frames=1).frames[0]
    warped = warp_flow(frame, frame)
    assert warped.camera.accepted
    assert warped.camera.homography == pytest.approx(np.eye(3), abs=1e-4)
    assert not warped.flow_px.any()


def test_a_cut_is_told_from_motion():
    scene = make_scene(seed=0, num_frames=6, camera_px=6, patches=HANDS)
    other = make_scene(seed=9, num_frames=1).frames[0]
    for prev, cur in zip(scene.frames, scene.frames[1:], strict=False):
        assert not is_cut(prev, cur)
    assert is_cut(scene.frames[0], other)
    black = np.zeros_like(other)
    assert is_cut(black, other) and is_cut(other, black)
    assert not is_cut(black, black)
    assert not camera_homography(scene.frames[0], other).accepted
