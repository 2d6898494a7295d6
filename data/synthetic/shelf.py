"""Every thing by its name, drawn once a look and kept."""

from functools import lru_cache

from data.synthetic import foods, others
from data.synthetic.larder import VESSELS
from data.synthetic.things import Look, PaintThing, Thing
from data.synthetic.vessels import paint_cup, paint_vessel

NOUNS: dict[str, PaintThing] = {
    **{name: paint_vessel(name, vessel) for name, vessel in VESSELS.items()},
    "sugar": foods.paint_sugar,
    "bread": foods.paint_bread,
    "cheese": foods.paint_cheese,
    "tea": foods.paint_tea,
    "hotdog": foods.paint_hotdog,
    "cup": paint_cup,
    "spoon": foods.paint_spoon,
}
"""The sixteen nouns of the action names."""

OTHERS: dict[str, PaintThing] = others.OTHERS
"""As many things that no action names."""

STANDING = (*VESSELS, "sugar", "tea", "cup")
"""Nouns that can stand in a row at the back of the table."""

_EXTRAS: dict[str, PaintThing] = {"teabag": foods.paint_teabag, "plate": foods.paint_plate}


@lru_cache(maxsize=600)
def thing(name: str, look: Look, scale: float) -> Thing:
    """Draw the named thing.

    Args:
        name: A noun, one of the others, `teabag` or `plate`.
        look: How this copy looks.
        scale: Sprite pixels a local unit.
    """
    return (NOUNS | OTHERS | _EXTRAS)[name](scale, look)
