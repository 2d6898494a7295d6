"""Pictures, films and pages of heat and motion over frames; RGB throughout."""

from typing import Literal

ColourMap = Literal["inferno", "viridis", "cividis", "jet"]
"""Of heat; all but jet are safe for colour-blind readers."""
