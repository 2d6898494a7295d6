"""Names in pictures: which installed fonts draw a text, and what stands for letters that none can draw."""

import re
import unicodedata
from collections.abc import Sequence
from functools import cache

import matplotlib
from matplotlib import font_manager

DEFAULT = "DejaVu Sans"
"""Comes with matplotlib; other fonts are only asked for letters that it lacks."""

# Before 3.11 matplotlib set Hebrew and Arabic from left to right.
_SETS_RIGHT_TO_LEFT = tuple(map(int, re.findall(r"\d+", matplotlib.__version__)[:2])) >= (3, 11)


def fonts_for(text: str) -> list[str]:
    """Name the font families that draw a text together, as matplotlib takes them: the default first."""
    families, missing = [DEFAULT], set(map(ord, unicodedata.normalize("NFC", text))) - _letters(DEFAULT)
    for family in sorted(_upright_fonts()) if missing else ():
        if found := missing & _letters(family):
            families.append(family)
            missing -= found
    return families


def drawable(text: str, families: Sequence[str] | None = None) -> str:
    """Write a text with the letters that fonts have, all that are installed unless some families are named.

    Other letters, and those that print nothing, are written as Python escapes them.
    """
    text = unicodedata.normalize("NFC", text)
    known = _letters(*(fonts_for(text) if families is None else families))
    return "".join(
        letter if letter.isprintable() and ord(letter) in known else letter.encode("unicode_escape").decode()
        for letter in text
    )


def lines_in_one_font(text: str) -> tuple[str, list[str]]:
    """Choose the font file that draws most of a text, for programs that take one; its lines as `drawable`."""
    letters = set(map(ord, text))
    family = max(fonts_for(text), key=lambda name: len(letters & _letters(name)))
    return _upright_fonts()[family], [drawable(line, [family]) for line in text.split("\n")]


def shortened(text: str, limit: int) -> str:
    """Cut the middle out of a text of more than `limit` letters."""
    if len(text) <= limit:
        return text
    tail = (limit - 1) // 3
    return f"{text[: limit - 1 - tail]}…{text[len(text) - tail :]}"


@cache
def _upright_fonts() -> dict[str, str]:
    """Files of the installed families that have an ordinary cut; for others matplotlib would warn."""
    plain = ("normal", "normal", "normal", 400)
    return {
        font.name: font.fname
        for font in font_manager.fontManager.ttflist
        if (font.style, font.variant, font.stretch, font.weight) == plain
        and "resort" not in font.name.lower()
    }  # "Last Resort" has a box for every letter


@cache
def _letters(*families: str) -> frozenset[int]:
    """Code points that families draw; none of a font without outlines, such as one of emoji."""
    codes = set[int]()
    for family in families:
        try:
            font = font_manager.get_font(_upright_fonts()[family])
        except (OSError, RuntimeError):  # damaged, or removed since matplotlib listed it
            continue
        codes |= font.get_charmap().keys() if font.scalable else set()
    if not _SETS_RIGHT_TO_LEFT:
        codes = {code for code in codes if unicodedata.bidirectional(chr(code)) not in ("R", "AL")}
    return frozenset(codes)
