"""Sixteen objects that no action names: for the back of the table and the catalogue."""

import numpy as np

from data.synthetic.painter import Colour, Painter, RoundBody, Sketch, rounded_box


def _ball(colour: Colour, rx: float, ry: float, leaf: Colour | None = None, seams: bool = False) -> Sketch:
    """Something round: a fruit with a stalk and a leaf, a ball with seams, an egg."""

    def paint(painter: Painter, _seed: int) -> None:
        mask = painter.ellipse(0, -ry, rx, ry)
        painter.inflate(mask, colour, min(rx, ry))
        if seams:
            for bend in (-0.55, 0.0, 0.55):
                stripe = painter.ellipse(bend * rx * 1.3, -ry, 2.2 + abs(bend) * 3, ry)
                stripe[mask == 0] = 0
                painter.fill(stripe, (250, 250, 250), 0.9)
        painter.fill(painter.ellipse(-rx * 0.35, -ry * 1.45, rx * 0.2, ry * 0.14), (255, 255, 255), 1.0, 0.6)
        if leaf is not None:
            painter.fill(painter.capsule((0, -2 * ry + 3), (3, -2 * ry - 6), 1.4, 1.2), (90, 60, 30))
            painter.fill(painter.ellipse(8, -2 * ry - 3, 6, 2.6, -20), leaf)

    return Sketch(paint, (-rx - 4, -2 * ry - 10, rx + 4, 6), width=2 * rx, height=2 * ry)


def _banana(painter: Painter, _seed: int) -> None:
    line = [(-32 + 8 * i, 14 - 0.024 * (-32 + 8 * i) ** 2) for i in range(9)]
    radii = (3, 6, 7.5, 8.5, 9, 8.5, 7.5, 6, 3)
    links = [painter.capsule(line[i], line[i + 1], radii[i], radii[i + 1]) for i in range(8)]
    painter.inflate(np.bitwise_or.reduce(links), (244, 214, 60), 8)
    for end in (line[0], line[-1]):
        painter.fill(painter.ellipse(*end, 3, 3), (88, 62, 24))


def _book(painter: Painter, _seed: int) -> None:
    face = [(-32, -22), (30, -24), (36, 20), (-36, 22)]
    painter.fill(painter.polygon(np.add(face, (0, 5))), (236, 232, 220))
    painter.fill(painter.polygon(face), (30, 96, 110))
    painter.fill(painter.polygon(np.multiply(face, (0.7, 0.25)) + (0, -8)), (234, 214, 150))
    painter.fill(painter.polygon([(-32, -22), (-28, -22), (-31, 22), (-36, 22)]), (18, 60, 72))


def _bowl(painter: Painter, _seed: int) -> None:
    bowl = RoundBody(painter, [(0, 16), (3, 18), (14, 29), (26, 35)])
    bowl.band(0, 26, (90, 150, 140))
    bowl.band(17, 20, (240, 236, 220))
    bowl.disc(26, (120, 180, 168))
    bowl.disc(26, (58, 104, 98), share=0.9)


def _can(painter: Painter, _seed: int) -> None:
    can = RoundBody(painter, [(0, 15), (3, 17), (44, 17), (48, 14)], gloss=0.9)
    can.band(0, 48, (40, 130, 60))
    can.band(12, 34, (240, 240, 240), across=(-0.55, 0.45))
    can.spot(23, -0.05, 6, 8, (40, 130, 60))
    can.disc(48, (206, 208, 212))
    can.disc(48, (150, 152, 158), share=0.75)


def _candle(painter: Painter, _seed: int) -> None:
    candle = RoundBody(painter, [(0, 11), (44, 11)], gloss=0.2)
    candle.band(0, 44, (226, 196, 226))
    candle.disc(44, (240, 220, 240))
    painter.fill(painter.capsule((0, -44), (0, -50), 0.9, 0.7), (40, 30, 30))
    painter.fill(painter.ellipse(0, -56, 3.4, 7), (255, 190, 60))
    painter.fill(painter.ellipse(0, -54, 1.8, 4), (255, 246, 190))


def _carton(painter: Painter, _seed: int) -> None:
    painter.fill(painter.polygon([(-18, 3), (10, 4), (10, -54), (-18, -55)]), (244, 244, 246))
    painter.fill(painter.polygon([(10, 4), (20, -2), (20, -58), (10, -54)]), (190, 192, 200))
    painter.fill(painter.polygon([(-18, -22), (10, -21), (10, 4), (-18, 3)]), (70, 150, 220))
    painter.fill(painter.polygon([(-18, -55), (10, -54), (14, -72), (-12, -73)]), (70, 150, 220), 1.1)
    painter.fill(painter.polygon([(10, -54), (20, -58), (14, -72)]), (50, 110, 170))
    painter.fill(painter.polygon([(-12, -80), (14, -79), (14, -72), (-12, -73)]), (236, 236, 240))
    painter.fill(painter.ellipse(-4, -38, 8, 10), (40, 40, 44))


def _clock(painter: Painter, _seed: int) -> None:
    for x in (-14, 14):
        painter.fill(painter.capsule((x, -2), (x * 0.7, -12), 3, 3), (60, 62, 70))
        painter.fill(painter.ellipse(x, -52, 9, 7), (190, 60, 60))
    painter.inflate(painter.ellipse(0, -28, 25, 25), (190, 60, 60), 8)
    painter.fill(painter.ellipse(0, -28, 20, 20), (250, 250, 244))
    for angle in np.linspace(0, 2 * np.pi, 12, endpoint=False):
        x, y = 16 * np.cos(angle), -28 + 16 * np.sin(angle)
        painter.fill(painter.ellipse(x, y, 1.2, 1.2), (40, 40, 40))
    painter.fill(painter.capsule((0, -28), (9, -36), 1.4, 1.0), (20, 20, 20))
    painter.fill(painter.capsule((0, -28), (-3, -42), 1.2, 0.8), (20, 20, 20))


def _cone(painter: Painter, _seed: int) -> None:
    painter.fill(painter.polygon([(-27, 0), (0, -8), (27, 0), (0, 11)]), (214, 84, 20))
    cone = RoundBody(painter, [(0, 18), (56, 3)])
    cone.band(0, 56, (240, 106, 24))
    cone.band(16, 28, (250, 248, 244))
    cone.band(40, 46, (250, 248, 244))


def _dice(painter: Painter, _seed: int) -> None:
    painter.fill(painter.polygon([(-22, -30), (0, -22), (0, 6), (-22, -4)]), (230, 230, 234), 0.95)
    painter.fill(painter.polygon([(0, -22), (22, -30), (22, -4), (0, 6)]), (230, 230, 234), 0.72)
    painter.fill(painter.polygon([(-22, -30), (0, -40), (22, -30), (0, -22)]), (230, 230, 234), 1.1)
    for x, y in ((-16, -20), (-11, -12), (-6, -4), (0, -31), (7, -10), (15, -20)):
        painter.fill(painter.ellipse(x, y, 2.8, 2.6), (196, 30, 60))


def _fork(painter: Painter, _seed: int) -> None:
    parts = [painter.capsule((0, -14), (0, -76), 2.2, 3.6), painter.capsule((-6, -10), (6, -10), 4, 4)]
    parts += [painter.capsule((x, -8), (x, 12), 1.4, 1.1) for x in (-7.5, -2.5, 2.5, 7.5)]
    painter.inflate(np.bitwise_or.reduce(parts), (198, 202, 208), 2.5)


def _leaf(painter: Painter, _seed: int) -> None:
    t = np.linspace(-1, 1, 30)
    upper = np.stack([34 * t, -16 * (1 - t**2) ** 0.8], axis=1)
    painter.inflate(painter.polygon(np.concatenate([upper, upper[::-1] * (1, -1)])), (66, 150, 50), 10)
    painter.fill(painter.capsule((-39, 0), (32, 0), 1.2, 0.5), (190, 220, 140))
    for x in (-18, -4, 10):
        for way in (-1, 1):
            painter.fill(painter.capsule((x, 0), (x + 10, way * 9), 0.8, 0.4), (190, 220, 140))


def _phone(painter: Painter, _seed: int) -> None:
    painter.fill(painter.polygon(rounded_box(-18, -31, 18, 36, 5)), (60, 60, 66))
    painter.fill(painter.polygon(rounded_box(-18, -34, 18, 33, 5)), (24, 24, 28))
    painter.fill(painter.polygon(rounded_box(-15, -28, 15, 25, 1)), (80, 140, 200))
    for row in range(4):
        for column in range(3):
            x, y = -9 + 9 * column, -20 + 11 * row
            colour = ((240, 120, 90), (250, 220, 110), (120, 210, 140))[(row + column) % 3]
            painter.fill(painter.polygon(rounded_box(x - 3, y - 3, x + 3, y + 3, 1)), colour)
    painter.fill(painter.ellipse(0, 29, 2.4, 2.4), (120, 120, 126))


def _sponge(painter: Painter, seed: int) -> None:
    painter.fill(painter.polygon(rounded_box(-31, -8, 31, 17, 4)), (44, 120, 60))
    painter.inflate(painter.polygon(rounded_box(-31, -18, 31, 9, 4)), (250, 150, 170), 4)
    for x, y in np.random.default_rng(seed).uniform((-27, -14), (27, 5), (34, 2)):
        painter.fill(painter.ellipse(x, y, 1.7, 1.2), (204, 100, 124))


DISTRACTORS = {
    "apple": _ball((196, 40, 36), 22, 20, (70, 140, 50)),
    "ball": _ball((60, 80, 200), 22, 22, seams=True),
    "banana": Sketch(_banana, (-42, -24, 42, 24), width=70, height=14, flat=True),
    "book": Sketch(_book, (-40, -30, 40, 32), width=66, height=22, flat=True),
    "bowl": Sketch(_bowl, (-40, -42, 40, 12), width=70, height=26),
    "can": Sketch(_can, (-22, -60, 22, 10), width=34, height=48),
    "candle": Sketch(_candle, (-16, -70, 16, 8), width=22, height=44),
    "carton": Sketch(_carton, (-26, -84, 28, 8), width=38, height=62),
    "clock": Sketch(_clock, (-30, -64, 30, 6), width=50, height=50),
    "cone": Sketch(_cone, (-30, -66, 30, 14), width=36, height=56),
    "dice": Sketch(_dice, (-30, -54, 30, 10), width=44, height=34),
    "egg": _ball((240, 222, 200), 15, 19),
    "fork": Sketch(_fork, (-14, -84, 14, 16), width=18, height=10, flat=True),
    "leaf": Sketch(_leaf, (-40, -22, 40, 22), width=68, height=16, flat=True),
    "phone": Sketch(_phone, (-24, -40, 24, 42), width=36, height=32, flat=True),
    "sponge": Sketch(_sponge, (-36, -24, 36, 22), width=62, height=16, flat=True),
}
