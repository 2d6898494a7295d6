"""Zero flow where nothing moves: the hypothesis of rest against the computed flow.

On plain tables and walls the camera-free flow is noise, since any small displacement explains the picture as
well as none. A place keeps its flow only where that explains the current frame better than rest. H W: pixels.
"""

from functools import lru_cache

import cv2
import numpy as np
import numpy.typing as npt

from data.flow import Flow, Grey

WINDOW_PX = 9
REACH_PX = 5
LEAST_GAIN = 1.5
"""Grey levels, mean over the window, by which the flow must explain the picture better than rest."""


def rest_where_still(flow_px: Flow, prev: Grey, seen: Grey) -> Flow:
    """Set the flow to zero where rest explains the picture about as well.

    Args:
        flow_px: Flow from `prev` to `seen`, in pixels per frame. Shape: (H, W, 2).
        prev: Grey frame. Shape: (H, W), uint8.
        seen: The frame after it without camera motion. Shape: (H, W), uint8.

    Returns:
        Shape: (H, W, 2).
    """
    explained = cv2.remap(
        seen,
        pixel_grid(*prev.shape) + flow_px,
        np.empty(0),
        cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_REPLICATE,
    )
    gain = cv2.absdiff(prev, seen).astype(np.int16) - cv2.absdiff(prev, explained)
    moves = cv2.boxFilter(gain, cv2.CV_32F, (WINDOW_PX, WINDOW_PX)) > LEAST_GAIN
    reach = np.ones((REACH_PX, REACH_PX), np.uint8)
    return flow_px * cv2.dilate(moves.astype(np.uint8), reach)[..., None].astype(np.float32)


@lru_cache(maxsize=4)
def pixel_grid(height: int, width: int) -> npt.NDArray[np.float32]:
    """Give the place of every pixel, (x, y) last, to be read only. Shape: (height, width, 2)."""
    grid = np.dstack(np.meshgrid(np.arange(width), np.arange(height))).astype(np.float32)
    grid.flags.writeable = False
    return grid
