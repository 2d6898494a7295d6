"""A report as files: index.html, report.md, report.tex, and a CSV file a table."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from core.files import write_text
from reporting.page import Section, write_page
from reporting.table import Table
from reporting.table_formats import as_csv, as_latex, as_markdown, escape_markdown, escape_tex

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


def write_report(folder: Path, title: str, lead: str, sections: Sequence[Section]) -> Path:
    """Write all files of a report; those of an earlier one are replaced.

    Returns:
        The page.
    """
    write_page(folder / "index.html", title, lead, sections)
    write_text(folder / "report.md", _markdown_head(title, lead) + "\n".join(_markdown(sections, 2)))
    write_text(folder / "report.tex", _TEX + "\n".join(_latex(title, lead, sections)) + "\\end{document}\n")
    for name, table in _tables(sections):
        write_text(folder / f"{name}.csv", as_csv(table))
    return folder / "index.html"


def _markdown_head(title: str, lead: str) -> str:
    return f"# {escape_markdown(title)}\n\n{escape_markdown(lead)}\n\n"


def _markdown(sections: Sequence[Section], level: int) -> Iterator[str]:
    """Give everything but pictures and what is folded."""
    for section in sections:
        if section.folded:
            continue
        yield f"{'#' * level} {escape_markdown(section.title)}\n"
        yield from (f"{escape_markdown(text)}\n" for text in section.text)
        if section.table is not None:
            yield as_markdown(section.table)
        yield from (f"{escape_markdown(text)}\n" for text in (section.note,) if text)
        yield from _markdown(section.parts, level + 1)


def _latex(title: str, lead: str, sections: Sequence[Section]) -> Iterator[str]:
    yield f"\\section*{{{escape_tex(title)}}}\n{escape_tex(lead)}\n"
    for section in sections:
        yield f"\\subsection*{{{escape_tex(section.title)}}}\n"
        yield from _tex_tables(section)


def _tex_tables(section: Section) -> Iterator[str]:
    if section.folded:
        return
    if section.table is not None:
        yield as_latex(section.table, f"{section.title}. {section.note}" if section.note else section.title)
    for part in section.parts:
        yield from _tex_tables(part)


def _tables(sections: Sequence[Section], prefix: str = "") -> Iterator[tuple[str, Table]]:
    for section in sections:
        if section.table is not None:
            yield prefix + section.name, section.table
        yield from _tables(section.parts, f"{prefix}{section.name}-")
