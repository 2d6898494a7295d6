"""`python -m data.check`."""

from core.cli import read_flags, run
from data.check import CheckConfig

if __name__ == "__main__":
    flags = read_flags(CheckConfig, prog="python -m data.check")

    from data.check.command import main

    run(main, flags)
