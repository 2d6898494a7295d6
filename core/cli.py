"""Starts every command of the project: flags become a typed config, mistakes become status 2.

A command reads its flags before it loads what computes, so that `--help` and mistakes are answered at once:

    class Config(core.config.Config): ...

    if __name__ == "__main__":
        flags = read_flags(Config)

    import torch

    def main(config: Config) -> None: ...

    if __name__ == "__main__":
        run(main, flags)
"""

import errno
import inspect
import io
import os
import select
import shutil
import signal
import sys
import textwrap
import traceback
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Annotated, Any, NoReturn, TypeVar, get_type_hints

import tyro
from tyro.constructors import (
    ConstructorRegistry,
    PrimitiveConstructorSpec,
    PrimitiveTypeInfo,
    StructConstructorSpec,
    StructFieldSpec,
    StructTypeInfo,
)

from core.config import Config
from core.errors import UserError
from core.processes import Terminated, interrupted_by_signals

C = TypeVar("C", bound=Config)
R = TypeVar("R")

# Trouble of a disk or its administration, not a fault of the code.
_DISK = {
    errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO, errno.ESTALE,
    errno.ENOTDIR, errno.EISDIR, errno.ELOOP, errno.ENODEV, errno.ENXIO, errno.ENOTCONN, errno.ENAMETOOLONG,
    errno.EMFILE, errno.ENFILE,
}  # fmt: skip
# How PyTorch says that processes have no room for the batches they hand over, or too few files may be open.
_NO_SHARED_MEMORY = (
    "shared memory(shm)",
    "shared memory object",
    "shared memory limit",
    "bus error",
    "/dev/shm/torch_",
)
_TOO_MANY_FILES = ("too many open files", "items of ancdata")
# How PyTorch and OpenCV say that memory ran out; Python raises MemoryError.
_NO_MEMORY = ("out of memory", "not enough memory", "can't allocate memory", "insufficient memory")
_LOST_LOADER = (
    "a process that loads data was killed, maybe for lack of memory; try fewer --workers or a smaller "
    "--batch-size. A training goes on from its last epoch with --resume"
)

_GROUP = "group "
"""Begins the names of groups among the names of flags."""


def _say_uncaught(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Print one word for Ctrl-C, and everything else as Python does."""
    if issubclass(kind, KeyboardInterrupt):
        print("interrupted", file=sys.stderr)
    else:
        sys.__excepthook__(kind, error, trace)


# From the import on: torch takes seconds to load, before `run` begins.
sys.excepthook = _say_uncaught


def read_flags(config_class: type[C], *, prog: str | None = None) -> C:
    """Make a config from the command line.

    Args:
        config_class: A `core.config.Config`; its field docs become `--help`.
        prog: Name shown in the usage line, for example `python -m data.check`.

    Raises:
        SystemExit: With status 0 after `--help`, with 2 after a mistake, which has been told.
    """
    return _or_leave(lambda: parse(config_class, prog=prog), config_class)


def run(main: Callable[[C], int | None], flags: C | type[C], *, prog: str | None = None) -> NoReturn:
    """Call `main`, and exit with its status.

    Args:
        main: Does the work; returns an exit status, None meaning 0.
        flags: What `read_flags` has made, or the class of which it is to make one.
        prog: As for `read_flags`.

    Raises:
        SystemExit: Always. Status 0 on success, 2 for a user's mistake or a failing disk, 130 after Ctrl-C,
            141 where nobody reads the output any more (`| head`), 143 after SIGTERM.
    """
    config = read_flags(flags, prog=prog) if isinstance(flags, type) else flags

    def work() -> int | None:
        with interrupted_by_signals():
            status = main(config)
        sys.stdout.flush()  # a full disk is told like any other
        return status

    _leave(_or_leave(work, type(config)) or 0)


def _or_leave(action: Callable[[], R], config_class: type[Config]) -> R:
    """Do something; what ends it early ends the process, with its status."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a terminal or log that can't hold a name shows it escaped
            stream.reconfigure(errors="backslashreplace")
    try:
        return _told(action, config_class)
    except SystemExit as stopped:  # also after --help, or a mistake that tyro has explained
        status = int(stopped.code or 0)
    except BrokenPipeError:
        if not _reader_is_gone():
            raise
        status = 128 + signal.SIGPIPE
    _leave(status)


def _leave(status: int) -> NoReturn:
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:  # closed or full; Python would flush once more when it exits, and complain
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
    sys.exit(status)


def _reader_is_gone() -> bool:
    """Say whether nobody reads standard output or standard error any more."""
    outputs = select.poll()
    for descriptor in (1, 2):
        outputs.register(descriptor, 0)  # errors are always reported
    return bool(outputs.poll(0))


def _told(action: Callable[[], R], config_class: type[Config]) -> R:
    """Do something; what is no fault of the code is told in one message.

    Raises:
        SystemExit: After the message.
    """
    try:
        return action()
    except Terminated:
        print("terminated", file=sys.stderr)
        sys.exit(143)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(130)
    except Exception as error:
        trouble = error
        try:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        except RuntimeError as killed:  # by PyTorch's handler, which may strike wherever the process then is
            trouble = killed
        if (message := _message(trouble, config_class)) is None:
            raise
        print(f"error: {printable(message)}", file=sys.stderr)
        sys.exit(2)


def parse(config_class: type[C], words: Sequence[str] | None = None, *, prog: str | None = None) -> C:
    """Make a config from the words of a command line.

    Args:
        config_class: What to make; its field docs become `--help`.
        words: The flags and their values; by default, those of this process.
        prog: Name shown in the usage line.

    Raises:
        UserError: The config refuses a value.
        SystemExit: After `--help`, or after a flag that is unknown or missing has been explained.
    """
    registry, boxes = ConstructorRegistry(), _boxes(config_class)

    @registry.struct_rule
    def flags(info: StructTypeInfo) -> StructConstructorSpec | None:
        # As plain values: a config made by tyro would have its message wrapped in one of tyro's.
        return StructConstructorSpec(dict, boxes[info.type]) if info.type in boxes else None

    @registry.primitive_rule
    def number(info: PrimitiveTypeInfo) -> PrimitiveConstructorSpec[Any] | None:
        # What is no number is left to the config, whose messages name the flag.
        if info.type not in (int, float):
            return None
        kind, kinds = info.type, (int, float, str)

        def read(words: list[str]) -> int | float | str:
            try:
                found: int | float = kind(words[0])
            except ValueError:
                return words[0]
            return found

        name = kind.__name__.upper()
        return PrimitiveConstructorSpec(
            1, name, read, lambda value: isinstance(value, kinds), lambda value: [str(value)]
        )

    with registry:
        values: Any = tyro.cli(
            config_class,
            args=words,
            prog=prog,
            description=_fitted(_unbroken(config_class.__doc__)),
            config=(tyro.conf.FlagCreatePairsOff, tyro.conf.DisallowNone),
        )
    for title in config_class.groups()[1]:
        values |= values.pop(_GROUP + title)
    return config_class(**values)


def _boxes(config_class: type[Config]) -> dict[type, tuple[StructFieldSpec, ...]]:
    """Describe the flags in the boxes that the help shows them in, the config's own box last.

    A group is a struct to tyro; with its name it heads the box, and the flags in it go without.
    """
    hints = get_type_hints(config_class, include_extras=True)

    def flag(name: str) -> StructFieldSpec:
        field = config_class.model_fields[name]
        default = tyro.MISSING if field.is_required() else field.get_default(call_default_factory=True)
        about = tyro.conf.arg(help_behavior_hint=config_class.hint(name), prefix_name=False)
        kind: Any = Annotated[hints[name], about]
        return StructFieldSpec(name, kind, default, _unbroken(field.description))

    alone, groups = config_class.groups()
    kinds = {title: type(title, (), {}) for title in groups}
    boxes = {kind: tuple(map(flag, groups[title])) for title, kind in kinds.items()}
    inner: dict[str, Any] = {t: Annotated[kind, tyro.conf.arg(name=t)] for t, kind in kinds.items()}
    nested = (StructFieldSpec(_GROUP + title, kind, tyro.MISSING, "") for title, kind in inner.items())
    return {**boxes, config_class: (*map(flag, alone), *nested)}


def _unbroken(text: str | None) -> str:
    """Join the lines of a doc, which are broken for its source; paragraphs stay."""
    paragraphs = inspect.cleandoc(text or "").split("\n\n")
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in paragraphs)


def _fitted(text: str) -> str:
    """Break paragraphs for the terminal, as tyro does with all but a command's description.

    It joins lines again but those that begin with a space.
    """
    width = shutil.get_terminal_size().columns
    return "\n\n".join(textwrap.fill(line, width, subsequent_indent=" ") for line in text.split("\n\n"))


def printable(message: str) -> str:
    """Escape what a file may have put into a message to control a terminal; lines and tabs stay."""
    return "".join(c if c.isprintable() or c in "\n\t" else repr(c)[1:-1] for c in message)


def _message(error: Exception, config_class: type[Config]) -> str | None:
    """Say what the user, a disk, a lost process or lack of memory did; None: it is a fault of the code."""
    if isinstance(error, UserError):
        # Without the traceback that a loading process puts before it.
        return str(error).rpartition("UserError: ")[2].strip()
    said, alone = str(error).lower(), "--jobs 1" if "jobs" in config_class.model_fields else "--workers 0"
    if any(words in said for words in _TOO_MANY_FILES):
        return f"processes have more files open than allowed; use {alone}, or allow more (ulimit -n 65536)"
    if any(words in said for words in _NO_SHARED_MEMORY) or _came_through(error, "synchronize.py"):
        return (
            "processes hand over their work in shared memory (/dev/shm), and there is too little of it; use "
            f"{alone}, or make it larger (in a container: docker run --shm-size 8g)"
        )
    if str(error).startswith("DataLoader worker (pid") or _fetched_from_the_dead(error):
        return _LOST_LOADER
    if isinstance(error, MemoryError) or any(words in said for words in _NO_MEMORY):
        return _memory_message(error, config_class)
    if isinstance(error, OSError) and error.errno in _DISK:
        where = error.filename if error.filename is not None else "a file"
        return (
            f"{where}: {error.strerror}. What was saved before is complete; mend that, and give the command "
            "again (a training goes on with --resume)"
        )
    return None


def _fetched_from_the_dead(error: Exception) -> bool:
    """Say whether a batch's memory was requested from a loading process that had just been killed.

    Its tensors come through a socket, which is then reset, at its end or missing, whichever happens first;
    PyTorch passes such an error on as it is.
    """
    died = isinstance(error, (ConnectionError, EOFError, FileNotFoundError))
    return died and _came_through(error, "torch/multiprocessing/reductions.py")


def _came_through(error: Exception, file: str) -> bool:
    """Say whether an error of the system was raised in a Python file or below it."""
    frames = traceback.walk_tb(error.__traceback__ if isinstance(error, (OSError, EOFError)) else None)
    return any(frame.f_code.co_filename.endswith(file) for frame, _ in frames)


def _memory_message(error: Exception, config_class: type[Config]) -> str:
    place = "GPU memory" if "cuda" in str(error).lower() else "memory"
    flags = config_class.memory_flags()
    advice = f"lower {' or '.join(flags)}" if flags else "close other programs"
    bf16 = ", or compute in bfloat16 with --amp bf16" if "amp" in config_class.model_fields else ""
    reason = (str(error).splitlines() or [os.strerror(errno.ENOMEM)])[0]
    return f"too little {place}; {advice}{bf16} ({type(error).__name__}: {reason})"
