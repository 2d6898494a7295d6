"""How well motion heads know what moves, beside predictors that see no frame."""

from collections.abc import Sequence

from reporting.collect import Row
from reporting.table import Table, spread, words

HOW_TO_READ = (
    "Places of the frame that move, found by the head on the test clips, against their motion maps. Average "
    "precision needs no decision level and is the measure to go by; balanced accuracy counts moving and "
    "static places alike. The mean map says of every frame how often each place moved in training, all "
    "static says that nothing ever moves: a head that does not beat the mean map knows where motion usually "
    "is, and nothing about the frame."
)
_MEASURES = {"average precision": "average_precision", "balanced": "balanced_accuracy", "IoU": "iou"}
_RIVALS = {"": "", ", mean map": "_mean_map", ", all static": "_all_static"}


def motion_table(rows: Sequence[Row]) -> Table:
    """Give one line a head; rows without one are left out."""
    header = [f"{measure} %{rival}" for measure in _MEASURES for rival in _RIVALS]
    endings = [f"{key}{rival}" for key in _MEASURES.values() for rival in _RIVALS.values()]
    lines = [
        [
            words(row.name),
            words(layer),
            *(spread(row.values(f"motion_{layer}_{ending}")) for ending in endings),
        ]
        for row in rows
        for layer in ("layer3", "layer4")
        if row.values(f"motion_{layer}_accuracy")
    ]
    return Table(("row", "head on", *header), lines)
