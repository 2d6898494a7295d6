"""docs/map.md and docs/systems.md hold what the tree holds: every room, file, network, head and module."""

import re
import subprocess
from pathlib import Path

import pytest

from models.cost import network_cost
from models.inserts import MODULES
from models.temporal import HEADS
from models.video import NETWORKS

ROOT = Path(__file__).resolve().parents[1]
MAP = (ROOT / "docs" / "map.md").read_text(encoding="utf-8")


def tracked() -> list[str]:
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True)
    return listed.stdout.split("\n")


def test_every_room_has_its_line_and_every_line_its_room():
    rooms = {str(Path(file).parent) + "/" for file in tracked() if file.endswith(".py") and "/" in file}
    rooms = {room for room in rooms if not room.startswith("tests/")}
    assert set(re.findall(r"^\| `([^`]+)` \|", MAP, re.MULTILINE)) == rooms


def test_every_file_and_name_of_the_map_is_there():
    files = set(tracked())
    named = set(re.findall(r"`([\w/]+\.(?:py|yaml|toml))`", MAP))
    assert named and named <= files
    sources = [file for file in files if file.endswith(".py") and not file.startswith("tests/")]
    code = "\n".join((ROOT / file).read_text(encoding="utf-8") for file in sources)
    for word in re.findall(r"`([A-Z]\w+)`", MAP):
        assert re.search(rf"^ *(class {word}\b|{word}\b.* = )", code, re.MULTILINE), word


def test_every_network_head_and_module_has_its_row_among_the_systems():
    """Of a row with "resnet18, 34, 50" the numbers stand for networks too."""
    page, named = (ROOT / "docs" / "systems.md").read_text(encoding="utf-8"), set()
    for cell in re.findall(r"^\| ([^|]+) \|", page, re.MULTILINE):
        family = ""
        for name in cell.split(", "):
            named.add(family + name if name.isdigit() else name)
            family = family if name.isdigit() else name.rstrip("0123456789")
    assert {*NETWORKS, *HEADS, *MODULES} <= named


@pytest.mark.stress
def test_parameters_and_operations_of_the_networks_are_those_of_the_page():
    page = (ROOT / "docs" / "systems.md").read_text(encoding="utf-8")
    _, _, table = page.partition("| parameters, million | GMAC at 7 x 112 px |")
    seen = set()
    for line in table.splitlines()[2:]:
        if not line.startswith("|"):
            break
        names, _, _, _, millions, gmac, _ = (cell.strip() for cell in line.strip("|").split(" | "))
        family, numbers = "", re.sub(r"\(.*\)", "", gmac).split(", ")
        for name, million, operations in zip(names.split(", "), millions.split(", "), numbers, strict=True):
            network = family + name if name.isdigit() else name
            family = family if name.isdigit() else name.rstrip("0123456789")
            frames, side = (16, 224) if "16 x 224" in gmac else (7, 112)
            about = {"name": NETWORKS[network].__name__, "network": network, "frames": frames}
            found = network_cost(about | {"num_classes": 61}, {"frames": (frames, 3, side, side)})
            assert found["parameters"] / 1e6 == pytest.approx(float(million), abs=0.051), network
            assert found["gmac"] == pytest.approx(float(operations), abs=0.051), network
            seen.add(network)
    assert seen == set(NETWORKS)
