"""The objects of the kitchen that are not vessels: boxes, bread, cheese, hotdog, spoon, tea bag, plate."""

from functools import partial
from itertools import pairwise
from typing import Literal

import numpy as np

from data.synthetic.painter import Colour, DrawnObject, ObjectPainter, Painter, Sketch, Sprite, rounded_box


def _bread(scale: float, seed: int) -> DrawnObject:
    """A slice of bread lying flat; parts `body`, and `left` and `right` for folding."""
    painter = Painter((-36, -26, 36, 26), scale)
    _slice(painter, seed)
    parts = {"body": painter.sprite()}
    for name, (start, stop) in (("left", (0.8, 40)), ("right", (-40, -0.8))):
        half = Painter((-36, -26, 36, 26), scale)
        _slice(half, seed)
        half.erase(half.polygon([(start, -30), (stop, -30), (stop, 30), (start, 30)]))
        parts[name] = half.sprite()
    return DrawnObject(parts, 22, 60, flat=True, content=(240, 214, 160))


def _slice(painter: Painter, seed: int) -> None:
    crust = _slice_outline(32, 21)
    painter.fill(painter.polygon(np.add(crust, (0, 3))), (126, 74, 30))
    painter.inflate(painter.polygon(crust), (182, 118, 56), 4)
    painter.fill(painter.polygon(_slice_outline(28, 17.5)), (242, 220, 172), 0.97)
    for x, y in np.random.default_rng(seed).uniform((-22, -12), (22, 12), (26, 2)):
        painter.fill(painter.ellipse(x, y, 1.3, 0.9), (218, 188, 132))


def _slice_outline(rx: float, ry: float) -> list[tuple[float, float]]:
    t = np.linspace(0, 2 * np.pi, 60, endpoint=False)
    x = rx * np.sign(np.cos(t)) * np.abs(np.cos(t)) ** 0.5
    y = ry * np.sign(np.sin(t)) * np.abs(np.sin(t)) ** 0.5
    dome = -0.16 * ry * np.cos(x / rx * np.pi / 2) * (y < 0) * 1.6
    return list(zip(x.tolist(), (y + dome).tolist(), strict=True))


def _cheese(scale: float, _seed: int) -> DrawnObject:
    """A square of cheese lying flat; part `lid` is the wrapper that is pulled off."""
    outline = [(-23, -13), (21, -16), (25, 14), (-26, 17)]
    painter = Painter((-34, -24, 34, 26), scale)
    painter.fill(painter.polygon(np.add(outline, (0, 3))), (206, 140, 20))
    painter.fill(painter.polygon(outline), (252, 190, 44), 0.95)
    for x, y, r in ((-12, -4, 3.5), (8, 6, 4), (12, -8, 2.5), (-8, 9, 2.5)):
        painter.fill(painter.ellipse(x, y, r, r * 0.7), (222, 152, 22))
    wrap = Painter((-34, -24, 34, 26), scale)
    wrap.fill(wrap.polygon(np.multiply(outline, 1.08)), (232, 238, 246), 1.0, 0.6)
    wrap.fill(wrap.polygon(np.multiply(outline, (0.75, 0.5))), (40, 70, 170))
    wrap.fill(wrap.polygon(np.multiply(outline, (0.5, 0.2))), (250, 214, 70))
    parts = {"body": painter.sprite(), "lid": wrap.sprite()}
    return DrawnObject(parts, 16, 48, 4.0, flat=True, content=(252, 190, 44))


def _box(
    w: float,
    h: float,
    colour: Colour,
    panel: Colour,
    ink: Colour,
    emblem: Literal["words", "leaf"],
    scale: float,
    seed: int,
) -> DrawnObject:
    """A box with a flap; parts `body`, `front` and `lid`."""
    box = (-w / 2 - 16, -h - 24, w / 2 + 16, 10)
    front = [(-w / 2, 4), (w / 2 - 6, 5), (w / 2 - 6, -h + 2), (-w / 2, -h)]
    side = [(w / 2 - 6, 5), (w / 2 + 5, -2), (w / 2 + 5, -h - 4), (w / 2 - 6, -h + 2)]
    top = [(-w / 2, -h), (w / 2 - 6, -h + 2), (w / 2 + 5, -h - 4), (-w / 2 + 10, -h - 7)]
    left, right = -w / 2 + 4, w / 2 - 10
    painter = Painter(box, scale)
    painter.fill(painter.polygon(front), colour, 0.95)
    painter.fill(painter.polygon(side), colour, 0.66)
    painter.fill(painter.polygon(rounded_box(left, -h * 0.62, right, -h * 0.16, 3)), panel)
    if emblem == "leaf":
        middle = (left + right) / 2
        painter.fill(painter.ellipse(middle - 7, -h * 0.39, 10, 4.5, -25), ink)
        painter.fill(painter.ellipse(middle + 8, -h * 0.4, 9, 4, 30), ink, 0.8)
    else:
        _print_words(painter, (left, right), h, ink, np.random.default_rng(seed))
    mouth = painter.polygon(top)
    painter.fill(mouth, colour, 0.42)
    parts = {"body": painter.sprite()}
    painter.erase(mouth)
    parts["front"] = painter.sprite()
    lid = Painter(box, scale)
    lid.fill(lid.polygon(top), colour, 1.12)
    lid.fill(lid.polygon([top[0], top[1], (w / 2 - 6, -h + 9), (-w / 2, -h + 7)]), panel, 0.9)
    parts["lid"] = lid.sprite()
    return DrawnObject(parts, h, w, 5.0, content=(250, 248, 244))


def _print_words(
    painter: Painter, across: tuple[float, float], h: float, ink: Colour, rng: np.random.Generator
) -> None:
    """Print three rows of words as blocks, the first in red; `h` is the box's height."""
    for top, low, colour in ((0.56, 0.42, (206, 40, 40)), (0.37, 0.31, ink), (0.26, 0.22, ink)):
        x = across[0] + 3
        while x < across[1] - 5:
            width = rng.uniform(2.5, 6)
            end = x + width
            word = painter.polygon([(x, -h * top), (end, -h * top), (end, -h * low), (x, -h * low)])
            painter.fill(word, colour)
            x += width + 2


def _hotdog(painter: Painter, _seed: int) -> None:
    bend = [(-28 + 7 * i, 0.012 * (-28 + 7 * i) ** 2 - 4) for i in range(9)]
    links = [painter.capsule(a, b, 8.5, 8.5) for a, b in pairwise(bend)]
    painter.inflate(np.bitwise_or.reduce(links), (186, 72, 40), 8)
    for x, y in bend[1:-1:2]:
        painter.fill(painter.capsule((x - 3, y - 6), (x + 3, y + 4), 1.1, 1.1), (104, 34, 18), 1.0, 0.8)


def _spoon(painter: Painter, _seed: int) -> None:
    """The bowl at the origin, the handle towards -y."""
    painter.inflate(painter.capsule((0, -10), (0, -76), 2.2, 3.8), (196, 200, 206), 3)
    painter.inflate(painter.ellipse(0, 0, 8.5, 12), (204, 208, 214), 6)
    painter.fill(painter.ellipse(0.5, 1, 6, 9), (150, 154, 162), 0.9)
    painter.fill(painter.ellipse(-2, -2, 2, 4.5), (244, 246, 250))


def _teabag(painter: Painter, _seed: int) -> None:
    """A bag on a string, with its green tag at the origin."""
    painter.fill(painter.capsule((0, 0), (0, 36), 0.7, 0.7), (240, 240, 236))
    bag = painter.polygon([(-5, 34), (5, 34), (11, 41), (11, 58), (-11, 58), (-11, 41)])
    painter.inflate(bag, (206, 186, 140), 6)
    painter.fill(painter.ellipse(0, 51, 8, 5), (110, 76, 40), 1.0, 0.6)
    painter.fill(painter.polygon(rounded_box(-8, -7, 8, 7, 2)), (38, 116, 70))
    painter.fill(painter.ellipse(0, 0, 4, 3, -30), (224, 232, 190))


def _plate(painter: Painter, _seed: int) -> None:
    """A paper plate with a patterned rim."""
    painter.fill(painter.ellipse(0, 2, 64, 42), (186, 182, 172))
    painter.inflate(painter.ellipse(0, 0, 64, 42), (244, 242, 234), 9)
    for i, angle in enumerate(np.linspace(0, 2 * np.pi, 16, endpoint=False)):
        x, y = 56 * np.cos(angle), 36.5 * np.sin(angle)
        painter.fill(painter.ellipse(x, y, 4, 2.6), ((196, 160, 190), (160, 186, 150))[i % 2], 1.0, 0.7)
    painter.fill(painter.ellipse(0, 1, 45, 28.5), (226, 222, 212))
    painter.fill(painter.ellipse(0, 2.5, 44, 27.5), (246, 244, 238))


FOODS: dict[str, ObjectPainter] = {
    "sugar": partial(_box, 44, 58, (246, 214, 70), (250, 248, 240), (30, 50, 120), "words"),
    "bread": _bread,
    "cheese": _cheese,
    "tea": partial(_box, 56, 36, (38, 116, 70), (224, 232, 190), (90, 160, 60), "leaf"),
    "hotdog": Sketch(_hotdog, (-38, -18, 38, 18), width=60, height=8, flat=True, content=(186, 72, 40)),
}
TABLEWARE = {
    "spoon": Sketch(_spoon, (-12, -84, 12, 16), width=16, height=10, flat=True, handle=(0, -58)),
    "teabag": Sketch(_teabag, (-16, -10, 16, 62), width=16, height=6, flat=True, content=(110, 76, 40)),
    "plate": Sketch(_plate, (-66, -46, 66, 46), width=128, height=30, flat=True),
}


def paint_blob(colour: Colour, scale: float, seed: int = 0) -> Sprite:
    """Draw a soft heap or smear of a content."""
    rng = np.random.default_rng(seed)
    painter = Painter((-24, -18, 24, 18), scale)
    drops = [painter.ellipse(*rng.normal(0, (6, 4)), *rng.uniform((7, 4), (11, 7))) for _ in range(7)]
    painter.inflate(np.bitwise_or.reduce(drops), colour, 4)
    return painter.sprite()


def paint_stream(colour: Colour, scale: float) -> Sprite:
    """Draw a thread of falling liquid from the origin 40 units down."""
    painter = Painter((-5, -1, 5, 41), scale)
    painter.inflate(painter.capsule((0, 1), (0, 39), 2.6, 1.6), colour, 2)
    return painter.sprite()
