"""One self-contained page that plays scenes: frames, heat and motion of every run, filters.

The page is the template `player.html`, which loads nothing from elsewhere; here it is filled with scenes.
"""

import base64
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from PIL import Image

from core.files import write_text
from viz.overlay import Picture, Style, colour
from viz.scene import Scene

_JPEG_QUALITY = 90


def write_player(path: Path, scenes: Sequence[Scene], style: Style) -> None:
    """Write `player_page` to a file, completely or not at all."""
    write_text(path, player_page(scenes, style))


def player_page(scenes: Sequence[Scene], style: Style) -> str:
    """Build the HTML of a page that plays the scenes, listed in this order, at first in this style."""
    templates = Environment(
        loader=FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=StrictUndefined
    )
    templates.policies["json.dumps_kwargs"] = {"allow_nan": False}  # no browser reads NaN
    bar = np.linspace(0, 1, 160)[None].repeat(10, axis=0)
    data = {
        "opacity": style.opacity,
        "bar": _url(colour(bar, style.colours), "PNG"),
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
    return {
        "name": scene.name,
        "action": scene.action,
        "width": scene.frames.shape[2],
        "height": scene.frames.shape[1],
        "labels": scene.labels,
        "times": scene.times,
        "legends": scene.legends,
        "frames": [_url(frame, "JPEG", quality=_JPEG_QUALITY) for frame in scene.frames],
        "views": [
            {
                "run": name,
                "title": title,
                "verdict": verdict,
                "square": [square.left, square.top, square.side, square.side],
                # As RGBA pictures, whose transparency the page multiplies by its opacity.
                "layers": [
                    _url(np.dstack([rgb, np.round(255 * cover).astype(np.uint8)]), "PNG")
                    for rgb, cover in layers
                ],
            }
            for name, title, verdict, square, layers in heat + motion
        ],
    }


def _url(picture: Picture, form: str, **options: Any) -> str:
    file = io.BytesIO()
    Image.fromarray(picture).save(file, format=form, **options)
    return f"data:image/{form.lower()};base64,{base64.b64encode(file.getvalue()).decode('ascii')}"
