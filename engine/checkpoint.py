"""Reading and writing checkpoints: never a pickle with code in it, never half a file."""

import pickle
from pathlib import Path
from typing import Any

import torch

from engine.errors import UserError
from engine.files import atomic_path


def save_checkpoint(path: Path, content: dict[str, Any]) -> None:
    """Write tensors and plain Python values to `path`, all or nothing."""
    with atomic_path(path) as temporary:
        torch.save(content, temporary)


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Read a checkpoint to the CPU, refusing everything but tensors and plain values.

    Raises:
        UserError: No such file, no checkpoint, or a pickle that would run code.
    """
    if not path.is_file():
        raise UserError(f"no checkpoint at {path}")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        reason = str(error).splitlines()[0]
        raise UserError(
            f"{path} is no checkpoint of tensors and plain values, so it is not loaded (it could run code): "
            f"{reason}. Ask its author for a plain state_dict"
        ) from None
    except (OSError, RuntimeError, EOFError, ValueError, KeyError) as error:
        raise UserError(f"{path} can't be read as a checkpoint: {error}") from None
    if not isinstance(content, dict):
        raise UserError(f"{path} should hold a dictionary of tensors, found {type(content).__name__}")
    return content
