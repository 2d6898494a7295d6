"""One self-contained HTML page from sections of text, tables and pictures. Everything is escaped."""

import base64
from collections.abc import Sequence
from dataclasses import dataclass, field
from html import escape
from pathlib import Path

from engine.files import write_text

_STYLE = """
:root { color-scheme: light dark; --ink: #1c1c1c; --paper: #fdfdfb; --line: #d8d6cf; --quiet: #66645e; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e9e7e1; --paper: #1b1b1a; --line: #403f3b; --quiet: #a5a299; }
}
body { font: 16px/1.55 system-ui, sans-serif; color: var(--ink); background: var(--paper);
       max-width: 72rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.7rem; } h2 { font-size: 1.25rem; margin-top: 2.4rem; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .35rem .8rem; border-bottom: 1px solid var(--line); text-align: right; }
th { text-align: right; font-weight: 600; } th:first-child, td:first-child { text-align: left; }
.scroll { overflow-x: auto; }
figure { margin: 1rem 0; } figcaption { color: var(--quiet); font-size: .9rem; }
img { max-width: 100%; height: auto; background: #fff; }
.pictures { display: flex; flex-wrap: wrap; gap: 1.2rem; align-items: flex-start; }
.pictures figure { margin: 0; max-width: 100%; }
pre { overflow-x: auto; padding: .7rem; border: 1px solid var(--line); font-size: .85rem; }
p.note { color: var(--quiet); }
"""


@dataclass(frozen=True)
class Table:
    """A table; the first column is aligned left, the others right."""

    header: Sequence[str]
    rows: Sequence[Sequence[str]]


@dataclass(frozen=True)
class Picture:
    """A PNG or GIF file with the line under it."""

    path: Path
    caption: str


@dataclass(frozen=True)
class Section:
    """A part of the page; what is empty is left out."""

    title: str
    text: Sequence[str] = ()
    table: Table | None = None
    note: str = ""
    pictures: Sequence[Picture] = ()
    code: str = field(default="")


def write_page(path: Path, title: str, lead: str, sections: Sequence[Section]) -> None:
    """Write the page with its pictures inside it, all or nothing; it loads nothing from elsewhere."""
    body = "\n".join(_section(section) for section in sections)
    write_text(
        path,
        f'<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f'<link rel="icon" href="data:,">\n<title>{escape(title)}</title>\n<style>{_STYLE}</style>\n</head>\n'
        f"<body>\n<h1>{escape(title)}</h1>\n<p>{escape(lead)}</p>\n{body}\n</body>\n</html>\n",
    )


def _section(section: Section) -> str:
    parts = [f"<h2>{escape(section.title)}</h2>", *(f"<p>{escape(text)}</p>" for text in section.text)]
    if section.table is not None:
        parts.append(_table(section.table))
    if section.note:
        parts.append(f'<p class="note">{escape(section.note)}</p>')
    if section.code:
        parts.append(f"<pre>{escape(section.code)}</pre>")
    if section.pictures:
        parts.append(f'<div class="pictures">{"".join(map(_figure, section.pictures))}</div>')
    return "\n".join(parts)


def _table(table: Table) -> str:
    header = "".join(f"<th>{escape(cell)}</th>" for cell in table.header)
    rows = "\n".join(
        "<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in table.rows
    )
    content = f"<thead><tr>{header}</tr></thead>\n<tbody>\n{rows}\n</tbody>"
    return f'<div class="scroll"><table>\n{content}\n</table></div>'


def _figure(picture: Picture) -> str:
    kind = {".png": "image/png", ".gif": "image/gif"}[picture.path.suffix]
    data = base64.b64encode(picture.path.read_bytes()).decode("ascii")
    text = escape(picture.caption)
    return (
        f'<figure><img src="data:{kind};base64,{data}" alt="{text}"><figcaption>{text}</figcaption></figure>'
    )
