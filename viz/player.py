"""One self-contained page that plays scenes: frames, heat and motion of every run, filters.

The page is the template `player.html`, which loads nothing from elsewhere; here it is filled with scenes.
"""

import base64
import io
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from PIL import Image

from core.files import write_text
from viz.overlay import Picture, Style, colour
from viz.scene import Film, Scene

_SEEN_PER_SECOND = 4.0  # where only the frames that networks see are played
_QUALITY = {"seen": 90, "film": 80}  # of JPEGs; there are several times as many frames in a film


def write_player(path: Path, scenes: Iterable[Scene], style: Style) -> None:
    """Write `player_page` to a file, completely or not at all."""
    write_text(path, player_page(scenes, style))


def player_page(scenes: Iterable[Scene], style: Style) -> str:
    """Build the HTML of a page that plays the scenes, listed in this order, at first in this style.

    Of many scenes only what the page holds of them is in memory at once.
    """
    templates = Environment(
        loader=FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=StrictUndefined
    )
    templates.policies["json.dumps_kwargs"] = {"allow_nan": False}  # no browser reads NaN
    bar = np.linspace(0, 1, 160)[None].repeat(10, axis=0)
    data = {
        "opacity": style.opacity,
        "bar": data_url(colour(bar, style.colours), "PNG"),
        "scenes": [_scene(scene, style) for scene in scenes],
    }
    return templates.get_template("player.html").render(data=data)


def _scene(scene: Scene, style: Style) -> dict[str, Any]:
    """Convert a scene to plain values, pictures to data URLs."""
    heat = [
        (view.run, view.title, scene.verdict(view), view.square, scene.layers(view, style.colours))
        for view in scene.views
    ]
    motion = [
        (motion.name, motion.name, "", motion.square, motion.layers(style.colours)) for motion in scene.motion
    ]
    film = scene.film or Film(scene.frames, scene.labels, scene.times, _SEEN_PER_SECOND)
    quality = _QUALITY["film" if scene.film else "seen"]
    return {
        "name": scene.name,
        "action": scene.action,
        "width": scene.frames.shape[2],
        "height": scene.frames.shape[1],
        "legends": scene.legends,
        "frames": [data_url(frame, "JPEG", quality=quality) for frame in film.frames],
        "labels": film.labels,
        "times": film.times,
        "perSecond": film.per_second,
        # The film's frames that the networks see; their heat is held until the next one.
        "seen": [int(np.abs(np.subtract(film.times, time)).argmin()) for time in scene.times],
        "views": [
            {
                "run": name,
                "title": title,
                "verdict": verdict,
                "square": [square.left, square.top, square.side, square.side],
                # As RGBA pictures, whose transparency the page multiplies by its opacity.
                "layers": [
                    data_url(np.dstack([rgb, np.round(255 * cover).astype(np.uint8)]), "PNG")
                    for rgb, cover in layers
                ],
            }
            for name, title, verdict, square, layers in heat + motion
        ],
    }


def data_url(picture: Picture, form: str, **options: Any) -> str:
    """Write a picture (H, W, 3 or 4) as PIL does, into a data URL."""
    file = io.BytesIO()
    Image.fromarray(picture).save(file, format=form, **options)
    return f"data:image/{form.lower()};base64,{base64.b64encode(file.getvalue()).decode('ascii')}"
