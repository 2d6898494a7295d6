"""Jars, bottles and the cup (bodies of revolution); every object by its name, and how its copies differ."""

from dataclasses import dataclass, replace
from functools import lru_cache, partial
from typing import Literal

import numpy as np

from data.synthetic.distractors import DISTRACTORS
from data.synthetic.foods import FOODS, TABLEWARE
from data.synthetic.painter import (
    ELLIPSE_RATIO,
    Colour,
    DrawnObject,
    ObjectPainter,
    Painter,
    Profile,
    RoundBody,
    Sprite,
)

_MARGIN = 4.0


@dataclass(frozen=True)
class Label:
    """What is printed on a vessel, between two heights above its base."""

    low: float
    high: float
    colour: Colour
    ink: Colour
    emblem: Literal["words", "spot", "stripes", "window", "waves"]
    accent: Colour


@dataclass(frozen=True)
class Vessel:
    """A vessel with a lid."""

    body: Profile
    lid: Profile
    colour: Colour
    content: Colour
    lid_colour: Colour
    label: Label
    ridges: int = 9
    """Around the lid."""
    gloss: float = 0.5


# fmt: off
VESSELS = {
    "chocolate": Vessel(  # a syrup bottle: dark brown all over, pale oval label, waisted
        body=((0, 16), (3, 18), (26, 18), (34, 15), (44, 17), (56, 16), (66, 8), (70, 8)),
        lid=((0, 8), (8, 7), (10, 4), (16, 3)),
        colour=(66, 36, 22), content=(58, 28, 14), lid_colour=(46, 24, 14),
        label=Label(10, 30, (66, 36, 22), ink=(238, 232, 220), emblem="window", accent=(120, 130, 150)),
    ),
    "coffee": Vessel(  # a wide tin: red with a black lid
        body=((0, 22), (2, 24), (50, 24), (52, 22)), lid=((0, 25), (9, 25), (10, 24)),
        colour=(168, 24, 30), content=(62, 38, 22), lid_colour=(28, 26, 28), ridges=0,
        label=Label(10, 44, (168, 24, 30), ink=(245, 235, 215), emblem="spot", accent=(236, 196, 90)),
    ),
    "honey": Vessel(  # a bear-shaped squeeze bottle: amber, round belly, yellow cone
        body=((0, 14), (4, 18), (16, 20), (30, 16), (34, 13), (42, 16), (50, 14), (56, 8)),
        lid=((0, 9), (4, 9), (6, 6), (18, 2)),
        colour=(222, 142, 28), content=(230, 150, 24), lid_colour=(246, 208, 40), gloss=0.9,
        label=Label(12, 22, (250, 226, 130), ink=(120, 60, 10), emblem="words", accent=(200, 90, 20)),
    ),
    "jam": Vessel(  # a low glass jar: purple, white label, gold lid
        body=((0, 17), (3, 20), (36, 20), (42, 17), (44, 17)), lid=((0, 18.5), (8, 18.5), (9, 17.5)),
        colour=(94, 22, 62), content=(110, 18, 58), lid_colour=(212, 168, 62), gloss=0.9,
        label=Label(8, 30, (240, 236, 232), ink=(60, 20, 50), emblem="spot", accent=(120, 40, 120)),
    ),
    "ketchup": Vessel(  # a tall flat-shouldered bottle: bright red, white cap
        body=((0, 15), (3, 17), (46, 16), (60, 11), (70, 9), (72, 9)), lid=((0, 10), (10, 10), (11, 9)),
        colour=(206, 26, 22), content=(196, 20, 16), lid_colour=(244, 244, 240), gloss=0.7,
        label=Label(14, 40, (244, 240, 232), ink=(30, 110, 40), emblem="words", accent=(206, 26, 22)),
    ),
    "mayonnaise": Vessel(  # a wide white jar with a blue lid
        body=((0, 20), (3, 22), (44, 22), (52, 18), (54, 18)), lid=((0, 20), (9, 20), (10, 19)),
        colour=(240, 238, 224), content=(246, 242, 222), lid_colour=(34, 74, 166),
        label=Label(10, 38, (38, 84, 170), ink=(250, 250, 250), emblem="words", accent=(246, 216, 60)),
    ),
    "mustard": Vessel(  # a slim yellow bottle with a long red nozzle
        body=((0, 13), (3, 15), (48, 15), (56, 9), (60, 8)), lid=((0, 9), (5, 9), (7, 5), (22, 2)),
        colour=(244, 206, 20), content=(224, 178, 20), lid_colour=(200, 30, 30), gloss=0.6,
        label=Label(14, 36, (244, 206, 20), ink=(40, 40, 110), emblem="stripes", accent=(196, 34, 34)),
    ),
    "peanut": Vessel(  # a tan jar with a green lid and an orange band
        body=((0, 18), (3, 20), (48, 20), (54, 17), (56, 17)), lid=((0, 18.5), (10, 18.5), (11, 17.5)),
        colour=(186, 128, 72), content=(188, 132, 76), lid_colour=(34, 128, 62),
        label=Label(12, 40, (224, 98, 28), ink=(250, 240, 220), emblem="stripes", accent=(250, 226, 160)),
    ),
    "water": Vessel(  # a clear blue bottle with rings and a blue cap
        body=((0, 14), (2, 15), (20, 15), (22, 14), (24, 15), (50, 15), (62, 8), (74, 6), (76, 6)),
        lid=((0, 7), (7, 7), (8, 6)),
        colour=(168, 206, 226), content=(186, 220, 240), lid_colour=(30, 90, 190), gloss=1.0,
        label=Label(26, 44, (60, 140, 214), ink=(245, 250, 255), emblem="waves", accent=(235, 245, 255)),
    ),
}
"""The nine vessels of the action names."""
# fmt: on


def paint_vessel(vessel: Vessel, scale: float, seed: int) -> DrawnObject:
    """Draw a vessel: parts `body` (open), `front` and `lid`."""
    rim, top = vessel.body[-1][0], vessel.lid[-1][0]
    painter = Painter(_box(vessel.body), scale)
    body = RoundBody(painter, vessel.body, vessel.gloss)
    body.band(0, rim, vessel.colour)
    _print_label(body, vessel.label, seed)
    mouth = body.disc(rim, vessel.colour, shade=1.12)
    body.disc(rim, tuple(np.multiply(vessel.content, 0.55)), share=0.82)
    parts = {"body": painter.sprite(), "lid": _paint_lid(vessel, scale)}
    painter.erase(mouth)
    parts["front"] = painter.sprite()
    return DrawnObject(parts, rim, 2 * max(half for _, half in vessel.body), top, content=vessel.content)


def _paint_lid(vessel: Vessel, scale: float) -> Sprite:
    """Draw the lid with its base on y = 0, then lift it to the rim."""
    rim, top = vessel.body[-1][0], vessel.lid[-1][0]
    painter = Painter(_box(vessel.lid), scale)
    lid = RoundBody(painter, vessel.lid, gloss=0.35)
    lid.band(0, top, vessel.lid_colour)
    if vessel.ridges:
        lid.ridges(0.5, vessel.lid[-2][0], vessel.ridges, (20, 20, 20))
    lid.disc(top, vessel.lid_colour, shade=1.1)
    lid.disc(top, vessel.lid_colour, share=0.72, shade=0.94)
    sprite = painter.sprite()
    return Sprite(sprite.rgba, np.array([[1, 0, 0], [0, 1, -rim], [0, 0, 1.0]]) @ sprite.to_local)


def _box(profile: Profile) -> tuple[float, float, float, float]:
    half = max(width for _, width in profile) + _MARGIN
    drop = half * ELLIPSE_RATIO + _MARGIN
    return -half, -profile[-1][0] - drop, half, drop


def _print_label(body: RoundBody, label: Label, seed: int) -> None:
    body.band(label.low, label.high, label.colour)
    tall = label.high - label.low

    def at(share: float) -> float:
        return label.low + share * tall

    match label.emblem:
        case "words":
            body.text(at(0.55), at(0.82), (-0.75, 0.7), label.ink, seed)
            body.band(at(0.3), at(0.4), label.accent, across=(-0.8, 0.8))
            body.text(at(0.1), at(0.2), (-0.6, 0.6), label.ink, seed + 1)
        case "spot":
            body.spot(at(0.45), -0.05, tall * 0.42, tall * 0.36, label.accent)
            body.text(at(0.72), at(0.9), (-0.8, 0.8), label.ink, seed)
        case "stripes":
            for low in (0.05, 0.4, 0.75):
                body.band(at(low), at(low + 0.16), label.accent)
            body.text(at(0.24), at(0.37), (-0.7, 0.7), label.ink, seed)
        case "window":
            body.spot(at(0.5), 0.0, tall * 0.36, tall * 0.42, label.ink)
            body.spot(at(0.5), 0.0, tall * 0.27, tall * 0.32, label.accent)
        case "waves":
            for share in (0.2, 0.5, 0.8):
                for i in range(7):
                    height = at(share) + (i % 2 - 0.5) * tall * 0.1
                    body.spot(height, -0.9 + 0.3 * i, tall * 0.13, tall * 0.07, label.accent)


def paint_cup(scale: float, _seed: int) -> DrawnObject:
    """Draw a mug of tea with a handle and coloured bands; parts `body` and `front`."""
    painter = Painter((-42, -40 - 12, 30, 12), scale)
    ring = painter.ellipse(-25, -21, 13, 13)
    hole = painter.ellipse(-25, -21, 7.5, 8)
    ring[hole > 0] = 0
    painter.inflate(ring, (226, 224, 216), 5)
    cup = RoundBody(painter, ((0, 17), (2, 19), (10, 21), (40, 23)), gloss=0.4)
    cup.band(0, 40, (238, 236, 228))
    cup.band(9, 15, (40, 110, 190))
    cup.band(18, 21, (40, 110, 190))
    cup.spot(30, 0.3, 5, 5, (200, 60, 50))
    mouth = cup.disc(40, (246, 244, 238))
    painter.fill(painter.ellipse(0, -39.2, 20.5, 20.5 * ELLIPSE_RATIO), (176, 172, 164))
    painter.fill(painter.ellipse(0, -36.8, 18, 18 * ELLIPSE_RATIO * 0.8), (122, 70, 30))
    body = painter.sprite()
    painter.erase(mouth)
    return DrawnObject({"body": body, "front": painter.sprite()}, 40, 44, content=(122, 70, 30))


NOUNS: dict[str, ObjectPainter] = {
    **{name: partial(paint_vessel, vessel) for name, vessel in VESSELS.items()},
    **FOODS,
    "cup": paint_cup,
    "spoon": TABLEWARE["spoon"],
}
"""The sixteen nouns of the action names, in the order in which their looks are drawn."""

STANDING = (*VESSELS, "sugar", "tea", "cup")
"""Nouns that can stand in a row at the back of the table."""


@dataclass(frozen=True)
class Look:
    """How one copy of an object differs from another of the same kind."""

    stretch: tuple[float, float] = (1.0, 1.0)
    """Factors on width and height."""
    gain: Colour = (1.0, 1.0, 1.0)
    """Factors on red, green and blue."""
    print_seed: int = 0
    """Decides what is printed on the label."""


@dataclass(frozen=True)
class LookRange:
    """Bounds that looks are drawn from."""

    stretch: float = 0.08
    """Of width and height, independently."""
    value: float = 0.08
    """Of brightness."""
    hue: float = 0.03
    """Of red, green and blue, independently."""

    def draw(self, rng: np.random.Generator) -> Look:
        """Draw a look."""
        sx, sy = rng.uniform(1 - self.stretch, 1 + self.stretch, 2).tolist()
        value = rng.uniform(1 - self.value, 1 + self.value)
        red, green, blue = (value * rng.uniform(1 - self.hue, 1 + self.hue, 3)).tolist()
        return Look((sx, sy), (red, green, blue), int(rng.integers(1 << 30)))


def draw_object(name: str, look: Look, scale: float) -> DrawnObject:
    """Draw an object.

    Args:
        name: A noun, a distractor, `teabag` or `plate`.
        look: How this copy looks.
        scale: Sprite pixels per local unit.
    """
    drawn = (NOUNS | DISTRACTORS | TABLEWARE)[name](scale, look.print_seed)
    sx, sy = look.stretch
    parts = {}
    for part, sprite in drawn.parts.items():
        alpha = sprite.rgba[..., 3:]
        rgb = np.minimum(sprite.rgba[..., :3] * np.asarray(look.gain), alpha)
        rgba = np.concatenate([np.round(rgb).astype(np.uint8), alpha], axis=-1)
        parts[part] = Sprite(rgba, np.diag([sx, sy, 1.0]) @ sprite.to_local)
    return replace(
        drawn,
        parts=parts,
        height=drawn.height * sy,
        width=drawn.width * sx,
        lid_height=drawn.lid_height * sy,
        handle=None if drawn.handle is None else (drawn.handle[0] * sx, drawn.handle[1] * sy),
    )


cached_object = lru_cache(maxsize=600)(draw_object)
"""`draw_object`, each look drawn once."""
