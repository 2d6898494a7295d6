"""Puts a module into a ResNet: the only place that knows how a ResNet is built of blocks."""

from torch import nn
from torchvision.models import ResNet

from core.errors import UserError
from models.inserts import MODULES, ModuleName
from models.inserts.base import ConvOverClips
from models.inserts.non_local import NonLocalLayer


def insert(resnet: nn.Module, name: ModuleName, frames: int) -> None:
    """Put a module into a ResNet, in its place; the names of the ResNet's own weights stay.

    Shifts take over the first convolution of every block and gates the last one, before its batch norm.
    Non-local blocks follow every second block of layer2 and layer3 (5 in a ResNet-34 or 50, 2 in a
    ResNet-18). Afterwards the network takes frames (N, 3, H, W) of whole clips, N = B * T.

    Args:
        resnet: torchvision's.
        name: A key of `MODULES`, or "none", which leaves the network as it is.
        frames: Frames T of a clip, at least 2.

    Raises:
        UserError: No module has the name, the network has no place for it, or T leaves it nothing to join.

    Examples:
        >>> from torchvision.models import resnet18
        >>> net = resnet18()
        >>> insert(net, "gsm", frames=7)
        >>> sorted(set(net.state_dict()) - set(resnet18().state_dict()))[1]
        'layer1.0.conv2.gate.norm.num_batches_tracked'
    """
    if name == "none":
        return
    if name not in MODULES:
        raise UserError(f"no module is called {name!r}; choose none or one of {', '.join(MODULES)}")
    if not isinstance(resnet, ResNet):
        raise UserError(
            f"{type(resnet).__name__} has no place for the module {name}: modules go into the blocks of a "
            "ResNet; choose --backbone resnet18, resnet34 or resnet50, or --module none"
        )
    if frames < 2:
        raise UserError(
            f"the module {name} joins the frames of a clip, and --frames {frames} leaves none to join"
        )
    kind = MODULES[name]
    if issubclass(kind, ConvOverClips):
        for layer in (resnet.layer1, resnet.layer2, resnet.layer3, resnet.layer4):
            for block in layer:
                kind.take_over(block.conv1 if kind.first else _last_convolution(block), frames)
    else:
        for layer in (resnet.layer2, resnet.layer3):
            behind = list(layer.named_children())[1::2]
            NonLocalLayer.take_over(
                layer,
                {number: kind(_last_convolution(block).out_channels, frames) for number, block in behind},
            )


def _last_convolution(block: nn.Module) -> nn.Conv2d:
    conv = getattr(block, "conv3", None) or block.get_submodule("conv2")  # bottlenecks have a third
    assert isinstance(conv, nn.Conv2d)
    return conv
