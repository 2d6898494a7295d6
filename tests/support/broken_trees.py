"""Trees broken at random, and what a reader may make of them: the truth, or a message naming the place."""

import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
import pytest
from PIL import Image

from core.errors import UserError
from data.check import CheckConfig
from data.check.command import main
from data.clips import KINDS
from data.images import read_grey, read_rgb
from data.index import ClipIndex
from tests.support.capabilities import as_anybody

Rng = np.random.Generator
Option = TypeVar("Option")
ODD_NAMES = [
    "with space", "comma,name", "ünïcödé-日本", "x" * 250, "-dash", "new\nline", "100%", "a'b\"c", "..b",
]  # fmt: skip
STRAY_FILES = [".DS_Store", "Thumbs.db", "notes.txt", "rgb0001.jpg", "desktop.ini", *ODD_NAMES]


@dataclass
class Pristine:
    """A sound tree and what every image of it decodes to."""

    root: Path
    pixels: dict[str, np.ndarray]

    @classmethod
    def of(cls, root: Path) -> "Pristine":
        pixels = {}
        for clip in ClipIndex.from_tree(root).clips:
            for kind in KINDS:
                series = clip.series(kind)
                assert series is not None, "a pristine tree has all kinds of images"
                for path in series.paths:
                    pixels[str(path.relative_to(root))] = decode(path, kind)
        return cls(root, pixels)


def pick(options: Sequence[Option], rng: Rng) -> Option:
    return options[int(rng.integers(len(options)))]


def decode(path: Path, kind: str) -> np.ndarray:
    return (read_rgb if kind == "frames" else read_grey)(path).numpy()


def files(root: Path) -> list[Path]:
    return sorted(path for path in root.rglob("*.png") if path.is_file())


def folders(root: Path) -> list[Path]:
    return sorted(path for path in root.rglob("*") if path.is_dir())


def truncate(root: Path, rng: Rng) -> Path:
    path = pick(files(root), rng)
    os.truncate(path, int(rng.integers(path.stat().st_size)))
    return path


def empty(root: Path, rng: Rng) -> Path:
    path = pick(files(root), rng)
    path.write_bytes(b"")
    return path


def zero_bytes(root: Path, rng: Rng) -> Path:
    path = pick(files(root), rng)
    content = bytearray(path.read_bytes())
    start = int(rng.integers(len(content)))
    length = int(rng.integers(1, 200))
    content[start : start + length] = bytes(len(content[start : start + length]))
    path.write_bytes(content)
    return path


def flip_bytes(root: Path, rng: Rng) -> Path:
    path = pick(files(root), rng)
    content = bytearray(path.read_bytes())
    for position in rng.integers(len(content), size=int(rng.integers(1, 6))):
        content[position] ^= int(rng.integers(1, 256))
    path.write_bytes(content)
    return path


def other_size(root: Path, rng: Rng) -> Path:
    path = pick(files(root), rng)
    with Image.open(path) as image:
        image.resize((int(rng.integers(1, 99)), int(rng.integers(1, 99)))).save(path)
    return path


def other_mode(root: Path, rng: Rng) -> Path:
    path = pick(files(root), rng)
    mode = pick(["1", "L", "P", "RGB", "RGBA", "LA", "I;16", "CMYK", "F"], rng)
    with Image.open(path) as image:
        image.convert(mode).save(path, format="TIFF" if mode in ("CMYK", "F") else "PNG")
    return path


def rename(root: Path, rng: Rng) -> Path:
    path = pick(files(root) + folders(root), rng)
    target = path.with_name(pick(ODD_NAMES, rng) + (path.suffix if rng.random() < 0.5 else ""))
    path.rename(target)
    return path


def renumber(root: Path, rng: Rng) -> Path:
    path = pick(files(root), rng)
    stem = path.stem.rstrip("0123456789")
    number = pick(["0000", "0", "12", "99999", "000003", "-1", "3.5", "1e3", "00000"], rng)
    target = path.with_name(f"{stem}{number}{path.suffix}")
    if not target.exists():
        path.rename(target)
    return path


def delete(root: Path, rng: Rng) -> Path:
    path = pick(files(root), rng)
    path.unlink()
    return path


def delete_folder(root: Path, rng: Rng) -> Path:
    path = pick(folders(root), rng)
    shutil.rmtree(path)
    return path


def duplicate(root: Path, rng: Rng) -> Path:
    path = pick(files(root) + folders(root), rng)
    name = path.stem + pick(["(1)", " (2)", " - Copy", " copy", " copy 2"], rng) + path.suffix
    (shutil.copytree if path.is_dir() else shutil.copy)(path, path.with_name(name))
    return path


def stray(root: Path, rng: Rng) -> Path:
    folder = pick([root, *folders(root)], rng)
    path = folder / pick(STRAY_FILES, rng)
    if not path.exists():
        path.write_bytes(b"stray")
    return path


def stray_folder(root: Path, rng: Rng) -> Path:
    path = pick([root, *folders(root)], rng) / pick(["__MACOSX", "7", "rgb", *ODD_NAMES], rng)
    path.mkdir(exist_ok=True)
    return path


def loop(root: Path, rng: Rng) -> Path:
    folder = pick(folders(root), rng)
    path = folder / "9"
    path.symlink_to(folder if rng.random() < 0.5 else root, target_is_directory=True)
    return path


def dangling(root: Path, rng: Rng) -> Path:
    path = pick(files(root), rng)
    path.unlink()
    path.symlink_to(path if rng.random() < 0.5 else root / "nowhere")
    return path


def folder_for_file(root: Path, rng: Rng) -> Path:
    path = pick(files(root), rng)
    path.unlink()
    path.mkdir()
    return path


def file_for_folder(root: Path, rng: Rng) -> Path:
    path = pick(folders(root), rng)
    shutil.rmtree(path)
    path.write_bytes(b"no folder")
    return path


def pipe(root: Path, rng: Rng) -> Path:
    path = pick(files(root), rng)
    path.unlink()
    os.mkfifo(path)
    return path


def swap(root: Path, rng: Rng) -> Path:
    """Frames of two clips change places: sound files, which nobody can tell from a sound tree."""
    found = files(root)
    one, other = (found[int(number)] for number in rng.choice(len(found), 2, replace=False))
    between = one.with_name("between")
    one.rename(between)
    other.rename(one)
    between.rename(other)
    return one


def long_path(root: Path, rng: Rng) -> Path:
    """A name has 255 bytes at most, so 300 characters and more take folders in each other."""
    path = pick(folders(root), rng)
    deep = path / ("y" * 200) / ("z" * 200)
    deep.mkdir(parents=True, exist_ok=True)
    (deep / "rgb0001.png").write_bytes(b"stray")
    return path / ("y" * 200)


def no_permission(root: Path, rng: Rng) -> Path:
    path = pick(files(root) + folders(root), rng)
    path.chmod(0)
    return path


BREAKS: list[Callable[[Path, Rng], Path]] = [
    truncate, empty, zero_bytes, flip_bytes, other_size, other_mode, rename, renumber, delete, delete_folder,
    duplicate, stray, stray_folder, loop, dangling, folder_for_file, file_for_folder, pipe, long_path,
    no_permission,
]  # fmt: skip


def break_and_read(pristine: Pristine, root: Path, seed: int, capsys: pytest.CaptureFixture[str]) -> str:
    """Break a copy of a tree in one to three ways, read it, and judge what was said.

    Returns:
        How it was broken.
    """
    rng = np.random.default_rng(seed)
    shutil.copytree(pristine.root, root)
    done = []
    for _ in range(int(rng.integers(1, 4))):
        how = BREAKS[int(rng.integers(len(BREAKS)))]
        if len(files(root)) < 2:
            continue
        try:
            done.append((how, how(root, rng)))
        except OSError:  # the break itself was not possible, such as two of one name
            continue
    story = f"seed {seed}: " + ", ".join(f"{how.__name__} {path.relative_to(root)}" for how, path in done)
    try:
        with as_anybody():
            status = main(CheckConfig(root=root, jobs=1))
    except UserError as error:
        assert "\n" not in str(error).replace("new\nline", ""), story
        return story
    said = capsys.readouterr().out
    if status == 1:
        assert any(_names(said, path, root) for _, path in done), f"{story}: the place is not named\n{said}"
        return story
    rewritten = {str(path.relative_to(root)) for how, path in done if how in (other_mode, other_size)}
    with as_anybody():
        _assert_truth(pristine, root, rewritten, "note:" in said, story)
    return story


def _names(said: str, path: Path, root: Path) -> bool:
    """Whether a message names the path, a folder above it inside the tree, or the clip it belongs to."""
    parts = path.relative_to(root).parts
    clip = "/".join(parts[1:4])
    return clip in said if len(parts) > 3 else str(path.relative_to(root)) in said or clip in said


def _assert_truth(pristine: Pristine, root: Path, rewritten: set[str], noted: bool, story: str) -> None:
    """What a tree without faults gives is what its files held before, under the labels of their folders.

    Files that another program wrote anew are sound and hold what they hold.
    """
    index = ClipIndex.from_tree(root)
    read = set()
    for clip in index.clips:
        assert index.class_names[clip.label] == clip.action, story
        assert clip.frames.folder.parts[-3] == clip.action and clip.frames.folder.parts[-4] == clip.user, (
            story
        )
        for kind in KINDS:
            series = clip.series(kind)
            for path in series.paths if series is not None else ():
                name = str(path.relative_to(root))
                read.add(name)
                if name in pristine.pixels.keys() - rewritten:
                    same = np.array_equal(decode(path, kind), pristine.pixels[name])
                    assert same, f"{story}: {name} decodes to other pixels, and nobody said so"
    assert noted or read >= pristine.pixels.keys(), f"{story}: files were left out, and nobody said so"
