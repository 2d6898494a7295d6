"""What one or more runs make of the same frames: the one thing that sheets, films and pages draw.

Axes: T frames, H W pixels, h w cells of heat, n cells a side of motion.
"""

from dataclasses import dataclass

from viz.overlay import Box, Heat, Picture


@dataclass(frozen=True)
class Motion:
    """What moves: as a motion head tells it, or as a motion map has it.

    Attributes:
        name: Stands above it.
        cells: Share of each cell's pixels that move, of a classification head how likely the cell moves;
            drawn clipped to [0, 1]. Shape: (T, n, n).
        level: Value above which a cell counts as moving.
        box: The part of a frame that the cells tile.
    """

    name: str
    cells: Heat
    level: float
    box: Box


@dataclass(frozen=True)
class Look:
    """What one run makes of the frames.

    Attributes:
        run: Name of the run.
        heat: Shares, summing to 1 over a frame's cells, or all 0. Shape: (T, h, w).
        box: The part of a frame that the run sees, which the cells tile.
        predicted: Name of the winning class.
        confidence: Its softmax probability, in [0, 1].
        motion: What its motion heads tell, one a head.
    """

    run: str
    heat: Heat
    box: Box
    predicted: str
    confidence: float
    motion: tuple[Motion, ...] = ()

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
        motion_map: The clip's motion map, to hold against what motion heads tell.
    """

    name: str
    action: str | None
    frames: Picture
    labels: tuple[str, ...]
    times: tuple[float, ...]
    looks: tuple[Look, ...]
    source: str = "attention"
    motion_map: Motion | None = None

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

    @property
    def motion(self) -> tuple[Motion, ...]:
        """What every motion head tells, and last the motion map."""
        told = [motion for look in self.looks for motion in look.motion]
        return (*told, self.motion_map) if self.motion_map else tuple(told)

    @property
    def motion_scale(self) -> str:
        """Say what the colours of motion mean."""
        return (
            "motion, in the same colours: 0 to 1, the share of a cell's pixels that move (a classification "
            "head: how likely the cell moves); cells that count as moving are framed"
        )

    def verdict(self, look: Look) -> str:
        """Say "right" or "wrong", and nothing where nobody knows."""
        if self.action is None:
            return ""
        return "right" if look.predicted == self.action else "wrong"


def title(look: Look) -> str:
    """Say what a run took the frames for, and how sure it was."""
    return f"{look.run}: {look.predicted} ({100 * look.confidence:.0f} %)"
