"""Results of finished runs as the rows of a table, with how sure they are."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from engine.evaluation import Predictions
from engine.metrics import Floats, Ints, wilson_interval
from engine.paired import Difference, clip_scores, paired_difference
from engine.run_dir import read_eval
from viz.page import Table

HEADER = (
    "trained",
    "seeds",
    "top-1 %",
    "95 % interval",
    "mean class %",
    "verb %",
    "noun %",
    "order %",
    "order, 95 % interval",
    "best on test %",
)


@dataclass(frozen=True)
class Result:
    """A row: the same training from one or more seeds.

    Attributes:
        name: How the table calls it.
        runs: Finished run directories, a seed each.
    """

    name: str
    runs: Sequence[Path]

    def cells(self) -> list[str]:
        """Give the row's cells, in the order of `HEADER`.

        Raises:
            UserError: A run has not finished.
        """
        found = [read_eval(run) for run in self.runs]
        selected = [evaluation["selected"]["top1"] for evaluation in found]
        return [
            self.name,
            str(len(found)),
            _spread(_values(found, "top1")),
            _interval(found, "top1", "n_clips"),
            *(_spread(_values(found, key)) for key in ("mean_class", "verb", "noun")),
            *_order(found),
            _spread(selected),
        ]


def results_table(results: Sequence[Result]) -> Table:
    """Put results under the header that explains itself in `HOW_TO_READ`."""
    return Table(HEADER, [result.cells() for result in results])


def order_table(results: Sequence[Result], baseline: Result, rivals: Ints) -> Table:
    """Compare how well results know the order of the frames with a baseline, clip by clip.

    Args:
        results: What is compared with the baseline, tested on the same clips.
        baseline: The result that can't know the order.
        rivals: Reverse in time of every class, -1 for none. Shape: (K,).
    """
    base = _scores(baseline, rivals)
    found = {result.name: _scores(result, rivals) for result in results}
    return _differences(
        f"order, against {baseline.name}", {name: paired_difference(s, base) for name, s in found.items()}
    )


def accuracy_table(results: Sequence[Result], others: Sequence[Result]) -> Table:
    """Compare the accuracy of each result with that of each other, tested on the same clips, clip by clip."""
    return _differences(
        "top-1",
        {
            f"{result.name}, against {other.name}": paired_difference(_scores(result), _scores(other))
            for result in results
            for other in others
        },
    )


def motion_table(results: Sequence[Result]) -> Table:
    """Show how well the motion heads on layer4 know what moves, beside predictors that see no frame."""
    measures = {"average precision": "average_precision", "balanced": "balanced_accuracy", "IoU": "iou"}
    rivals = {"": "", ", mean map": "_mean_map", ", all static": "_all_static"}
    header = [f"{measure} %{rival}" for measure in measures for rival in rivals]
    keys = [f"motion_layer4_{key}{rival}" for key in measures.values() for rival in rivals.values()]
    found = {result.name: [read_eval(run) for run in result.runs] for result in results}
    rows = [[name, *(_spread(_values(evals, key)) for key in keys)] for name, evals in found.items()]
    return Table(("motion head", *header), rows)


def _scores(result: Result, rivals: Ints | None = None) -> Floats:
    return clip_scores([Predictions.load(run / "predictions.npz") for run in result.runs], rivals)


def _differences(title: str, found: Mapping[str, Difference]) -> Table:
    rows = [
        [name, str(d.clips), f"{d.points:+.1f}", f"{d.low:+.1f} to {d.high:+.1f}", f"{d.p:.4f}"]
        for name, d in found.items()
    ]
    return Table((title, "clips", "points more", "95 % interval", "p"), rows)


def as_markdown(table: Table) -> str:
    """Write a table for a README."""
    lines = [table.header, ["---"] + ["---:"] * (len(table.header) - 1), *table.rows]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines) + "\n"


HOW_TO_READ = (
    "Accuracy of the last epoch on the clips of the unseen user S2; over several seeds the mean and, behind "
    "the sign, the standard deviation between seeds. The interval is Wilson's at the mean accuracy and the "
    "number of test clips: seeds are tested on the same clips, so more seeds do not make it narrower. Order: "
    "among clips of actions with a reverse in time (open and close, take and put), how often the action "
    "scores above its reverse; 50 % is chance. Best on test is the best epoch chosen on the test clips "
    "themselves: optimistic, and never the number to report."
)


HOW_TO_COMPARE = (
    "The same clips under both trainings, a clip's score being its mean over the seeds: the difference in "
    "points, a bootstrap interval over clips and the p value of a sign-flip permutation test over clips (for "
    "one seed this is McNemar's test). They say how far the clips may mislead, not how far the seeds may."
)


HOW_TO_READ_MOTION = (
    "Places of the frame that move, found by the head on the test clips, against the maps of the warp flow. "
    "Average precision needs no decision level and is the measure to go by; balanced accuracy counts moving "
    "and static places alike. The mean map says of every frame how often each place moved in training, all "
    "static says that nothing ever moves: a head that does not beat the mean map knows where motion usually "
    "is, and nothing about the frame."
)


def _order(found: Sequence[dict[str, Any]]) -> tuple[str, str]:
    if "order" not in found[0]:
        return "", ""
    return _spread(_values(found, "order")), _interval(found, "order", "n_order")


def _values(found: Sequence[dict[str, Any]], key: str) -> list[float]:
    return [float(evaluation[key]) for evaluation in found if key in evaluation]


def _spread(values: Sequence[float]) -> str:
    return f"{mean(values):.1f}" if len(values) == 1 else f"{mean(values):.1f} ± {stdev(values):.1f}"


def _interval(found: Sequence[dict[str, Any]], key: str, count: str) -> str:
    clips = int(found[0][count])
    low, high = wilson_interval(mean(_values(found, key)) / 100 * clips, clips)
    return f"{low:.1f} to {high:.1f}"
