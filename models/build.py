"""Networks from the plain description that every checkpoint carries, or from a published checkpoint's names.

`MODELS` is the only list of the networks. Motion heads come from `selfsup`, which knows nothing of the
networks that carry them.
"""

from typing import Any

import torch
from torch import Tensor, nn

from core.checkpoint import weights_in
from core.errors import UserError
from models.base import ClipModel
from models.egornn import EgoRNN
from models.flow_stream import FlowStream
from models.frame_classifier import FrameClassifier
from models.published import load_reference_state
from models.two_stream import TwoStream
from models.verb_noun import VerbNoun
from models.video import NETWORKS
from models.with_pictures import WithPictures
from selfsup.head import MotionHead, MotionHeads

MODELS: dict[str, type[nn.Module]] = {
    model.__name__: model
    for model in (
        *(EgoRNN, FlowStream, FrameClassifier, MotionHead, MotionHeads, TwoStream, VerbNoun, WithPictures),
        *NETWORKS.values(),
    )
}


def build_model(architecture: dict[str, Any]) -> Any:
    """Build an untrained model: a `ClipModel`, or a part of one such as its motion heads.

    Args:
        architecture: "name" of the class and its arguments, as a checkpoint stores them; an argument that is
            a model itself (a stream of the two-stream network, a motion head) is described in the same way.

    Raises:
        UserError: No model of that name.

    Examples:
        >>> build_model({"name": "FlowStream", "num_classes": 4, "backbone": "resnet18"}).takes
        ('flow',)
    """
    arguments = {k: build_model(v) if isinstance(v, dict) else v for k, v in architecture.items()}
    name = arguments.pop("name", None)
    if name not in MODELS:
        raise UserError(f"no model is called {name!r}; there are {sorted(MODELS)}")
    return MODELS[name](**arguments)


def build_trained(architecture: dict[str, Any], weights: dict[str, Any], where: str) -> ClipModel:
    """Build a network as a checkpoint describes it, with the checkpoint's weights.

    Args:
        architecture: As for `build_model`.
        weights: Tensors by name.
        where: Names the checkpoint in messages.

    Raises:
        UserError: There is no such network, or the weights are of another one. A description of a size that
            the weights don't have is refused before such a network takes memory.
    """
    try:
        with torch.device("meta"):
            wanted = {name: value.shape for name, value in build_model(architecture).state_dict().items()}
        found = {name: getattr(value, "shape", None) for name, value in weights.items()}
        wrong = sorted(name for name in wanted.keys() | found if wanted.get(name) != found.get(name))
        if wrong:
            raise ValueError(f"it has other weights than such a network ({len(wrong)}, such as {wrong[0]})")
        model = build_model(architecture)
        if not isinstance(model, ClipModel):
            raise ValueError(f"{architecture['name']} is a part of a network")
        model.load_state_dict(weights)
    except Exception as error:  # a stranger's description may be wrong in any way
        raise UserError(f"{where} holds no network that can be built: {error}") from None
    return model


def read_published(content: dict[str, Any]) -> tuple[dict[str, Any], ClipModel]:
    """Build the network that a published checkpoint was saved from, with its weights.

    Args:
        content: The file's content: tensors by published name, where `weights_in` finds them.

    Returns:
        The architecture, as `build_model` takes it, and the network.

    Raises:
        UserError: It is no published RGB, flow or two-stream network, or keys are missing, unexpected or of
            another shape; the message names the first five.
    """
    state, _ = weights_in(content)
    if odd := [str(key) for key, value in state.items() if not isinstance(value, Tensor)]:
        raise UserError(f"the checkpoint should hold tensors by name; {odd[:5]} are none")
    architecture = published_architecture(state)
    model = build_model(architecture)
    load_reference_state(model, state)
    return architecture, model


def published_architecture(state: dict[str, Tensor]) -> dict[str, Any]:
    """Tell a network's architecture from the names and shapes of its published weights.

    Raises:
        UserError: The names are of no network with a published form.
    """
    published = [model for model in MODELS.values() if issubclass(model, ClipModel)]
    for model in published:
        if any(key.startswith(mark) for mark in model.published_marks for key in state):
            return model.published_architecture(state)
    marks = [f"{mark}* ({model.__name__})" for model in published for mark in model.published_marks]
    raise UserError(f"no published Ego-RNN network: looked for {', '.join(marks)}, found {list(state)[:5]}")
