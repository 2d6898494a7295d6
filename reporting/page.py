"""A report as files: index.html, report.md, report.tex, a CSV file a table, and an SVG file a chart.

The page is the template `page.html`, which escapes everything and loads nothing from elsewhere; its look is
`page.css`, and `page.js` sorts a table by the column whose heading is clicked.
"""

import base64
import io
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from PIL import Image

from core.files import write_text
from reporting.charts import STYLE, Chart
from reporting.tables import Table, as_csv, as_latex, as_markdown, escape_markdown, escape_tex

_HERE = Path(__file__).parent
_LONG_PAGE = 5
"""Sections beyond which a page has a list of contents."""
_LARGE_BYTES, _JPEG_QUALITY = 400_000, 88
_TEX = r"""\documentclass[a4paper,landscape]{article}
\usepackage[T1]{fontenc}
\usepackage[utf8]{inputenc}
\usepackage[margin=12mm]{geometry}
\usepackage{array,booktabs,longtable}
\setlength{\tabcolsep}{4pt}
\setlength{\LTleft}{0pt}
\begin{document}
\scriptsize
"""


@dataclass(frozen=True)
class Figure:
    """A PNG or GIF file and its caption.

    Attributes:
        path: The file.
        caption: What it shows.
        plot: Whether it is a drawing on white, which turns dark with the page; pictures do not.
    """

    path: Path
    caption: str
    plot: bool = False

    def url(self) -> str:
        """Convert to a data URL; large PNG files, which show frames, as JPEG of a tenth of their size."""
        kind, data = {".png": "image/png", ".gif": "image/gif"}[self.path.suffix], self.path.read_bytes()
        if kind == "image/png" and len(data) > _LARGE_BYTES:
            file = io.BytesIO()
            with Image.open(io.BytesIO(data)) as picture:
                picture.convert("RGB").save(file, format="JPEG", quality=_JPEG_QUALITY)
            kind, data = "image/jpeg", file.getvalue()
        return f"data:{kind};base64,{base64.b64encode(data).decode('ascii')}"


@dataclass(frozen=True)
class Strip:
    """Pictures beside each other, such as the frames of a clip under a run.

    Attributes:
        title: What they show.
        kind: "right", "wrong", or "", which say it by colour and sign.
        pictures: As data URLs.
        labels: One a picture.
    """

    title: str
    kind: str
    pictures: Sequence[str]
    labels: Sequence[str]


@dataclass(frozen=True)
class Section:
    """A part of the page; empty fields are left out.

    Attributes:
        title: The heading.
        text: Paragraphs.
        table: A table.
        note: A remark below the table.
        chart: Drawn above the table, which is folded then.
        small_charts: Side by side as far as there is room, below the text.
        figures: Side by side as far as there is room.
        links: Files beside the page, by what they hold.
        strips: Rows of pictures, below each other.
        plays: Where clips play: an address beside the page, by the clip's name.
        compared: Classes, clips and rows for `page.js` to set side by side (`side_by_side.py`).
        code: Lines to copy.
        parts: Sections within this one.
        folded: Only the title is shown until it is clicked.
        key: Its name in links and file names; made of the title when empty.
    """

    title: str
    text: Sequence[str] = ()
    table: Table | None = None
    note: str = ""
    chart: Chart | None = None
    small_charts: Sequence[Chart] = ()
    figures: Sequence[Figure] = ()
    links: Mapping[str, str] = field(default_factory=dict)
    strips: Sequence[Strip] = ()
    plays: Mapping[str, str] = field(default_factory=dict)
    compared: Mapping[str, Any] | None = None
    code: str = ""
    parts: "Sequence[Section]" = ()
    folded: bool = False
    key: str = ""

    @property
    def name(self) -> str:
        """Its name in links and file names."""
        return self.key or re.sub(r"[^a-z0-9]+", "-", self.title.lower()).strip("-")


def write_report(folder: Path, title: str, lead: str, sections: Sequence[Section]) -> Path:
    """Write all files of a report; those of an earlier one are replaced.

    Returns:
        The page.
    """
    write_page(folder / "index.html", title, lead, sections, ("report.md", "report.tex"))
    head = f"# {escape_markdown(title)}\n\n{escape_markdown(lead)}\n\n"
    write_text(folder / "report.md", head + "\n".join(_markdown(sections, 2)))
    tex = [f"\\section*{{{escape_tex(title)}}}\n{escape_tex(lead)}\n"]
    for section in sections:
        tex += [f"\\subsection*{{{escape_tex(section.title)}}}\n", *_latex(section)]
    write_text(folder / "report.tex", _TEX + "\n".join(tex) + "\\end{document}\n")
    for name, table in _tables(sections):
        write_text(folder / f"{name}.csv", as_csv(table))
    for name, chart in _charts(sections):
        write_text(folder / f"{name}.svg", chart.as_file())
    return folder / "index.html"


def write_page(
    path: Path, title: str, lead: str, sections: Sequence[Section], files: Sequence[str] = ()
) -> None:
    """Write the page with its pictures inside it, completely or not at all.

    Args:
        path: The page.
        title: Its title.
        lead: Its first paragraph.
        sections: What it holds.
        files: Files beside it that hold the same, which it links.
    """
    templates = Environment(
        loader=FileSystemLoader(_HERE),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        keep_trailing_newline=True,
    )
    templates.policies["json.dumps_kwargs"] = {"allow_nan": False}  # no browser reads NaN
    text = templates.get_template("page.html").render(
        title=title,
        lead=lead,
        sections=sections,
        files=files,
        long=len(sections) + sum(len(section.parts) for section in sections) > _LONG_PAGE,
        style=Markup(STYLE.read_text(encoding="utf-8") + (_HERE / "page.css").read_text(encoding="utf-8")),
        script=Markup((_HERE / "page.js").read_text(encoding="utf-8")),
    )
    write_text(path, text)


def _markdown(sections: Sequence[Section], level: int) -> Iterator[str]:
    """Write everything but pictures, folded sections, and what a page alone can show."""
    for section in sections:
        if section.folded or section.strips or section.compared is not None:
            continue
        yield f"{'#' * level} {escape_markdown(section.title)}\n"
        yield from (f"{escape_markdown(text)}\n" for text in section.text)
        if section.table is not None:
            yield as_markdown(section.table)
        if section.note:
            yield f"{escape_markdown(section.note)}\n"
        yield from _markdown(section.parts, level + 1)


def _latex(section: Section) -> Iterator[str]:
    """Write the tables of a section and of its parts, but not of folded ones."""
    if section.folded:
        return
    if section.table is not None:
        yield as_latex(section.table, f"{section.title}. {section.note}" if section.note else section.title)
    for part in section.parts:
        yield from _latex(part)


def _charts(sections: Sequence[Section], prefix: str = "") -> Iterator[tuple[str, Chart]]:
    """List the chart of each section, with the names of their files."""
    for section in sections:
        if section.chart is not None:
            yield prefix + section.name, section.chart
        yield from _charts(section.parts, f"{prefix}{section.name}-")


def _tables(sections: Sequence[Section], prefix: str = "") -> Iterator[tuple[str, Table]]:
    """List all tables with the names of their files."""
    for section in sections:
        if section.table is not None:
            yield prefix + section.name, section.table
        yield from _tables(section.parts, f"{prefix}{section.name}-")
