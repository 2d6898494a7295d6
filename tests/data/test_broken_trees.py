"""Trees broken at random, thirty here and a thousand with `make stress`."""

import pytest

from tests.support.broken_trees import Pristine, break_and_read
from tests.support.trees import png_tree


@pytest.fixture(scope="module")
def pristine(tmp_path_factory):
    return Pristine.of(png_tree(tmp_path_factory.mktemp("sound") / "tree"))


def pytest_generate_tests(metafunc):
    blocks = range(100) if metafunc.config.getoption("--stress") else range(3)
    metafunc.parametrize("block", blocks)


def test_a_broken_tree_is_read_rightly_or_named(pristine, tmp_path, capsys, block, stress, figures):
    for seed in range(10 * block, 10 * block + 10):
        break_and_read(pristine, tmp_path / str(seed), seed, capsys)
        figures["broken trees"] += 1
