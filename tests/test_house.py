"""The house itself: what a training script loads."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
ROOMS = ("core", "data", "selfsup", "models", "metrics", "training", "grids", "viz", "reporting")
FILES_OF_KINDS = ("models.backbones.", "models.inserts.")
COUNT = """
import sys, train_rgb
print(*(f"{name}:{hasattr(module, '__path__')}" for name, module in sys.modules.items()))
"""


def test_a_training_script_loads_few_of_our_modules_and_none_that_draws() -> None:
    """Packages that only hold names are not counted, nor backbones and their modules, a file each."""
    done = subprocess.run([sys.executable, "-c", COUNT], cwd=ROOT, capture_output=True, text=True, check=True)
    packages = dict(word.split(":") for word in done.stdout.split())
    loaded = [name for name in packages if name.partition(".")[0] in (*ROOMS, "train_rgb")]
    assert not [name for name in loaded if name.startswith(("viz", "reporting", "grids"))]
    modules = [n for n in loaded if packages[n] == "False" and not n.startswith(FILES_OF_KINDS)]
    assert "train_rgb" in modules and len(modules) <= 50, sorted(modules)
