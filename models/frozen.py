"""What a stage never trains, as functions whose outputs can be kept instead of computed again.

Axes: N frames (clips and time folded together), C channels, H W pixels, h w cells.
"""

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor, nn

from models.backbone import Backbone
from models.egornn import EgoRNN


@dataclass(frozen=True)
class Frozen:
    """Layers that are not trained, with what is worth keeping of their outputs.

    Attributes:
        name: Tells layers of the same modules apart.
        modules: All that the outputs depend on; in eval mode wherever they are used.
        run: Maps a batch of inputs (N, ...) to outputs (N, ...), by the names a network takes them under.
    """

    name: str
    modules: tuple[nn.Module, ...]
    run: Callable[[Tensor], dict[str, Tensor]]


def up_to_layer3(backbone: Backbone) -> Frozen:
    """From frames (N, 3, H, W) to "layer3" (N, C/2, 2h, 2w): what neither stage nor joint training trains."""
    return Frozen("layer3", backbone.frozen_modules(), lambda frames: {"layer3": backbone.trunk(frames)})


def layer4_and_attention(stream: EgoRNN) -> Frozen:
    """From layer3 (N, C/2, 2h, 2w) to "seen" (N, C, h, w) and "heat" (N, h, w): what stage 1 adds to that."""

    def run(layer3: Tensor) -> dict[str, Tensor]:
        seen, heat = stream.see(stream.backbone.last_stage(layer3))
        return {"seen": seen} if heat is None else {"seen": seen, "heat": heat}

    resnet = stream.backbone.resnet
    return Frozen(f"attention {stream.attention}", (resnet.layer4, resnet.fc), run)
