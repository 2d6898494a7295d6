"""`python -m data.motion`."""

from core.cli import read_flags, run
from data.motion import MotionConfig

if __name__ == "__main__":
    flags = read_flags(MotionConfig, prog="python -m data.motion")

    from data.motion.command import main

    run(main, flags)
