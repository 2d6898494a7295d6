"""What a drawn thing is: its parts, its measures, and how one copy looks unlike the next."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from data.synthetic.painter import Colour, Sprite


@dataclass(frozen=True)
class Look:
    """How one copy of a thing differs from another of the same kind."""

    stretch: tuple[float, float] = (1.0, 1.0)
    """Factors on width and height."""
    gain: Colour = (1.0, 1.0, 1.0)
    """Factors on red, green and blue."""
    print_seed: int = 0
    """Decides the words on the label."""


@dataclass(frozen=True)
class Thing:
    """One drawn thing, parts in shared local coordinates."""

    name: str
    parts: dict[str, Sprite]
    """`body`; `lid` where it opens; `front`: the body without its mouth, to cover what dips into it."""
    height: float
    """From base to the rim of the open body, local units; for a flat thing half its depth on the table."""
    width: float
    """Local units, where a hand holds it."""
    lid_height: float = 0.0
    """How far the lid rises above the rim, local units."""
    flat: bool = False
    """Lies on the table, origin at its centre, instead of standing on its base."""
    content: Colour = (200.0, 200.0, 200.0)
    """Colour of what it holds, RGB."""
    handle: tuple[float, float] | None = None
    """Where it is held, local units, if it has a handle."""

    @property
    def hold(self) -> tuple[float, float]:
        """Where a hand grips it, local units: its handle, or its right side."""
        return self.handle or (0.34 * self.width, 2.0 if self.flat else -0.45 * self.height)


PaintThing = Callable[[float, Look], Thing]
"""Draws a thing at so many sprite pixels a local unit."""


@dataclass(frozen=True)
class LookRange:
    """How much copies differ: the bounds that looks are drawn from."""

    stretch: float = 0.08
    """Of width and height, each by itself."""
    value: float = 0.08
    """Of brightness."""
    hue: float = 0.03
    """Of red, green and blue, each by itself."""

    def draw(self, rng: np.random.Generator) -> Look:
        """Draw a look."""
        sx, sy = rng.uniform(1 - self.stretch, 1 + self.stretch, 2)
        value = rng.uniform(1 - self.value, 1 + self.value)
        red, green, blue = value * rng.uniform(1 - self.hue, 1 + self.hue, 3)
        return Look(
            (float(sx), float(sy)), (float(red), float(green), float(blue)), int(rng.integers(1 << 30))
        )


def finish(thing: Thing, look: Look) -> Thing:
    """Apply a look's stretch and colour to a thing drawn plainly."""
    sx, sy = look.stretch
    return Thing(
        thing.name,
        {name: _vary(sprite, look) for name, sprite in thing.parts.items()},
        thing.height * sy,
        thing.width * sx,
        thing.lid_height * sy,
        thing.flat,
        thing.content,
        None if thing.handle is None else (thing.handle[0] * sx, thing.handle[1] * sy),
    )


def _vary(sprite: Sprite, look: Look) -> Sprite:
    alpha = sprite.rgba[..., 3:]
    rgb = np.minimum(sprite.rgba[..., :3] * np.asarray(look.gain), alpha)
    rgba = np.concatenate([np.round(rgb).astype(np.uint8), alpha], axis=-1)
    return Sprite(rgba, np.diag([look.stretch[0], look.stretch[1], 1.0]) @ sprite.to_local)
