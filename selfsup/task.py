"""Action recognition with motion segmentation beside it: L = L_action + w * L_motion (SparNet)."""

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from core.task import Batch, Details, StepOutput
from selfsup.head import MotionHeads
from selfsup.measures import place_measures
from selfsup.settings import MotionSettings
from selfsup.targets import truth


class MotionSegmentation:
    """Cross entropy of the actions, and the loss of the motion heads; with two heads the sum of theirs."""

    def __init__(
        self,
        model: nn.Module,
        inputs: tuple[str, ...],
        settings: MotionSettings,
        entry: nn.Module | None = None,
    ) -> None:
        """Wrap a model with motion heads.

        Args:
            model: Has `motion` (`MotionHeads`), and returns an object with `logits` and, by layer, `motion`.
            inputs: Names of the batch's tensors that the model takes.
            settings: The run's `--ms` flags.
            entry: Called in place of the model, such as `models.base.Entry`.
        """
        assert isinstance(model.motion, MotionHeads), "the model has no motion heads"
        self.model = model
        self.entry = model if entry is None else entry
        self.heads = model.motion.by_layer()
        self.inputs = inputs
        self.weight = float(settings.motion_values()["ms_weight"])
        self.target = settings.motion_target()
        self.loss = settings.motion_loss()

    def __call__(self, batch: Batch) -> StepOutput:
        """Classify a batch and segment its motion; the cropped maps are under "maps", uint8 (B, T, 1, S, S).

        Returns:
            The parts "action" and, for each head, "motion_layer4"; details "layer4_predicted" and
            "layer4_moves", shapes (B, T, n, n), and with attention "heat", shape (B, T, h, w).
        """
        output = self.entry(**{name: batch[name] for name in self.inputs})
        logits = output.logits.float()
        parts = {"action": F.cross_entropy(logits, batch["label"])}
        details: dict[str, Tensor] = {} if output.heat is None else {"heat": output.heat.detach()}
        for layer, scores in output.motion.items():
            head = self.heads[layer]
            target = self.target(batch["maps"], head.size)
            parts[f"motion_{layer}"] = self.loss(scores, target, head.class_weights)
            details[f"{layer}_predicted"] = self.loss.moving(scores).detach()
            details[f"{layer}_moves"] = truth(batch["maps"], head.size)
        motion = torch.stack([parts[f"motion_{layer}"] for layer in output.motion]).sum()
        return StepOutput(parts["action"] + self.weight * motion, parts, logits, batch["label"], details)

    def measure(self, details: Details) -> dict[str, float]:
        """Measure the heads, and beside each the two predictors that don't look at the frame, in per cent.

        Returns:
            For each head "motion_layer4_accuracy", "_balanced_accuracy", "_iou" and "_average_precision";
            then the same with "_all_static" and "_mean_map" behind, of the prediction that nothing moves and
            of how often each place moves in the training maps.
        """
        measures: dict[str, float] = {}
        for layer, head in self.heads.items():
            predicted, moves = details[f"{layer}_predicted"], details[f"{layer}_moves"] > 0
            mean_map = np.broadcast_to(head.frequency.cpu().numpy(), moves.shape)
            named = {
                "": place_measures(predicted, moves, self.target.decision),
                "_all_static": place_measures(np.zeros_like(predicted), moves, 0.5),
                "_mean_map": place_measures(mean_map, moves, 0.5),
            }
            for suffix, found in named.items():
                measures |= {f"motion_{layer}_{name}{suffix}": value for name, value in found.items()}
        return measures

    @torch.no_grad()
    def look(self, item: dict[str, Any]) -> dict[str, np.ndarray]:
        """Give the details of one item of a data set, seen in eval mode. Shapes: (T, n, n)."""
        device = next(self.model.parameters()).device
        self.model.eval()
        batch = {name: torch.as_tensor(value)[None].to(device) for name, value in item.items()}
        return {name: detail[0].float().cpu().numpy() for name, detail in self(batch).details.items()}
