"""The heads that join the frames of a clip, a file each family; `HEADS` is the only list of them."""

from typing import TYPE_CHECKING, Annotated

from pydantic import AfterValidator

from core.errors import UserError
from core.names import ByName

if TYPE_CHECKING:
    from models.temporal.base import TemporalHead

# Name: its class, by file, and what it is in one line.
_LINES = {
    "convlstm": ("convlstm.ConvLSTMHead", "Ego-RNN's own: a convolutional LSTM, its last cell state"),
    "avgpool": ("pooling.AveragePoolHead", "mean over the frames, blind to their order"),
    "maxpool": (
        "pooling.MaxPoolHead",
        "maximum over the frames, cell by cell (conv pooling); blind to order",
    ),
    "concat": ("vectors.ConcatHead", "late fusion: a perceptron over all pooled frames"),
    "lstm": ("vectors.LSTMHead", "an LSTM over pooled frames, its last state"),
    "lstm5": ("vectors.DeepLSTMHead", "five LSTMs on top of each other (Beyond Short Snippets)"),
    "bilstm": ("vectors.BidirectionalLSTMHead", "two layers of LSTMs that read both ways (DB-LSTM)"),
    "convrnn": ("convrnn.ConvRNNHead", "a convolutional recurrence without gates"),
    "convgru": ("convrnn.ConvGRUHead", "a convolutional gated recurrent unit"),
    "softattention": ("soft_attention.SoftAttentionHead", "an LSTM with learned attention (Sharma et al.)"),
    "lsta": (
        "lsta.LSTAHead",
        "LSTA as released: attention that remembers, pooled output gate; needs the CAM",
    ),
    "lsta-mended": ("lsta.MendedLSTAHead", "LSTA whose coupling learns"),
    "lsta-attention": ("lsta.LSTAAttentionHead", "LSTA's attention recurrence alone, before a ConvLSTM"),
    "lsta-gating": ("lsta.LSTAGatingHead", "LSTA's pooled output gate alone, behind the CAM's softmax"),
    "tavlad": ("vlad.TopDownVLADHead", "attention-weighted residuals to visual words (after TA-VLAD's idea)"),
    "convtt": ("conv_tt.ConvTTHead", "Conv-TT-LSTM of order 3: a ConvLSTM that sees its last three outputs"),
    "horst": ("horst.HORSTHead", "HORST: attention in space and time to the last 8 states"),
    "horst1": ("horst.FirstOrderHORSTHead", "HORST of the first order: attention to the last state alone"),
    "mpnnel": ("mpnnel.MPNNELHead", "MPNNEL: a recurrence of messages between the cells of a frame"),
    "e3d": ("e3d.E3DHead", "E3D-LSTM: windows of two frames and recall of all past cells, at most 64 wide"),
    "trn": ("relations.RelationHead", "TRN: relations between fixed sets of 2 to T frames"),
    "avt": ("transformers.AVTHead", "AVT-h: a causal transformer over pooled frames, two blocks"),
    "transformer": (
        "transformers.TransformerHead",
        "ViViT's temporal half: a class token sees pooled frames",
    ),
    "nonlocal": ("non_local.NonLocalHead", "attention between all cells of all frames, then their mean"),
}


HEADS: "ByName[type[TemporalHead]]" = ByName(__name__, _LINES, "head")
TemporalName = Annotated[str, AfterValidator(HEADS.known)]


def fitting_hidden(name: TemporalName, hidden: int) -> int:
    """Return a width, or the largest that a head takes if that is less."""
    return min(hidden, HEADS[name].largest_hidden or hidden)


def require_head(name: TemporalName, *, attention: bool, hidden: int, frames: int | None) -> None:
    """Make sure that a head can be built so; arguments as of `TemporalHead.refusal`.

    Raises:
        UserError: There is no such head, or it can't; the message names the flags of train_rgb.py.
    """
    if why := HEADS[HEADS.known(name)].refusal(attention=attention, hidden=hidden, frames=frames):
        raise UserError(f"--temporal {name} {why}")


def build_temporal(
    name: TemporalName, in_channels: int, hidden: int, frames: int | None = None
) -> "TemporalHead":
    """Build a head.

    Args:
        name: One of `HEADS`.
        in_channels: Channels C of the maps.
        hidden: Width of its state.
        frames: Frames T of a clip, which only some heads are built for (`needs_frames`).

    Raises:
        UserError: There is no such head.
    """
    head = HEADS[HEADS.known(name)]
    return head(in_channels, hidden, frames) if head.needs_frames else head(in_channels, hidden)
