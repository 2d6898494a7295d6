"""Every object by its name, and how one copy of it differs from another."""

from dataclasses import dataclass, replace
from functools import lru_cache, partial

import numpy as np

from data.synthetic.distractors import DISTRACTORS
from data.synthetic.foods import FOODS, TABLEWARE
from data.synthetic.painter import Colour, DrawnObject, ObjectPainter, Sprite
from data.synthetic.vessels import VESSELS, paint_cup, paint_vessel

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
