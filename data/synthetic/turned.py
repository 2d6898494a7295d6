"""Turned bodies: jars, bottles, cans, cups, all drawn as a profile spun about a vertical axis."""

import numpy as np
from numpy.typing import NDArray

from data.synthetic.painter import ELLIPSE_RATIO, Array, Colour, Painter


class Turned:
    """A body of revolution on a painter's canvas, standing on y = 0 with its axis on x = 0."""

    def __init__(self, painter: Painter, profile: list[tuple[float, float]], gloss: float = 0.5) -> None:
        """Take the outline.

        Args:
            painter: Where it is drawn.
            profile: (height above the base, half width) pairs, from the base up, local units.
            gloss: Strength of the highlight, 0 to 1.
        """
        self.painter, self.gloss = painter, gloss
        self.heights = np.array([p[0] for p in profile], np.float64)
        self.half_widths = np.array([p[1] for p in profile], np.float64)
        self.shade = self._shade()

    def half_width(self, height: float) -> float:
        """Half width at a height above the base."""
        return float(np.interp(height, self.heights, self.half_widths))

    def band(
        self,
        low: float,
        high: float,
        colour: Colour,
        *,
        across: tuple[float, float] = (-1.0, 1.0),
        opacity: float = 1.0,
    ) -> NDArray[np.uint8]:
        """Paint the front surface between two heights and return its mask.

        Args:
            low: Lower edge, height above the base.
            high: Upper edge.
            colour: RGB.
            across: Left and right end as shares of the half width, -1 to 1.
            opacity: 0 to 1.
        """
        mask = self.painter.polygon(self._outline(low, high, across))
        self.painter.fill(mask, colour, self.shade, opacity)
        return mask

    def spot(self, height: float, across: float, rx: float, ry: float, colour: Colour) -> None:
        """Paint an ellipse that lies on the front surface, at a height and a share of the half width."""
        half = self.half_width(height)
        x, y = self._front(np.array(height), np.array(across)).tolist()
        squeeze = np.sqrt(max(0.05, 1 - across**2))
        self.painter.fill(self.painter.ellipse(x, y, min(rx, half) * squeeze, ry), colour, self.shade)

    def disc(
        self, height: float, colour: Colour, *, share: float = 1.0, shade: float = 1.0
    ) -> NDArray[np.uint8]:
        """Paint the horizontal circle at a height (a lid's top, a mouth) and return its mask."""
        rx = self.half_width(height) * share
        mask = self.painter.ellipse(0, -height, rx, rx * ELLIPSE_RATIO)
        self.painter.fill(mask, colour, shade)
        return mask

    def ridges(self, low: float, high: float, count: int, colour: Colour, opacity: float = 0.35) -> None:
        """Paint upright ridges, as on a screw cap."""
        for angle in np.linspace(-1.35, 1.35, count):
            u, half = float(np.sin(angle)), 0.05 * float(np.cos(angle))
            self.band(low, high, colour, across=(u - half, u + half), opacity=opacity)

    def text(self, low: float, high: float, across: tuple[float, float], colour: Colour, seed: int) -> None:
        """Paint one row of dark little blocks that read as letters from afar."""
        rng = np.random.default_rng(seed)
        u = across[0]
        while u < across[1]:
            width = rng.uniform(0.05, 0.13)
            self.band(low, high, colour, across=(u, min(u + width, across[1])))
            u += width + rng.uniform(0.03, 0.06)

    def _front(self, heights: Array, across: Array) -> Array:
        """Points on the front surface. Shapes: (P,) or numbers, to (P, 2)."""
        half = np.interp(heights, self.heights, self.half_widths)
        drop = ELLIPSE_RATIO * half * np.sqrt(np.maximum(0.0, 1 - across * across))
        return np.stack(np.broadcast_arrays(half * across, drop - heights), axis=-1)

    def _outline(self, low: float, high: float, across: tuple[float, float]) -> Array:
        u = np.sin(np.linspace(np.arcsin(max(-1.0, across[0])), np.arcsin(min(1.0, across[1])), 15))
        between = self.heights[(self.heights > low) & (self.heights < high)]
        rising = np.concatenate([[low], between, [high]])
        heights = np.concatenate([np.full(15, low), rising, np.full(15, high), rising[::-1]])
        side = np.ones(len(rising))
        return self._front(heights, np.concatenate([u, u[-1] * side, u[::-1], u[0] * side]))

    def _shade(self) -> NDArray[np.float32]:
        x, y = self.painter.grid()
        half = np.interp(-y[:, 0], self.heights, self.half_widths).astype(np.float32)[:, None]
        u = np.clip(x / np.maximum(half, 1e-3), -1, 1)
        across = np.sqrt(1 - u * u)
        diffuse = 0.48 + 0.56 * np.clip(0.86 * across - 0.5 * u, 0, 1)
        highlight = self.gloss * 0.55 * np.exp(-(((u + 0.45) / 0.13) ** 2))
        return (diffuse + highlight).astype(np.float32)
