"""A first look at a tree of clips as one page: `python -m data.check DIR --page OUT`.

The page is the template `page.html`, which loads nothing from elsewhere. Pictures are RGB, uint8 (H, W, 3).
"""

import base64
import io
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from PIL import Image

from core.errors import UserError
from core.files import write_text
from core.progress import progress_bar
from data.clips import Clip, Fault, natural_key
from data.decoding import BadImage, Pixels, decode_grey, decode_rgb
from data.flow import decode, flow_colours

_CLIPS_SHOWN = 6  # of a class and user
_FAULTS_SHOWN = 60
_SIDE = 160  # pixels of a picture's longer side, shown as they are
_QUALITY = 80


def page_path(folder: Path) -> Path:
    """Return the file of the page.

    Raises:
        UserError: `folder` is a file, or holds something other than an earlier page.
    """
    if folder.is_file():
        raise UserError(f"--page {folder} is a file; name a new folder")
    if folder.is_dir() and any(path.name != "index.html" for path in folder.iterdir()):
        raise UserError(f"--page {folder} holds other files; name a new or empty folder")
    return folder / "index.html"


def write_check_page(
    path: Path, root: Path, clips: Sequence[Clip], notes: Sequence[str], faults: Sequence[Fault]
) -> None:
    """Write the page: clips by class and user, motion of one clip a class, faults with their pictures.

    Args:
        path: The file.
        root: The tree, named on the page.
        clips: All clips of the tree.
        notes: What is odd about it.
        faults: What is broken.
    """
    templates = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    users = sorted({clip.user for clip in clips}, key=natural_key)
    classes = [_class(name, clips, users) for name in sorted({clip.action for clip in clips})]
    page = templates.get_template("page.html").render(
        root=root.resolve().name or str(root),
        users=users,
        counts={"clips": len(clips), "frames": sum(clip.num_frames for clip in clips)},
        longest=max((clip.num_frames for clip in clips), default=1),
        classes=_with_pictures(classes),
        notes=notes,
        faults=[_fault(fault) for fault in faults[:_FAULTS_SHOWN]],
        more_faults=max(0, len(faults) - _FAULTS_SHOWN),
    )
    write_text(path, page)


def _class(name: str, clips: Sequence[Clip], users: Sequence[str]) -> dict[str, Any]:
    own = [clip for clip in clips if clip.action == name]
    per_user = {user: [clip for clip in own if clip.user == user] for user in users}
    lengths = sorted(clip.num_frames for clip in own)
    # What has flow and maps tells most; of these the clip of middle length.
    told = max((clip.maps is not None) + (clip.num_flow > 0) for clip in own)
    candidates = [clip for clip in own if (clip.maps is not None) + (clip.num_flow > 0) == told]
    example = sorted(candidates, key=lambda clip: clip.num_frames)[len(candidates) // 2]
    return {
        "name": name,
        "clips": len(own),
        "counts": [len(per_user[user]) for user in users],
        "lengths": lengths,
        "middle": lengths[len(lengths) // 2],
        "shown": {user: clips[:_CLIPS_SHOWN] for user, clips in per_user.items() if clips},
        "more": {user: len(clips) - _CLIPS_SHOWN for user, clips in per_user.items()},
        "example": example,
    }


def _with_pictures(classes: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Read the pictures of the clips that are shown, several at a time."""
    shown = [clip for one in classes for clips in one["shown"].values() for clip in clips]
    examples = [one["example"] for one in classes]
    with ThreadPoolExecutor() as pool:
        drawn = pool.map(_thumbnail, shown)
        bar = progress_bar(drawn, title="drawing", total=len(shown), unit="clip")
        thumbnails = dict(zip([clip.key for clip in shown], bar, strict=True))
        motion = dict(zip([clip.key for clip in examples], pool.map(_motion, examples), strict=True))
    return [
        one
        | {
            "shown": {user: [thumbnails[clip.key] for clip in clips] for user, clips in one["shown"].items()},
            "example": motion[one["example"].key],
        }
        for one in classes
    ]


def _thumbnail(clip: Clip) -> dict[str, Any]:
    """Show a clip's middle frame, and how bright it is."""
    told = {"key": clip.key, "name": f"clip {clip.instance}", "frames": clip.num_frames}
    try:
        frame = decode_rgb(clip.frames.nearest(_middle(clip)))
    except BadImage as bad:
        return told | {"problem": str(bad)}
    light = round(100 * float(cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY).mean()) / 255)
    return told | {"picture": picture_url(frame), "light": light}


def _motion(clip: Clip) -> dict[str, Any]:
    """Show a clip's first, middle and last frame, and the flow and the motion map in its middle."""
    middle, pictures = _middle(clip), list[tuple[str, str]]()
    for number in sorted({1, middle, clip.frames.numbers[-1]}):
        pictures += _tried(f"frame {number}", lambda n=number: decode_rgb(clip.frames.nearest(n)))
    if clip.flow_x is not None and clip.flow_y is not None:
        x, y = clip.flow_x.nearest(middle), clip.flow_y.nearest(middle)
        pictures += _tried("flow, by colour", lambda: _flow(x, y))
        pictures += _tried("flow_x", lambda: _grey(x))
        pictures += _tried("flow_y", lambda: _grey(y))
    if clip.maps is not None:
        over, frame = clip.maps.nearest(middle), clip.frames.nearest(middle)
        pictures += _tried("motion map", lambda: _map_over(frame, over))
    return {"key": clip.key, "pictures": pictures}


def _tried(name: str, draw: Any) -> list[tuple[str, str]]:
    """Draw a picture, or none where an image is broken, which the faults say."""
    try:
        return [(name, picture_url(draw()))]
    except (BadImage, ValueError, cv2.error):  # sizes that do not fit are faults too
        return []


def _flow(x: Path, y: Path) -> Pixels:
    return flow_colours(np.dstack([decode(decode_grey(x)), decode(decode_grey(y))]))


def _grey(path: Path) -> Pixels:
    return np.dstack([decode_grey(path)] * 3)


def _map_over(frame: Path, over: Path) -> Pixels:
    """Redden what moves in a frame that is shown in grey."""
    grey, moves = _grey(frame), decode_grey(over) > 127
    red = np.array([255, 40, 20], np.float32)
    return np.where(moves[..., None], 0.5 * grey + 0.5 * red, 0.6 * grey).astype(np.uint8)


def _fault(fault: Fault) -> dict[str, Any]:
    try:
        picture = picture_url(decode_rgb(fault.path)) if fault.path.is_file() else None
    except BadImage:
        picture = None
    return {"text": str(fault), "clip": fault.clip, "kind": fault.kind, "picture": picture}


def _middle(clip: Clip) -> int:
    return clip.frames.numbers[len(clip.frames.numbers) // 2]


def picture_url(picture: Pixels) -> str:
    """Scale a picture down to at most 160 pixels a side, as a data URL."""
    zoom = min(1.0, _SIDE / max(picture.shape[:2]))
    size = tuple(max(1, round(side * zoom)) for side in picture.shape[1::-1])
    small = picture if zoom == 1 else cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
    file = io.BytesIO()
    Image.fromarray(np.asarray(small, np.uint8)).save(file, format="JPEG", quality=_QUALITY)
    return f"data:image/jpeg;base64,{base64.b64encode(file.getvalue()).decode('ascii')}"
