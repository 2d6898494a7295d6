"""Every command answers --help and mistakes in its flags before it loads what computes or draws."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
FILES = [
    *(path.name for path in sorted(ROOT.glob("*.py"))),
    *(str(path.relative_to(ROOT)) for path in sorted(ROOT.glob("data/*/__main__.py"))),
]
# Flags that no type forbids, and a word of the message that refuses them.
REFUSED = {
    "cam_viz.py": ("--runs r --data d --wrong", "--out is missing"),
    "demo.py": ("--pictures 3", "320"),
    "evaluate.py": ("--run r --data d --observed 50 25", "smallest"),
    "grid.py": ("--recipe r --out o --address head:1", "--engine ray"),
    "published.py": ("--out o --run r --checkpoint c", "either"),
    "report.py": ("--out o --runs r r", "twice"),
    "train_flow.py": ("--out o --data d --milestones 3 2", "rising"),
    "train_frame.py": ("--out o", "--images"),
    "train_rgb.py": ("--out o --data d --stage joint --module tsm --predict every-frame", "tsm-causal"),
    "train_twostream.py": ("--out o --data d --rgb r --flow f --milestones 3", "--gamma"),
    "train_video.py": ("--out o --data d --network nothing", "slowfast18"),
    "data/check/__main__.py": ("tree --jobs 0", "--jobs"),
    "data/motion/__main__.py": ("--root r --address head:1", "--engine ray"),
    "data/prepare/__main__.py": ("--annotations a --out o --fps -1", "--fps"),
    "data/synthetic/__main__.py": ("--out o", "--catalogue"),
}
# Not even numpy.
HEAVY = ("torch", "torchvision", "cv2", "pandas", "matplotlib", "sklearn", "scipy", "numpy")
START = f"""
import contextlib, io, json, runpy, sys

def start(file, words):
    sys.argv, out, err = [file, *words.split()], io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            runpy.run_path(file, run_name="__main__")
        except SystemExit as stopped:
            status = stopped.code
    return status, out.getvalue() + err.getvalue(), [name for name in {HEAVY} if name in sys.modules]

sys.path.insert(0, "")
print(json.dumps([start(*command) for command in json.load(sys.stdin)]))
"""


@pytest.fixture(scope="module")
def told() -> dict[tuple[str, str], tuple[int, str, list[str]]]:
    """What all commands say in one process, which never loads torch: status, text, heavy modules loaded."""
    commands = [(file, words) for file in FILES for words in ("--help", "x --hlep", REFUSED[file][0])]
    done = subprocess.run(
        [sys.executable, "-c", START],
        input=json.dumps(commands),
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return dict(zip(commands, json.loads(done.stdout), strict=True))


@pytest.mark.parametrize("file", FILES)
def test_a_command_speaks_of_its_flags_before_it_loads_what_computes(told, file):
    words, why = REFUSED[file]
    status, said, loaded = told[file, "--help"]
    assert (status, loaded) == (0, []) and "show this help message" in said
    status, said, loaded = told[file, "x --hlep"]
    assert (status, loaded) == (2, []) and "--hlep" in said
    status, said, loaded = told[file, words]
    assert (status, loaded) == (2, []) and said.startswith("error: ") and why in said
