"""Examples in docstrings of the networks and of motion segmentation run, and each public class has one."""

import doctest
import importlib
import pkgutil

import pytest

import models
import selfsup
from models.inserts import MODULES as INSERTS
from models.temporal import HEADS
from tests.support.draws import quick_draws

PACKAGES = (models, selfsup)
MODULES = sorted(
    module.name
    for package in PACKAGES
    for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}.")
)


@pytest.mark.parametrize("name", MODULES)
def test_examples_run(name: str) -> None:
    with quick_draws():
        found = doctest.testmod(importlib.import_module(name))
    assert found.failed == 0


def test_every_public_class_has_an_example() -> None:
    public = [getattr(package, name) for package in PACKAGES for name in package.__all__]
    classes = [thing for thing in public if isinstance(thing, type)] + [*HEADS.values(), *INSERTS.values()]
    assert len(classes) > 12
    assert [kind.__name__ for kind in classes if ">>>" not in (kind.__doc__ or "")] == []
