"""Jars, bottles and the cup: the turned things of the kitchen, told apart by shape, colour and label."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from data.synthetic.painter import ELLIPSE_RATIO, Colour, Painter, Sprite
from data.synthetic.things import Look, PaintThing, Thing, finish
from data.synthetic.turned import Turned

Profile = list[tuple[float, float]]
_MARGIN = 4.0


@dataclass(frozen=True)
class Label:
    """What is printed on a vessel."""

    low: float
    high: float
    colour: Colour
    ink: Colour
    emblem: Literal["words", "spot", "stripes", "window", "waves"] = "words"
    accent: Colour = (220.0, 40.0, 40.0)


@dataclass(frozen=True)
class Vessel:
    """A turned thing: profiles are (height, half width) pairs from the base up."""

    profile: Profile
    colour: Colour
    content: Colour
    label: Label
    lid: Profile
    lid_colour: Colour
    ridges: int = 9
    gloss: float = 0.5


def paint_vessel(name: str, vessel: Vessel) -> PaintThing:
    """Give the painter of a vessel: parts `body` (open), `front` and `lid`."""

    def paint(scale: float, look: Look) -> Thing:
        rim = vessel.profile[-1][0]
        body, front = _paint_body(vessel, scale, look)
        parts = {"body": body, "front": front, "lid": _paint_lid(vessel, scale)}
        width = 2 * max(half for _, half in vessel.profile)
        thing = Thing(name, parts, rim, width, vessel.lid[-1][0], content=vessel.content)
        return finish(thing, look)

    return paint


def paint_cup(scale: float, look: Look) -> Thing:
    """A mug with a handle, a coloured band and tea in it; parts `body` and `front`."""
    profile: Profile = [(0, 17), (2, 19), (10, 21), (40, 23)]
    painter = Painter((-42, -40 - 12, 30, 12), scale)
    ring = painter.ellipse(-25, -21, 13, 13)
    hole = painter.ellipse(-25, -21, 7.5, 8)
    ring[hole > 0] = 0
    painter.fill(ring, (226, 224, 216), painter.puff(ring, 5))
    cup = Turned(painter, profile, gloss=0.4)
    cup.band(0, 40, (238, 236, 228))
    cup.band(9, 15, (40, 110, 190))
    cup.band(18, 21, (40, 110, 190))
    cup.spot(30, 0.3, 5, 5, (200, 60, 50))
    mouth = cup.disc(40, (246, 244, 238))
    inner = painter.ellipse(0, -39.2, 20.5, 20.5 * ELLIPSE_RATIO)
    painter.fill(inner, (176, 172, 164))
    tea = painter.ellipse(0, -36.8, 18, 18 * ELLIPSE_RATIO * 0.8)
    painter.fill(tea, (122, 70, 30))
    body = painter.sprite()
    painter.erase(mouth)
    return finish(
        Thing("cup", {"body": body, "front": painter.sprite()}, 40, 44, content=(122, 70, 30)), look
    )


def _paint_body(vessel: Vessel, scale: float, look: Look) -> tuple[Sprite, Sprite]:
    rim = vessel.profile[-1][0]
    painter = Painter(_box(vessel.profile), scale)
    body = Turned(painter, vessel.profile, vessel.gloss)
    body.band(0, rim, vessel.colour)
    _print(body, vessel.label, look.print_seed)
    mouth = body.disc(rim, vessel.colour, shade=1.12)
    body.disc(rim, tuple(np.multiply(vessel.content, 0.55)), share=0.82)
    whole = painter.sprite()
    painter.erase(mouth)
    return whole, painter.sprite()


def _paint_lid(vessel: Vessel, scale: float) -> Sprite:
    """The lid, drawn with its base on y = 0 and then lifted to the rim."""
    rim, top = vessel.profile[-1][0], vessel.lid[-1][0]
    painter = Painter(_box(vessel.lid), scale)
    lid = Turned(painter, vessel.lid, gloss=0.35)
    lid.band(0, top, vessel.lid_colour)
    if vessel.ridges:
        lid.ridges(0.5, vessel.lid[-2][0], vessel.ridges, (20, 20, 20))
    lid.disc(top, vessel.lid_colour, shade=1.1)
    lid.disc(top, vessel.lid_colour, share=0.72, shade=0.94)
    sprite = painter.sprite()
    lift = np.array([[1, 0, 0], [0, 1, -rim], [0, 0, 1.0]])
    return Sprite(sprite.rgba, lift @ sprite.to_local)


def _box(profile: Profile) -> tuple[float, float, float, float]:
    half = max(width for _, width in profile) + _MARGIN
    drop = half * ELLIPSE_RATIO + _MARGIN
    return -half, -profile[-1][0] - drop, half, drop


def _print(body: Turned, label: Label, seed: int) -> None:
    body.band(label.low, label.high, label.colour)
    tall = label.high - label.low

    def at(share: float) -> float:
        return label.low + share * tall

    if label.emblem == "words":
        body.text(at(0.55), at(0.82), (-0.75, 0.7), label.ink, seed)
        body.band(at(0.3), at(0.4), label.accent, across=(-0.8, 0.8))
        body.text(at(0.1), at(0.2), (-0.6, 0.6), label.ink, seed + 1)
    elif label.emblem == "spot":
        body.spot(at(0.45), -0.05, tall * 0.42, tall * 0.36, label.accent)
        body.text(at(0.72), at(0.9), (-0.8, 0.8), label.ink, seed)
    elif label.emblem == "stripes":
        for low in (0.05, 0.4, 0.75):
            body.band(at(low), at(low + 0.16), label.accent)
        body.text(at(0.24), at(0.37), (-0.7, 0.7), label.ink, seed)
    elif label.emblem == "window":
        body.spot(at(0.5), 0.0, tall * 0.36, tall * 0.42, label.ink)
        body.spot(at(0.5), 0.0, tall * 0.27, tall * 0.32, label.accent)
    else:
        _waves(body, label, at)


def _waves(body: Turned, label: Label, at: Callable[[float], float]) -> None:
    tall = label.high - label.low
    for share in (0.2, 0.5, 0.8):
        for i in range(7):
            high = at(share) + (i % 2 - 0.5) * tall * 0.1
            body.spot(high, -0.9 + 0.3 * i, tall * 0.13, tall * 0.07, label.accent)
