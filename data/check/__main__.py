"""`python -m data.check`."""

from core.cli import run
from data.check.command import CheckConfig, main

if __name__ == "__main__":
    run(main, CheckConfig, prog="python -m data.check")
