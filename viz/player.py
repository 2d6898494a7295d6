"""One self-contained page that plays scenes: frames, heat of every run, filters.

It loads nothing from elsewhere. The page itself is `player.html`; here the scenes are put into it.
"""

import base64
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from core.files import write_text
from viz.motion import motion_layer
from viz.overlay import Box, Heat, Picture, colour, heat_layer
from viz.scene import Look, Motion, Scene, title
from viz.storyboard import Style

_TEMPLATE = Path(__file__).with_name("player.html")
_PLACE = "{{DATA}}"
_JPEG_QUALITY = 90


def write_player(path: Path, scenes: Sequence[Scene], style: Style) -> None:
    """Write the page with everything in it, all or nothing. Arguments as of `player_page`, after the file."""
    write_text(path, player_page(scenes, style))


def player_page(scenes: Sequence[Scene], style: Style) -> str:
    """Give the text of the page.

    Args:
        scenes: What can be played, in the order of the list.
        style: Opacity to begin with, and the colours.
    """
    bar = np.linspace(0, 1, 160)[None].repeat(10, axis=0)
    data = {
        "opacity": style.opacity,
        "bar": _png(colour(bar, style.colours)),
        "scenes": [_scene(scene, style) for scene in scenes],
    }
    # Nothing in a script block ends it but "</", so names can't break out of it.
    text = json.dumps(data, ensure_ascii=True, allow_nan=False).replace("<", "\\u003c")
    return _TEMPLATE.read_text(encoding="utf-8").replace(_PLACE, text)


def _scene(scene: Scene, style: Style) -> dict[str, Any]:
    return {
        "name": scene.name,
        "action": scene.action,
        "width": scene.frames.shape[2],
        "height": scene.frames.shape[1],
        "labels": scene.labels,
        "times": scene.times,
        "scale": [scene.scale, *([scene.motion_scale] if scene.motion else [])],
        "frames": [_jpeg(frame) for frame in scene.frames],
        "looks": [
            *(_look(scene, look, style) for look in scene.looks),
            *(_motion(motion, style) for motion in scene.motion),
        ],
    }


def _look(scene: Scene, look: Look, style: Style) -> dict[str, Any]:
    layers = [heat_layer(cells / scene.peak, *look.box.size, style.colours) for cells in look.strength]
    return _shown(look.run, title(look), scene.verdict(look), look.box, layers)


def _motion(motion: Motion, style: Style) -> dict[str, Any]:
    size = motion.box.size
    layers = [motion_layer(cells, motion.level, *size, style.colours) for cells in motion.cells]
    return _shown(motion.name, motion.name, "", motion.box, layers)


def _shown(
    name: str, title: str, verdict: str, box: Box, layers: Sequence[tuple[Picture, Heat]]
) -> dict[str, Any]:
    return {
        "run": name,
        "title": title,
        "verdict": verdict,
        "box": [box.left, box.top, *box.size],
        "layers": [_png(np.dstack([rgb, np.round(255 * cover).astype(np.uint8)])) for rgb, cover in layers],
    }


def _jpeg(picture: Picture) -> str:
    file = io.BytesIO()
    Image.fromarray(picture).save(file, format="JPEG", quality=_JPEG_QUALITY)
    return "data:image/jpeg;base64," + base64.b64encode(file.getvalue()).decode("ascii")


def _png(picture: Picture) -> str:
    file = io.BytesIO()
    Image.fromarray(picture).save(file, format="PNG")
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode("ascii")
