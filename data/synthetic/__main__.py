"""`python -m data.synthetic`."""

from core.cli import run
from data.synthetic.command import Settings, main

if __name__ == "__main__":
    run(main, Settings, prog="python -m data.synthetic")
