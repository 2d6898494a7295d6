"""Which clips a preset holds, and how long each is."""

import csv
from pathlib import Path

from data.synthetic.clip import ClipSpec, generator
from data.synthetic.people import PEOPLE

PRESETS = ("tiny", "demo", "gtea61")

GTEA61_COUNTS = Path(__file__).with_name("gtea61_counts.csv")
"""Users, actions, instances and frame counts of GTEA61: 457 clips, 22,708 frames."""

_TINY = ("open_jam", "close_jam", "take_cheese", "put_cheese,bread", "pour_water,cup", "stir_spoon,cup")

_DEMO = (
    *(f"{verb}_{noun}" for noun in ("coffee", "honey", "jam", "mustard") for verb in ("open", "close")),
    *(f"take_{noun}" for noun in ("bread", "cheese", "hotdog")),
    *(f"put_{noun},bread" for noun in ("bread", "cheese", "hotdog")),
    "pour_water,cup",
    "scoop_coffee,spoon",
    "spread_jam,spoon,bread",
    "stir_spoon,cup",
    "shake_tea,cup",
    "fold_bread",
)


def plan(preset: str, seed: int) -> list[ClipSpec]:
    """List the clips of a preset.

    Args:
        preset: `tiny`, `demo` or `gtea61`.
        seed: Decides lengths (but for gtea61, whose lengths are the real set's) and what the clips look like.
    """
    if preset == "gtea61":
        with GTEA61_COUNTS.open(encoding="utf-8", newline="") as file:
            return [
                ClipSpec(row["user"], row["action"], row["instance"], int(row["frames"]), (455, 256), seed)
                for row in csv.DictReader(file)
            ]
    if preset == "tiny":
        return _even(_TINY, 2, (16, 24), seed)
    return _even(_DEMO, 7, (16, 32), seed)


def _even(actions: tuple[str, ...], clips: int, lengths: tuple[int, int], seed: int) -> list[ClipSpec]:
    """As many clips of every action for every user, of 228 x 128 pixels."""
    specs = []
    for user in PEOPLE:
        for action in actions:
            for instance in map(str, range(1, clips + 1)):
                drawn = generator(seed, user, action, instance, "length").integers(lengths[0], lengths[1] + 1)
                specs.append(ClipSpec(user, action, instance, int(drawn), (228, 128), seed))
    return specs
