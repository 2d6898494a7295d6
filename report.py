"""Turns the finished runs of a grid into a page, Markdown, LaTeX and CSV that say how sure they are."""

from pathlib import Path
from typing import ClassVar

from pydantic import Field, model_validator

from core.cli import read_flags, run
from core.config import COSTS_MEMORY, DeviceName, refuse_repeated
from core.config import Config as BaseConfig

_MOST_DRAWN = 6
_SAME_FRAMES = ("frames", "observed", "data")
_MOST_PLAYED = 12
"""Clips on which runs disagree that are drawn besides those that were asked for."""
_FRAME_WIDTH = 200
TITLE, HEAT_TITLE = "Results", "Where the networks look"
LEAD = (
    "Made by report.py from finished runs. A number is that of the last epoch on the test clips; where "
    "the best epoch was selected too, it is listed separately. Click a column's heading to sort by it. CSV "
    "files next to this page hold the numbers unrounded."
)


class Config(BaseConfig):
    """Report on finished runs: index.html, report.md, report.tex and a CSV file a table."""

    GROUPS: ClassVar[dict[str, str]] = {"attention": "heat attention data batch_size device"}

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


if __name__ == "__main__":
    flags = read_flags(Config)  # help and mistakes are told before what follows is loaded

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

import cam_viz
import evaluate
from core.errors import UserError
from core.files import refuse_no_folder
from core.run_dir import RunDirectory, read_evaluation
from data.index import ClipIndex
from reporting.chapter import chapter
from reporting.collect import Finished, FoundTable, Row, read_runs, read_tables
from reporting.measures import has_attention, lacks_attention
from reporting.page import Section, Strip, write_report
from reporting.side_by_side import disagreements
from viz.overlay import Picture, Style
from viz.player import data_url, write_player
from viz.scene import Scene
from viz.storyboard import heat_pictures, motion_pictures
from viz.viewer import open_viewers, view_clip


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
        found.folder: tree_of(table, found, config)
        for table in tables
        for row in table.shown
        for found in row.finished
        if lacks_attention(found)
    }
    for folder, tree in lacking.items():
        settings = {"batch_size": config.batch_size, "device": config.device}
        if why := unreadable(folder):
            print(f"attention not measured: {why}")
            continue
        evaluate.main(evaluate.Config(run=folder, data=tree, **settings))
        if not read_evaluation(folder, "test"):
            raise UserError(
                f"{tree} holds other clips of the test users than {folder} was tested on; say where its own "
                "tree is with --data"
            )


def tree_of(table: FoundTable, found: Finished, config: Config) -> Path:
    """Find the tree of clips of one of a table's runs; rows may have different ones.

    Raises:
        UserError: It is not there any more.
    """
    trained_on = found.settings.get("data") or table.plan.inputs.get("data")
    tree = config.data or (None if trained_on is None else Path(trained_on))
    if tree is None or not tree.is_dir():
        raise UserError(f"the clips of {table.name} are not at {tree}; say where they are with --data")
    return tree


def draw_heat(table: FoundTable, config: Config) -> Section | None:
    """Draw where the first seeds of the rows with attention look on the clips of --heat."""
    runs = [row.finished[0] for row in table.shown if has_heat(row.finished[0])]
    if not config.heat or not runs:
        return None
    try:
        tree = tree_of(table, runs[0], config)
    except UserError as error:
        return Section(HEAT_TITLE, [f"Not drawn: {error}."], key="heat")
    # One picture holds runs that see the same frames of the same tree.
    first = [runs[0].settings.get(key) for key in _SAME_FRAMES]
    alike = [one for one in runs if [one.settings.get(key) for key in _SAME_FRAMES] == first]
    lost = {one.folder: why for one in alike[:_MOST_DRAWN] if (why := unreadable(one.folder))}
    drawn = [one for one in alike[:_MOST_DRAWN] if one.folder not in lost]
    note = " ".join(f"Not drawn: {why}." for why in lost.values())
    if not drawn:
        return Section(HEAT_TITLE, [note], key="heat")
    place, more = f"heat/{table.name}", contested(table.shown)
    section = heat_section(drawn, config.heat, tree, config.out, place, more=more, device=config.device)
    return replace(section, note=note)


def unreadable(folder: Path) -> str:
    """Say why a run's weights can't be read; empty where they can."""
    try:
        RunDirectory.finished(folder).checkpoint("last")
    except UserError as error:
        return str(error)
    return ""


def contested(rows: Sequence[Row]) -> tuple[str, ...]:
    """Name the clips on which the first seeds of rows disagree most, to be played beside those asked for."""
    return disagreements([row.finished[0] for row in rows], _MOST_PLAYED)


def has_heat(found: Finished) -> bool:
    """Whether cam_viz.py can draw a run: attention over frames of the whole clip, and weights still there."""
    settings, weights = found.settings, RunDirectory(found.folder).last
    return has_attention(settings) and settings.get("frames") is not None and weights.exists()


def heat_section(
    runs: Sequence[Finished],
    clips: tuple[str, ...],
    tree: Path,
    page: Path,
    place: str = "heat",
    *,
    more: Sequence[str] = (),
    device: DeviceName = "auto",
) -> Section:
    """Draw the attention of runs on clips into a subfolder of the report, and show it.

    Args:
        runs: Those that are drawn, a line each.
        clips: Their names.
        tree: The tree of clips.
        page: Folder of the report.
        place: The subfolder.
        more: Clips that can be played besides these.
        device: To compute on.
    """
    style, folders = Style(), tuple(one.folder for one in runs)
    there = set(ClipIndex.from_tree(tree).keys)  # a tree may have lost what nobody asked for
    shown = dict.fromkeys((*clips, *(clip for clip in more if clip in there)))  # each once, in this order
    config = cam_viz.Config(runs=folders, data=tree, clips=tuple(shown), out=page / place, device=device)
    found = {clip.key: clip for clip in cam_viz.choose_clips(config)}
    viewers = open_viewers(folders, device)
    parts = list[Section]()

    def scenes() -> Iterator[Scene]:
        for clip in shown:
            scene = view_clip(found[clip], viewers, film=True)
            if clip in clips:
                cam_viz.draw_scene(scene, page / place, style)
                board = storyboard(scene, style, f"{place}/{clip.replace('/', '_')}")
                parts.append(replace(board, folded=bool(parts)))  # the first stands open
            yield scene

    write_player(page / place / "index.html", scenes(), style)
    text = (
        "Attention over the frames that the network sees, a line for each run. The white square is the part "
        "of the frame that the network sees; colours have one scale for all runs, up to the highest value "
        "in the clip. Where a run has a motion head and the clip has motion maps, both are shown too, on a "
        "scale of their own."
    )
    others = ", and others on which rows disagree" if len(shown) > len(clips) else ""
    links = {f"Play these clips{others}": f"{place}/index.html"}
    plays = dict.fromkeys(shown, f"{place}/index.html")
    return Section(HEAT_TITLE, [text], links=links, plays=plays, parts=parts, key="heat")


def storyboard(scene: Scene, style: Style, stem: str) -> Section:
    """Show a clip as strips of frames under each run; its files are linked.

    Args:
        scene: The clip.
        style: Of the heat.
        stem: Of its files beside the page.
    """
    small = scene.scaled(_FRAME_WIDTH)

    def strip(title: str, kind: str, pictures: Iterable[Picture]) -> Strip:
        return Strip(title, kind, [data_url(one, "JPEG", quality=85) for one in pictures], small.labels)

    strips = [strip("what the network is shown", "", small.frames)]
    for view in small.views:
        strips.append(strip(view.title, small.verdict(view), heat_pictures(small, view, style)))
    for motion in small.motion:
        strips.append(strip(motion.name, "", motion_pictures(small.frames, motion, style)))
    links = {
        what: f"{stem}{end}"
        for what, end in {"as a sheet": ".png", "as a film": ".mp4", "as a GIF": ".gif"}.items()
    }
    note = f"Violet is low, yellow high. {'; '.join(scene.legends)}."
    true = [f"True action: {scene.action}."] if scene.action else []
    return Section(scene.name, true, note=note, strips=strips, links=links)


if __name__ == "__main__":
    run(main, flags)
