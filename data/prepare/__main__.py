"""`python -m data.prepare`."""

from core.cli import read_flags, run
from data.prepare import PrepareConfig

if __name__ == "__main__":
    flags = read_flags(PrepareConfig, prog="python -m data.prepare")

    from data.prepare.command import main

    run(main, flags)
