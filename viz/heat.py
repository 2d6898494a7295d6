"""Heat maps of a run: its own attention, or its evidence for the action it predicts.

All heat is in shares, so that one scale fits every source. Axes: T frames, h w cells.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from core.errors import UserError
from models import HeatName
from models.base import ClipModel
from viz.overlay import Heat


def require_heat(name: HeatName, model: ClipModel, path: Path) -> None:
    """Make sure that a run's network can show a heat map.

    Raises:
        UserError: It can't, or the package that computes it is not installed.
    """
    if why := model.missing_heats().get(name):
        others = " or ".join(f"--heat {other}" for other in model.heats()) or "none"
        raise UserError(f"{path} {why}, so it has no {name} to draw; it can show {others}")
    if name == "gradcam":
        _import_grad_cam()


def find_heat(
    name: HeatName, model: ClipModel, inputs: Mapping[str, Tensor], attention: Tensor | None, action: int
) -> Heat:
    """Find a network's heat for one clip.

    - attention: the weights of the recurrence's input; of networks without one the softmax over the cells of
      a class activation map: of each frame's own winning class, in networks over whole clips of the clip's,
      or, where actions are a verb and a noun, of the one of these that scores highest.
    - cam: the class activation map of the clip's winning action (`ClipModel.evidence`): behind a recurrence
      over cells, such as the ConvLSTM, the action classifier's weights on its state after each frame, which
      holds all frames until then; elsewhere on the frame's last map. Evidence against the action is left out.
    - gradcam: Grad-CAM (Selvaraju et al., ICCV 2017) of the clip's winning action in the last maps of each
      frame (`ClipModel.last_maps`), as the package pytorch-grad-cam has it: the lowest cell counts 0.

    Args:
        name: Which heat; the network should have it (`ClipModel.heats`).
        model: In eval mode.
        inputs: One clip, by the names of the model's arguments. Shapes: (1, ...).
        attention: The network's own `heat` for it. Shape: (1, T, h, w).
        action: The clip's winning class.

    Returns:
        Shares of each frame's heat, summing to 1 over its cells; a frame in which nothing speaks for the
        action has 0 everywhere. Shape: (T, h, w).
    """
    if name == "attention":
        assert attention is not None
        return attention[0].cpu().numpy()
    if name == "cam":
        evidence = model.evidence(inputs, action)
        assert evidence is not None
        heat = evidence.clamp(min=0).cpu().numpy()
    else:
        heat = _gradcam(model, inputs, action)
    total = heat.sum(axis=(1, 2), keepdims=True)
    shares: Heat = np.divide(heat, total, out=np.zeros_like(heat), where=total > 0)
    return shares


class _AfterMaps(nn.Module):
    """The part of a network behind its last maps, with a layer for the package to look at."""

    def __init__(self, model: nn.Module, logits: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.model = model  # the package asks for its parameters
        self.logits = logits
        self.maps = nn.Identity()

    def forward(self, maps: Tensor) -> Tensor:
        return self.logits(self.maps(maps))


def _gradcam(model: ClipModel, inputs: Mapping[str, Tensor], action: int) -> Heat:
    grad_cam, target = _import_grad_cam()
    maps, logits = model.last_maps(inputs)
    network = _AfterMaps(model, logits)
    # cuDNN has no backward pass for an LSTM in eval mode.
    with torch.enable_grad(), torch.backends.cudnn.flags(enabled=False):
        found = grad_cam(network, [network.maps])(maps.detach().requires_grad_(), [target(action)])
    model.zero_grad(set_to_none=True)
    return np.asarray(found, np.float32)


def _import_grad_cam() -> tuple[Any, Any]:
    try:
        from pytorch_grad_cam import GradCAM
        from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget
    except ImportError as error:
        raise UserError(
            f"--heat gradcam needs the package pytorch-grad-cam ({error}); install it with "
            "`pip install --no-deps grad-cam ttach` (its other requirements are here or would replace OpenCV)"
        ) from None
    return GradCAM, ClassifierOutputTarget
