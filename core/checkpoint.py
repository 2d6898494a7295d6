"""Reads and writes checkpoints: never a pickle with code in it, never half a file."""

import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from core.errors import UserError, reason
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
        with warnings.catch_warnings(action="ignore"):  # of other formats, before they are refused
            content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # damaged and forged files make torch's reader fail in many ways
        if (kind := _kind_of_file(path)) is not None:
            raise UserError(f"{path} is no checkpoint but {kind}") from None
        why = reason(error).splitlines()[0]
        if "weights_only" in str(error).lower():  # torch's advice is to trust the file: none of it
            why = _NOT_PLAIN
        raise UserError(f"{path} can't be read as a checkpoint: {why}") from None
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


_NOT_PLAIN = (
    "it does not hold only tensors and plain values, so it is not loaded (it could run code). Ask its author "
    "for a plain state_dict"
)
# How files begin that are often saved under a checkpoint's name, and what they are.
_BEGINNINGS = {
    b"<": "a web page (or another text in tags); download the file itself",
    b"version https://git-lfs": "a pointer of Git LFS in its place; `git lfs pull` fetches the file itself",
    b"{": "a text in JSON",
    b"\x1f\x8b": "a gzip archive",
    b"\x89PNG": "a picture",
    b"\xff\xd8\xff": "a picture",
    b"\x89HDF": "an HDF5 file, such as Keras writes",
    b"%PDF": "a PDF file",
}


def _kind_of_file(path: Path) -> str | None:
    """Tell what a file is that is no checkpoint, by how it begins; None where that says nothing."""
    with path.open("rb") as file:
        start = file.read(512)
    if start.startswith(b"PK"):  # as torch's checkpoints do
        return _kind_of_archive(path)
    if start[257:262] == b"ustar":
        return "a tar archive; unpack it first"
    if start[8:10] == b'{"':
        return "a safetensors file; save its tensors with torch.save"
    if not start.strip(b"\0"):
        return "a file of zeros, of which the content is missing" if start else "an empty file"
    start = start.lstrip(b"\xef\xbb\xbf \t\r\n")
    for beginning, kind in _BEGINNINGS.items():
        if start.startswith(beginning):
            return kind
    text = start.decode("ascii", errors="replace")
    if text.translate(dict.fromkeys(b"\r\n\t")).isprintable() and "\ufffd" not in text:
        return f"a text that begins with {text[:40]!r}" if text else "an empty file"
    return None


def _kind_of_archive(path: Path) -> str | None:
    try:
        if not zipfile.is_zipfile(path):
            return "a part of one, its end is missing; download or copy it again"
        names = zipfile.ZipFile(path).namelist()
    except Exception:  # a damaged end, or list of names, may be wrong in any way
        return None
    files = {name.rpartition("/")[2] for name in names}
    if "constants.pkl" in files:
        return "a TorchScript program; ask its author for a plain state_dict"
    return None if "data.pkl" in files else f"a zip archive with {', '.join(names[:3]) or 'nothing'} in it"


def weights_in(content: Mapping[str, Any]) -> tuple[dict[str, Any], str]:
    """Find the weights in a checkpoint of whatever origin.

    Takes off what training scripts put around a state_dict: the key it is saved under, and the "module." that
    data-parallel training puts before every name.

    Returns:
        The weights by name, and how they were found, in words for a note; "" where nothing was around them.
    """
    found, words = {str(key): value for key, value in content.items()}, list[str]()
    while inner := [key for key in _WRAPPERS if isinstance(found.get(key), Mapping)]:
        found = {str(key): value for key, value in found[inner[0]].items()}
        words.append(f"under {inner[0]!r}")
    for prefix in _PREFIXES:
        if found and all(key.startswith(prefix) for key in found):
            found = {key.removeprefix(prefix): value for key, value in found.items()}
            words.append(f"without {prefix!r} before every name")
    return found, ", ".join(words)


_WRAPPERS = ("model", "state_dict", "model_state_dict", "net")
_PREFIXES = ("module.", "_orig_mod.", "module.")  # a compiled model may have been wrapped, or the other way
