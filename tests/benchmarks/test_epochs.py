"""Epochs and passes over files, as the benchmarks time them."""

import os

from benchmarks.epochs import decoding_ways, epoch_ways
from benchmarks.steps import Size
from tests.support.thin import thin_networks
from tests.support.trees import png_tree

SMALL = Size(batch=2, frames=3, side=64, hidden=8, backbone="resnet18")


def test_epochs_and_decoding_run_on_a_tree(tmp_path):
    tree = png_tree(tmp_path / "tree", maps=False, flow=False)
    with thin_networks():
        for part in ("stage 1", "stage 2"):
            for way in epoch_ways(part, tree, 4, SMALL, tmp_path).values():
                way()
    for way in decoding_ways(tree, 4, SMALL, tmp_path, 0).values():
        way()
    assert os.listdir(tmp_path / "frames"), "the frames are kept"
