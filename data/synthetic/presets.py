"""The clips of each preset: users, actions, lengths, sizes."""

import csv
import hashlib
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np

from data.sampling import observed_length
from data.synthetic import PresetName
from data.synthetic.scene import PEOPLE

GTEA61_COUNTS = Path(__file__).with_name("gtea61_counts.csv")
"""Users, actions, instances and frame counts of GTEA61: 457 clips, 22,708 frames."""


@dataclass(frozen=True)
class ClipSpec:
    """Address, length and size of one clip."""

    user: str
    action: str
    instance: str
    frames: int
    size: tuple[int, int]
    """Width and height, pixels."""
    seed: int
    hidden_start: float = 0.0
    """Share of the clip, its beginning, in which nothing of the action is seen."""

    @property
    def hidden_frames(self) -> int:
        """Number of frames in that share."""
        return observed_length(self.frames, self.hidden_start) if self.hidden_start else 0

    @property
    def verb(self) -> str:
        """`open` of `open_jam`."""
        return self.action.partition("_")[0]

    @property
    def nouns(self) -> list[str]:
        """`water`, `cup` of `pour_water,cup`; the first is acted on."""
        return self.action.partition("_")[2].split(",")


_TINY = ("open_jam", "close_jam", "take_cheese", "put_cheese,bread", "pour_water,cup", "stir_spoon,cup")
_DEMO = (
    *(f"{verb}_{jar}" for jar in ("coffee", "honey", "jam", "mustard") for verb in ("open", "close")),
    *(f"take_{food}" for food in ("bread", "cheese", "hotdog")),
    *(f"put_{food},bread" for food in ("bread", "cheese", "hotdog")),
    *("pour_water,cup", "scoop_coffee,spoon", "spread_jam,spoon,bread"),
    *("stir_spoon,cup", "shake_tea,cup", "fold_bread"),
)


def generator(*address: object) -> np.random.Generator:
    """Return a random generator that depends on nothing but the address."""
    digest = hashlib.sha256("/".join(map(str, address)).encode()).digest()
    return np.random.default_rng(int.from_bytes(digest[:16], "little"))


def plan(preset: PresetName, seed: int) -> list[ClipSpec]:
    """List the clips of a preset; the seed decides their looks, and their lengths except for `gtea61`."""
    if preset == "gtea61":
        with GTEA61_COUNTS.open(encoding="utf-8", newline="") as file:
            return [
                ClipSpec(row["user"], row["action"], row["instance"], int(row["frames"]), (455, 256), seed)
                for row in csv.DictReader(file)
            ]
    actions, clips, longest = (_TINY, 2, 24) if preset == "tiny" else (_DEMO, 7, 32)
    specs = []
    for user, action, number in product(PEOPLE, actions, range(1, clips + 1)):
        rng = generator(seed, user, action, number, "length")
        frames = int(rng.integers(16, longest + 1))
        specs.append(ClipSpec(user, action, str(number), frames, (228, 128), seed))
    return specs
