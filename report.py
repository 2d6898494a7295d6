"""Turns the finished runs of a grid into a page, Markdown, LaTeX and CSV that say how sure they are."""

from collections.abc import Sequence
from pathlib import Path

from pydantic import Field, model_validator

import cam_viz
import evaluate
from core.cli import run
from core.config import COSTS_MEMORY, refuse_repeated
from core.config import Config as BaseConfig
from core.errors import UserError
from core.files import refuse_no_folder
from core.run_dir import RunDirectory, read_evaluation
from core.seeding import DeviceName
from reporting.chapter import chapter
from reporting.collect import Finished, FoundTable, read_runs, read_tables
from reporting.measures import lacks_attention
from reporting.page import Figure, Section, write_report

_MOST_DRAWN = 6
TITLE, HEAT_TITLE = "Results", "Where the networks look"
LEAD = (
    "Made by report.py from finished runs. A number is that of the last epoch on the test clips; where "
    "the best epoch was selected too, it is listed separately. Click a column's heading to sort by it. CSV "
    "files next to this page hold the numbers unrounded."
)


class Config(BaseConfig):
    """Report on finished runs: index.html, report.md, report.tex and a CSV file a table."""

    grid: Path | None = None
    """The --out of grid.py."""
    runs: tuple[Path, ...] = ()
    """Finished run directories, in place of --grid; runs that differ in their seed alone are one row."""
    title: str | None = None
    """Title of the page."""
    out: Path
    """Folder of the report; an earlier report in it is replaced."""
    heat: tuple[str, ...] = ()
    """Clips, such as S2/open_jam/1, on which the attention of the first seeds is drawn."""
    attention: bool = False
    """Measure where runs with attention look on the test clips, for runs that have not been measured yet."""
    data: Path | None = None
    """Tree of clips for --heat and --attention; that of the grid when left out."""
    batch_size: int = Field(32, ge=1, json_schema_extra=COSTS_MEMORY)
    """Clips at a time, with --attention."""
    device: DeviceName = "auto"
    """Device to compute on, with --heat and --attention."""

    @model_validator(mode="after")
    def _grid_or_runs(self) -> "Config":
        if (self.grid is None) == (not self.runs):
            raise ValueError(
                "choose either --grid (the --out of grid.py) or --runs (finished run directories)"
            )
        refuse_repeated("--runs", self.runs)
        return self


def main(config: Config) -> int:
    """Write the report; status 1 if a run is damaged, which the report names."""
    refuse_other_files(config.out)
    tables = [read_runs(config.runs)] if config.grid is None else read_tables(config.grid)
    if config.data is not None and not config.data.is_dir():
        raise UserError(f"no such folder: --data {config.data}; name the tree of clips")
    if config.attention:
        measure_attention(tables, config)
    chapters = [chapter(table, config.out, draw_heat(table, config)) for table in tables]
    page = write_report(config.out, config.title or TITLE, LEAD, chapters)
    missing = [(row, lost) for table in tables for row, lost in table.missing]
    for row, lost in missing:
        print(f"{lost.state}: {row.name}, seed {lost.plan.seed}: {lost.reason}")
    print(f"open {page}")
    return int(any(lost.state == "damaged" for _, lost in missing))


def refuse_other_files(out: Path) -> None:
    """Refuse a folder that holds something other than a report.

    Raises:
        UserError: It does, or no folder can be there.
    """
    refuse_no_folder("--out", out)
    if out.is_dir() and any(out.iterdir()) and not (out / "report.tex").exists():
        raise UserError(f"--out {out} holds files that are no report; choose a new or empty folder")


def measure_attention(tables: Sequence[FoundTable], config: Config) -> None:
    """Let evaluate.py measure the runs with attention that it has not measured yet."""
    lacking = {
        found.folder: tree_of(table, config)
        for table in tables
        for row in table.shown
        for found in row.finished
        if lacks_attention(found)
    }
    for folder, tree in lacking.items():
        settings = {"batch_size": config.batch_size, "device": config.device}
        evaluate.main(evaluate.Config(run=folder, data=tree, **settings))
        if not read_evaluation(folder, "test"):
            raise UserError(
                f"{tree} holds other clips of the test users than {folder} was tested on; say where its own "
                "tree is with --data"
            )


def tree_of(table: FoundTable, config: Config) -> Path:
    """Find the tree of clips of a table.

    Raises:
        UserError: It is not there any more.
    """
    tree = config.data or table.plan.inputs.get("data")
    if tree is None or not tree.is_dir():
        raise UserError(f"the clips of {table.name} are not at {tree}; say where they are with --data")
    return tree


def draw_heat(table: FoundTable, config: Config) -> Section | None:
    """Draw where the first seeds of the rows with attention look on the clips of --heat."""
    runs = [row.finished[0] for row in table.shown if has_heat(row.finished[0])]
    if not config.heat or not runs:
        return None
    try:
        tree = tree_of(table, config)
    except UserError as error:
        return Section(HEAT_TITLE, [f"Not drawn: {error}."], key="heat")
    # One picture holds runs that see the same number of frames.
    alike = [one for one in runs if one.settings["frames"] == runs[0].settings["frames"]]
    place = f"heat/{table.name}"
    return heat_section(alike[:_MOST_DRAWN], config.heat, tree, config.out, place, config.device)


def has_heat(found: Finished) -> bool:
    """Whether cam_viz.py can draw a run: an RGB stream with attention, whose weights are still there."""
    settings, weights = found.settings, RunDirectory(found.folder).last
    return settings.get("attention") == "cam" and "frames" in settings and weights.exists()


def heat_section(
    runs: Sequence[Finished],
    clips: tuple[str, ...],
    tree: Path,
    page: Path,
    place: str = "heat",
    device: DeviceName = "auto",
) -> Section:
    """Draw the attention of runs on clips into a subfolder of the report, and show it.

    Args:
        runs: Those that are drawn, a line each.
        clips: Their names.
        tree: The tree of clips.
        page: Folder of the report.
        place: The subfolder.
        device: To compute on.
    """
    folders, out = tuple(one.folder for one in runs), page / place
    cam_viz.main(cam_viz.Config(runs=folders, data=tree, clips=clips, out=out, html=True, device=device))
    files = [out / f"{clip.replace('/', '_')}.png" for clip in clips]
    text = (
        "Attention over the frames that the network sees, a line for each run. The white square is the part "
        "of the frame that the network sees; colours have one scale for all runs, up to the highest value "
        "in the clip. Where a run has a motion head and the clip has motion maps, both are shown too, on a "
        "scale of their own."
    )
    links = {"Play these clips, frame by frame or as they are": f"{place}/index.html"}
    pictures = [Figure(file, file.stem.replace("_", " / ", 1)) for file in files]
    return Section(HEAT_TITLE, [text], figures=pictures, links=links, key="heat")


if __name__ == "__main__":
    run(main, Config)
