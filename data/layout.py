"""Where the canonical tree keeps its files: the one place that knows their names.

A clip is addressed by user ("S1"), action ("close_jam") and instance ("1"). Frames are numbered from 1.
"""

from pathlib import Path

FRAMES = "processed_frames2"
FLOW_X = "flow_x_processed"
FLOW_Y = "flow_y_processed"
TRUTH = "truth"


def clip_folder(root: Path, user: str, action: str, instance: str) -> Path:
    """Folder that holds a clip's `rgb` and `mmaps` folders."""
    return root / FRAMES / user / action / instance


def rgb_folder(root: Path, user: str, action: str, instance: str) -> Path:
    """Folder of a clip's frames, `rgb0001.png` and on."""
    return clip_folder(root, user, action, instance) / "rgb"


def map_folder(root: Path, user: str, action: str, instance: str) -> Path:
    """Folder of a clip's motion maps, `map0001.png` and on."""
    return clip_folder(root, user, action, instance) / "mmaps"


def flow_folder(root: Path, axis: str, user: str, action: str, instance: str) -> Path:
    """Folder of a clip's flow images along one axis ("x" or "y"), `flow_x_00001.png` and on."""
    return root / {"x": FLOW_X, "y": FLOW_Y}[axis] / user / action / instance


def truth_file(root: Path, user: str, action: str, instance: str) -> Path:
    """The synthetic kitchen's truth of a clip."""
    return root / TRUTH / user / action / f"{instance}.npz"


def rgb_name(number: int) -> str:
    """File name of frame `number` (from 1)."""
    return f"rgb{number:04d}.png"


def map_name(number: int) -> str:
    """File name of motion map `number` (from 1)."""
    return f"map{number:04d}.png"


def flow_name(axis: str, number: int) -> str:
    """File name of flow image `number` (from 1) along `axis` ("x" or "y")."""
    return f"flow_{axis}_{number:05d}.png"
