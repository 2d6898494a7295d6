"""The kitchen's things that are not turned: boxes, bread, cheese, hotdog, spoon, tea bag and plate."""

import numpy as np

from data.synthetic.painter import Colour, Painter, rounded_box
from data.synthetic.things import Look, Thing, finish


def paint_sugar(scale: float, look: Look) -> Thing:
    """A yellow and white box with a flap; parts `body`, `front` and `lid`."""
    return _paint_box("sugar", scale, look, (44, 58), (246, 214, 70), (250, 248, 240), (30, 50, 120))


def paint_tea(scale: float, look: Look) -> Thing:
    """A green box with a leaf on it; parts `body`, `front` and `lid`."""
    return _paint_box("tea", scale, look, (56, 36), (38, 116, 70), (224, 232, 190), (90, 160, 60))


def paint_bread(scale: float, look: Look) -> Thing:
    """A slice of bread lying flat; parts `body`, and `left` and `right` for folding."""
    painter = Painter((-36, -26, 36, 26), scale)
    _paint_slice(painter, look.print_seed)
    whole = painter.sprite()
    parts = {"body": whole}
    for name, gone in (("left", (0.8, 40)), ("right", (-40, -0.8))):
        half = Painter((-36, -26, 36, 26), scale)
        _paint_slice(half, look.print_seed)
        half.erase(half.polygon([(gone[0], -30), (gone[1], -30), (gone[1], 30), (gone[0], 30)]))
        parts[name] = half.sprite()
    return finish(Thing("bread", parts, 22, 60, flat=True, content=(240, 214, 160)), look)


def paint_cheese(scale: float, look: Look) -> Thing:
    """A square of yellow cheese lying flat; part `lid` is the wrapper that is pulled off."""
    outline = [(-23, -13), (21, -16), (25, 14), (-26, 17)]
    painter = Painter((-34, -24, 34, 26), scale)
    side = painter.polygon(np.add(outline, (0, 3)))
    painter.fill(side, (206, 140, 20))
    face = painter.polygon(outline)
    painter.fill(face, (252, 190, 44), 0.95)
    for x, y, r in ((-12, -4, 3.5), (8, 6, 4), (12, -8, 2.5), (-8, 9, 2.5)):
        painter.fill(painter.ellipse(x, y, r, r * 0.7), (222, 152, 22))
    wrap = Painter((-34, -24, 34, 26), scale)
    film = wrap.polygon(np.multiply(outline, 1.08))
    wrap.fill(film, (232, 238, 246), 1.0, 0.6)
    wrap.fill(wrap.polygon(np.multiply(outline, (0.75, 0.5))), (40, 70, 170))
    wrap.fill(wrap.polygon(np.multiply(outline, (0.5, 0.2))), (250, 214, 70))
    parts = {"body": painter.sprite(), "lid": wrap.sprite()}
    return finish(Thing("cheese", parts, 16, 48, 4.0, flat=True, content=(252, 190, 44)), look)


def paint_hotdog(scale: float, look: Look) -> Thing:
    """A browned sausage lying flat."""
    painter = Painter((-38, -18, 38, 18), scale)
    bend = [(-28 + 7 * i, 0.012 * (-28 + 7 * i) ** 2 - 4) for i in range(9)]
    mask = np.zeros(painter.alpha.shape, np.uint8)
    for a, b in zip(bend[:-1], bend[1:], strict=True):
        mask |= painter.capsule(a, b, 8.5, 8.5)
    painter.fill(mask, (186, 72, 40), painter.puff(mask, 8))
    for x, y in bend[1:-1:2]:
        mark = painter.capsule((x - 3, y - 6), (x + 3, y + 4), 1.1, 1.1)
        painter.fill(mark, (104, 34, 18), 1.0, 0.8)
    return finish(Thing("hotdog", {"body": painter.sprite()}, 8, 60, flat=True, content=(186, 72, 40)), look)


def paint_spoon(scale: float, look: Look) -> Thing:
    """A steel spoon, bowl at the origin, handle towards -y."""
    painter = Painter((-12, -84, 12, 16), scale)
    handle = painter.capsule((0, -10), (0, -76), 2.2, 3.8)
    painter.fill(handle, (196, 200, 206), painter.puff(handle, 3))
    bowl = painter.ellipse(0, 0, 8.5, 12)
    painter.fill(bowl, (204, 208, 214), painter.puff(bowl, 6))
    painter.fill(painter.ellipse(0.5, 1, 6, 9), (150, 154, 162), 0.9)
    painter.fill(painter.ellipse(-2, -2, 2, 4.5), (244, 246, 250))
    return finish(Thing("spoon", {"body": painter.sprite()}, 10, 16, flat=True, handle=(0, -58)), look)


def paint_teabag(scale: float, look: Look) -> Thing:
    """A bag of tea on a string with a green tag at the top; the origin is the tag."""
    painter = Painter((-16, -10, 16, 62), scale)
    painter.fill(painter.capsule((0, 0), (0, 36), 0.7, 0.7), (240, 240, 236))
    bag = painter.polygon([(-5, 34), (5, 34), (11, 41), (11, 58), (-11, 58), (-11, 41)])
    painter.fill(bag, (206, 186, 140), painter.puff(bag, 6))
    painter.fill(painter.ellipse(0, 51, 8, 5), (110, 76, 40), 1.0, 0.6)
    painter.fill(painter.polygon(rounded_box(-8, -7, 8, 7, 2)), (38, 116, 70))
    painter.fill(painter.ellipse(0, 0, 4, 3, -30), (224, 232, 190))
    return finish(Thing("tea", {"body": painter.sprite()}, 6, 16, flat=True, content=(110, 76, 40)), look)


def paint_plate(scale: float, look: Look) -> Thing:
    """A paper plate with a patterned rim, lying flat."""
    painter = Painter((-66, -46, 66, 46), scale)
    painter.fill(painter.ellipse(0, 2, 64, 42), (186, 182, 172))
    rim = painter.ellipse(0, 0, 64, 42)
    painter.fill(rim, (244, 242, 234), painter.puff(rim, 9))
    for i, angle in enumerate(np.linspace(0, 2 * np.pi, 16, endpoint=False)):
        x, y = 56 * np.cos(angle), 36.5 * np.sin(angle)
        painter.fill(painter.ellipse(x, y, 4, 2.6), ((196, 160, 190), (160, 186, 150))[i % 2], 1.0, 0.7)
    painter.fill(painter.ellipse(0, 1, 45, 28.5), (226, 222, 212))
    painter.fill(painter.ellipse(0, 2.5, 44, 27.5), (246, 244, 238))
    return finish(Thing("plate", {"body": painter.sprite()}, 30, 128, flat=True), look)


def paint_blob(colour: Colour, scale: float, seed: int = 0) -> Thing:
    """A soft heap or smear of something, lying flat."""
    rng = np.random.default_rng(seed)
    painter = Painter((-24, -18, 24, 18), scale)
    mask = np.zeros(painter.alpha.shape, np.uint8)
    for _ in range(7):
        mask |= painter.ellipse(*rng.normal(0, (6, 4)), *rng.uniform((7, 4), (11, 7)))
    painter.fill(mask, colour, painter.puff(mask, 4))
    return Thing("blob", {"body": painter.sprite()}, 10, 30, flat=True, content=colour)


def paint_stream(colour: Colour, scale: float) -> Thing:
    """A thread of falling liquid from the origin 40 units down."""
    painter = Painter((-5, -1, 5, 41), scale)
    mask = painter.capsule((0, 1), (0, 39), 2.6, 1.6)
    painter.fill(mask, colour, painter.puff(mask, 2))
    return Thing("stream", {"body": painter.sprite()}, 40, 5, flat=True, content=colour)


def _paint_slice(painter: Painter, seed: int) -> None:
    crust = _slice_outline(32, 21)
    below = painter.polygon(np.add(crust, (0, 3)))
    painter.fill(below, (126, 74, 30))
    edge = painter.polygon(crust)
    painter.fill(edge, (182, 118, 56), painter.puff(edge, 4))
    crumb = painter.polygon(_slice_outline(28, 17.5))
    painter.fill(crumb, (242, 220, 172), 0.97)
    rng = np.random.default_rng(seed)
    for x, y in rng.uniform((-22, -12), (22, 12), (26, 2)):
        painter.fill(painter.ellipse(x, y, 1.3, 0.9), (218, 188, 132))


def _slice_outline(rx: float, ry: float) -> list[tuple[float, float]]:
    t = np.linspace(0, 2 * np.pi, 60, endpoint=False)
    x = rx * np.sign(np.cos(t)) * np.abs(np.cos(t)) ** 0.5
    y = ry * np.sign(np.sin(t)) * np.abs(np.sin(t)) ** 0.5
    dome = -0.16 * ry * np.cos(x / rx * np.pi / 2) * (y < 0) * 1.6
    return list(zip(x.tolist(), (y + dome).tolist(), strict=True))


def _paint_box(
    name: str,
    scale: float,
    look: Look,
    size: tuple[float, float],
    colour: Colour,
    panel: Colour,
    ink: Colour,
) -> Thing:
    w, h = size
    painter = Painter((-w / 2 - 16, -h - 24, w / 2 + 16, 10), scale)
    front = [(-w / 2, 4), (w / 2 - 6, 5), (w / 2 - 6, -h + 2), (-w / 2, -h)]
    side = [(w / 2 - 6, 5), (w / 2 + 5, -2), (w / 2 + 5, -h - 4), (w / 2 - 6, -h + 2)]
    top = [(-w / 2, -h), (w / 2 - 6, -h + 2), (w / 2 + 5, -h - 4), (-w / 2 + 10, -h - 7)]
    painter.fill(painter.polygon(front), colour, 0.95)
    painter.fill(painter.polygon(side), colour, 0.66)
    left, right = -w / 2 + 4, w / 2 - 10
    painter.fill(painter.polygon(rounded_box(left, -h * 0.62, right, -h * 0.16, 3)), panel)
    _print_box(painter, name, (left, right), h, ink, look.print_seed)
    mouth = painter.polygon(top)
    painter.fill(mouth, colour, 0.42)
    body = painter.sprite()
    painter.erase(mouth)
    lid = Painter((-w / 2 - 16, -h - 24, w / 2 + 16, 10), scale)
    lid.fill(lid.polygon(top), colour, 1.12)
    lid.fill(lid.polygon([top[0], top[1], (w / 2 - 6, -h + 9), (-w / 2, -h + 7)]), panel, 0.9)
    parts = {"body": body, "front": painter.sprite(), "lid": lid.sprite()}
    return finish(Thing(name, parts, h, w, 5.0, content=(250, 248, 244)), look)


def _print_box(
    painter: Painter, name: str, across: tuple[float, float], h: float, ink: Colour, seed: int
) -> None:
    left, right = across
    rng = np.random.default_rng(seed)
    if name == "tea":
        middle = (left + right) / 2
        painter.fill(painter.ellipse(middle - 7, -h * 0.39, 10, 4.5, -25), ink)
        painter.fill(painter.ellipse(middle + 8, -h * 0.4, 9, 4, 30), ink, 0.8)
        return
    for row, (top, low) in enumerate(((0.56, 0.42), (0.37, 0.31), (0.26, 0.22))):
        x = left + 3
        while x < right - 5:
            width = rng.uniform(2.5, 6)
            colour = (206, 40, 40) if row == 0 else ink
            painter.fill(
                painter.polygon([(x, -h * top), (x + width, -h * top), (x + width, -h * low), (x, -h * low)]),
                colour,
            )
            x += width + 2
