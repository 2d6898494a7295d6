"""The networks of Ego-RNN, each part in a file named after it."""

from models.base import ClipModel, ClipOutput
from models.build import build_model
from models.egornn import EgoRNN
from models.flow_stream import FlowStream
from models.frame_classifier import FrameClassifier
from models.published import load_reference_state, reference_state
from models.two_stream import TwoStream

__all__ = [
    "ClipModel",
    "ClipOutput",
    "EgoRNN",
    "FlowStream",
    "FrameClassifier",
    "TwoStream",
    "build_model",
    "load_reference_state",
    "reference_state",
]
