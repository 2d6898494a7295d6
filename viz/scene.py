"""What one or more runs see in the same frames: what contact sheets, films and pages draw.

Axes: T frames, H W pixels, h w cells of heat, n cells a side of motion.
"""

from dataclasses import dataclass, replace

import numpy as np

from viz import ColourMap
from viz.overlay import (
    Heat,
    Layer,
    Picture,
    Square,
    Verdict,
    heat_layer,
    motion_layer,
    resized,
)


@dataclass(frozen=True)
class Motion:
    """What moves, as a motion head predicts it or as a motion map has it.

    Attributes:
        name: Its caption.
        cells: Share of each cell's pixels that move; of a classification head the probability that the cell
            moves. Drawn clipped to [0, 1]. Shape: (T, n, n).
        threshold: Value above which a cell counts as moving.
        square: The part of a frame that the cells tile.
    """

    name: str
    cells: Heat
    threshold: float
    square: Square

    def layers(self, colours: ColourMap) -> list[Layer]:
        """Turn each frame's motion into a layer for the square. Length: T."""
        return [motion_layer(cells, self.threshold, self.square.side, colours) for cells in self.cells]


@dataclass(frozen=True)
class RunView:
    """What one run sees in the frames.

    Attributes:
        run: Name of the run.
        heat: Shares, summing to 1 over a frame's cells, or all 0. Shape: (T, h, w).
        square: The part of a frame that the run sees, which the cells tile.
        predicted: Name of the predicted action.
        confidence: Its softmax probability, in [0, 1].
        motion: What its motion heads predict.
    """

    run: str
    heat: Heat
    square: Square
    predicted: str
    confidence: float
    motion: tuple[Motion, ...] = ()

    @property
    def strength(self) -> Heat:
        """Heat as a multiple of even heat, which compares grids of different sizes. Shape: (T, h, w)."""
        return np.asarray(self.heat * self.heat[0].size)

    @property
    def title(self) -> str:
        """Such as "rgb2: open_jam (83 %)"."""
        return f"{self.run}: {self.predicted} ({100 * self.confidence:.0f} %)"


@dataclass(frozen=True)
class Film:
    """All of a clip, for playing; the frames that networks see are among them.

    Attributes:
        frames: RGB, uint8, of any size. Shape: (N, H, W, 3).
        labels: Caption of each frame. Length: N.
        times: As of a scene. Length: N.
        per_second: Frames to play in a second.
    """

    frames: Picture
    labels: tuple[str, ...]
    times: tuple[float, ...]
    per_second: float


@dataclass(frozen=True)
class Scene:
    """Frames with the views of all runs.

    Attributes:
        name: Such as "S2/open_jam/1".
        action: The true action, None where it is unknown.
        frames: Whole frames, RGB, uint8. Shape: (T, H, W, 3).
        labels: Caption of each frame, such as "frame 12". Length: T.
        times: Where each frame lies in the clip or the film, in [0, 1]. Length: T.
        views: One a run.
        heat: Which heat is drawn, such as "attention".
        motion_map: The clip's motion map, to compare with what motion heads predict.
        film: The frames between as well, None where they were not read.
    """

    name: str
    action: str | None
    frames: Picture
    labels: tuple[str, ...]
    times: tuple[float, ...]
    views: tuple[RunView, ...]
    heat: str = "attention"
    motion_map: Motion | None = None
    film: Film | None = None

    def scaled(self, width: int) -> "Scene":
        """Draw the frames at another width, and what lies over them at its place."""
        zoom = width / self.frames.shape[2]

        def motion(old: Motion) -> Motion:
            return replace(old, square=old.square.scaled(zoom))

        def view(old: RunView) -> RunView:
            return replace(old, square=old.square.scaled(zoom), motion=tuple(map(motion, old.motion)))

        motion_map = motion(self.motion_map) if self.motion_map else None
        views = tuple(map(view, self.views))
        return replace(self, frames=resized(self.frames, width), views=views, motion_map=motion_map)

    @property
    def peak(self) -> float:
        """The highest strength of all runs, the upper end of their one colour scale; 1 without any heat."""
        return max(float(view.strength.max()) for view in self.views) or 1.0

    @property
    def wrong(self) -> bool:
        """Whether any run predicts another action than the true one."""
        return any(self.verdict(view) == "wrong" for view in self.views)

    @property
    def motion(self) -> tuple[Motion, ...]:
        """The predictions of all motion heads, and last the motion map."""
        predicted = [motion for view in self.views for motion in view.motion]
        return (*predicted, self.motion_map) if self.motion_map else tuple(predicted)

    @property
    def legends(self) -> tuple[str, ...]:
        """The meaning of the colours: of heat, and of motion where there is any."""
        of_heat = f"{self.heat}, in the same colours for every run: 0 to {self.peak:.1f} times even heat"
        of_motion = (
            "motion, same colours: 0 to 1, the share of a cell's pixels that move (classification: its "
            "probability); framed cells count as moving"
        )
        return (of_heat, of_motion) if self.motion else (of_heat,)

    def layers(self, view: RunView, colours: ColourMap) -> list[Layer]:
        """Turn each frame's heat into a layer for the run's square, on the scale of all runs. Length: T."""
        return [heat_layer(cells / self.peak, view.square.side, colours) for cells in view.strength]

    def verdict(self, view: RunView) -> Verdict:
        """Compare a prediction with the true action: "right", "wrong", or "" where it is unknown."""
        if self.action is None:
            return ""
        return "right" if view.predicted == self.action else "wrong"
