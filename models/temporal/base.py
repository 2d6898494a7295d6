"""The interface of temporal heads: a clip's feature maps in, one feature out.

Axes: B clips, T frames, C channels, D features, h w cells.
"""

from collections.abc import Callable, Mapping
from typing import ClassVar

import torch
from torch import Tensor, nn

from core.errors import UserError
from models.cam import spatial_attention


class TemporalHead(nn.Module):
    """Base of the heads, built as `head(in_channels, hidden)`, or with `frames` where `needs_frames` says so.

    `forward(maps, cam)` turns feature maps (B, T, C, h, w) into a feature (B, D). `cam` is the class
    activation map (B, T, h, w) before its softmax, or None without attention; a head that attends by other
    means may ignore it.
    """

    learns: ClassVar[bool] = True
    """Whether the head has parameters."""
    needs_train_mode: ClassVar[bool] = False
    """Whether its backward pass works in train mode only."""
    needs_attention: ClassVar[bool] = False
    """Whether it can't do without the CAM."""
    needs_frames: ClassVar[bool] = False
    """Whether it is built for a number of frames."""
    own_attention: ClassVar[bool] = False
    """Whether it weights the cells by attention of its own, in place of `attention`; see `with_heat`."""
    largest_hidden: ClassVar[int | None] = None
    """The widest that it is built, which is then also its width where none is asked for; None: any."""
    hidden_step: ClassVar[int] = 1
    """Its width is a multiple of this."""
    untrained: ClassVar[tuple[str, ...]] = ()
    """Names of parameters that no gradient reaches, where the published network has such."""
    no_cells: ClassVar[str] = "joins the frames by a head whose score lies on no cells"
    """Why its feature lies on no cells, for heads without `cell_features`."""
    features: int
    """Width D of the feature."""

    def __init__(self, in_channels: int, hidden: int, frames: int | None = None) -> None:
        super().__init__()
        self.features = hidden

    @classmethod
    def refusal(cls, *, attention: bool, hidden: int, frames: int | None) -> str | None:
        """Say why the head can't be built so, as a sentence that goes on from its name; None: it can.

        Args:
            attention: Whether there is a CAM.
            hidden: Width of its state.
            frames: Frames T of a clip; None where that is not known.
        """
        if cls.needs_attention and not attention:
            return "needs --attention cam: its recurrence takes the class activation map of each frame"
        if cls.needs_frames and frames is None:
            return "is built for a number of frames, which is missing"
        if cls.largest_hidden is not None and hidden > cls.largest_hidden:
            return f"takes a --hidden of at most {cls.largest_hidden}, got {hidden}"
        if hidden % cls.hidden_step:
            return f"takes a --hidden that is a multiple of {cls.hidden_step}, got {hidden}"
        return None

    def states(self, maps: Tensor, cam: Tensor | None) -> Tensor:
        """Return the feature as it stands after each frame, (B, T, D): that of the clip that ends there.

        This is the definition, and right for every head; a head that finds them in one pass overrides it.
        """
        ends = range(1, maps.shape[1] + 1)
        return torch.stack(
            [self(maps[:, :end], None if cam is None else cam[:, :end]) for end in ends], dim=1
        )

    def attention(self, cam: Tensor | None) -> Tensor | None:
        """Return the CAM's weight of each cell (B, T, h, w), summing to 1 over a frame; None without CAM."""
        return None if cam is None else spatial_attention(cam)

    def with_heat(self, maps: Tensor, cam: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """Return the feature, and the weight of each cell (B, T, h, w) in it; None where nothing attends."""
        return self(maps, cam), self.attention(cam)

    def attend(self, maps: Tensor, cam: Tensor | None) -> Tensor:
        """Weight the cells of maps (B, T, C, h, w) by the attention, where there is any."""
        attention = self.attention(cam)
        return maps if attention is None else maps * attention[:, :, None]

    def focus(self, maps: Tensor, cam: Tensor | None) -> Tensor:
        """Weight the cells as `attend` does, times their number: an even attention changes nothing."""
        return maps if cam is None else self.attend(maps, cam) * (cam.shape[-2] * cam.shape[-1])

    def pool(self, maps: Tensor, cam: Tensor | None) -> Tensor:
        """Pool each frame's cells to (B, T, C): their mean, or their mean weighted by the attention."""
        return maps.mean(dim=(3, 4)) if cam is None else self.attend(maps, cam).sum(dim=(3, 4))

    def cut(self, maps: Tensor, cam: Tensor | None) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
        """Cut the head behind the last maps of single frames, for Grad-CAM.

        Returns:
            The maps (B, T, C, h, w), weighted by the attention unless the head has its own, and a function
            that turns such maps into the feature (B, D).
        """
        if cam is None or self.own_attention:
            return maps, lambda maps: self(maps, cam)
        # These maps are weighted already. An even CAM weighs each by 1 / cells, which the factor undoes.
        even, cells = torch.zeros_like(cam), cam.shape[-2] * cam.shape[-1]
        return self.attend(maps, cam), lambda maps: self(cells * maps, even)

    def cell_features(self, maps: Tensor, cam: Tensor | None) -> Tensor | None:
        """Spread the feature over the cells of the frames it comes from, for class activation maps.

        Returns:
            Maps (B, T, D, h, w) whose means over the cells are the feature as it stands after each frame, or
            each frame's part in it; None where the feature comes from pooled frames.
        """
        return None

    @property
    def lies_on_cells(self) -> bool:
        """Whether the head spreads its feature over cells."""
        return type(self).cell_features is not TemporalHead.cell_features

    published_names: ClassVar[Mapping[str, tuple[str, ...]]] = {}
    """Where checkpoints were published with such a head: its own tensors by name, and the names of the
    tensors that each is a stack of, along their first axis; of the first one it is the head's width."""

    def published_state(self) -> dict[str, Tensor]:
        """Return the weights under their published names.

        Raises:
            UserError: No checkpoints were published with such a head.
        """
        if not self.published_names:
            raise UserError(
                "published checkpoints hold a ConvLSTM (--temporal convlstm) or LSTA (--temporal lsta), none "
                "has such a head"
            )
        own = self.state_dict()
        return {
            name: part.clone()
            for key, names in self.published_names.items()
            for name, part in zip(names, own[key].chunk(len(names)), strict=True)
        }

    def load_published(self, state: dict[str, Tensor]) -> None:
        """Copy published weights, which were checked to fit; others in `state` are left."""
        stacks = {key: torch.cat([state[n] for n in names]) for key, names in self.published_names.items()}
        self.load_state_dict(stacks)
