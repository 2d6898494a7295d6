"""`python -m data.motion`."""

from core.cli import run
from data.motion.command import MotionConfig, main

if __name__ == "__main__":
    run(main, MotionConfig, prog="python -m data.motion")
