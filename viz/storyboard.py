"""A scene as a contact sheet and as the pictures of a film, of a size that can be read on a slide.

Axes: T frames, H W pixels. Pictures are RGB, uint8.
"""

from collections.abc import Sequence

import numpy as np

from viz.overlay import GAP, Picture, Style, Verdict, caption, colour_bar, contact_sheet, overlay
from viz.scene import Motion, RunView, Scene

WIDEST = 1600
"""Pixels of a sheet or film at most."""
_NARROWEST_FRAME, _WIDEST_FRAME = 180, 400
_SMALL, _LARGE = 15, 20  # letters, in pixels
_LINE, _MARK = (170, 170, 170), (20, 20, 20)
_LINE_HEIGHT = 9


def scene_sheet(scene: Scene, style: Style) -> Picture:
    """Lay out the frames, below them a row for each run and each motion, and what the colours mean.

    Frames that do not fit beside each other go on below, each time with all of their rows.
    """
    columns, width = fit(len(scene.frames))
    scene = scene.scaled(width)
    plain = [
        caption(_with_timeline(frame, scene, k), label, size=_SMALL)
        for k, (frame, label) in enumerate(zip(scene.frames, scene.labels, strict=True))
    ]
    strips: list[tuple[str, Verdict, list[Picture]]] = [("", "", plain)]
    for view in scene.views:
        words = " – ".join(filter(None, (view.title, scene.verdict(view))))
        strips.append((words, scene.verdict(view), heat_pictures(scene, view, style)))
    strips += [(motion.name, "", motion_pictures(scene.frames, motion, style)) for motion in scene.motion]
    rows = [
        caption(row, words, size=_SMALL + 2, verdict=verdict) if words else row
        for first in range(0, len(plain), columns)
        for words, verdict, strip in strips
        for row in [contact_sheet([strip[first : first + columns]])]
    ]
    rows[0] = caption(rows[0], _heading(scene, "   "), size=_LARGE)
    return contact_sheet([[row] for row in (*rows, *_legends(scene, style, rows[0].shape[1]))])


def scene_film(scene: Scene, style: Style) -> list[Picture]:
    """Draw a picture for each frame: the frame, a column for each run and each motion, and the colours."""
    columns, width = fit(1 + len(scene.views) + len(scene.motion))
    scene = scene.scaled(width)
    parts = [[caption(frame, _heading(scene, "\n"), size=_SMALL) for frame in scene.frames]]
    for view in scene.views:
        # The longest part comes last, since captions are cut to the width of a frame.
        verdict = scene.verdict(view)
        outcome = ", ".join(filter(None, (verdict, f"{100 * view.confidence:.0f} %")))
        words = f"{view.run}\n{outcome}: {view.predicted}"
        pictures = heat_pictures(scene, view, style)
        parts.append([caption(picture, words, size=_SMALL, verdict=verdict) for picture in pictures])
    for motion in scene.motion:
        pictures = motion_pictures(scene.frames, motion, style)
        parts.append([caption(picture, f"{motion.name}\n", size=_SMALL) for picture in pictures])
    pages = [_in_rows(page, columns) for page in zip(*parts, strict=True)]
    legends = [[legend] for legend in _legends(scene, style, pages[0].shape[1])]
    return [contact_sheet([[_with_timeline(page, scene, k)], *legends]) for k, page in enumerate(pages)]


def _in_rows(pictures: Sequence[Picture], columns: int) -> Picture:
    firsts = range(0, len(pictures), columns)
    return contact_sheet([pictures[first : first + columns] for first in firsts])


def fit(pictures: int) -> tuple[int, int]:
    """Choose how many pictures stand beside each other within `WIDEST` pixels, and their width.

    Examples:
        >>> fit(7), fit(16), fit(2)
        ((7, 225), (8, 196), (2, 400))
    """
    most = (WIDEST + GAP) // (_NARROWEST_FRAME + GAP)
    columns = -(-pictures // -(-pictures // most))  # rows of nearly equal length
    return columns, min((WIDEST + GAP) // columns - GAP, _WIDEST_FRAME)


def heat_pictures(scene: Scene, view: RunView, style: Style) -> list[Picture]:
    """Draw one run's heat over every frame, on the scale of all runs."""
    layers = scene.layers(view, style.colours)
    return [overlay(*pair, view.square, style.opacity) for pair in zip(scene.frames, layers, strict=True)]


def motion_pictures(frames: Picture, motion: Motion, style: Style) -> list[Picture]:
    """Draw motion over every frame (T, H, W, 3)."""
    layers = motion.layers(style.colours)
    return [overlay(*pair, motion.square, style.opacity) for pair in zip(frames, layers, strict=True)]


def timeline(width: int, times: Sequence[float], now: int) -> Picture:
    """Draw the clip as a line (9, width, 3) with a tick at each time in [0, 1], that of frame `now` thick."""
    strip = np.full((_LINE_HEIGHT, width, 3), 255, np.uint8)
    strip[4:6] = _LINE
    columns = [round(time * (width - 5)) + 2 for time in times]
    strip[2:8, columns] = _LINE
    strip[1:, columns[now] - 2 : columns[now] + 3] = _MARK
    return strip


def _with_timeline(picture: Picture, scene: Scene, now: int) -> Picture:
    return np.concatenate([picture, timeline(picture.shape[1], scene.times, now)])


def _heading(scene: Scene, gap: str) -> str:
    return f"{scene.name}{gap}true: {scene.action}" if scene.action else f"{scene.name}{gap}"


def _legends(scene: Scene, style: Style, width: int) -> list[Picture]:
    """Draw the colour scale once for heat, and once for motion where there is any."""
    return [
        caption(colour_bar(width, top, style.colours), legend, size=_SMALL)
        for legend, top in zip(scene.legends, (scene.peak, 1.0), strict=False)
    ]
