"""What one or more runs make of the same frames: the one thing that sheets, films and pages draw.

Axes: T frames, H W pixels, h w cells.
"""

from dataclasses import dataclass

from viz.overlay import Box, Heat, Picture


@dataclass(frozen=True)
class Look:
    """What one run makes of the frames.

    Attributes:
        run: Name of the run.
        heat: Shares, summing to 1 over a frame's cells, or all 0. Shape: (T, h, w).
        box: The part of a frame that the run sees, which the cells tile.
        predicted: Name of the winning class.
        confidence: Its softmax probability, in [0, 1].
    """

    run: str
    heat: Heat
    box: Box
    predicted: str
    confidence: float

    @property
    def strength(self) -> Heat:
        """Heat as a multiple of even heat, which compares grids of different sizes. Shape: (T, h, w)."""
        strength: Heat = self.heat * (self.heat.shape[1] * self.heat.shape[2])
        return strength


@dataclass(frozen=True)
class Scene:
    """Frames under the looks of all runs.

    Attributes:
        name: Such as "S2/open_jam/1".
        action: What is done, None where nobody knows.
        frames: Whole frames, RGB, uint8. Shape: (T, H, W, 3).
        labels: What to call each frame, such as "frame 12". Length: T.
        times: Where each frame lies in the clip or the film, in [0, 1]. Length: T.
        looks: One a run.
        source: Which heat it is, such as "attention".
    """

    name: str
    action: str | None
    frames: Picture
    labels: tuple[str, ...]
    times: tuple[float, ...]
    looks: tuple[Look, ...]
    source: str = "attention"

    @property
    def peak(self) -> float:
        """The highest strength of all runs, the upper end of their one colour scale; 1 without any heat."""
        return max(float(look.strength.max()) for look in self.looks) or 1.0

    @property
    def wrong(self) -> bool:
        """Whether a run takes the action for another."""
        return self.action is not None and any(look.predicted != self.action for look in self.looks)

    @property
    def scale(self) -> str:
        """Say what the colours mean."""
        return f"{self.source}, in the same colours for every run: 0 to {self.peak:.1f} times even heat"

    def verdict(self, look: Look) -> str:
        """Say "right" or "wrong", and nothing where nobody knows."""
        if self.action is None:
            return ""
        return "right" if look.predicted == self.action else "wrong"


def title(look: Look) -> str:
    """Say what a run took the frames for, and how sure it was."""
    return f"{look.run}: {look.predicted} ({100 * look.confidence:.0f} %)"
