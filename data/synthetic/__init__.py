"""The synthetic kitchen: a 2-D renderer of first-person clips whose every pixel's motion is known.

Terms used throughout the package:

Table coordinates: table units, of which the camera's rest view is 256 high at any rendered size; x to the
right, y down. The whole scene is one plane, so a camera motion is exactly a homography.
Local coordinates: units of one object; the origin of a standing object is the middle of its base, that of a
flat one its centre.
Phase: how far an action has progressed, 0 to 1. A verb and its reverse run the same motion program, one with
the phase rising, the other with it falling.
"""

from data.synthetic.truth import true_flow

__all__ = ["true_flow"]
