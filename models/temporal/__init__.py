"""The heads that join the frames of a clip, a file each; `HEADS` is the only list of them."""

from typing import TYPE_CHECKING, Literal

from models.temporal.avgpool import AveragePoolHead
from models.temporal.base import TemporalHead
from models.temporal.convlstm import ConvLSTMHead
from models.temporal.lstm import LSTMHead

HEADS: dict[str, type[TemporalHead]] = {
    "convlstm": ConvLSTMHead,
    "lstm": LSTMHead,
    "avgpool": AveragePoolHead,
}
if TYPE_CHECKING:
    TemporalName = str
else:  # for the command line, which refuses other names
    TemporalName = Literal[tuple(HEADS)]


def build_temporal(name: TemporalName, in_channels: int, hidden: int) -> TemporalHead:
    """Build the head called `name` over maps of `in_channels`; `hidden` is the width of its recurrence."""
    return HEADS[name](in_channels, hidden)


__all__ = ["HEADS", "TemporalHead", "TemporalName", "build_temporal"]
