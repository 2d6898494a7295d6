"""Sizes of the networks against counts by hand."""

import pytest

from benchmarks.networks import NetworksConfig, main, networks_table, over_clips_table
from tests.support.draws import quick_draws


@pytest.fixture(autouse=True, scope="module")
def quick():
    """Of first weights nothing is asked here."""
    with quick_draws():
        yield


def test_parameters_and_operations_by_hand():
    table = networks_table(NetworksConfig(backbone="resnet18", classes=10, frames=2, side=64))
    rows = {cells[1].strip(): cells[3:6] for cells in (line.split("|") for line in table.splitlines()[2:])}
    resnet18 = 11_689_512 - 1000 * 513  # torchvision's, without its classifier
    flow = resnet18 + 7 * 64 * 49 + 10 * 513  # seven more input channels, ten classes
    cell = 2 * 4 * 512 * 512 * 9 + 4 * 512
    rgb = 11_689_512 + cell + 10 * 513
    layer4 = (256 * 512 + 3 * 512 * 512) * 9 + 1000 * 512  # its convolutions, and the classes' weights
    expected = {
        "RGB, stage 1": (rgb, cell + 10 * 513),
        "RGB, stage 2": (rgb, cell + 10 * 513 + layer4),
        "flow": (flow, flow),
    }
    for name, counts in expected.items():
        assert [cell.strip() for cell in rows[name][:2]] == [f"{count / 1e6:.1f}" for count in counts]
    longer = networks_table(NetworksConfig(backbone="resnet18", classes=10, frames=3, side=64))
    flow_line = [line for line in table.splitlines() if line.startswith("| flow")]
    assert flow_line == [line for line in longer.splitlines() if line.startswith("| flow")]


def test_a_step_of_networks_over_clips():
    sizes = {"classes": 10, "frames": 3, "side": 64, "batch_size": 1, "rounds": 1}
    table = over_clips_table(NetworksConfig(over_clips=("resnet18", "resnet18+tsm", "early"), **sizes))
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in table.splitlines()[2:]]
    assert [row[0] for row in rows] == ["resnet18", "resnet18+tsm", "early"]
    assert [row[1] for row in rows] == ["11.2"] * 3  # a shift has no parameters
    # 1.82 GMAC an image of 224 pixels, three images of 64.
    assert float(rows[0][2]) == float(rows[1][2]) == pytest.approx(1.82 * 3 * (64 / 224) ** 2, abs=0.06)
    assert all(float(row[3]) > 0 for row in rows)


@pytest.mark.parametrize(
    "name, words", [("resnet19", "resnet19"), ("early+trn", "neither a head nor a module")]
)
def test_unknown_networks_over_clips_are_named(name, words, command):
    status, _, said = command(main, NetworksConfig, "--over-clips", name)
    assert status == 2 and words in said
