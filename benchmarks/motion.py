"""Measure flow, homographies, motion maps and their cost against the synthetic kitchen's truth.

`python -m benchmarks.motion --roots GTEA61 DEMO --write docs/motion.md` makes the tables of docs/motion.md.
The roots hold trees that data.synthetic rendered; flow, homographies and speed are measured on the first,
warp flow and maps on all. Clips and pairs of frames are drawn by a seed, and all ways to a flow see the same
pairs. Errors are of flow as it is stored, clipped to 20 px; times are of one core.
"""

import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import cv2
import numpy as np
from pydantic import NonNegativeInt, PositiveInt
from tqdm import tqdm

from benchmarks import motion_matches as ways
from benchmarks.motion_truth import TrueClip, TruePair, draw_clips, draw_pairs
from benchmarks.pages import insert_tables, read_page
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
    """Clips of each user to draw."""
    a_clip: PositiveInt = 6
    """Pairs of frames of each clip to draw for the homographies; the ways to a flow, some of which take
    seconds a pair, see one a clip."""
    seed: NonNegativeInt = 0
    """The same seed draws the same clips and pairs."""
    write: Path | None = None
    """Markdown file to put the tables in, between its marks; they are printed in any case."""


def main(config: BenchmarkConfig) -> None:
    """Measure, print, and write if asked to.

    Raises:
        UserError: A root has no truth, or the file to write to no place for a table.
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
    """Compare ways to a flow without camera motion."""
    rows = [
        ("TV-L1, OpenCV's defaults, no compensation", _tvl1_defaults()),
        ("the classic: TV-L1, SIFT and flow matches, RANSAC, warp, TV-L1", _classic()),
        ("ours, `dis`, without the rest rule", _without_rest),
        *((f"ours, `{method}`", _ours(method)) for method in METHODS),
    ]
    lines = [_flow_line(name, way, pairs) for name, way in tqdm(rows, desc="flow")]
    head = f"| way, {len(pairs)} pairs | ms a pair | EPE | EPE, moving | background, median | mean |"
    return "\n".join([head, "|---|---|---|---|---|---|", *lines])


def homography_table(pairs: Sequence[TruePair]) -> str:
    """Compare matches and fits by the mean distance between where true and found camera put the pixels."""
    rows: list[tuple[str, ways.Matcher, ways.Fitter]] = [
        ("even corners + LK, RANSAC and refit (ours)", tracked_corners, ways.refined),
        ("the same, no corner on what truly moves", _hand_free(pairs), ways.refined),
        ("even corners + LK, RANSAC", tracked_corners, ways.ransac),
        ("the same, no corner on what truly moves", _hand_free(pairs), ways.ransac),
        ("even corners + LK, MAGSAC", tracked_corners, ways.magsac),
        ("even corners + LK, MAGSAC and least squares", tracked_corners, ways.magsac_refitted),
        ("400 strongest corners + LK, RANSAC", ways.strongest_corners, ways.ransac),
        ("400 strongest corners + LK, RANSAC and refit", ways.strongest_corners, ways.refined),
        ("corners + DIS flow, RANSAC", ways.flow_corners, ways.ransac),
        ("even corners + DIS flow, RANSAC and refit", ways.even_flow_corners, ways.refined),
        ("SIFT, RANSAC", ways.sift, ways.ransac),
        ("SIFT, RANSAC and refit", ways.sift, ways.refined),
        ("ORB, RANSAC", ways.orb, ways.ransac),
        ("SIFT and corners + flow, RANSAC (the classic)", ways.sift_and_flow, ways.ransac),
    ]
    lines = [_homography_line(*row, pairs) for row in tqdm(rows, desc="homographies")]
    head = "| matches and fit | ms a pair | error, median px | 90 % | worst | failed |"
    return "\n".join([head, "|---|---|---|---|---|---|", *lines])


def users_table(root: Path, clips: Sequence[Clip]) -> str:
    """Compare warp flow with plain flow, and maps with the true moving mask, user by user."""
    found: dict[str, list[list[float]]] = {}
    for clip in tqdm(clips, desc=f"maps of {root.name}"):
        found.setdefault(clip.user, []).append(_measure_clip(TrueClip(root, clip)))
    found["all"] = [row for rows in found.values() for row in rows]
    lines = [_user_line(user, np.array(rows)) for user, rows in found.items()]
    height, width = TrueClip(root, clips[0]).frames[0].shape
    head = (
        f"| {root.name}, {width}x{height} | no homography | background, plain flow | warp flow "
        "| map precision | recall | exact precision | exact recall |"
    )
    return "\n".join([head, "|---|---|---|---|---|---|---|---|", *lines])


def speed_table(clips: Sequence[Clip]) -> str:
    """Time the whole command, files read and written, and say what the 22,708 frames of GTEA61 cost."""
    modes: list[tuple[Method, bool, bool]] = [("dis", False, False), ("dis", True, False)]
    modes += [(method, True, True) for method in ("dis", "farneback", *SLOW)]
    lines = []
    for method, warp, maps in tqdm(modes, desc="speed"):
        config = motion.MotionConfig(root=Path(), flow=method, warp=warp, maps=maps, jobs=2)
        cpu_ms, rate = _time_command(config, clips[:2] if method in SLOW else clips)
        flags = f"--flow {method}{'' if warp else ' --no-warp'}{' --maps' if maps else ''}"
        hours = PAIRS_OF_GTEA61 / (2000 / cpu_ms) / 3600
        lines.append(f"| `{flags}` | {cpu_ms:.1f} | {2000 / cpu_ms:.0f} | {rate:.0f} | {hours:.2f} |")
    head = (
        "| mode | CPU ms a pair | pairs a second, two free cores | as timed | GTEA61, hours, two free cores |"
    )
    return "\n".join([head, "|---|---|---|---|---|", *lines])


def _flow_line(name: str, way: Way, pairs: Sequence[TruePair]) -> str:
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
    cost = 1000 * seconds / len(pairs)
    figures = f"{np.mean(errors):.2f} | {np.mean(moving):.1f} | {median:.3f} | {mean:.2f}"
    return f"| {name} | {cost:.0f} | {figures} |"


def _homography_line(name: str, match: ways.Matcher, fit: ways.Fitter, pairs: Sequence[TruePair]) -> str:
    errors, failed, seconds = [], 0, 0.0
    for pair in pairs:
        start = time.process_time()
        camera = fit(*match(pair.prev, pair.cur))
        seconds += time.process_time() - start
        failed += not camera.accepted
        errors.append(np.linalg.norm(camera.flow(*pair.prev.shape) - pair.camera_px, axis=2).mean())
    percentiles = " | ".join(f"{value:.3f}" for value in np.percentile(errors, [50, 90, 100]))
    return f"| {name} | {1000 * seconds / len(pairs):.1f} | {percentiles} | {failed} of {len(pairs)} |"


def _measure_clip(clip: TrueClip) -> list[float]:
    """Measure a clip: background medians where the camera moves over 2 px, then counts."""
    plain, warped, failed, pairs = [], [], 0, list(clip.pairs(every=5))
    for pair in pairs:
        failed += not camera_homography(pair.prev, pair.cur).accepted
        if np.median(np.linalg.norm(pair.camera_px, axis=2)) > 2 * min(pair.prev.shape) / 256:
            still = ~pair.moving
            plain.append(np.median(np.linalg.norm(compute_flow(pair.prev, pair.cur), axis=2)[still]))
            warped.append(np.median(np.linalg.norm(warp_flow(pair.prev, pair.cur).flow_px, axis=2)[still]))
    maps, moving = motion_maps(clip.frames), clip.moving
    radius = max(1, round(DISC_RADIUS_PX * min(clip.frames[0].shape) / 256))
    wide, near = _grown(moving, radius), _grown(maps, radius)
    counts = [
        failed,
        len(pairs),
        (maps & wide).sum(),
        (maps & moving).sum(),
        maps.sum(),
        (near & moving).sum(),
        moving.sum(),
    ]
    backgrounds = [np.mean(values) if values else np.nan for values in (plain, warped)]
    return [*map(float, backgrounds), *map(float, counts)]


def _user_line(user: str, rows: np.ndarray) -> str:
    plain, warped = np.nanmedian(rows[:, :2], axis=0)
    failed, pairs, right, exact, painted, reached, moving = rows[:, 2:].sum(axis=0)
    shares = (right / painted, reached / moving, exact / painted, exact / moving)
    figures = " | ".join(f"{share:.2f}" for share in shares)
    return f"| {user} | {failed:.0f} of {pairs:.0f} | {plain:.2f} | {warped:.3f} | {figures} |"


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
        for made in (*root.glob("flow_*"), *root.glob("*/*/timed/*/mmaps"), root / motion.RECORD):
            made.rename(made.with_name(f".{made.name}"))
        cpu = time.process_time()
        motion.main(config.replace(root=root, jobs=1))
        return 1000 * (time.process_time() - cpu) / pairs, rate


def _ours(method: Method) -> Way:
    return lambda prev, cur: warp_flow(prev, cur, method).flow_px


def _without_rest(prev: Grey, cur: Grey) -> FlowField:
    return compute_flow(prev, warp_back(prev, cur, camera_homography(prev, cur)))


def _tvl1_defaults() -> Way:
    solver = cv2.optflow.DualTVL1OpticalFlow.create()
    return lambda prev, cur: np.asarray(
        solver.calc(prev, cur, np.zeros((*prev.shape, 2), np.float32)), np.float32
    )


def _classic() -> Way:
    """Warp flow as the original tool makes it, SIFT in the place of SURF."""
    tvl1 = _tvl1_defaults()

    def flow(prev: Grey, cur: Grey) -> FlowField:
        first = tvl1(prev, cur)
        source, target = ways.sift_and_flow(prev, cur, first)
        return tvl1(prev, warp_back(prev, cur, ways.ransac(source, target)))

    return flow


def _hand_free(pairs: Sequence[TruePair]) -> ways.Matcher:
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
