"""Ego-RNN's streams as they are usually written: one frame after the other, one convolution for each gate.

The benchmarks compare with it. It shares the weights of the project's own networks and computes the same;
nothing in it is fast or slow on purpose. Axes: B clips, T frames, C channels, D hidden channels, h w cells.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.convlstm import GATES
from models.egornn import EgoRNN
from models.flow_stream import FlowStream
from models.temporal.convlstm import ConvLSTMHead
from models.two_stream import TwoStream


class FrameByFrame(nn.Module):
    """The RGB stream with CAM attention and ConvLSTM."""

    def __init__(self, stream: EgoRNN) -> None:
        """Take over a stream's modules, and its ConvLSTM's weights gate by gate."""
        super().__init__()
        assert isinstance(stream.temporal, ConvLSTMHead)
        cell = stream.temporal.cell
        self.backbone = stream.backbone
        self.hidden = cell.hidden
        self.of_input = nn.ModuleList(_gate(cell.input_conv, number) for number in range(len(GATES)))
        self.of_hidden = nn.ModuleList(_gate(cell.hidden_conv, number) for number in range(len(GATES)))
        self.dropout, self.classifier = stream.dropout, stream.classifier

    def features(self, frames: Tensor) -> Tensor:
        """From frames (B, T, 3, H, W) to the pooled last cell state (B, D)."""
        cell = hidden = torch.zeros(())
        for frame in frames.unbind(dim=1):
            attended = self.attend(frame)
            if cell.ndim == 0:
                cell = hidden = attended.new_zeros(len(attended), self.hidden, *attended.shape[-2:])
            pairs = zip(self.of_input, self.of_hidden, strict=True)
            gates = (of_input(attended) + of_hidden(hidden) for of_input, of_hidden in pairs)
            input_gate, forget_gate, candidate, output_gate = gates
            cell = forget_gate.sigmoid() * cell + input_gate.sigmoid() * candidate.tanh()
            hidden = output_gate.sigmoid() * cell.tanh()
        return F.avg_pool2d(cell, cell.shape[-2:]).flatten(1)

    def attend(self, frame: Tensor) -> Tensor:
        """One frame of each clip (B, 3, H, W) through the ResNet and its CAM, to (B, C, h, w)."""
        net = self.backbone.resnet
        maps = net.maxpool(net.relu(net.bn1(net.conv1(frame))))
        maps = net.layer4[:-1](net.layer3(net.layer2(net.layer1(maps))))
        block = net.layer4[-1]
        before = block.conv2(block.relu(block.bn1(block.conv1(maps))))
        last = block.relu(block.bn2(before) + maps)
        scores = net.fc(net.avgpool(last).flatten(1))
        winner = net.fc.weight[scores.argmax(dim=1)]
        activation = torch.bmm(winner[:, None], last.flatten(2))[:, 0]
        attention = activation.softmax(dim=1).view(-1, 1, *last.shape[-2:])
        attended: Tensor = (before + maps) * attention
        return attended

    def forward(self, frames: Tensor) -> Tensor:
        """Classify clips (B, T, 3, H, W): scores (B, K)."""
        scores: Tensor = self.classifier(self.dropout(self.features(frames)))
        return scores


class FlowByStack(nn.Module):
    """The flow stream, torchvision's own forward pass."""

    def __init__(self, stream: FlowStream) -> None:
        """Take over a stream's modules."""
        super().__init__()
        self.backbone, self.dropout = stream.backbone, stream.dropout

    def features(self, flow: Tensor) -> Tensor:
        """From a stack of each clip (B, 2 * stack, H, W) to (B, C)."""
        net = self.backbone.resnet
        maps = net.maxpool(net.relu(net.bn1(net.conv1(flow))))
        maps = net.layer4(net.layer3(net.layer2(net.layer1(maps))))
        pooled: Tensor = net.avgpool(maps).flatten(1)
        return pooled

    def forward(self, flow: Tensor) -> Tensor:
        """Classify clips: scores (B, K)."""
        scores: Tensor = self.backbone.resnet.fc(self.dropout(self.features(flow)))
        return scores


class BothByFrame(nn.Module):
    """Both streams under one classifier."""

    def __init__(self, both: TwoStream) -> None:
        """Take over the modules of both streams."""
        super().__init__()
        self.rgb, self.flow = FrameByFrame(both.rgb), FlowByStack(both.flow)
        self.dropout, self.classifier = both.dropout, both.classifier

    def forward(self, frames: Tensor, flow: Tensor) -> Tensor:
        """Classify clips by frames (B, T, 3, H, W) and a stack each (B, 2 * stack, H, W)."""
        features = torch.cat([self.flow.features(flow), self.rgb.features(frames)], dim=1)
        scores: Tensor = self.classifier(self.dropout(features))
        return scores


def _gate(stacked: nn.Conv2d, number: int) -> nn.Conv2d:
    """Copy one gate of a convolution that computes all of them."""
    depth = stacked.out_channels // len(GATES)
    gate = nn.Conv2d(stacked.in_channels, depth, 3, padding=1, bias=stacked.bias is not None)
    rows = slice(number * depth, (number + 1) * depth)
    with torch.no_grad():
        gate.weight.copy_(stacked.weight[rows])
        if gate.bias is not None and stacked.bias is not None:
            gate.bias.copy_(stacked.bias[rows])
    return gate
