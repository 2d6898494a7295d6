"""The house itself: what a training script loads."""

import importlib
import multiprocessing
import sys
from multiprocessing.connection import Connection

ROOMS = ("core", "data", "selfsup", "models", "metrics", "training", "grids", "viz", "reporting")
FILES_OF_KINDS = ("models.backbones.", "models.inserts.")
SCRIPT = "train_rgb"


def ours(name: str) -> bool:
    return name.partition(".")[0] in (*ROOMS, SCRIPT)


def load_again(answer: Connection) -> None:
    """Import the script with none of our modules loaded; say which it loads, and which are packages."""
    for name in filter(ours, list(sys.modules)):
        del sys.modules[name]
    importlib.import_module(SCRIPT)
    answer.send({name: hasattr(sys.modules[name], "__path__") for name in filter(ours, sys.modules)})


def test_a_training_script_loads_few_of_our_modules_and_none_that_draws() -> None:
    """Packages that only hold names are not counted, nor backbones and their modules, a file each."""
    ours_to_read, theirs = multiprocessing.Pipe(duplex=False)
    process = multiprocessing.get_context("fork").Process(target=load_again, args=(theirs,))
    process.start()
    theirs.close()
    loaded = ours_to_read.recv()
    process.join()
    assert not [name for name in loaded if name.startswith(("viz", "reporting", "grids"))]
    modules = [n for n, package in loaded.items() if not package and not n.startswith(FILES_OF_KINDS)]
    assert SCRIPT in modules and 30 < len(modules) <= 50, sorted(modules)
