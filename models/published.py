"""Checkpoints published with Ego-RNN and LSTA, under their own names, into our models and back.

Which names a network's tensors are published under stands in its class; here is what all have in common.
"""

from torch import Tensor, nn

from core.checkpoint import weights_in
from core.errors import UserError
from models.base import ClipModel, State


def reference_state(model: ClipModel) -> State:
    """Return a model's weights under the published names, aliases included.

    Args:
        model: An EgoRNN with CAM attention and the ConvLSTM or LSTA, a FlowStream, or a TwoStream of
            these. Motion heads have no published names and are left out.

    Raises:
        UserError: Published checkpoints have no place for such a model.
    """
    state = model.published_state()
    return state | {alias: state[key] for alias, key in model.published_aliases.items()}


def load_reference_state(model: ClipModel, state: State) -> None:
    """Copy a published checkpoint into `model`, all of it or nothing.

    Args:
        model: Of the checkpoint's kind, backbone, hidden size, stack and number of classes.
        state: Tensors by published name; a "module." prefix from data-parallel training is accepted.

    Raises:
        UserError: Keys are missing, unexpected, of another shape, or an alias disagrees with its original;
            the message names the first five.
    """
    state, _ = weights_in(state)
    _check(state, reference_state(model), model.published_aliases)
    model.load_published(state)


def _check(state: State, own: State, aliases: dict[str, str]) -> None:
    # Checkpoints from before batch norm counted its batches lack the counters.
    optional = set(aliases) | {key for key in own if key.endswith("num_batches_tracked")}
    missing = [key for key in own if key not in state and key not in optional]
    unexpected = [key for key in state if key not in own]
    if missing or unexpected:
        raise UserError(
            f"the checkpoint does not fit: {len(missing)} keys missing {missing[:5]}, "
            f"{len(unexpected)} unexpected {unexpected[:5]}"
        )
    shapes = [
        f"{key} {tuple(value.shape)} instead of {tuple(own[key].shape)}"
        for key, value in state.items()
        if value.shape != own[key].shape
    ]
    if shapes:
        raise UserError(f"the checkpoint does not fit, {len(shapes)} shapes differ: {shapes[:5]}")
    torn = [alias for alias, key in aliases.items() if alias in state and not state[alias].equal(state[key])]
    if torn:
        raise UserError(
            f"the checkpoint contradicts itself: {torn[:5]} should equal {[aliases[a] for a in torn[:5]]}"
        )


# Helpers of the classes that have a published form.


def prefixed(prefix: str, state: State) -> State:
    """Put a prefix before every name."""
    return {prefix + key: value for key, value in state.items()}


def below(prefix: str, state: State) -> State:
    """Return the tensors whose names have a prefix, by their names without it."""
    return {key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)}


def load_over(module: nn.Module, state: State) -> None:
    """Load the tensors that are there; others, such as the batch counters, stay as they are."""
    module.load_state_dict({**module.state_dict(), **state})


def size_of(state: State, key: str, axis: int, published: int) -> int:
    """Return a tensor's size along an axis, or the published one where the tensor is missing."""
    tensor: Tensor | None = state.get(key)
    return published if tensor is None or tensor.ndim <= axis else int(tensor.shape[axis])


def resnet_name(state: State, prefix: str) -> str:
    """Tell a ResNet by its blocks: bottlenecks have a third convolution, the 34 has six blocks in layer3."""
    if f"{prefix}layer1.0.conv3.weight" in state:
        return "resnet50"
    deep = any(key.startswith(f"{prefix}layer3.{block}.") for block in (2, 3, 4, 5) for key in state)
    return "resnet34" if deep else "resnet18"
