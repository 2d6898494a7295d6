"""Sizes of the networks against counts by hand."""

from benchmarks.networks import NetworksConfig, networks_table


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
    longer = networks_table(NetworksConfig(backbone="resnet18", classes=10, frames=4, side=64))
    flow_line = [line for line in table.splitlines() if line.startswith("| flow")]
    assert flow_line == [line for line in longer.splitlines() if line.startswith("| flow")]
