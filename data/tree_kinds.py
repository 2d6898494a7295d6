"""The kinds of tree met in the wild: the canonical PNG tree, its older name, and the authors' JPG tree."""

from dataclasses import dataclass
from pathlib import Path

from data import layout
from data.clips import Kind, Pattern


@dataclass(frozen=True)
class Place:
    """Where one kind of image lies: `root/top/user/action/instance/inner/PATTERN`."""

    top: str
    inner: str
    pattern: Pattern

    def folder(self, root: Path, key: str) -> Path:
        """Give the folder of a clip's images of this kind."""
        return root / self.top / key / self.inner


@dataclass(frozen=True)
class TreeKind:
    """Names of one kind of tree; a kind of image that it never holds is left out."""

    places: dict[Kind, Place]

    @property
    def top(self) -> str:
        """The folder under the root that tells this kind of tree."""
        return self.places["frames"].top


def tree_kinds() -> tuple[TreeKind, ...]:
    """List the trees we read, the canonical one first; the first that is there is read."""
    return _png_tree(layout.FRAMES), _png_tree("processed_frames"), _jpg_tree()


def _png_tree(top: str) -> TreeKind:
    return TreeKind(
        {
            "frames": Place(top, "rgb", Pattern("rgb", 4, ".png")),
            "maps": Place(top, "mmaps", Pattern("map", 4, ".png")),
            "flow_x": Place(layout.FLOW_X, "", Pattern("flow_x_", 5, ".png")),
            "flow_y": Place(layout.FLOW_Y, "", Pattern("flow_y_", 5, ".png")),
        }
    )


def _jpg_tree() -> TreeKind:
    return TreeKind(
        {
            "frames": Place("frames", "", Pattern("image_", 5, ".jpg")),
            "flow_x": Place("flow_x", "", Pattern("flow_x_", 5, ".jpg")),
            "flow_y": Place("flow_y", "", Pattern("flow_y_", 5, ".jpg")),
        }
    )
