"""Starts every command of the project: flags become a typed config, mistakes become status 2."""

import errno
import inspect
import io
import os
import select
import signal
import sys
import traceback
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Annotated, Any, TypeVar, get_type_hints

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
    "/dev/shm",
)
_TOO_MANY_FILES = ("too many open files", "items of ancdata")
# How PyTorch and OpenCV say that memory ran out; Python raises MemoryError.
_NO_MEMORY = ("out of memory", "not enough memory", "can't allocate memory", "insufficient memory")
_LOST_LOADER = (
    "a process that loads data was killed, maybe for lack of memory; try fewer --workers or a smaller "
    "--batch-size. A training goes on from its last epoch with --resume"
)


def _say_uncaught(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Print one word for Ctrl-C, and everything else as Python does."""
    if issubclass(kind, KeyboardInterrupt):
        print("interrupted", file=sys.stderr)
    else:
        sys.__excepthook__(kind, error, trace)


# From the import on: torch takes seconds to load, before `run` begins.
sys.excepthook = _say_uncaught


def run(main: Callable[[C], int | None], config_class: type[C], *, prog: str | None = None) -> None:
    """Parse the command line into a config, call `main`, and exit with its status.

    Args:
        main: Does the work; returns an exit status, None meaning 0.
        config_class: A `core.config.Config`; its field docs become `--help`.
        prog: Name shown in the usage line, for example `python -m data.check`.

    Raises:
        SystemExit: Always. Status 0 on success, 2 for a user's mistake or a failing disk, 130 after Ctrl-C,
            141 where nobody reads the output any more (`| head`), 143 after SIGTERM.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a terminal or log that can't hold a name shows it escaped
            stream.reconfigure(errors="backslashreplace")
    try:
        status = _run(main, config_class, prog)
    except BrokenPipeError:
        if not _reader_is_gone():
            raise
        status = 128 + signal.SIGPIPE
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


def _run(main: Callable[[C], int | None], config_class: type[C], prog: str | None) -> int:
    try:
        config = parse(config_class, prog=prog)
        with interrupted_by_signals():
            status = main(config)
        sys.stdout.flush()  # a full disk is told like any other
    except SystemExit as stopped:  # after --help, or a mistake that tyro has explained
        return int(stopped.code or 0)
    except Terminated:
        print("terminated", file=sys.stderr)
        return 143
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    except Exception as error:
        trouble = error
        try:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        except RuntimeError as killed:  # by PyTorch's handler, which may strike wherever the process then is
            trouble = killed
        if (message := _message(trouble, config_class)) is None:
            raise
        print(f"error: {printable(message)}", file=sys.stderr)
        return 2
    return status or 0


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
    registry = ConstructorRegistry()

    @registry.struct_rule
    def flags(info: StructTypeInfo) -> StructConstructorSpec | None:
        # As plain values: a config made by tyro would have its message wrapped in one of tyro's.
        return StructConstructorSpec(dict, _flags(config_class)) if info.type is config_class else None

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
            description=inspect.getdoc(config_class),
            config=(tyro.conf.FlagCreatePairsOff, tyro.conf.DisallowNone),
        )
    return config_class(**values)


def _flags(config_class: type[Config]) -> tuple[StructFieldSpec, ...]:
    """Describe the flags of a config, those that are required first."""
    hints = get_type_hints(config_class, include_extras=True)
    flags = []
    for name, field in sorted(config_class.model_fields.items(), key=lambda item: not item[1].is_required()):
        default = tyro.MISSING if field.is_required() else field.get_default(call_default_factory=True)
        kind: Any = Annotated[hints[name], tyro.conf.arg(help_behavior_hint=config_class.hint(name))]
        flags.append(StructFieldSpec(name, kind, default, " ".join((field.description or "").split())))
    return tuple(flags)


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
