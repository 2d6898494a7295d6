"""Measure flow, homographies, motion maps and their cost against the synthetic kitchen's truth.

`python -m benchmarks.motion --roots RENDERED DEMO --write docs/motion.md` makes the tables of docs/motion.md.
The roots hold trees that data.synthetic rendered; flow, homographies and speed are measured on the first,
warp flow and maps on all. Clips and pairs of frames are drawn by a seed, and all methods see the same pairs.
Errors are of flow as it is stored, clipped to 20 px; times are of one core.

Axes: N frames, H W pixels, n matches. Points and flow are (x, y) in pixels.
"""

import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from pydantic import NonNegativeInt, PositiveInt
from tqdm import tqdm

from benchmarks.motion_truth import TrueClip, TruePair, draw_clips, draw_pairs
from benchmarks.tables import insert_tables, markdown, read_page
from core.cli import run
from core.config import Config
from core.files import write_text
from data import Method
from data.clips import Clip
from data.flow import METHODS, FlowField, compute_flow
from data.motion import MotionConfig
from data.motion import command as motion
from data.motion.camera import (
    MAX_STEP_PX,
    STILL,
    Camera,
    camera_homography,
    even_corners,
    tracked_corners,
    warp_back,
    warp_flow,
)
from data.motion.homography import INLIER_PX, MIN_INLIERS, MIN_MATCHES, Points, fit_homography
from data.motion.trajectories import DISC_RADIUS_PX, Mask, motion_maps
from data.tree import rgb_folder

PAIRS_OF_GTEA61 = 22_708 - 457
TABLES = ("flow", "homography", "users", "speed")
Matches = tuple[Points, Points]
"""Points of the previous frame and where they are in the current one. Shapes: (n, 2)."""


class BenchmarkConfig(Config):
    """Measure flow, homographies and motion maps on trees of the synthetic kitchen."""

    roots: tuple[Path, ...]
    """Trees that data.synthetic rendered."""
    a_user: PositiveInt = 6
    """Clips to draw of each user."""
    a_clip: PositiveInt = 6
    """Pairs of frames to draw of each clip for the homographies; for flow, where some methods take seconds a
    pair, it is one a clip."""
    seed: NonNegativeInt = 0
    """Seed of the random draw."""
    write: Path | None = None
    """Markdown file that has places for the tables; they are printed in any case."""


def main(config: BenchmarkConfig) -> None:
    """Measure and print the tables, and write them to the page of --write.

    Raises:
        UserError: A root has no truth, or the page no place for a table.
    """
    page = read_page(config.write, TABLES) if config.write else ""
    cv2.setNumThreads(1)
    drawn = {root: draw_clips(root, config.a_user, config.seed) for root in config.roots}
    root, clips = next(iter(drawn.items()))
    tables = {
        "flow": flow_table(draw_pairs(root, clips, 1, config.seed)),
        "homography": homography_table(draw_pairs(root, clips, config.a_clip, config.seed)),
        "users": "\n\n".join(users_table(*each) for each in drawn.items()),
        "speed": speed_table(clips[::2]),
    }
    for name, table in tables.items():
        print(f"\n{name}\n{table}")
    if config.write:
        write_text(config.write, insert_tables(page, tables))


def flow_table(pairs: Sequence[TruePair]) -> str:
    """Compare ways to compute flow without camera motion."""
    solver: Any = cv2.optflow.DualTVL1OpticalFlow.create()  # with OpenCV's defaults

    def tvl1(pair: TruePair) -> FlowField:
        return np.asarray(solver.calc(pair.prev, pair.cur, None), np.float32)

    def classic(pair: TruePair) -> FlowField:
        """As the original tool makes it, with SIFT in place of SURF."""
        camera = opencv_fit(cv2.RANSAC, *sift_and_flow(pair, tvl1(pair)))
        aligned = warp_back(pair.prev, pair.cur, camera)
        return np.asarray(solver.calc(pair.prev, aligned, None), np.float32)

    def without_rest_rule(pair: TruePair) -> FlowField:
        aligned = warp_back(pair.prev, pair.cur, camera_homography(pair.prev, pair.cur))
        return compute_flow(pair.prev, aligned)

    def ours(method: Method, pair: TruePair) -> FlowField:
        return warp_flow(pair.prev, pair.cur, method).flow_px

    ways: dict[str, Callable[[TruePair], FlowField]] = {
        "TV-L1, OpenCV's defaults, no compensation": tvl1,
        "the classic: TV-L1, SIFT and flow matches, RANSAC, warp, TV-L1": classic,
        "ours, `dis`, without the rest rule": without_rest_rule,
        **{f"ours, `{method}`": partial(ours, method) for method in METHODS},
    }
    header = [f"way, {len(pairs)} pairs", "ms a pair", "EPE", "EPE, moving", "background, median", "mean"]
    return markdown(header, [[name, *flow_row(way, pairs)] for name, way in tqdm(ways.items(), "flow")])


def flow_row(way: Callable[[TruePair], FlowField], pairs: Sequence[TruePair]) -> list[str]:
    """Measure a way: ms, end-point errors (of all, of what moves), and flow left on the background."""
    errors, moving, still, seconds = [], [], [], 0.0
    for pair in pairs:
        start = time.process_time()
        flow = way(pair)
        seconds += time.process_time() - start
        error = np.linalg.norm(np.clip(flow, -20, 20) - np.clip(pair.own_px, -20, 20), axis=2)
        errors.append(error.mean())
        moving += [error[pair.moving].mean()] if pair.moving.any() else []
        still.append(np.linalg.norm(flow, axis=2)[~pair.moving])
    median, mean = np.median([np.median(s) for s in still]), np.mean([s.mean() for s in still])
    cost = f"{1000 * seconds / len(pairs):.0f}"
    return [cost, f"{np.mean(errors):.2f}", f"{np.mean(moving):.1f}", f"{median:.3f}", f"{mean:.2f}"]


def homography_table(pairs: Sequence[TruePair]) -> str:
    """Compare matches and fits by the mean distance between where true and found camera put the pixels."""
    ransac, magsac = partial(opencv_fit, cv2.RANSAC), partial(opencv_fit, cv2.USAC_MAGSAC)
    sift = partial(feature_matches, cv2.SIFT.create(1000), cv2.NORM_L2)
    orb = partial(feature_matches, cv2.ORB.create(1000), cv2.NORM_HAMMING)
    ways: list[tuple[str, Callable[[TruePair], Matches], Callable[[Points, Points], Camera]]] = [
        ("even corners + LK, RANSAC and refit (ours)", lucas_kanade, our_fit),
        ("the same, no corner on what truly moves", lucas_kanade_on_still, our_fit),
        ("even corners + LK, RANSAC", lucas_kanade, ransac),
        ("the same, no corner on what truly moves", lucas_kanade_on_still, ransac),
        ("even corners + LK, MAGSAC", lucas_kanade, magsac),
        ("even corners + LK, MAGSAC and least squares", lucas_kanade, magsac_and_least_squares),
        ("400 strongest corners + LK, RANSAC", lucas_kanade_of_strongest, ransac),
        ("400 strongest corners + LK, RANSAC and refit", lucas_kanade_of_strongest, our_fit),
        ("corners + DIS flow, RANSAC", lambda pair: displaced(strongest(pair, 1000), dis(pair)), ransac),
        ("even corners + DIS flow, RANSAC and refit",
         lambda pair: displaced(even_corners(pair.prev), dis(pair)), our_fit),
        ("SIFT, RANSAC", sift, ransac),
        ("SIFT, RANSAC and refit", sift, our_fit),
        ("ORB, RANSAC", orb, ransac),
        ("SIFT and corners + flow, RANSAC (the classic)",
         lambda pair: sift_and_flow(pair, dis(pair)), ransac),
    ]  # fmt: skip
    rows = []
    for name, match, fit in tqdm(ways, "homographies"):
        errors, failed, seconds = [], 0, 0.0
        for pair in pairs:
            start = time.process_time()
            camera = fit(*match(pair))
            seconds += time.process_time() - start
            failed += not camera.accepted
            errors.append(np.linalg.norm(camera.flow(*pair.prev.shape) - pair.camera_px, axis=2).mean())
        percentiles = [f"{value:.3f}" for value in np.percentile(errors, [50, 90, 100])]
        rows.append([name, f"{1000 * seconds / len(pairs):.1f}", *percentiles, f"{failed} of {len(pairs)}"])
    return markdown(["matches and fit", "ms a pair", "error, median px", "90 %", "worst", "failed"], rows)


def lucas_kanade(pair: TruePair) -> Matches:
    """Match as data.motion does."""
    return tracked_corners(pair.prev, pair.cur)


def lucas_kanade_on_still(pair: TruePair) -> Matches:
    """Drop, by truth, the matches on moving things: the best a guard could do."""
    source, target = lucas_kanade(pair)
    columns, rows = source.astype(int).T
    still = ~pair.moving[rows, columns]
    return source[still], target[still]


def lucas_kanade_of_strongest(pair: TruePair) -> Matches:
    """Track the 400 strongest corners of the whole frame."""
    corners = strongest(pair, 400)
    moved, found, _ = cv2.calcOpticalFlowPyrLK(
        pair.prev, pair.cur, corners, np.empty_like(corners), winSize=(15, 15), maxLevel=3
    )
    return without_long(corners[found.ravel() == 1], moved[found.ravel() == 1])


def strongest(pair: TruePair, number: int) -> Points:
    """Find the strongest corners of the whole frame. Shape: (n, 2)."""
    return np.asarray(cv2.goodFeaturesToTrack(pair.prev, number, 0.001, 8), np.float32).reshape(-1, 2)


def dis(pair: TruePair) -> FlowField:
    """Compute the plain flow by DIS. Shape: (H, W, 2)."""
    return compute_flow(pair.prev, pair.cur, "dis")


def displaced(corners: Points, flow_px: FlowField) -> Matches:
    """Match corners (n, 2) with where a flow (H, W, 2) takes them."""
    columns, rows = np.rint(corners).astype(int).T
    return without_long(corners, corners + flow_px[rows, columns])


def feature_matches(detector: cv2.Feature2D, norm: int, pair: TruePair) -> Matches:
    """Match features by their nearest neighbours, where these are mutual."""
    keys, words = detector.detectAndCompute(pair.prev, None)
    other_keys, other_words = detector.detectAndCompute(pair.cur, None)
    if words is None or other_words is None:
        return np.empty((0, 2), np.float32), np.empty((0, 2), np.float32)
    matches = cv2.BFMatcher(norm, crossCheck=True).match(words, other_words)
    source = np.array([keys[match.queryIdx].pt for match in matches], np.float32).reshape(-1, 2)
    target = np.array([other_keys[match.trainIdx].pt for match in matches], np.float32).reshape(-1, 2)
    return without_long(source, target)


def sift_and_flow(pair: TruePair, flow_px: FlowField) -> Matches:
    """Join SIFT matches with corners displaced by a flow, as the original tool does with SURF."""
    by_sift = feature_matches(cv2.SIFT.create(1000), cv2.NORM_L2, pair)
    by_flow = displaced(strongest(pair, 1000), flow_px)
    return np.concatenate([by_sift[0], by_flow[0]]), np.concatenate([by_sift[1], by_flow[1]])


def without_long(source: Points, target: Points) -> Matches:
    """Drop matches of more than 25 px."""
    near = np.linalg.norm(target - source, axis=1) <= MAX_STEP_PX
    return source[near], target[near]


def our_fit(source: Points, target: Points) -> Camera:
    """Fit as data.motion does: RANSAC, then Tukey's weights with a scale from the residuals."""
    fit = fit_homography(source, target)
    return STILL if fit is None else Camera(fit.homography, len(source), fit.inliers, True)


def opencv_fit(how: int, source: Points, target: Points) -> Camera:
    """Fit by an algorithm of OpenCV with a threshold of 1 px; RANSAC is refined on its inliers there."""
    if len(source) <= MIN_MATCHES:
        return STILL
    homography, mask = cv2.findHomography(target, source, how, INLIER_PX, maxIters=2000, confidence=0.995)
    if homography is None or mask.sum() <= MIN_INLIERS:
        return STILL
    return Camera(np.asarray(homography, np.float64), len(source), int(mask.sum()), True)


def magsac_and_least_squares(source: Points, target: Points) -> Camera:
    """Fit by MAGSAC++, then by least squares to the matches within 1 px."""
    first = opencv_fit(cv2.USAC_MAGSAC, source, target)
    near = np.linalg.norm(first.to_current(source) - target, axis=1) < INLIER_PX
    homography, _ = cv2.findHomography(target[near], source[near], 0) if first.accepted else (None, None)
    return STILL if homography is None else Camera(homography, len(source), int(near.sum()), True)


def users_table(root: Path, clips: Sequence[Clip]) -> str:
    """Compare warp flow with plain flow, and maps with the true moving mask, user by user."""
    measured = [
        (clip.user, measure_clip(TrueClip(root, clip))) for clip in tqdm(clips, f"maps of {root.name}")
    ]
    rows = []
    for user in (*dict.fromkeys(user for user, _ in measured), "all"):
        found = np.array([values for of, values in measured if user in (of, "all")])
        plain, warped = np.nanmedian(found[:, :2], axis=0)
        failed, pairs, right, exact, painted, reached, moving = found[:, 2:].sum(axis=0)
        shares = (right / painted, reached / moving, exact / painted, exact / moving)
        figures = [f"{share:.2f}" for share in shares]
        rows.append([user, f"{failed:.0f} of {pairs:.0f}", f"{plain:.2f}", f"{warped:.3f}", *figures])
    height, width = TrueClip(root, clips[0]).frames[0].shape
    header = [f"{root.name}, {width}x{height}", "no homography", "background, plain flow", "warp flow"]
    return markdown([*header, "map precision", "recall", "exact precision", "exact recall"], rows)


def measure_clip(clip: TrueClip) -> list[float]:
    """Measure flow on the background, and the motion maps, of every fifth pair of a clip.

    Returns:
        Median length of plain flow and of warp flow on the background, in px, where the camera moves by over
        2 px, NaN if it never does; pairs without a homography, and all; pixels painted near what moves, on
        it, and in all; moving pixels near a painted one, and all.
    """
    plain, warped, failed = [], [], 0
    pairs = [clip.pair(k) for k in range(1, len(clip.frames), 5)]
    for pair in pairs:
        failed += not camera_homography(pair.prev, pair.cur).accepted
        if np.median(np.linalg.norm(pair.camera_px, axis=2)) > 2 * min(pair.prev.shape) / 256:
            still = ~pair.moving
            plain.append(np.median(np.linalg.norm(compute_flow(pair.prev, pair.cur), axis=2)[still]))
            warped.append(np.median(np.linalg.norm(warp_flow(pair.prev, pair.cur).flow_px, axis=2)[still]))
    backgrounds = [float(np.mean(values)) if values else np.nan for values in (plain, warped)]
    maps, moving = motion_maps(clip.frames), clip.moving
    radius = max(1, round(DISC_RADIUS_PX * min(clip.frames[0].shape) / 256))
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1))

    def grown(masks: Mask) -> Mask:
        return np.stack([cv2.dilate(mask.astype(np.uint8), disc) for mask in masks]).astype(bool)

    painted = [(maps & grown(moving)).sum(), (maps & moving).sum(), maps.sum()]
    return [*backgrounds, failed, len(pairs), *painted, (grown(maps) & moving).sum(), moving.sum()]


def speed_table(clips: Sequence[Clip]) -> str:
    """Time the whole command, files read and written, and extrapolate to the 22,708 frames of GTEA61."""
    modes: list[tuple[Method, bool, bool]] = [("dis", False, False), ("dis", True, False)]
    modes += [(method, True, True) for method in ("dis", "farneback", "tvl1", "deepflow")]
    rows = []
    for method, warp, maps in tqdm(modes, "speed"):
        config = MotionConfig(root=Path(), flow=method, warp=warp, maps=maps, jobs=2)
        slow = method in ("tvl1", "deepflow")
        cpu_ms, rate = time_command(config, clips[:2] if slow else clips)
        flags = f"`--flow {method}{'' if warp else ' --no-warp'}{' --maps' if maps else ''}`"
        hours = PAIRS_OF_GTEA61 / (2000 / cpu_ms) / 3600
        rows.append([flags, f"{cpu_ms:.1f}", f"{2000 / cpu_ms:.0f}", f"{rate:.0f}", f"{hours:.2f}"])
    header = ["mode", "CPU ms a pair", "pairs a second, two free cores", "as timed"]
    return markdown([*header, "GTEA61, hours, two free cores"], rows)


def time_command(config: MotionConfig, clips: Iterable[Clip]) -> tuple[float, float]:
    """Run the command on copies of clips: CPU milliseconds a pair in one process, and pairs a second."""
    with tempfile.TemporaryDirectory() as folder:
        root, pairs = Path(folder), 0
        for number, clip in enumerate(clips):
            target = rgb_folder(root, clip.user, "timed", str(number))
            target.parent.mkdir(parents=True, exist_ok=True)
            target.symlink_to(clip.frames.folder.resolve())
            pairs += clip.num_frames - 1
        start = time.perf_counter()
        motion.main(config.replace(root=root))
        rate = pairs / (time.perf_counter() - start)
        # Hidden from the second run, which would find everything done.
        for made in (*root.glob("flow_*"), *root.glob("*/*/timed/*/mmaps"), root / motion.RECORD):
            made.rename(made.with_name(f".{made.name}"))
        cpu = time.process_time()
        motion.main(config.replace(root=root, jobs=1))
        return 1000 * (time.process_time() - cpu) / pairs, rate


if __name__ == "__main__":
    run(main, BenchmarkConfig, prog="python -m benchmarks.motion")
