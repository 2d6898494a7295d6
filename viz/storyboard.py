"""A scene as a contact sheet and as the pictures of a film.

Axes: T frames, H W pixels. Pictures are RGB, uint8.
"""

import numpy as np

from viz.overlay import Picture, Style, caption, colour, contact_sheet, overlay
from viz.scene import Motion, RunView, Scene

_LINE, _MARK = (170, 170, 170), (20, 20, 20)
_LINE_HEIGHT, _BAR = 9, (10, 160)


def scene_sheet(scene: Scene, style: Style) -> Picture:
    """Lay out the frames, below them a row for each run and each motion, and what the colours mean."""
    plain = [
        caption(_with_timeline(frame, scene, k), label)
        for k, (frame, label) in enumerate(zip(scene.frames, scene.labels, strict=True))
    ]
    rows = [caption(contact_sheet([plain]), _heading(scene, "   "))]
    for view in scene.views:
        words = " - ".join(filter(None, (view.title, scene.verdict(view))))
        rows.append(caption(contact_sheet([heat_pictures(scene, view, style)]), words))
    rows += [
        caption(contact_sheet([motion_pictures(scene.frames, motion, style)]), motion.name)
        for motion in scene.motion
    ]
    return contact_sheet([[row] for row in (*rows, *_legends(scene, style, rows[0].shape[1]))])


def scene_film(scene: Scene, style: Style) -> list[Picture]:
    """Draw a picture for each frame: the frame, a column for each run and each motion, and the colours."""
    columns = [[caption(frame, _heading(scene, "\n")) for frame in scene.frames]]
    for view in scene.views:
        # The longest part comes last, since captions are cut to the width of a frame.
        outcome = ", ".join(filter(None, (scene.verdict(view), f"{100 * view.confidence:.0f} %")))
        words = f"{view.run}\n{outcome}: {view.predicted}"
        columns.append([caption(picture, words) for picture in heat_pictures(scene, view, style)])
    for motion in scene.motion:
        pictures = motion_pictures(scene.frames, motion, style)
        columns.append([caption(picture, f"{motion.name}\n") for picture in pictures])
    rows = [contact_sheet([row]) for row in zip(*columns, strict=True)]
    legends = [[legend] for legend in _legends(scene, style, rows[0].shape[1])]
    return [contact_sheet([[_with_timeline(row, scene, k)], *legends]) for k, row in enumerate(rows)]


def heat_pictures(scene: Scene, view: RunView, style: Style) -> list[Picture]:
    """Draw one run's heat over every frame, on the scale of all runs."""
    layers = scene.layers(view, style.colours)
    return [overlay(*pair, view.square, style.opacity) for pair in zip(scene.frames, layers, strict=True)]


def motion_pictures(frames: Picture, motion: Motion, style: Style) -> list[Picture]:
    """Draw motion over every frame (T, H, W, 3)."""
    layers = motion.layers(style.colours)
    return [overlay(*pair, motion.square, style.opacity) for pair in zip(frames, layers, strict=True)]


def timeline(width: int, times: tuple[float, ...], now: int) -> Picture:
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
    height, length = _BAR
    bar = np.full((height, width, 3), 255, np.uint8)
    scale = np.linspace(0, 1, min(length, width))
    bar[:, : len(scale)] = colour(scale[None], style.colours)
    return [caption(bar, legend) for legend in scene.legends]
