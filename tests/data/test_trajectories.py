from pathlib import Path

import cv2
import numpy as np
import pytest

from data.motion.camera import STILL, Camera, warp_flow
from data.motion.trajectories import DenseTracks, motion_maps, moves_by_itself, paint_discs
from tests.support.motion_scene import Patch, make_scene

SAMPLES = Path(__file__).parents[3] / "shared" / "gtea61_samples"
WALKER = Patch((40, 60), (4, 1), (28, 24))


def accepted(homography):
    return Camera(np.asarray(homography, float), 99, 99, True)


def dilated(masks, radius):
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1))
    return np.stack([cv2.dilate(mask.astype(np.uint8), kernel) for mask in masks]).astype(bool)


def slow_tracks(frames, flows, cameras):
    """Trajectories and map points one by one, as `data.motion.trajectories` says. Short side 256."""
    height, width = frames[0].shape
    alive, points = [], [set() for _ in frames]

    def end(track):
        lengths = [float(np.hypot(*step)) for step in track["own"]]
        if len(lengths) < 3 or sum(lengths) < 4 or max(lengths) > 0.8 * sum(lengths):
            return
        for place, position in enumerate(track["path"]):
            if lengths[max(place - 1, 0)] >= 0.5:
                points[track["first"] + place].add(tuple(np.rint(position).astype(int).tolist()))

    for k, (flow, camera) in enumerate(zip(flows, cameras, strict=True)):
        if not camera.accepted:
            for track in alive:
                end(track)
            alive = []
            continue
        structure = cv2.cornerMinEigenVal(frames[k], 3)
        taken = {(int(t["path"][-1][0] // 5), int(t["path"][-1][1] // 5)) for t in alive}
        for row in range(2, height, 5):
            for column in range(2, width, 5):
                if structure[row, column] > 0.0003 * structure.max() and (column // 5, row // 5) not in taken:
                    alive.append({"first": k, "path": [np.array([column, row], np.float32)], "own": []})
        smooth = np.dstack([cv2.medianBlur(np.ascontiguousarray(flow[..., axis]), 5) for axis in (0, 1)])
        inverse, still_alive = np.linalg.inv(camera.homography), []
        for track in alive:
            here = track["path"][-1]
            own = smooth[int(np.rint(here[1])), int(np.rint(here[0]))]
            x, y, depth = inverse @ [*(here + own), 1]
            landed = np.array([x / depth, y / depth], np.float32)
            if not (0 <= landed[0] <= width - 1 and 0 <= landed[1] <= height - 1):
                end(track)
                continue
            track["own"].append(own)
            track["path"].append(landed)
            if len(track["own"]) == 10:
                end(track)
            else:
                still_alive.append(track)
        alive = still_alive
    for track in alive:
        end(track)
    return points


def test_tracks_are_those_of_a_slow_reference():
    scene = make_scene(
        seed=2, num_frames=14, height=256, width=256, patches=(Patch((120, 120), (7, -3), (50, 45)),)
    )
    pairs = [warp_flow(prev, cur) for prev, cur in zip(scene.frames, scene.frames[1:], strict=False)]
    flows, cameras = [pair.flow_px for pair in pairs], [pair.camera for pair in pairs]
    cameras[2] = STILL  # a pair without homography ends all tracks
    tracks = DenseTracks((256, 256), 14)
    for frame, flow, camera in zip(scene.frames, flows, cameras, strict=False):
        tracks.step(frame, flow, camera)
    tracks.finish()
    expected = slow_tracks(scene.frames, flows, cameras)
    assert sum(map(len, expected)) > 500
    for number, points in enumerate(expected):
        canvas = np.zeros((256, 256), np.uint8)
        for x, y in points:
            canvas[y, x] = 1
        rows, columns = np.mgrid[-5:6, -5:6]
        painted = cv2.dilate(canvas, (rows**2 + columns**2 <= 5.3**2).astype(np.uint8)) > 0
        # a point that rounds the other way moves its disc by one pixel
        assert (painted ^ tracks.map(number)).sum() <= 0.01 * max(painted.sum(), 1)


@pytest.mark.parametrize("camera_px", [0, 3])
def test_maps_show_what_moves(camera_px):
    scene = make_scene(seed=1, num_frames=13, height=128, width=200, camera_px=camera_px, patches=(WALKER,))
    maps = motion_maps(scene.frames)
    moving = np.stack(scene.moving)
    precision = (maps & dilated(moving, 3)).sum() / maps.sum()
    recall = (maps & moving).sum() / moving.sum()
    assert maps.shape == moving.shape and maps.dtype == bool
    assert precision > 0.8
    assert recall > 0.7
    assert maps.any(axis=(1, 2)).all()  # the first and the last frame have theirs too


def test_nothing_moves_by_itself_under_a_moving_camera():
    scene = make_scene(seed=4, num_frames=12, height=128, width=200, camera_px=5, noise=2)
    assert motion_maps(scene.frames).mean() < 0.002


def test_maps_of_a_still_noisy_scene_are_empty():
    scene = make_scene(seed=4, num_frames=12, height=128, width=200, camera_px=0, noise=3)
    assert not motion_maps(scene.frames).any()


def test_clips_that_hold_no_trajectory_have_empty_maps():
    scene = make_scene(seed=1, num_frames=4, height=128, width=200, patches=(WALKER,))
    for number in (1, 2, 3):
        maps = motion_maps(scene.frames[:number])
        assert maps.shape == (number, 128, 200) and not maps.any()
    assert motion_maps(scene.frames).any()  # three steps are enough


@pytest.mark.parametrize("grey", [0, 255])
def test_flat_frames_have_empty_maps(grey):
    assert not motion_maps([np.full((64, 96), grey, np.uint8)] * 5).any()


def test_short_static_and_erratic_trajectories_are_removed():
    own = np.zeros((5, 10, 2), np.float32)
    own[0, :, 0] = 1  # moves
    own[1, :, 0] = 0.3  # static: 3 px in all
    own[2, :, 1] = [0.1] * 9 + [30]  # one jump
    own[3, :2, 0] = 5  # two steps only
    own[4, :3, 0] = 5  # left the picture after three
    age = np.array([10, 10, 10, 2, 3])
    assert moves_by_itself(own, age).tolist() == [True, False, False, False, True]
    assert moves_by_itself(own, age, scale=0.5).tolist() == [True, True, False, False, True]
    assert moves_by_itself(own[:0], age[:0]).tolist() == []


def test_a_point_is_painted_only_where_it_moves():
    """One bright dot rests for four frames, then moves for five."""
    steps = [0, 0, 0, 0, 6, 6, 6, 6, 6]
    at = 60 + np.cumsum([0, *steps])
    frames = [np.zeros((256, 256), np.uint8) for _ in at]
    for frame, x in zip(frames, at, strict=True):
        cv2.circle(frame, (int(x), 100), 3, 255, -1)
    tracks = DenseTracks((256, 256), len(frames))
    for frame, step in zip(frames, steps, strict=False):
        flow = np.zeros((256, 256, 2), np.float32)
        flow[..., 0] = np.where(frame > 0, step, 0)
        flow[95:106, :, 0] = step
        tracks.step(frame, flow, accepted(np.eye(3)))
    tracks.finish()
    assert [bool(tracks.map(number).any()) for number in range(10)] == [False] * 5 + [True] * 5
    columns = np.flatnonzero(tracks.map(7).any(axis=0))
    assert abs((columns[0] + columns[-1]) / 2 - at[7]) <= 3


@pytest.mark.skipif(not SAMPLES.is_dir(), reason="needs the real maps of ../shared/gtea61_samples")
def test_discs_are_as_large_as_in_real_maps():
    areas = []
    for path in SAMPLES.glob("map*.png"):
        _, _, stats, _ = cv2.connectedComponentsWithStats(cv2.imread(str(path), 0))
        areas += [area for *_, width, height, area in stats[1:].tolist() if width < 13 and height < 13]
    disc = paint_discs([np.array([[200, 100]], np.float32)], (256, 455))
    assert min(areas) <= disc.sum() <= max(areas)
    assert disc[100, 200] and disc.sum(axis=0).max() in (10, 11)
