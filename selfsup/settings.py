"""The flags of the motion head: their defaults, and which of them belong together."""

from collections.abc import Mapping
from typing import Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from core.config import Config

VariantName = Literal["classification", "regression"]
LayerName = Literal["layer3", "layer4"]
PoolingName = Literal["area", "nearest", "centre"]
LossName = Literal["cross_entropy", "mse", "smooth_l1", "l1", "kl"]
ActivationName = Literal["linear", "relu", "sigmoid"]
ReductionName = Literal["mean", "sum"]

# Every head is measured against the same truth, whatever it learns: a cell moves when more than a tenth of
# its pixels do, which in GTEA61's maps is about one cell in eight.
MOVING_SHARE = 0.1


class MotionSettings(Config):
    """Flags of motion segmentation as a self-supervised second task.

    Examples:
        >>> settings = MotionSettings(ms="regression", ms_loss="kl")
        >>> settings.motion_values()["ms_activation"], settings.motion_layers
        ('sigmoid', ('layer4',))
    """

    # Of some, the default depends on the loss or else on the variant.
    DEFAULTS: ClassVar[Mapping[str, Any]] = {
        "ms_weight": 1.0,
        "ms_layer": "layer4",
        "ms_target": "area",
        "ms_threshold": {"classification": MOVING_SHARE},
        "ms_loss": {"classification": "cross_entropy", "regression": "mse"},
        "ms_activation": {"regression": "linear", "kl": "sigmoid"},
        "ms_join": "mean",
        "ms_classes": "equal",
    }
    GROUPS: ClassVar[dict[str, str]] = {
        "motion head": "ms ms_weight ms_layer ms_target ms_threshold ms_loss ms_activation ms_join ms_classes"
    }
    # Costly is only whether there is a head, and where (core.train_config).
    SAME_EPOCH_TIME: ClassVar[tuple[str, ...]] = (
        "ms_weight", "ms_target", "ms_threshold", "ms_loss", "ms_activation", "ms_join", "ms_classes",
    )  # fmt: skip

    ms: Literal["none"] | VariantName = "none"
    """The second task: none, or motion segmentation as classification (a cell is static or moving) or as
    regression (the share of a cell that moves). Needs motion maps, see data.motion --maps."""
    ms_weight: float | None = Field(None, ge=0, allow_inf_nan=False)
    """Weight w in: loss of the action + w * loss of the motion."""
    ms_layer: LayerName | Literal["both"] | None = None
    """Feature map that the head reads: layer4, or layer3 with twice the cells a side. With layer3 or both,
    stage 2 also trains the 3x3 convolutions of layer3, which the task could not reach otherwise."""
    ms_target: PoolingName | None = None
    """Value of a cell of the target map: the mean of its pixels (area), the upper left one (nearest) or the
    central one (centre)."""
    ms_threshold: float | None = Field(None, ge=0, lt=1)
    """Cells with more than this share count as moving; regression without it predicts the share itself."""
    ms_loss: LossName | None = None
    """Loss of a cell."""
    ms_activation: ActivationName | None = None
    """Regression: activation after the last layer."""
    ms_join: ReductionName | None = None
    """Reduction over a frame's cells: their mean, or their sum, at 7x7 a 49 times larger weight."""
    ms_classes: Literal["equal", "balanced"] | None = None
    """balanced weighs static and moving cells by how rare they are in the training maps."""

    @classmethod
    def of_run(cls, config: Mapping[str, Any]) -> Self:
        """Take the flags of a run's config."""
        return cls(**{name: config[name] for name in MotionSettings.model_fields})

    @model_validator(mode="after")
    def _fits_together(self) -> "MotionSettings":
        given = [name for name in MotionSettings.DEFAULTS if getattr(self, name) is not None]
        if self.ms == "none" and given:
            flag = given[0].replace("_", "-")
            raise ValueError(f"--{flag} needs --ms classification or --ms regression")
        if self.ms == "classification" and self.ms_loss not in (None, "cross_entropy"):
            raise ValueError(f"--ms-loss {self.ms_loss} is for --ms regression")
        if self.ms == "classification" and self.ms_activation is not None:
            raise ValueError("--ms-activation is for --ms regression; cross_entropy has its own softmax")
        if self.ms == "regression" and self.ms_loss == "cross_entropy":
            raise ValueError("--ms-loss cross_entropy is for --ms classification")
        if self.ms_loss == "kl" and self.ms_activation not in (None, "sigmoid"):
            raise ValueError(f"--ms-loss kl needs --ms-activation sigmoid, got {self.ms_activation}")
        return self

    def motion_values(self) -> dict[str, Any]:
        """Return the value of every flag, with defaults where it was left out."""
        values: dict[str, Any] = {"ms": self.ms}
        for name, default in MotionSettings.DEFAULTS.items():
            if isinstance(default, dict):
                default = default.get(self.ms_loss, default.get(self.ms))
            given = getattr(self, name)
            values[name] = default if given is None and self.ms != "none" else given
        return values

    @property
    def motion_layers(self) -> tuple[LayerName, ...]:
        """The feature maps with a head."""
        if self.ms == "none":
            return ()
        return ("layer3", "layer4") if self.ms_layer == "both" else (self.ms_layer or "layer4",)
