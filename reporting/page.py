"""One self-contained HTML page from sections of text, tables and pictures. Everything is escaped.

Its look is `page.css`; `page.js` sorts a table by the column whose header is clicked.
"""

import base64
import io
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from html import escape
from pathlib import Path

from PIL import Image

from core.files import write_text
from reporting.table import LONG, Cell, Table

_HERE = Path(__file__).parent
_LONG_PAGE = 5
_LARGE_BYTES, _JPEG_QUALITY = 400_000, 88
_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'"


@dataclass(frozen=True)
class Picture:
    """A PNG or GIF file with the line under it."""

    path: Path
    caption: str


@dataclass(frozen=True)
class Section:
    """A part of the page; what is empty is left out.

    Attributes:
        title: Stands above.
        text: Paragraphs.
        table: A table.
        note: A quiet line below the table.
        pictures: Side by side as far as there is room.
        code: Lines to copy.
        parts: Sections within this one.
        folded: Only the title is shown until it is clicked.
        key: Its name in links and file names; made of the title when empty.
    """

    title: str
    text: Sequence[str] = ()
    table: Table | None = None
    note: str = ""
    pictures: Sequence[Picture] = ()
    code: str = ""
    parts: "Sequence[Section]" = ()
    folded: bool = False
    key: str = field(default="")

    @property
    def name(self) -> str:
        """Its name in links and file names."""
        return self.key or re.sub(r"[^a-z0-9]+", "-", self.title.lower()).strip("-")


def write_page(path: Path, title: str, lead: str, sections: Sequence[Section]) -> None:
    """Write the page with its pictures inside it, all or nothing; it loads nothing from elsewhere."""
    body = "\n".join(_section(section, "", 2) for section in sections)
    long = len(sections) + sum(len(section.parts) for section in sections) > _LONG_PAGE
    contents = f"<nav>{_contents(sections)}</nav>\n" if long else ""
    style, script = ((_HERE / f"page.{kind}").read_text(encoding="utf-8") for kind in ("css", "js"))
    write_text(
        path,
        f'<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n'
        f'<link rel="icon" href="data:,">\n<title>{escape(title)}</title>\n<style>\n{style}</style>\n'
        f"</head>\n"
        f'<body class="{"long" if long else "short"}">\n{contents}'
        f"<main>\n<h1>{escape(title)}</h1>\n<p>{escape(lead)}</p>\n{body}\n</main>\n"
        f"<script>\n{script}</script>\n</body>\n</html>\n",
    )


def _contents(sections: Sequence[Section], prefix: str = "") -> str:
    """List links to the sections and to their parts that are not folded."""
    links = [
        f'<li><a href="#{escape(prefix + section.name)}">{escape(section.title)}</a>'
        f"{_contents([part for part in section.parts if not part.folded], f'{prefix}{section.name}-')}</li>"
        for section in sections
    ]
    return f"<ul>{''.join(links)}</ul>" if links else ""


def _section(section: Section, prefix: str, level: int) -> str:
    name, title = escape(prefix + section.name), escape(section.title)
    body = "\n".join(
        [*_body(section), *(_section(p, f"{prefix}{section.name}-", level + 1) for p in section.parts)]
    )
    if section.folded:
        return f'<details id="{name}">\n<summary>{title}</summary>\n{body}\n</details>'
    return f'<section id="{name}">\n<h{level}>{title}</h{level}>\n{body}\n</section>'


def _body(section: Section) -> Iterator[str]:
    yield from (f"<p>{escape(text)}</p>" for text in section.text)
    if section.table is not None:
        yield _table(section.table)
    if section.note:
        yield f'<p class="note">{escape(section.note)}</p>'
    if section.code:
        yield f"<pre>{escape(section.code)}</pre>"
    if section.pictures:
        yield f'<div class="pictures">{"".join(map(_figure, section.pictures))}</div>'


def _table(table: Table) -> str:
    worded = [column for column in range(len(table.header)) if table.is_worded(column)]
    header = "".join(
        f'<th{_classes(column in worded)} scope="col">{escape(text)}</th>'
        for column, text in enumerate(table.header)
    )
    rows = "\n".join(
        "<tr>" + "".join(_cell(cell, column in worded) for column, cell in enumerate(row)) + "</tr>"
        for row in table.rows
    )
    content = f"<thead><tr>{header}</tr></thead>\n<tbody>\n{rows}\n</tbody>"
    return f'<div class="scroll"><table>\n{content}\n</table></div>'


def _cell(cell: Cell, worded: bool) -> str:
    value = f' data-value="{cell.numbers[0][1]!r}"' if cell.numbers else ""
    return f"<td{_classes(worded, len(cell.text) > LONG)}{value}>{escape(cell.text)}</td>"


def _classes(worded: bool, long: bool = False) -> str:
    names = ["words"] * worded + ["long"] * (worded and long)
    return f' class="{" ".join(names)}"' if names else ""


def _figure(picture: Picture) -> str:
    text = escape(picture.caption)
    source = _embedded(picture.path)
    return f'<figure><img src="{source}" alt="{text}"><figcaption>{text}</figcaption></figure>'


def _embedded(path: Path) -> str:
    """Give a picture as a data URL; large PNG files, which are of frames, as JPEG, a tenth as long."""
    kind, data = {".png": "image/png", ".gif": "image/gif"}[path.suffix], path.read_bytes()
    if kind == "image/png" and len(data) > _LARGE_BYTES:
        file = io.BytesIO()
        with Image.open(io.BytesIO(data)) as picture:
            picture.convert("RGB").save(file, format="JPEG", quality=_JPEG_QUALITY)
        kind, data = "image/jpeg", file.getvalue()
    return f"data:{kind};base64,{base64.b64encode(data).decode('ascii')}"
