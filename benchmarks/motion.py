"""Measure flow, homographies, motion maps and their cost against the synthetic kitchen's truth.

`python -m benchmarks.motion --roots GTEA61 DEMO --write docs/motion.md` makes the tables of docs/motion.md.
The roots hold trees that data.synthetic rendered; flow, homographies and speed are measured on the first,
warp flow and maps on all. Clips and pairs of frames are drawn by a seed, and all methods see the same pairs.
Errors are of flow as it is stored, clipped to 20 px; times are of one core.
"""

import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import cv2
import numpy as np
from pydantic import NonNegativeInt, PositiveInt
from tqdm import tqdm

from benchmarks import motion_matches as matches
from benchmarks.motion_truth import TrueClip, TruePair, draw_clips, draw_pairs
from benchmarks.tables import insert_tables, markdown, read_page
from core.cli import run
from core.config import Config
from core.files import write_text
from data.clips import Clip
from data.flow import METHODS, FlowField, Grey, Method, compute_flow
from data.motion import command as motion
from data.motion.camera import camera_homography, tracked_corners, warp_back, warp_flow
from data.motion.homography import Points
from data.motion.trajectories import DISC_RADIUS_PX, Mask, motion_maps
from data.tree import rgb_folder

PAIRS_OF_GTEA61 = 22_708 - 457
TABLES = ("flow", "homography", "users", "speed")
SLOW: tuple[Method, ...] = ("tvl1", "deepflow")
Way = Callable[[Grey, Grey], FlowField]


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
    """Compare methods of computing flow without camera motion."""
    ways = {
        "TV-L1, OpenCV's defaults, no compensation": _tvl1_defaults(),
        "the classic: TV-L1, SIFT and flow matches, RANSAC, warp, TV-L1": _classic(),
        "ours, `dis`, without the rest rule": _with_moving_rest,
        **{f"ours, `{method}`": _ours(method) for method in METHODS},
    }
    header = [f"way, {len(pairs)} pairs", "ms a pair", "EPE", "EPE, moving", "background, median", "mean"]
    return markdown(header, [flow_row(name, way, pairs) for name, way in tqdm(ways.items(), "flow")])


def homography_table(pairs: Sequence[TruePair]) -> str:
    """Compare matches and fits by the mean distance between where true and found camera put the pixels."""
    hand_free = _hand_free(pairs)
    rows: list[tuple[str, matches.Matcher, matches.Fitter]] = [
        ("even corners + LK, RANSAC and refit (ours)", tracked_corners, matches.refined),
        ("the same, no corner on what truly moves", hand_free, matches.refined),
        ("even corners + LK, RANSAC", tracked_corners, matches.ransac),
        ("the same, no corner on what truly moves", hand_free, matches.ransac),
        ("even corners + LK, MAGSAC", tracked_corners, matches.magsac),
        ("even corners + LK, MAGSAC and least squares", tracked_corners, matches.magsac_refitted),
        ("400 strongest corners + LK, RANSAC", matches.strongest_corners, matches.ransac),
        ("400 strongest corners + LK, RANSAC and refit", matches.strongest_corners, matches.refined),
        ("corners + DIS flow, RANSAC", matches.flow_corners, matches.ransac),
        ("even corners + DIS flow, RANSAC and refit", matches.even_flow_corners, matches.refined),
        ("SIFT, RANSAC", matches.sift, matches.ransac),
        ("SIFT, RANSAC and refit", matches.sift, matches.refined),
        ("ORB, RANSAC", matches.orb, matches.ransac),
        ("SIFT and corners + flow, RANSAC (the classic)", matches.sift_and_flow, matches.ransac),
    ]
    header = ["matches and fit", "ms a pair", "error, median px", "90 %", "worst", "failed"]
    return markdown(header, [_homography_row(*row, pairs) for row in tqdm(rows, "homographies")])


def users_table(root: Path, clips: Sequence[Clip]) -> str:
    """Compare warp flow with plain flow, and maps with the true moving mask, user by user."""
    found: dict[str, list[list[float]]] = {}
    for clip in tqdm(clips, f"maps of {root.name}"):
        found.setdefault(clip.user, []).append(_measure_clip(TrueClip(root, clip)))
    found["all"] = [row for rows in found.values() for row in rows]
    height, width = TrueClip(root, clips[0]).frames[0].shape
    header = [f"{root.name}, {width}x{height}", "no homography", "background, plain flow", "warp flow"]
    header += ["map precision", "recall", "exact precision", "exact recall"]
    return markdown(header, [_user_row(user, np.array(rows)) for user, rows in found.items()])


def speed_table(clips: Sequence[Clip]) -> str:
    """Time the whole command, files read and written, and extrapolate to the 22,708 frames of GTEA61."""
    modes: list[tuple[Method, bool, bool]] = [("dis", False, False), ("dis", True, False)]
    modes += [(method, True, True) for method in ("dis", "farneback", *SLOW)]
    rows = []
    for method, warp, maps in tqdm(modes, "speed"):
        config = motion.MotionConfig(root=Path(), flow=method, warp=warp, maps=maps, jobs=2)
        cpu_ms, rate = _time_command(config, clips[:2] if method in SLOW else clips)
        flags = f"`--flow {method}{'' if warp else ' --no-warp'}{' --maps' if maps else ''}`"
        hours = PAIRS_OF_GTEA61 / (2000 / cpu_ms) / 3600
        rows.append([flags, f"{cpu_ms:.1f}", f"{2000 / cpu_ms:.0f}", f"{rate:.0f}", f"{hours:.2f}"])
    header = ["mode", "CPU ms a pair", "pairs a second, two free cores", "as timed"]
    return markdown([*header, "GTEA61, hours, two free cores"], rows)


def flow_row(name: str, way: Way, pairs: Sequence[TruePair]) -> list[str]:
    """Measure a method: ms, end-point errors (of all, of what moves), and flow left on the background."""
    errors, moving, still, seconds = [], [], [], 0.0
    for pair in pairs:
        start = time.process_time()
        flow = way(pair.prev, pair.cur)
        seconds += time.process_time() - start
        error = np.linalg.norm(np.clip(flow, -20, 20) - np.clip(pair.own_px, -20, 20), axis=2)
        errors.append(error.mean())
        moving += [error[pair.moving].mean()] if pair.moving.any() else []
        still.append(np.linalg.norm(flow, axis=2)[~pair.moving])
    median, mean = np.median([np.median(s) for s in still]), np.mean([s.mean() for s in still])
    cost = f"{1000 * seconds / len(pairs):.0f}"
    return [name, cost, f"{np.mean(errors):.2f}", f"{np.mean(moving):.1f}", f"{median:.3f}", f"{mean:.2f}"]


def _homography_row(
    name: str, match: matches.Matcher, fit: matches.Fitter, pairs: Sequence[TruePair]
) -> list[str]:
    errors, failed, seconds = [], 0, 0.0
    for pair in pairs:
        start = time.process_time()
        camera = fit(*match(pair.prev, pair.cur))
        seconds += time.process_time() - start
        failed += not camera.accepted
        errors.append(np.linalg.norm(camera.flow(*pair.prev.shape) - pair.camera_px, axis=2).mean())
    percentiles = [f"{value:.3f}" for value in np.percentile(errors, [50, 90, 100])]
    return [name, f"{1000 * seconds / len(pairs):.1f}", *percentiles, f"{failed} of {len(pairs)}"]


def _measure_clip(clip: TrueClip) -> list[float]:
    """Measure a clip: background medians where the camera moves over 2 px, then pairs and pixels."""
    plain, warped, failed, pairs = [], [], 0, list(clip.pairs(every=5))
    for pair in pairs:
        failed += not camera_homography(pair.prev, pair.cur).accepted
        if np.median(np.linalg.norm(pair.camera_px, axis=2)) > 2 * min(pair.prev.shape) / 256:
            still = ~pair.moving
            plain.append(np.median(np.linalg.norm(compute_flow(pair.prev, pair.cur), axis=2)[still]))
            warped.append(np.median(np.linalg.norm(warp_flow(pair.prev, pair.cur).flow_px, axis=2)[still]))
    maps, moving = motion_maps(clip.frames), clip.moving
    radius = max(1, round(DISC_RADIUS_PX * min(clip.frames[0].shape) / 256))
    near_moving, near_maps = (maps & _grown(moving, radius)).sum(), (_grown(maps, radius) & moving).sum()
    counts = [failed, len(pairs), near_moving, (maps & moving).sum(), maps.sum(), near_maps, moving.sum()]
    backgrounds = [np.mean(values) if values else np.nan for values in (plain, warped)]
    return [*map(float, backgrounds), *map(float, counts)]


def _user_row(user: str, rows: np.ndarray) -> list[str]:
    plain, warped = np.nanmedian(rows[:, :2], axis=0)
    failed, pairs, right, exact, painted, reached, moving = rows[:, 2:].sum(axis=0)
    shares = (right / painted, reached / moving, exact / painted, exact / moving)
    figures = [f"{share:.2f}" for share in shares]
    return [user, f"{failed:.0f} of {pairs:.0f}", f"{plain:.2f}", f"{warped:.3f}", *figures]


def _grown(masks: Mask, radius: int) -> Mask:
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1))
    return np.stack([cv2.dilate(mask.astype(np.uint8), kernel) for mask in masks]).astype(bool)


def _time_command(config: motion.MotionConfig, clips: Iterable[Clip]) -> tuple[float, float]:
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


def _ours(method: Method) -> Way:
    return lambda prev, cur: warp_flow(prev, cur, method).flow_px


def _with_moving_rest(prev: Grey, cur: Grey) -> FlowField:
    return compute_flow(prev, warp_back(prev, cur, camera_homography(prev, cur)))


def _tvl1_defaults() -> Way:
    solver = cv2.optflow.DualTVL1OpticalFlow.create()

    def flow(prev: Grey, cur: Grey) -> FlowField:
        return np.asarray(solver.calc(prev, cur, np.zeros((*prev.shape, 2), np.float32)), np.float32)

    return flow


def _classic() -> Way:
    """Warp flow as the original tool makes it, with SIFT in place of SURF."""
    tvl1 = _tvl1_defaults()

    def flow(prev: Grey, cur: Grey) -> FlowField:
        source, target = matches.sift_and_flow(prev, cur, tvl1(prev, cur))
        return tvl1(prev, warp_back(prev, cur, matches.ransac(source, target)))

    return flow


def _hand_free(pairs: Sequence[TruePair]) -> matches.Matcher:
    """Match as ours does and drop, by truth, what lies on moving things: the best a guard could do."""
    moving = {id(pair.prev): pair.moving for pair in pairs}

    def match(prev: Grey, cur: Grey) -> tuple[Points, Points]:
        source, target = tracked_corners(prev, cur)
        columns, rows = source.astype(int).T
        still = ~moving[id(prev)][rows, columns]
        return source[still], target[still]

    return match


if __name__ == "__main__":
    run(main, BenchmarkConfig, prog="python -m benchmarks.motion")
