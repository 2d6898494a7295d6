"""Where a backbone's first weights come from: ImageNet, a file, a finished run, or nowhere."""

from pathlib import Path
from typing import Any
from urllib.error import URLError

from torch import Tensor
from torchvision.models import ResNet18_Weights, ResNet34_Weights, ResNet50_Weights, WeightsEnum

from core.checkpoint import load_checkpoint, weights_in
from core.errors import UserError
from models.backbone import Backbone, BackboneName

_IMAGENET = {
    "resnet18": ResNet18_Weights.IMAGENET1K_V1,
    "resnet34": ResNet34_Weights.IMAGENET1K_V1,
    "resnet50": ResNet50_Weights.IMAGENET1K_V1,
}
_RUN_PREFIX = "backbone.resnet."
_CLASSIFIER = ("fc.weight", "fc.bias")


def read_backbone_weights(source: str, name: BackboneName) -> dict[str, Tensor] | None:
    """Find a backbone's weights.

    Args:
        source: "imagenet" (torchvision's download, hash checked), "none", the path of a state_dict with
            torchvision's names, or of a run directory whose model holds a backbone (as `train_frame.py`
            makes it).
        name: Which ResNet they are for.

    Returns:
        Weights by torchvision's names, or None for "none".

    Raises:
        UserError: The download failed, or the path holds no weights of a ResNet.
    """
    if source == "none":
        return None
    if source == "imagenet":
        return _download(name)
    path = Path(source)
    content = load_checkpoint(path / "last.pt" if path.is_dir() else path)
    return _resnet_part(content, source)


def load_backbone_body(backbone: Backbone, weights: dict[str, Tensor]) -> None:
    """Copy everything but the classifier, which keeps its first values and its number of classes.

    Weights of an RGB backbone fit one that takes flow too: see `cross_modality`.

    Raises:
        UserError: They are of another ResNet.
    """
    own = {key: value for key, value in backbone.resnet.state_dict().items() if key in _CLASSIFIER}
    first = cross_modality(weights["conv1.weight"], backbone.resnet.conv1.in_channels)
    load_backbone_weights(backbone, {**weights, **own, "conv1.weight": first})


def cross_modality(rgb_weight: Tensor, in_channels: int) -> Tensor:
    """Make a first layer for another kind of input: the mean over R, G, B, repeated without rescaling.

    Args:
        rgb_weight: First convolution of an RGB network; one that has other channels already is left alone.
            Shape: (D, 3, k, k).
        in_channels: Channels of the input, 2 for each flow image of a stack.

    Returns:
        The first convolution. Shape: (D, in_channels, k, k).
    """
    if rgb_weight.shape[1] != 3 or in_channels == 3:
        return rgb_weight
    return rgb_weight.mean(dim=1, keepdim=True).repeat(1, in_channels, 1, 1)


def load_backbone_weights(backbone: Backbone, weights: dict[str, Tensor]) -> None:
    """Copy weights into a backbone, all of them or none; those of a module may be missing, and only those.

    Raises:
        UserError: They are of another ResNet; the message names the first keys that don't fit.
    """
    own = backbone.resnet.state_dict()
    # Checkpoints from before batch norm counted its batches lack the counters, which nothing here reads.
    optional = {key for key in own if key.endswith("num_batches_tracked")} | backbone.inserted
    missing = [key for key in own if key not in weights and key not in optional]
    wrong = [key for key in weights if key not in own or weights[key].shape != own[key].shape]
    if missing or wrong:
        raise UserError(
            "the weights are of another network than the backbone asked for: "
            f"missing {missing[:5]}, not fitting {wrong[:5]}; choose the --backbone they were made with"
        )
    backbone.resnet.load_state_dict({**own, **weights})


def count_classes(weights: dict[str, Tensor] | None) -> int:
    """Number of classes of a backbone's own classifier; 1000 where there are no weights to tell."""
    return 1000 if weights is None else int(weights["fc.weight"].shape[0])


def _download(name: BackboneName) -> dict[str, Tensor]:
    try:
        weights: dict[str, Tensor] = _IMAGENET[name].get_state_dict(progress=True, check_hash=True)
    except (URLError, OSError, RuntimeError) as error:
        raise UserError(
            f"ImageNet weights of {name} can't be downloaded ({error}). Two ways on: --weights PATH to a "
            "state_dict with torchvision's names, or pre-train a backbone with train_frame.py and give its "
            "run directory as --weights"
        ) from None
    return weights


def read_library_weights(source: str, name: str, published: WeightsEnum) -> dict[str, Tensor] | None:
    """Find the weights of a network of torchvision's that is no ResNet over pictures.

    Args:
        source: "kinetics400" (torchvision's download, hash checked), "none", or the path of a state_dict with
            torchvision's names.
        name: The network's name, for messages.
        published: torchvision's entry of the download.

    Returns:
        Weights by torchvision's names, or None for "none".

    Raises:
        UserError: The download failed, the path holds no weights, or the source is of 2D networks.
    """
    if source == "none":
        return None
    if source == "imagenet":
        raise UserError(
            f"{name} is no 2D network, and no ImageNet weights fit it: --weights kinetics400, none, or a "
            "state_dict file with torchvision's names"
        )
    if source != "kinetics400":
        content, how = weights_in(load_checkpoint(Path(source)))
        if how:
            print(f"note: the weights of {source} were found {how}")
        return {key: value for key, value in content.items() if isinstance(value, Tensor)}
    try:
        weights: dict[str, Tensor] = published.get_state_dict(progress=True, check_hash=True)
    except (URLError, OSError, RuntimeError) as error:
        raise UserError(
            f"Kinetics-400 weights of {name} can't be downloaded ({error}). Two ways on: --weights PATH to "
            f"{published.url.rpartition('/')[2]}, which torchvision names {published}, or --weights none"
        ) from None
    return weights


def _resnet_part(content: dict[str, Any], source: str) -> dict[str, Tensor]:
    found, how = weights_in(content)
    inside = [key for key in found if key.endswith("conv1.weight") and f"{key[:-12]}fc.weight" in found]
    roots = [key[:-12] for key in inside if f"{key[:-12]}layer1.0.conv1.weight" in found]
    if len(roots) != 1:
        several = (
            f"several ResNets, below {roots[:5]}" if roots else "no ResNet: no conv1.weight and fc.weight"
        )
        raise UserError(f"{source} holds {several}; its names begin with {list(found)[:5]}")
    (root,) = roots
    ours = root == _RUN_PREFIX and "architecture" in content
    words = [*([how] if how else []), *([f"below {root!r}"] if root else [])]
    if words and not ours:
        print(f"note: the weights of {source} were found {', '.join(words)}")
    return {
        key.removeprefix(root): value
        for key, value in found.items()
        if key.startswith(root) and isinstance(value, Tensor)
    }
