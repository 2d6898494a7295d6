"""The synthetic kitchen: a 2-D renderer of first-person clips whose every pixel motion is known.

Words used all through the package:

Table coordinates: nominal pixels of the camera's rest view, 256 high whatever the size that is rendered; x to
the right, y down. The whole scene is one plane, so a camera motion is exactly a homography.
Local coordinates: nominal pixels of one thing; a standing thing's origin is the middle of its base, a flat
thing's its centre.
Phase: how far an action has gone, 0 to 1. A verb and its reverse run the same motion program, one with the
phase rising, the other with it falling.
"""

from data.synthetic.truth import true_flow

__all__ = ["true_flow"]
