"""How every command of the project is started: flags to a typed config, mistakes to status 2."""

import errno
import signal
import sys
import traceback
from collections.abc import Callable
from typing import TypeVar

import tyro

from core.config import Config
from core.errors import UserError
from core.memory import lacks_memory, what_to_lower
from core.processes import Terminated, interrupted_by_signals

C = TypeVar("C", bound=Config)

# What disks and those who look after them do to a command, and no fault of its code.
_DISK = {
    errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO, errno.ESTALE,
    errno.ENODEV, errno.ENXIO, errno.ENOTCONN, errno.ENAMETOOLONG, errno.EMFILE, errno.ENFILE,
}  # fmt: skip


def run(main: Callable[[C], int | None], config_class: type[C], *, prog: str | None = None) -> None:
    """Parse the command line into a config, call `main`, and exit with its status.

    Args:
        main: Does the work; returns an exit status, None meaning 0.
        config_class: A `core.config.Config`; its field docs become `--help`.
        prog: Name shown in the usage line, for example `python -m data.check`.

    Raises:
        SystemExit: Always. Status 0 on success, 2 for a user's mistake or a disk's trouble, 130 after Ctrl-C,
            143 after SIGTERM.
    """
    config = tyro.cli(config_class, prog=prog, config=(tyro.conf.FlagCreatePairsOff,))
    try:
        with interrupted_by_signals():
            status = main(config)
    except UserError as error:
        print(f"error: {_message(error)}", file=sys.stderr)
        sys.exit(2)
    except Terminated:
        print("terminated", file=sys.stderr)
        sys.exit(143)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(130)
    except Exception as error:
        if (said := _fault_of_the_machine(error, config_class)) is None:
            raise
        print(f"error: {said}", file=sys.stderr)
        sys.exit(2)
    sys.exit(status or 0)


_LOST_LOADER = (
    "a process that loads data was killed, maybe for want of memory; try fewer --workers or a smaller "
    "--batch-size. A training goes on from its last epoch with --resume"
)


def _fault_of_the_machine(error: Exception, config_class: type[Config]) -> str | None:
    """Say what a disk, a lost process or want of memory did; None: it is a fault of the code."""
    if str(error).startswith("DataLoader worker (pid") or _fetched_from_the_dead(error):
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # PyTorch's handler would raise it again, anywhere
        return _LOST_LOADER
    if lacks_memory(error):
        return what_to_lower(error, config_class.model_fields)
    if isinstance(error, OSError) and error.errno in _DISK:
        return _disk_message(error)
    return None


def _fetched_from_the_dead(error: Exception) -> bool:
    """Say whether a batch's memory was asked of a loading process that had just been killed.

    Its tensors are handed over through a socket, which then is reset, at its end or missing, whichever comes
    first; PyTorch passes such an error on as it is.
    """
    if not isinstance(error, (ConnectionError, EOFError, FileNotFoundError)):
        return False
    files = [frame.f_code.co_filename for frame, _ in traceback.walk_tb(error.__traceback__)]
    return any(file.endswith("torch/multiprocessing/reductions.py") for file in files)


def _disk_message(error: OSError) -> str:
    where = error.filename if error.filename is not None else "a file"
    return (
        f"{where}: {error.strerror}. What was saved before is whole; mend that, and give the command again "
        "(a training goes on with --resume)"
    )


def _message(error: UserError) -> str:
    """Give the message alone, also of an error that a data-loading process wrapped in its traceback."""
    return str(error).rpartition("UserError: ")[2].strip()
