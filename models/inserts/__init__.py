"""Modules in a ResNet that exchange information between the frames of a clip (TSM, GSM, GSF, non-local).

`MODULES` is the only list of modules; `models.inserts.insert` puts one in.
"""

from typing import TYPE_CHECKING, Literal

from core.names import ByName

if TYPE_CHECKING:
    from models.inserts.base import ConvOverClips
    from models.inserts.non_local import NonLocal

# Name: its class, by file, and what it is in one line.
_SEEING_AHEAD = {
    "tsm": ("tsm.ShiftedConv2d", "channels shifted from the frames before and after"),
    "gsm": ("gates.GatedConv2d", "the same shift, gated"),
    "gsm-shuffled": ("gates.ShuffledGatedConv2d", "the same, with the channels shuffled as released"),
    "gsf": ("gates.FusedConv2d", "gated shift and fusion"),
    "nonlocal": ("non_local.NonLocal", "each cell looks at all cells of all frames"),
    "pnl": ("non_local.PyramidNonLocal", "the same, at coarse maps of several sizes"),
}
# Those with which a frame's maps depend on no frame after it.
_LOOKING_BACK = {
    "tsm-causal": ("tsm.CausalShiftedConv2d", "channels shifted from the frame before alone"),
}

MODULES: "ByName[type[ConvOverClips] | type[NonLocal]]" = ByName(
    __name__, _SEEING_AHEAD | _LOOKING_BACK, "module"
)
if TYPE_CHECKING:
    ModuleName = str
else:  # for the command line, which refuses other names
    ModuleName = Literal[("none", *MODULES)]


def sees_ahead(name: ModuleName) -> bool:
    """Whether with a module a frame's maps depend on frames after it."""
    return name in _SEEING_AHEAD
