"""`python -m data.synthetic`."""

from core.cli import read_flags, run
from data.synthetic import Settings

if __name__ == "__main__":
    flags = read_flags(Settings, prog="python -m data.synthetic")

    from data.synthetic.command import main

    run(main, flags)
