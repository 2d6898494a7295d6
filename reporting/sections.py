"""One table of a grid as a chapter of the report."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from data.actions import reversed_actions
from reporting import attention, classes, comparisons, cost, motion, published, results
from reporting.collect import FoundTable, Row
from reporting.commands import commands_of, missing_table
from reporting.curves import save_curves
from reporting.page import Picture, Section

_MANY = 6


def chapter(table: FoundTable, extra: Sequence[Section], folder: Path) -> Section:
    """Describe everything that is known of a table.

    Args:
        table: Its runs.
        extra: Sections that stand after the comparisons.
        folder: Of the report; pictures that are drawn go into it.
    """
    rows = table.shown
    if not rows:
        parts = [*_missing(table), _commands(table)]
        return Section(
            table.plan.title, ["No run of this table has finished yet."], parts=parts, key=table.name
        )
    parts = [
        *_results(table),
        *_missing(table),
        *_comparisons(table),
        *extra,
        *_classes(rows),
        _curves(table, folder),
        *_confusions(rows),
        *_attention(rows),
        *_motion(rows),
        Section("Cost", [cost.HOW_TO_READ], cost.cost_table(rows)),
        _commands(table),
    ]
    return Section(table.plan.title, _lead(table), parts=parts, key=table.name)


def _lead(table: FoundTable) -> list[str]:
    wanted = sum(len(row.plan.runs) for row in table.rows)
    clips = int(table.shown[0].values("n_clips")[0])
    return [
        f"Recipe {table.plan.recipe}: {len(table.rows)} rows, {wanted - len(table.missing)} of {wanted} runs "
        f"finished, tested on {clips} clips; one clip is {100 / clips:.2f} points."
    ]


def _results(table: FoundTable) -> Iterator[Section]:
    text = [results.HOW_TO_READ]
    if any(row.values("order") for row in table.rows):
        text.append(results.ORDER)
    yield Section("Results", text, results.results_table(table.rows))
    beside = published.published_table(table.rows)
    if beside.rows:
        clips = sorted({int(count) for row in table.shown for count in row.values("n_clips")})
        other = f"Ours were tested on {clips[0]} clips, so these are other data, and do not compare."
        note = "" if clips == [published.TEST_CLIPS] else other
        yield Section("Beside published numbers", [published.HOW_TO_READ], beside, note, key="published")
    chosen = results.optimism_table(table.shown)
    if chosen.rows:
        yield Section("Last epoch and best on the test", [results.OPTIMISM], chosen, key="optimism")


def _missing(table: FoundTable) -> list[Section]:
    if not table.missing:
        return []
    text = "These runs are not in any number on this page; rows say how many seeds they have."
    return [Section("What is missing", [text], missing_table(table.missing), key="missing")]


def _comparisons(table: FoundTable) -> Iterator[Section]:
    pairs, baseline = comparisons.choose_pairs(table), table.plan.baseline
    if baseline is not None and baseline not in {row.name for row in table.shown}:
        yield Section(
            "Which rows differ?",
            note=f"{baseline}, the baseline, has no finished run yet.",
            key="comparisons",
        )
    if not pairs:
        return
    found, note = comparisons.comparison_table(pairs)
    yield Section("Which rows differ?", [comparisons.HOW_TO_COMPARE], found, note, key="comparisons")
    rivals = reversed_actions(table.shown[0].finished[0].class_names)
    ordered = [pair for pair in pairs if all(row.values("order") for row in pair)]
    if ordered:
        found, note = comparisons.comparison_table(ordered, rivals)
        text = "Whether a clip's action scores above its reverse in time, compared in the same way."
        yield Section("Which rows differ in knowing the order?", [text], found, note, key="order")


def _classes(rows: Sequence[Row]) -> Iterator[Section]:
    folded = [
        Section("Verbs", table=classes.verb_table(rows), folded=True),
        Section("Nouns", table=classes.noun_table(rows), folded=True),
        Section("Every class", table=classes.class_table(rows), folded=True, key="classes"),
    ]
    best = classes.extremes_table(rows)
    yield Section("Classes, verbs and nouns", [classes.HOW_TO_READ], best, parts=folded, key="per-class")


def _curves(table: FoundTable, folder: Path) -> Section:
    pictures = []
    for number, row in enumerate(table.shown, start=1):
        file = folder / "curves" / f"{table.name}-{number}.png"
        save_curves(file, row)
        pictures.append(Picture(file, row.name))
    text = "After every epoch, a line a seed. Training is measured on augmented clips, with dropout."
    return Section("Learning curves", [text], pictures=pictures, key="curves")


def _confusions(rows: Sequence[Row]) -> Iterator[Section]:
    drawn = [(row, run) for row in rows if (run := row.finished[0]).folder.joinpath("confusion.png").exists()]
    pictures = [
        Picture(run.folder / "confusion.png", f"{row.name}, seed {run.plan.seed}") for row, run in drawn
    ]
    text = "Test clips of the first seed: lines are the true actions, columns the predicted ones."
    if pictures:
        part = Section(f"{len(pictures)} matrices", pictures=pictures, folded=True, key="matrices")
        yield Section("Confusions", [text], parts=[part])


def _attention(rows: Sequence[Row]) -> Iterator[Section]:
    tables = {name: attention.attention_table(rows, name) for name in attention.HOW_TO_READ}
    parts = [
        Section(name.capitalize(), [attention.HOW_TO_READ[name]], table, key=name)
        for name, table in tables.items()
        if table.rows
    ]
    lacking = [run for row in rows for run in row.finished if attention.lacks_attention(run)]
    note = (
        f"{len(lacking)} runs with attention have not been measured; report.py --attention does it, and so "
        f"does: python evaluate.py --run {lacking[0].folder} --data TREE"
        if lacking
        else ""
    )
    if parts or lacking:
        yield Section("Does attention fall on what matters?", note=note, parts=parts, key="attention")


def _motion(rows: Sequence[Row]) -> Iterator[Section]:
    table = motion.motion_table(rows)
    if not table.rows:
        return
    files = {row.name: row.finished[0].folder / "motion.png" for row in rows}
    pictures = [Picture(file, name) for name, file in files.items() if file.exists()]
    drawn = Section("True and predicted maps of some clips", pictures=pictures, folded=True, key="maps")
    parts = [drawn] if pictures else []
    yield Section("Do motion heads know what moves?", [motion.HOW_TO_READ], table, parts=parts, key="motion")


def _commands(table: FoundTable) -> Section:
    text = "The command of every run, and the environment it was made in."
    parts = [
        Section(row.name, code=commands_of(row), folded=True, key=f"{number}")
        for number, row in enumerate(table.rows, start=1)
    ]
    return Section("Commands and environments", [text], parts=parts, key="commands")
