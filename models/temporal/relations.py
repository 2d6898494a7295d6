"""Relations between frames of a clip at several time scales: TRN (Zhou et al., ECCV 2018).

Axes: B clips, T frames, C channels, D features, h w cells.
"""

from math import comb
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.temporal.base import TemporalHead


class RelationHead(TemporalHead):
    """Multi-scale TRN: what sets of 2 to T frames, in their order, say together.

        f_t = ReLU(W_f pool(g_t) + b_f)                                       `reduce`
        r_d = sum over sets i_1 < .. < i_d of ReLU(W_d [f_i1, .., f_id] + b_d)   `scales`, from d = 2 to T

    The feature is [r_2, .., r_T], (T - 1) D wide, so that the classifier holds every scale's second layer
    (with one bias, where the released code adds a scale's own once for every set). The sets are chosen at
    building and kept in checkpoints: all of a scale, or three spread evenly over their list; the released
    code draws three at every call, so that two tests of a clip differ. Before frame i_d is there, a set says
    nothing. Published: D = 256, and dropout on f, which the network's own dropout replaces.

    Examples:
        >>> head = RelationHead(8, 4, frames=5)
        >>> head(torch.zeros(2, 5, 8, 7, 7), cam=torch.zeros(2, 5, 7, 7)).shape
        torch.Size([2, 16])
    """

    SETS: ClassVar[int] = 3
    """The number of sets of a scale, where it has as many."""
    needs_frames: ClassVar[bool] = True
    no_cells: ClassVar[str] = "joins pooled frames by their relations, whose score lies on no cells"

    def __init__(self, in_channels: int, hidden: int, frames: int) -> None:
        super().__init__(in_channels, hidden)
        self.frames, sizes = frames, range(2, frames + 1)
        self.features = len(sizes) * hidden
        self.reduce = nn.Linear(in_channels, hidden)
        self.scales = nn.ModuleList(nn.Linear(size * hidden, hidden) for size in sizes)
        for size in sizes:
            self.register_buffer(f"sets_{size}", torch.tensor(_spread(frames, size, self.SETS)))

    @classmethod
    def refusal(cls, *, attention: bool, hidden: int, frames: int | None) -> str | None:
        """Refuse clips of one frame, which has no relation; see `TemporalHead.refusal`."""
        if frames is not None and frames < 2:
            return f"relates frames to each other, so it needs --frames 2 or more, got {frames}"
        return super().refusal(attention=attention, hidden=hidden, frames=frames)

    def forward(self, maps: Tensor, cam: Tensor | None) -> Tensor:
        """Map (B, T, C, h, w), pooled by the attention or by their mean, to (B, (T - 1) D)."""
        return self.states(maps, cam)[:, -1]

    def states(self, maps: Tensor, cam: Tensor | None) -> Tensor:
        """Return what the sets say that end by each frame, (B, T, (T - 1) D)."""
        given = maps.shape[1]
        assert given <= self.frames, f"built for {self.frames} frames, got {given}"
        reduced = self.reduce(self.pool(maps, cam)).relu()  # (B, T, D)
        reduced = F.pad(reduced, (0, 0, 0, self.frames - given))  # frames that are not there yet
        time = torch.arange(self.frames, device=maps.device)
        said = []
        for size, scale in enumerate(self.scales, start=2):
            sets = self.get_buffer(f"sets_{size}")  # (sets, size)
            relations = scale(reduced[:, sets].flatten(2)).relu()  # (B, sets, D)
            ended = sets[:, -1:] <= time  # (sets, T)
            said.append(torch.einsum("bsd,st->btd", relations, ended.to(relations.dtype)))
        return torch.cat(said, dim=2)[:, :given]


def _spread(frames: int, size: int, most: int) -> list[tuple[int, ...]]:
    """Choose at most `most` sets of frame numbers, spread evenly over the list of all in rising order."""
    number = comb(frames, size)
    if number <= most:
        return [_set_at(rank, frames, size) for rank in range(number)]
    return [_set_at(step * (number - 1) // (most - 1), frames, size) for step in range(most)]


def _set_at(rank: int, frames: int, size: int) -> tuple[int, ...]:
    """Return the set of `size` frame numbers that stands at `rank` in the rising list, without the list."""
    chosen: list[int] = []
    for frame in range(frames):
        with_it = comb(frames - frame - 1, size - len(chosen) - 1)  # sets that go on with this frame
        if rank < with_it:
            chosen.append(frame)
        else:
            rank -= with_it
        if len(chosen) == size:
            break
    return tuple(chosen)
