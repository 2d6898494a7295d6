"""Reads and writes checkpoints: never a pickle with code in it, never half a file."""

import pickle
import zipfile
from pathlib import Path
from typing import Any

import torch

from core.errors import UserError
from core.files import atomic_path


def save_checkpoint(path: Path, content: dict[str, Any]) -> None:
    """Write tensors and plain Python values to `path`, completely or not at all."""
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        try:
            torch.save(content, file)
        except RuntimeError as error:  # torch hides the error of the disk
            if isinstance(cause := error.__context__, OSError):
                raise OSError(cause.errno, cause.strerror, str(path)) from None
            raise


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Read a checkpoint to the CPU, refusing everything but tensors and plain values.

    Raises:
        UserError: The file is missing, damaged, not a checkpoint, or a pickle that would run code.
    """
    if not path.is_file():
        raise UserError(f"no checkpoint at {path}")
    try:
        _compare_checksums(path)
        content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        reason = str(error).splitlines()[0]
        raise UserError(
            f"{path} does not hold only tensors and plain values, so it is not loaded (it could run code): "
            f"{reason}. Ask its author for a plain state_dict"
        ) from None
    except Exception as error:  # damaged and forged files make torch's reader fail in many ways
        raise UserError(f"{path} can't be read as a checkpoint: {error or type(error).__name__}") from None
    if not isinstance(content, dict):
        raise UserError(f"{path} should hold a dictionary of tensors, found {type(content).__name__}")
    return content


def _compare_checksums(path: Path) -> None:
    """Refuse a damaged file, which torch would load as other weights: its reader compares no checksums."""
    if zipfile.is_zipfile(path):  # torch's older format has no checksums
        with zipfile.ZipFile(path) as archive:
            if any(entry.compress_type != zipfile.ZIP_STORED for entry in archive.infolist()):
                raise OSError("it is compressed, which torch never does, and may unpack to any size")
            if damaged := archive.testzip():
                raise OSError(f"it is damaged, the checksum of {damaged} in it is wrong")
