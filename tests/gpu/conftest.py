"""The tiny runs of the scripts' tests, made on the machine of the GPU; without one all is skipped."""

import pytest
import torch

from tests.scripts.conftest import (
    flow_run,
    frame_run,
    mapped_tree,
    moving_tree,
    once,
    stage_1,
    stage_2,
    thin,
    tree,
)

__all__ = [
    "flow_run",
    "frame_run",
    "mapped_tree",
    "moving_tree",
    "once",
    "stage_1",
    "stage_2",
    "thin",
    "tree",
]


def pytest_collection_modifyitems(items):
    for item in items:
        if "tests/gpu" in str(item.path):
            item.add_marker("gpu")
            if not torch.cuda.is_available():
                item.add_marker(pytest.mark.skip(reason="there is no CUDA GPU here"))
