"""Small trainings without what takes most of their end: figures, whose letters are laid out, and costs."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

import metrics.figures
import models.cost
from models.cost import network_cost


@contextmanager
def undrawn_figures(drawn: int = 0) -> Iterator[None]:
    """Save the figures of runs, but for the first ones of each kind, as a single pixel.

    They are drawn in tests/metrics/test_figures.py, and the first ones of the README in test_readme.py.
    """
    with pytest.MonkeyPatch.context() as patch:
        for name in ("save_confusion", "save_curves", "save_changes"):
            left = [getattr(metrics.figures, name)] * drawn

            def save(path: Path, *given: Any, left: list[Any] = left) -> None:
                if left:
                    left.pop()(path, *given)
                else:
                    Image.new("RGB", (1, 1)).save(path)

            patch.setattr(metrics.figures, name, save)
        yield


_COSTS: dict[str, dict[str, float]] = {}


@contextmanager
def costs_counted_once() -> Iterator[None]:
    """Count the operations of each (thin) network once, and not at the end of every training."""

    def count(architecture: dict[str, Any], shapes: Mapping[str, tuple[int, ...]]) -> dict[str, float]:
        key = repr((sorted(architecture.items()), sorted(shapes.items())))
        if key not in _COSTS:
            _COSTS[key] = network_cost(architecture, shapes)
        return _COSTS[key]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(models.cost, "network_cost", count)
        yield
