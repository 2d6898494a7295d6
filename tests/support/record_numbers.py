"""Trains every stage for two epochs on the tiny kitchen and writes down all numbers that came out.

    python tests/support/record_numbers.py --out before.json
    python tests/support/record_numbers.py --out after.json --compare before.json

It calls commands alone, so the same script measures code from before and after a change of structure. Numbers
belong to a machine and its version of PyTorch: record both sides on the same one. Status 1 where they differ.
"""

import argparse
import csv
import hashlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

SHARED = "--image-size 64 --workers 0 --batch-size 12 --epochs 2 --device cpu --seed 7".split()
INHERITING = "--workers 0 --batch-size 12 --epochs 2 --device cpu --seed 7".split()
STAGE_1 = "--stage 1 --backbone resnet18 --weights {out}/frame --frames 5 --hidden 64".split()
STAGE_2 = "--stage 2 --init {out}/cam".split()
# Name of the run, the script, its own flags, and which of the shared flags it takes.
TRAININGS: list[tuple[str, str, list[str], list[str]]] = [
    ("frame", "train_frame.py", "--backbone resnet18 --weights none --frames 3".split(), SHARED),
    ("cam", "train_rgb.py", STAGE_1, SHARED),
    ("none", "train_rgb.py", [*STAGE_1, "--attention", "none"], SHARED),
    ("lstm", "train_rgb.py", [*STAGE_1, "--temporal", "lstm"], SHARED),
    ("avgpool", "train_rgb.py", [*STAGE_1, "--temporal", "avgpool"], SHARED),
    ("stage2", "train_rgb.py", STAGE_2, INHERITING),
    ("classification", "train_rgb.py", [*STAGE_2, "--ms", "classification"], INHERITING),
    ("regression", "train_rgb.py", [*STAGE_2, "--ms", "regression", "--ms-layer", "layer3"], INHERITING),
    ("flow", "train_flow.py", "--backbone resnet18 --weights {out}/frame --stack 3".split(), SHARED),
    ("joint", "train_twostream.py", "--rgb {out}/stage2 --flow {out}/flow".split(), INHERITING),
    (
        "sparnet",
        "train_rgb.py",
        "--stage joint --backbone resnet18 --weights {out}/frame --frames 3 --hidden 64 "
        "--ms classification".split(),
        SHARED,
    ),
]
TIMES = ("seconds", "clips_per_sec")
# Says nothing of the training: where it was, and texts.
WORDS = ("protocol", "selected_with")


def main() -> int:
    """Record, then compare if asked to."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="JSON file to write")
    parser.add_argument("--compare", type=Path, help="JSON file of another recording")
    parser.add_argument("--tolerance", type=float, default=0.0, help="largest difference that counts as none")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = record(Path(folder))
    arguments.out.write_text(json.dumps(found, indent=1, sort_keys=True), encoding="utf-8")
    if arguments.compare is None:
        return 0
    differences = list(compare(json.loads(arguments.compare.read_text()), found, arguments.tolerance))
    print("\n".join(differences) or "all numbers are the same")
    return int(bool(differences))


def record(out: Path) -> dict[str, Any]:
    """Render the tree, train everything in `out`, and read what came out."""
    tree = out / "tree"
    run("-m", "data.synthetic", "--out", tree, "--preset", "tiny", "--seed", "7", "--jobs", "2")
    run("-m", "data.motion", "--root", tree, "--flow", "dis", "--maps", "--jobs", "2")
    found: dict[str, Any] = {"tree": hash_tree(tree)}
    for name, script, own, shared in TRAININGS:
        flags = [word.format(out=out) for word in own]
        run(script, "--data", tree, "--out", out / name, *flags, *shared)
        found[name] = numbers_of_run(out / name)
    return found


def run(*words: object) -> None:
    """Run one command of the project in one thread, so that sums have one order."""
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    finished = subprocess.run(
        [sys.executable, *map(str, words)], env=environment, capture_output=True, text=True
    )
    print(" ".join(map(str, words)), "->", finished.returncode, flush=True)
    if finished.returncode:
        sys.exit(finished.stderr[-4000:])


def hash_tree(tree: Path) -> str:
    """Hash the content of all images of a tree with their names."""
    digest = hashlib.sha256()
    for path in sorted(tree.rglob("*.png")):
        digest.update(str(path.relative_to(tree)).encode() + path.read_bytes())
    return digest.hexdigest()


def numbers_of_run(path: Path) -> dict[str, Any]:
    """Read metrics.csv without its times, eval.json, and the hash of the weights."""
    with (path / "metrics.csv").open(newline="") as file:
        rows = [
            {key: value for key, value in row.items() if key not in TIMES} for row in csv.DictReader(file)
        ]
    weights = torch.load(path / "last.pt", weights_only=True)["model"]
    digest = hashlib.sha256()
    for name, value in sorted(weights.items()):
        digest.update(name.encode() + value.contiguous().numpy().tobytes())
    sums = {name: float(value.double().sum()) for name, value in sorted(weights.items())}
    return {
        "metrics": rows,
        "eval": json.loads((path / "eval.json").read_text()),
        "weights": digest.hexdigest(),
        "sums": sums,
    }


def compare(before: Any, after: Any, tolerance: float, where: str = "") -> Iterator[str]:
    """Name every number that differs by more than the tolerance, and every text that differs."""
    if isinstance(before, dict) and isinstance(after, dict):
        for key in sorted(before.keys() | after.keys()):
            # Hashes tell whether the bits are the same; with a tolerance, sums of weights are compared.
            if key in WORDS or key == ("weights" if tolerance else "sums"):
                continue
            if key not in before or key not in after:
                yield f"{where}/{key}: only {'after' if key in after else 'before'}"
            else:
                yield from compare(before[key], after[key], tolerance, f"{where}/{key}")
    elif isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        for number, (old, new) in enumerate(zip(before, after, strict=True)):
            yield from compare(old, new, tolerance, f"{where}/{number}")
    elif not same(before, after, tolerance):
        yield f"{where}: {before} before, {after} after"


def same(before: Any, after: Any, tolerance: float) -> bool:
    """Compare two values, as numbers where both are."""
    try:
        return before == after or abs(float(before) - float(after)) <= tolerance * max(
            1.0, abs(float(before))
        )
    except (TypeError, ValueError):
        return False


if __name__ == "__main__":
    sys.exit(main())
