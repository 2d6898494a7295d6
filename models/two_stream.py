"""Both streams under one classifier, trained jointly (Ego-RNN, section 3.3).

Axes: B clips, T frames, C channels, H W pixels, h w cells, K classes.
"""

import torch
from torch import Tensor, nn

from models.egornn import EgoRNN
from models.flow_stream import FlowStream
from models.outputs import ClipOutput


class TwoStream(nn.Module):
    """The features of the flow stream and of the RGB stream, in this order, to action scores.

    The streams' own classifiers and dropouts stay with them but are off the path.
    """

    def __init__(self, rgb: EgoRNN, flow: FlowStream, num_classes: int, *, dropout: float = 0.5) -> None:
        """Join two streams, which are not copied.

        Args:
            rgb: The RGB stream.
            flow: The flow stream.
            num_classes: Number of actions K.
            dropout: Probability of dropping a feature before the classifier, in [0, 1).
        """
        super().__init__()
        self.rgb = rgb
        self.flow = flow
        self.dropout = nn.Dropout(dropout)
        self.classifier = nn.Linear(flow.features + rgb.temporal.features, num_classes)

    def forward(
        self, frames: Tensor | None = None, flow: Tensor | None = None, layer3: Tensor | None = None
    ) -> ClipOutput:
        """Classify clips.

        Args:
            frames: Normalised frames. Shape: (B, T, 3, H, W).
            flow: Normalised flow of the same clips, cropped and flipped as the frames are. Shape:
                (B, 2*stack, H, W), or (B, S, 2*stack, H, W), whose features are averaged.
            layer3: In place of frames, the output of the RGB backbone's layer3. Shape: (B, T, C/2, 2h, 2w).

        Returns:
            `heat` and the maps "layer3", "layer4" and "pre_activation" are the RGB stream's; the map
            "flow_layer4" (B, S, C, h, w) is the flow stream's.
        """
        assert flow is not None, "flow is needed"
        seen, moved = self.rgb(frames, layer3), self.flow(flow)
        features = torch.cat([moved.features, seen.features], dim=1)
        maps = seen.maps | {"flow_layer4": moved.maps["layer4"]}
        return ClipOutput(self.classifier(self.dropout(features)), features, seen.heat, maps)
