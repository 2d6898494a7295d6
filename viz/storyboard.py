"""A scene as a contact sheet, and as the pictures of a film.

Axes: T frames, H W pixels. Pictures are RGB, uint8.
"""

from dataclasses import dataclass

import numpy as np

from viz.motion import tint
from viz.overlay import ColourMap, Picture, colour, overlay
from viz.scene import Look, Motion, Scene, title
from viz.sheet import caption, contact_sheet

_LINE, _MARK = (170, 170, 170), (20, 20, 20)
_LINE_HEIGHT, _BAR = 9, (10, 160)


@dataclass(frozen=True)
class Style:
    """How heat is drawn.

    Attributes:
        opacity: Of the hottest place, in [0, 1].
        colours: Colour map.
    """

    opacity: float = 0.6
    colours: ColourMap = "inferno"


def scene_sheet(scene: Scene, style: Style) -> Picture:
    """Lay out the frames, under them a row for each run, and what the colours mean."""
    plain = [
        caption(_timed(frame, scene, k), label)
        for k, (frame, label) in enumerate(zip(scene.frames, scene.labels, strict=True))
    ]
    rows = [caption(contact_sheet([plain]), _heading(scene, "   "))]
    for look in scene.looks:
        words = " - ".join(filter(None, (title(look), scene.verdict(look))))
        rows.append(caption(contact_sheet([drawn(scene, look, style)]), words))
    rows += [caption(contact_sheet([tinted(scene, m, style)]), m.name) for m in scene.motion]
    return contact_sheet([[row] for row in (*rows, *_legends(scene, style, rows[0].shape[1]))])


def scene_film(scene: Scene, style: Style) -> list[Picture]:
    """Give a picture for each frame: the frame, beside it a column a run, and what the colours mean."""
    columns = [[caption(frame, _heading(scene, "\n")) for frame in scene.frames]]
    for look in scene.looks:
        # What is long stands last, since captions are cut to the width of a frame.
        outcome = ", ".join(filter(None, (scene.verdict(look), f"{100 * look.confidence:.0f} %")))
        words = f"{look.run}\n{outcome}: {look.predicted}"
        columns.append([caption(picture, words) for picture in drawn(scene, look, style)])
    for motion in scene.motion:
        columns.append([caption(picture, f"{motion.name}\n") for picture in tinted(scene, motion, style)])
    rows = [contact_sheet([row]) for row in zip(*columns, strict=True)]
    legends = [[legend] for legend in _legends(scene, style, rows[0].shape[1])]
    return [contact_sheet([[_timed(row, scene, k)], *legends]) for k, row in enumerate(rows)]


def drawn(scene: Scene, look: Look, style: Style) -> list[Picture]:
    """Draw one run's heat over every frame, coloured by the scale of all runs."""
    return [
        overlay(frame, cells / scene.peak, look.box, opacity=style.opacity, colours=style.colours)
        for frame, cells in zip(scene.frames, look.strength, strict=True)
    ]


def tinted(scene: Scene, motion: Motion, style: Style) -> list[Picture]:
    """Draw motion over every frame."""
    return [
        tint(frame, cells, motion.box, motion.level, opacity=style.opacity, colours=style.colours)
        for frame, cells in zip(scene.frames, motion.cells, strict=True)
    ]


def timeline(width: int, times: tuple[float, ...], now: int) -> Picture:
    """Draw the clip as a line, a tick where each frame lies, the one that is shown thick.

    Args:
        width: Pixels.
        times: Where the frames lie, in [0, 1].
        now: Which of them is shown.

    Returns:
        Shape: (9, width, 3).
    """
    strip = np.full((_LINE_HEIGHT, width, 3), 255, np.uint8)
    strip[4:6] = _LINE
    places = [round(time * (width - 5)) + 2 for time in times]
    for place in places:
        strip[2:8, place] = _LINE
    strip[1:, places[now] - 2 : places[now] + 3] = _MARK
    return strip


def _timed(picture: Picture, scene: Scene, now: int) -> Picture:
    return np.concatenate([picture, timeline(picture.shape[1], scene.times, now)])


def _heading(scene: Scene, gap: str) -> str:
    return f"{scene.name}{gap}true: {scene.action}" if scene.action else f"{scene.name}{gap}"


def _legends(scene: Scene, style: Style, width: int) -> list[Picture]:
    """Say what the colours mean: one line and bar for heat, one for motion where there is any."""
    height, length = _BAR
    bar = np.full((height, width, 3), 255, np.uint8)
    scale = np.linspace(0, 1, min(length, width))
    bar[:, : len(scale)] = colour(scale[None], style.colours)
    return [caption(bar, text) for text in (scene.scale, *([scene.motion_scale] if scene.motion else []))]
