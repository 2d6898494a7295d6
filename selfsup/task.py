"""Action recognition with motion segmentation as a second task: L = L_action + w * L_motion (SparNet)."""

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from core.task import Batch, Details, StepOutput, action_loss
from core.train_config import Predict
from selfsup.head import MotionHeads
from selfsup.losses import MotionLoss
from selfsup.settings import MotionSettings
from selfsup.targets import MotionTarget, truth

Floats = npt.NDArray[np.floating]


class MotionSegmentation:
    """Cross entropy of the actions plus the weighted sum of the motion heads' losses.

    Args:
        model: Has `motion` (`MotionHeads`), and returns an object with `logits` and, by layer, `motion`.
        inputs: Names of the batch's tensors that the model takes.
        settings: The run's `--ms` flags.
        entry: Called in place of the model, such as `models.base.Entry`.
        predict: Which scores the actions are learned from.

    Examples:
        >>> from models import EgoRNN
        >>> from selfsup import MotionHead
        >>> heads = MotionHeads(layer4=MotionHead(512, size=2, variant="regression"))
        >>> model = EgoRNN(5, backbone="resnet18", hidden=4, motion=heads).eval()
        >>> task = MotionSegmentation(model, ("frames",), MotionSettings(ms="regression"))
        >>> maps = torch.zeros(1, 2, 1, 64, 64, dtype=torch.uint8)
        >>> batch = {"frames": torch.zeros(1, 2, 3, 64, 64), "maps": maps, "label": torch.tensor([3])}
        >>> sorted(task(batch).parts)
        ['action', 'motion_layer4']
    """

    def __init__(
        self,
        model: nn.Module,
        inputs: tuple[str, ...],
        settings: MotionSettings,
        entry: nn.Module | None = None,
        predict: Predict = "last",
    ) -> None:
        assert isinstance(model.motion, MotionHeads), "the model has no motion heads"
        self.model = model
        self.entry = model if entry is None else entry
        self.heads = model.motion.by_layer()
        self.inputs = inputs
        self.predict = predict
        self.weight = float(settings.motion_values()["ms_weight"])
        self.target = MotionTarget.of(settings)
        self.loss = MotionLoss.of(settings)

    def __call__(self, batch: Batch) -> StepOutput:
        """Classify a batch and segment its motion; the cropped maps are under "maps", uint8 (B, T, 1, S, S).

        Returns:
            The parts "action" and, for each head, "motion_layer4"; details "layer4_predicted" and
            "layer4_target", shapes (B, T, n, n), with attention "heat", shape (B, T, h, w), and from a
            network that tells its scores after each frame "along", shape (B, T, K).
        """
        output = self.entry(**{name: batch[name] for name in self.inputs})
        logits = output.logits.float()
        parts = {"action": action_loss(logits, output.along, batch["label"], self.predict)}
        kept = {"heat": output.heat, "along": output.along}
        details = {name: detail.detach() for name, detail in kept.items() if detail is not None}
        for layer, scores in output.motion.items():
            head = self.heads[layer]
            target = self.target(batch["maps"], head.size)
            parts[f"motion_{layer}"] = self.loss(scores, target, head.class_weights)
            details[f"{layer}_predicted"] = self.loss.moving(scores).detach()
            details[f"{layer}_target"] = truth(batch["maps"], head.size)
        motion = torch.stack([parts[f"motion_{layer}"] for layer in output.motion]).sum()
        return StepOutput(parts["action"] + self.weight * motion, parts, logits, batch["label"], details)

    def measure(self, details: Details) -> dict[str, float]:
        """Measure the heads and, for comparison, two predictors that ignore the frame, in per cent.

        Returns:
            For each head "motion_layer4_accuracy", "_balanced_accuracy", "_iou" and "_average_precision";
            then the same followed by "_all_static" and "_mean_map", for the prediction that nothing moves and
            for each cell's frequency of motion in the training maps.
        """
        measures: dict[str, float] = {}
        for layer, head in self.heads.items():
            predicted, target = details[f"{layer}_predicted"], details[f"{layer}_target"] > 0
            mean_map = np.broadcast_to(head.frequency.cpu().numpy(), target.shape)
            named = {
                "": measure_cells(predicted, target, self.target.decision),
                "_all_static": measure_cells(np.zeros_like(predicted), target, 0.5),
                "_mean_map": measure_cells(mean_map, target, 0.5),
            }
            for suffix, found in named.items():
                measures |= {f"motion_{layer}_{name}{suffix}": value for name, value in found.items()}
        return measures

    @torch.no_grad()
    def look(self, item: dict[str, Any]) -> dict[str, np.ndarray]:
        """Return the details of one item of a data set, computed in eval mode. Shapes: (T, n, n)."""
        device = next(self.model.parameters()).device
        self.model.eval()
        batch = {name: torch.as_tensor(value)[None].to(device) for name, value in item.items()}
        return {name: detail[0].float().cpu().numpy() for name, detail in self(batch).details.items()}


def measure_cells(scores: Floats, target: npt.NDArray[np.bool_], decision: float) -> dict[str, float]:
    """Measure in per cent which cells of which frames were predicted to move.

    Args:
        scores: The higher, the more likely the cell moves. Any shape.
        target: Whether it does. Shape: as `scores`.
        decision: Score above which a cell counts as predicted to move.

    Returns:
        accuracy; balanced_accuracy, the mean of the accuracies of static and of moving cells; iou, of the
        moving cells and those predicted to move; average_precision of the moving cells. Where no cell moves,
        accuracy alone.
    """
    from sklearn.metrics import average_precision_score  # a second to import, so only where it is used

    predicted = scores > decision
    right = predicted == target
    measures = {"accuracy": right.mean()}
    if target.any():
        measures["balanced_accuracy"] = np.mean([right[target == kind].mean() for kind in np.unique(target)])
        measures["iou"] = (predicted & target).sum() / (predicted | target).sum()
        measures["average_precision"] = average_precision_score(target.ravel(), scores.ravel())
    return {name: 100.0 * float(value) for name, value in measures.items()}
