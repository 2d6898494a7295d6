"""Zero flow where nothing moves: the hypothesis of rest against the computed flow.

On plain tables and walls the camera-free flow is noise, since any small displacement explains the picture as
well as none. A place keeps its flow only where that explains the detail of the current frame better than rest
does. Detail means grey levels less their local mean: passing shadows and changes of exposure, which have
little, count as rest. Lengths are given for a short side of 256 px and scale with the frame. H W are pixels.
"""

from functools import lru_cache

import cv2
import numpy as np
import numpy.typing as npt

from data.flow import Flow, Grey

DETAIL_PX = 13
WINDOW_PX = 5
LEAST_GAIN = 0.8
"""Grey levels, mean over the window, by which the flow must explain the picture better than rest."""
EDGE_REACH_PX = 20
EDGE_CONTRAST = 50.0
"""Squared grey levels; where the frame varies by more, the outline of what moves follows its edges."""
LEAST_SHARE = 0.45


def rest_where_still(flow_px: Flow, prev: Grey, seen: Grey) -> Flow:
    """Set the flow to zero where rest explains the picture about as well.

    Args:
        flow_px: Flow from `prev` to `seen`, in pixels per frame. Shape: (H, W, 2).
        prev: Grey frame. Shape: (H, W), uint8.
        seen: The frame after it without camera motion. Shape: (H, W), uint8.

    Returns:
        Shape: (H, W, 2).
    """
    shape = prev.shape
    columns, rows = cv2.split(pixel_grid(*prev.shape) + flow_px)
    explained = cv2.remap(seen, columns, rows, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    detail = [_detail(frame, odd_px(DETAIL_PX, shape)) for frame in (prev, seen, explained)]
    gain = cv2.absdiff(detail[0], detail[1]) - cv2.absdiff(detail[0], detail[2])
    window = odd_px(WINDOW_PX, shape)
    better = np.asarray(cv2.blur(gain, (window, window)) > LEAST_GAIN, np.float32)
    # The window blurs the outline; the guided filter (He et al., 2010) draws it along the frame's edges.
    reach = max(2, round(EDGE_REACH_PX * min(shape) / 256))
    share = cv2.ximgproc.guidedFilter(prev, better, reach, EDGE_CONTRAST)
    moves = np.asarray(share > LEAST_SHARE, np.float32)
    return np.asarray(flow_px * moves[..., None], np.float32)


@lru_cache(maxsize=4)
def pixel_grid(height: int, width: int) -> npt.NDArray[np.float32]:
    """Give the place of every pixel, (x, y) last, to be read only. Shape: (height, width, 2)."""
    grid = np.dstack(np.meshgrid(np.arange(width), np.arange(height))).astype(np.float32)
    grid.flags.writeable = False
    return grid


def odd_px(length_px: float, shape: tuple[int, ...]) -> int:
    """Scale a length meant for a short side of 256 px to a frame, to the nearest odd number from 3."""
    return max(3, 2 * round((length_px * min(shape) / 256 - 1) / 2) + 1)


def _detail(frame: cv2.typing.MatLike, size: int) -> npt.NDArray[np.float32]:
    grey = frame.astype(np.float32)
    return np.asarray(grey - cv2.blur(grey, (size, size)), np.float32)
