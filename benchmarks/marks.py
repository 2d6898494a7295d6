"""The marks that this project works towards, beside what a machine reaches.

They come from a trial on a machine of 640 GFLOP/s in float32, 7 frames a clip: how many times faster than the
plain loop a step is with frozen outputs kept, and with what is trained in bfloat16 besides.
"""

from collections.abc import Mapping
from typing import Any

from benchmarks.alternate import speedup
from benchmarks.pages import markdown
from benchmarks.steps import BF16, KEPT, PLAIN

# Measured table and its row, then the marks of the two ways; nothing of the flow stream is kept.
MARKS = {
    "stage 1": ("steps", "stage 1, 7 frames", 3.4, 5.4),
    "stage 2": ("steps", "stage 2, 7 frames", 2.2, 3.4),
    "joint": ("steps", "joint, 7 frames", 1.9, 3.0),
    "flow": ("steps", "flow", 1.2, 2.1),
    "evaluation after stage 1": ("evaluation", "after stage 1, 7 frames", 6.7, 12.0),
    "epoch with loading, stage 1": ("epochs", "stage 1", 3.6, 5.8),
}


def marks_table(found: Mapping[str, Any]) -> str:
    """Show each mark beside what was measured, a dash where it was not.

    Args:
        found: Rounds of all tables: seconds by table, row and way.
    """
    rows = []
    for name, (table, row, kept, fastest) in MARKS.items():
        timed = found.get(table, {}).get(row)
        reached = [f"{speedup(timed[PLAIN], timed[way]):.2f}" if timed else "-" for way in (KEPT, BF16)]
        rows.append([name, f"{kept:g}", reached[0], f"{fastest:g}", reached[1]])
    return markdown(["times faster, 7 frames", "kept, mark", "kept, here", "bf16, mark", "bf16, here"], rows)
