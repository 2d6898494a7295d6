"""Pictures as files: PNG, endless GIF, and MP4 films that every browser plays.

Pictures are RGB, uint8. Every file is written completely or not at all.
"""

import subprocess
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from imageio_ffmpeg import get_ffmpeg_exe
from PIL import Image

from core.errors import UserError
from core.files import atomic_path
from viz.overlay import Picture

FRAMES_PER_SECOND = 4.0
# Browsers play H.264 with 4:2:0 chroma only. The matrix from RGB to YUV is written into the file, since
# players guess another one for large films; with faststart they begin before the whole file is loaded.
_H264 = (
    "-c:v libx264 -pix_fmt yuv420p -colorspace smpte170m -color_primaries smpte170m -color_trc smpte170m "
    "-movflags +faststart -f mp4 -y"
)


def save_png(path: Path, picture: Picture) -> None:
    """Write a picture (H, W, 3)."""
    with atomic_path(path) as temporary:
        # For pictures of frames smaller than at the usual level 6, in a sixth of the time.
        Image.fromarray(picture).save(temporary, format="PNG", compress_level=1, compress_type=zlib.Z_RLE)


def save_gif(path: Path, pictures: Sequence[Picture]) -> None:
    """Write an endless GIF of pictures (H, W, 3); all share one palette, so that colours do not flicker."""
    images = [Image.fromarray(picture) for picture in pictures]
    # Closer to the pictures than a median cut, in a tenth of its time; dithering would sparkle in a film.
    palette = Image.fromarray(np.concatenate(pictures)).quantize(256, method=Image.Quantize.FASTOCTREE)
    first, *others = (image.quantize(palette=palette, dither=Image.Dither.NONE) for image in images)
    film = {"save_all": True, "append_images": others, "duration": round(1000 / FRAMES_PER_SECOND)}
    with atomic_path(path) as temporary:
        first.save(temporary, format="GIF", loop=0, disposal=1, **film)


def save_mp4(path: Path, pictures: Sequence[Picture]) -> None:
    """Write an H.264 film of pictures (H, W, 3), by the ffmpeg that the package imageio-ffmpeg brings.

    Odd sides get a line of white, since 4:2:0 chroma needs even ones.

    Raises:
        UserError: There is no ffmpeg for this machine, or it fails, as on a full disk.
    """
    height, width = pictures[0].shape[:2]
    padding = ((0, height % 2), (0, width % 2), (0, 0))
    pages = [np.pad(picture, padding, constant_values=255) for picture in pictures]
    size = f"{width + width % 2}x{height + height % 2}"
    raw = f"-f rawvideo -pix_fmt rgb24 -video_size {size} -framerate {FRAMES_PER_SECOND} -i pipe:0"
    try:
        program = get_ffmpeg_exe()
    except RuntimeError as error:
        raise UserError(f"{path} can't be written: {error}") from None
    with atomic_path(path) as temporary:
        command = [program, "-loglevel", "error", *raw.split(), *_H264.split(), str(temporary)]
        done = subprocess.run(command, input=b"".join(page.tobytes() for page in pages), capture_output=True)
        if done.returncode:
            reason = done.stderr.decode(errors="replace").strip() or f"status {done.returncode}"
            raise UserError(f"{path} can't be written: {reason} (ffmpeg); is the disk full?")
