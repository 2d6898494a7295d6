"""Actions as a verb and a noun: two heads, and an action's score is the sum of both.

So a network can score actions of which it saw no clip, as long as it saw their verb and their noun.

Axes: B clips, T frames, K actions, V verbs, N nouns, D features, h w cells.
"""

from collections.abc import Mapping, Sequence
from typing import ClassVar

import torch
from torch import Tensor

from models import HeatName
from models.base import ClipModel, ClipOutput, LastMaps


class VerbNoun(ClipModel):
    """A network with a head of V verbs and one of N nouns in place of one of K actions.

    Args:
        network: Scores V + N classes, the verbs first; its scores are linear in its features.
        pairs: Verb and noun of each action. Length: K.

    Attributes:
        seen: Whether a training clip shows the action; all, where that is not known. Shape: (K,).

    Examples:
        >>> from models.video import NETWORKS
        >>> flat = NETWORKS["early"]("early", 2 + 3, frames=4)
        >>> model = VerbNoun(flat, [(0, 0), (1, 0), (0, 2)]).eval()
        >>> output = model(torch.zeros(1, 4, 3, 32, 32))
        >>> output.logits.shape, output.parts["verb"].shape, output.parts["noun"].shape
        (torch.Size([1, 3]), torch.Size([1, 2]), torch.Size([1, 3]))
    """

    takes: ClassVar[tuple[str, ...]] = ("frames",)

    def __init__(self, network: ClipModel, pairs: Sequence[tuple[int, int]]) -> None:
        super().__init__()
        self.network = network
        verbs, nouns = zip(*pairs, strict=True)
        self.num_verbs = max(verbs) + 1
        self.verbs: Tensor
        self.nouns: Tensor
        self.seen: Tensor
        self.register_buffer("verbs", torch.tensor(verbs))
        self.register_buffer("nouns", torch.tensor(nouns))
        self.register_buffer("seen", torch.ones(len(pairs), dtype=torch.bool))

    def forward(self, frames: Tensor) -> ClipOutput:
        """Classify clips of normalised frames (B, T, 3, H, W).

        Returns:
            Scores of the K actions, and under `parts` those of the verbs (B, V) and nouns (B, N). The heat is
            the network's own: of the verb or noun with the highest score.
        """
        output: ClipOutput = self.network(frames)
        return output._replace(logits=self.join(output.logits), parts=self.parts(output.logits))

    @property
    def numbers(self) -> dict[str, Tensor]:
        """The verb and the noun of each action, by the names of `ClipOutput.parts`. Shapes: (K,)."""
        return {"verb": self.verbs, "noun": self.nouns}

    def parts(self, scores: Tensor) -> dict[str, Tensor]:
        """Divide the network's scores (B, V + N) into those of verbs and of nouns."""
        return {"verb": scores[:, : self.num_verbs], "noun": scores[:, self.num_verbs :]}

    def join(self, scores: Tensor) -> Tensor:
        """Add up the scores (B, V + N) of each action's verb and noun: (B, K)."""
        parts = self.parts(scores)
        return parts["verb"][:, self.verbs] + parts["noun"][:, self.nouns]

    def missing_heats(self) -> dict[HeatName, str]:
        """Those that the network lacks."""
        return self.network.missing_heats()

    def evidence(self, inputs: Mapping[str, Tensor], action: int) -> Tensor | None:
        """Add the evidence for the action's verb to that for its noun."""
        verb = self.network.evidence(inputs, int(self.verbs[action]))
        noun = self.network.evidence(inputs, self.num_verbs + int(self.nouns[action]))
        return None if verb is None or noun is None else verb + noun

    def last_maps(self, inputs: Mapping[str, Tensor]) -> LastMaps:
        """Cut where the network is cut."""
        maps, logits = self.network.last_maps(inputs)
        return LastMaps(maps, lambda maps: self.join(logits(maps)))
