"""Statistics of the training maps, stored in the heads: how often a cell moves, and class weights."""

from collections.abc import Iterable

import torch
from torch import Tensor

from core.errors import UserError
from core.task import Batch
from selfsup.head import MotionHead, MotionHeads
from selfsup.targets import MotionTarget, binary, truth


class _Sums:
    """Running sums over the frames of the training clips, for one head."""

    def __init__(self, head: MotionHead, target: MotionTarget) -> None:
        self.head = head
        self.target = target
        self.moved = torch.zeros(head.size, head.size, dtype=torch.float64)
        self.target_sum = 0.0
        self.frames = 0

    def add(self, maps: Tensor) -> None:
        self.moved += truth(maps, self.head.size).double().sum(dim=(0, 1))
        self.target_sum += float(self.target(maps, self.head.size).double().sum())
        self.frames += maps.shape[0] * maps.shape[1]

    def store(self, balanced: bool) -> None:
        share = self.target_sum / (self.frames * self.head.size**2)
        if not 0 < share < 1:
            raise UserError(
                f"{'all' if share else 'none'} of the cells of the training maps move, so there is nothing "
                "to learn from them; look at the maps, or choose another --ms-threshold"
            )
        weights = [0.5 / (1 - share), 0.5 / share] if balanced else [1.0, 1.0]
        self.head.frequency.copy_(self.moved / self.frames)
        self.head.class_weights.copy_(torch.tensor(weights))


@torch.no_grad()
def learn_prior(
    heads: MotionHeads, target: MotionTarget, batches: Iterable[Batch], *, balanced: bool
) -> bool:
    """Read the training maps once and fill the heads' `frequency` and `class_weights`.

    Args:
        heads: The heads to fill.
        target: How maps become targets.
        batches: "maps" (B, T, 1, S, S), uint8, of every training clip, cropped as in the test.
        balanced: Weigh static and moving cells so that each kind is half of an average loss; else alike.

    Returns:
        Whether a map holds grey levels other than 0 and 255.

    Raises:
        UserError: No cell moves, or every cell does.
    """
    sums = [_Sums(head, target) for head in heads.by_layer().values()]
    grey = False
    for batch in batches:
        maps = batch["maps"].cpu()  # they may be held on a GPU
        grey = grey or not maps.equal(binary(maps))
        for each in sums:
            each.add(maps)
    for each in sums:
        each.store(balanced)
    return grey
