"""The kitchen's truth against its pictures: what the files say moved must be what moved."""

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from data.synthetic.command import render_clip
from data.synthetic.presets import ClipSpec
from data.synthetic.truth import MOVES_PX, true_flow
from data.tree import rgb_folder, rgb_name, truth_file

SIZE = (228, 128)
ACTIONS = ("open_jam", "put_cheese,bread", "pour_water,cup", "fold_bread", "stir_spoon,cup")
Truth = dict[str, NDArray[np.generic]]


@pytest.fixture(scope="module", params=ACTIONS)
def clip(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[NDArray[np.float32], Truth]]:
    root = tmp_path_factory.mktemp("kitchen")
    spec = ClipSpec("S2", request.param, "1", 14, SIZE, 3)
    render_clip(root, spec)
    folder = rgb_folder(root, "S2", request.param, "1")
    names = sorted(path.name for path in folder.iterdir())
    assert names == [rgb_name(k) for k in range(1, 15)]
    frames = np.stack([cv2.imread(str(folder / name)) for name in names]).astype(np.float32)
    with np.load(truth_path(root, request.param)) as arrays:
        yield frames, dict(arrays)


def truth_path(root: Path, action: str) -> Path:
    return truth_file(root, "S2", action, "1")


def sample(
    image: NDArray[np.generic], flow: NDArray[np.float64], how: int = cv2.INTER_LINEAR
) -> NDArray[np.generic]:
    """The image at p + flow(p), NaN (0 for masks) outside."""
    h, w = flow.shape[:2]
    x, y = np.meshgrid(np.arange(w), np.arange(h))
    at = (np.stack([x, y], -1) + flow).astype(np.float32)
    outside = float("nan") if image.dtype == np.float32 else 0
    return np.asarray(
        cv2.remap(image, at, None, how, borderMode=cv2.BORDER_CONSTANT, borderValue=(outside,) * 3)
    )


def test_shapes_and_types(clip: tuple[NDArray[np.float32], Truth]) -> None:
    frames, truth = clip
    assert frames.shape == (14, 128, 228, 3)
    for name in ("hand", "object", "moving"):
        assert truth[name].dtype == bool and truth[name].shape == (14, 128, 228)
    assert not (truth["hand"] & truth["object"]).any()
    assert truth["homography"].shape == (14, 3, 3) and truth["homography"].dtype == np.float64
    np.testing.assert_array_equal(truth["homography"][0], np.eye(3))


def test_homography_brings_the_still_world_back(clip: tuple[NDArray[np.float32], Truth]) -> None:
    frames, truth = clip
    for k in (3, 9):
        back = truth["homography"][k]
        window = dict(flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT, borderValue=(float("nan"),) * 3)
        aligned = cv2.warpPerspective(frames[k], back, SIZE, **window)
        moved = np.stack(
            [
                truth["layer"][k - 1] > 0,
                cv2.warpPerspective((truth["layer"][k] > 0).astype(np.uint8), back, SIZE) > 0,
            ]
        ).any(0)
        wide = cv2.dilate(moved.astype(np.uint8), np.ones((25, 25))) > 0  # soft shadows move too
        still = ~wide & np.isfinite(aligned).all(-1)
        assert error(aligned, frames[k - 1], still) < 0.55 * error(frames[k], frames[k - 1], still)


def error(a: NDArray[np.generic], b: NDArray[np.generic], where: NDArray[np.bool_]) -> float:
    """Summed squared difference of blurred pictures (noise then counts little), away from edges."""
    known = np.isfinite(a).all(-1) & np.isfinite(b).all(-1) & where
    inner = cv2.erode(known.astype(np.uint8), np.ones((5, 5)), borderValue=0) > 0
    a, b = (cv2.GaussianBlur(np.nan_to_num(image), (0, 0), 0.8) for image in (a, b))
    return float(np.sum((a - b)[inner] ** 2))


def test_flow_carries_every_part_to_where_it_goes(clip: tuple[NDArray[np.float32], Truth]) -> None:
    frames, truth = clip
    steps = [k for k in range(1, 14) if truth["moving"][k].mean() > 0.02]
    assert steps
    before = after = 0.0
    for k in steps:
        flow, _, _ = true_flow(truth, k)
        now = sample(frames[k], flow)
        arrives = sample(truth["layer"][k], flow, cv2.INTER_NEAREST) == truth["layer"][k - 1]
        seen = cv2.erode((arrives & np.isfinite(now).all(-1)).astype(np.uint8), np.ones((3, 3))) > 0
        parts = seen & (truth["layer"][k - 1] > 0)
        before += error(frames[k], frames[k - 1], parts)
        after += error(now, frames[k - 1], parts)
    assert after < 0.6 * before


def test_flow_is_camera_plus_own(clip: tuple[NDArray[np.float32], Truth]) -> None:
    _, truth = clip
    x, y = np.meshgrid(np.arange(228.0), np.arange(128.0))
    for k in (1, 7, 13):
        flow, camera, own = true_flow(truth, k)
        np.testing.assert_allclose(flow, camera + own, atol=1e-9)
        there = np.stack([x, y, np.ones_like(x)], -1) + np.dstack([camera, np.zeros_like(x)])
        back = there @ truth["homography"][k].T
        np.testing.assert_allclose(back[..., :2] / back[..., 2:], np.stack([x, y], -1), atol=1e-6)
        assert not own[truth["layer"][k - 1] == 0].any()
        assert 1.0 < np.linalg.norm(camera, axis=-1).mean() < 6.0


def test_what_moves_is_marked_moving(clip: tuple[NDArray[np.float32], Truth]) -> None:
    _, truth = clip
    for k in range(1, 14):
        _, _, own = true_flow(truth, k)
        speed = np.linalg.norm(own, axis=-1)
        fast = np.unique(truth["layer"][k - 1][speed > MOVES_PX + 1e-6])
        assert truth["moving"][k][np.isin(truth["layer"][k], fast)].all()
        assert not truth["moving"][k][truth["layer"][k] == 0].any()
    assert truth["moving"].any() and not truth["moving"].all()


def test_flow_reads_files_and_knows_its_ends(tmp_path: Path) -> None:
    render_clip(tmp_path, ClipSpec("S1", "take_cup", "4", 4, (114, 64), 0))
    path = truth_file(tmp_path, "S1", "take_cup", "4")
    with np.load(path) as truth:
        for ours, read in zip(true_flow(truth, 2), true_flow(path, 2), strict=True):
            np.testing.assert_array_equal(ours, read)
    for k in (0, 4):
        with pytest.raises(IndexError, match="1 to 3"):
            true_flow(path, k)


def test_masks_lie_on_what_they_name(tmp_path: Path) -> None:
    """Ketchup is red and this user's hand brown, whatever the light."""
    render_clip(tmp_path, ClipSpec("S4", "take_ketchup", "1", 12, SIZE, 0))
    folder = rgb_folder(tmp_path, "S4", "take_ketchup", "1")
    frames = np.stack([cv2.imread(str(folder / rgb_name(k)))[..., ::-1] for k in range(1, 13)])
    with np.load(truth_file(tmp_path, "S4", "take_ketchup", "1")) as truth:
        red = np.median(frames[truth["object"]], axis=0)
        brown = np.median(frames[truth["hand"]], axis=0)
    assert red[0] > 2 * red[1] and red[0] > 2 * red[2]
    assert brown[0] > 1.15 * brown[1] > 1.15 * brown[2] and brown[0] < 1.9 * brown[1]
