"""`python -m data.prepare`."""

from core.cli import run
from data.prepare.command import PrepareConfig, main

if __name__ == "__main__":
    run(main, PrepareConfig, prog="python -m data.prepare")
