"""Reading and writing checkpoints: never a pickle with code in it, never half a file."""

import pickle
import zipfile
from pathlib import Path
from typing import Any

import torch

from core.errors import UserError
from core.files import atomic_path


def save_checkpoint(path: Path, content: dict[str, Any]) -> None:
    """Write tensors and plain Python values to `path`, all or nothing."""
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        try:
            torch.save(content, file)
        except RuntimeError as error:  # which hides what the disk said
            if isinstance(cause := error.__context__, OSError):
                raise OSError(cause.errno, cause.strerror, str(path)) from None
            raise


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Read a checkpoint to the CPU, refusing everything but tensors and plain values.

    Raises:
        UserError: No such file, a damaged one, no checkpoint, or a pickle that would run code.
    """
    if not path.is_file():
        raise UserError(f"no checkpoint at {path}")
    try:
        _compare_checksums(path)
        content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        reason = str(error).splitlines()[0]
        raise UserError(
            f"{path} is no checkpoint of tensors and plain values, so it is not loaded (it could run code): "
            f"{reason}. Ask its author for a plain state_dict"
        ) from None
    except Exception as error:  # a damaged or made-up file meets torch's reader in any way
        raise UserError(f"{path} can't be read as a checkpoint: {error or type(error).__name__}") from None
    if not isinstance(content, dict):
        raise UserError(f"{path} should hold a dictionary of tensors, found {type(content).__name__}")
    return content


def _compare_checksums(path: Path) -> None:
    """Look for damage, which torch would load as other weights: its reader compares no checksums."""
    if zipfile.is_zipfile(path):  # else of an old format, which has none
        with zipfile.ZipFile(path) as archive:
            if any(entry.compress_type != zipfile.ZIP_STORED for entry in archive.infolist()):
                raise OSError("it is packed, which torch never does, and may unpack to any size")
            if damaged := archive.testzip():
                raise OSError(f"it is damaged, the checksum of {damaged} in it is wrong")
