"""Motion segmentation as a self-supervised task."""

from selfsup.head import MotionHead, MotionHeads
from selfsup.losses import MotionLoss
from selfsup.settings import MotionSettings
from selfsup.targets import MotionTarget
from selfsup.task import MotionSegmentation

__all__ = ["MotionHead", "MotionHeads", "MotionLoss", "MotionSegmentation", "MotionSettings", "MotionTarget"]
