"""How good predictions are: accuracy, statistics, fusion, attention against masks."""

from typing import Literal

Scores = Literal["logits", "probabilities"]
"""What late fusion averages."""
