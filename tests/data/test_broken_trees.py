"""A short run of the fuzzer of trees; the long one is in tests/stress."""

import pytest
from broken_trees import Pristine, break_and_read
from trees import png_tree


@pytest.fixture(scope="module")
def pristine(tmp_path_factory):
    return Pristine.of(png_tree(tmp_path_factory.mktemp("sound") / "tree"))


@pytest.mark.parametrize("seed", range(30))
def test_a_broken_tree_is_read_rightly_or_named(pristine, tmp_path, capsys, seed):
    break_and_read(pristine, tmp_path / "tree", seed, capsys)
