import atexit
import gc
import os
import shutil
import signal
import sys
import tempfile
from collections import Counter
from pathlib import Path

# Until all tests are collected: what that loads stays to the end, and looking for garbage in it again and
# again takes a quarter of the time.
gc.disable()

# The suite runs a process a core; more threads would only wait for each other. Read when torch is loaded.
os.environ["OMP_NUM_THREADS"] = "1"

# Thousands of small files are made and removed, for which memory needs a tenth of a disk's time; less than
# 1 GiB of them stands at a time (5 under stress). What failed tests leave stays for a look, what processes
# lost does not.
_MEMORY, _ROOM = Path("/dev/shm"), 4 * 2**30
_MAY = "TMPDIR" not in os.environ and "--stress" not in sys.argv and os.access(_MEMORY, os.W_OK)
if _MAY and shutil.disk_usage(_MEMORY).free > _ROOM:
    os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(_MEMORY))
    os.environ["TMPDIR"] = tempfile.mkdtemp(prefix="tests-", dir=_MEMORY)
    tempfile.tempdir = None  # which pytest has asked for already
    atexit.register(shutil.rmtree, os.environ["TMPDIR"], ignore_errors=True)

# A shell that put the suite into the background has made it, and all that it starts, deaf to Ctrl-C.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

import hypothesis  # noqa: E402
import pytest  # noqa: E402

# The same examples every time: a test that fails on one machine fails on all.
hypothesis.settings.register_profile("repeatable", deadline=None, derandomize=True, max_examples=50)
hypothesis.settings.load_profile("repeatable")


@pytest.fixture(autouse=True)
def numerics_as_they_were():
    """A script's main rounds denormals to zero for its whole process, which OpenCV's flow would feel too."""
    yield
    if (torch := sys.modules.get("torch")) is not None:
        torch.set_flush_denormal(False)


@pytest.fixture
def command(monkeypatch, capsys):
    """Run a command as from the shell: command(main, Config, *arguments) -> status, stdout, stderr."""
    from core.cli import run

    def start(main, config_class, *arguments):
        monkeypatch.setattr(sys, "argv", ["command", *map(str, arguments)])
        with pytest.raises(SystemExit) as stopped:
            run(main, config_class)
        said = capsys.readouterr()
        return stopped.value.code, said.out, said.err

    return start


def pytest_addoption(parser):
    parser.addoption("--stress", action="store_true", help="the long versions of the tests of reliability")


@pytest.fixture(scope="session")
def stress(request) -> bool:
    """Whether the long versions are asked for: more kills, more broken trees, longer watching."""
    return bool(request.config.getoption("--stress"))


class Figures(Counter[str]):
    """What the long versions did, to stand at the end: counts by name, and lines."""

    def __init__(self):
        super().__init__()
        self.lines: list[str] = []


_FIGURES = Figures()


@pytest.fixture(scope="session")
def figures() -> Figures:
    """Where a test says how much it did; figures["kills"] += 1, figures.lines.append("...")."""
    return _FIGURES


def pytest_sessionfinish(session):
    """In one of several test processes: hand its figures to the one that prints."""
    if (output := getattr(session.config, "workeroutput", None)) is not None:
        output["figures"] = [dict(_FIGURES), _FIGURES.lines]


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node):
    """Add up what the test processes hand over."""
    counts, lines = getattr(node, "workeroutput", {}).get("figures", ({}, []))
    _FIGURES.update(counts)
    _FIGURES.lines += lines


def pytest_terminal_summary(terminalreporter, config):
    """Print the figures that docs/reliability.md gives, at the end of `make stress`."""
    if config.getoption("--stress"):
        terminalreporter.section("figures")
        for line in [*(f"{count} {name}" for name, count in sorted(_FIGURES.items())), *_FIGURES.lines]:
            terminalreporter.line(line)


@pytest.hookimpl(tryfirst=True)
def pytest_runtestloop():
    """Look for garbage again, more seldom than by default, and not in what has been loaded so far."""
    gc.freeze()
    gc.set_threshold(20_000)
    gc.enable()


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config, items):
    """Count tests that have a long version among the stress tests, when these are asked for.

    The longest test of all begins first, so that no process waits for it at the end.
    """
    items.sort(key=lambda item: item.path.name != "test_readme.py")
    for item in items:
        if config.getoption("--stress") and "stress" in getattr(item, "fixturenames", ()):
            item.add_marker("stress")
