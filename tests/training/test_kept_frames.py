"""Kept frames are the frames, until their files change; trouble with them costs time only."""

import os

import numpy as np
import pytest
import torch
from PIL import Image

from core.errors import UserError
from data.images import FrameReader
from data.index import ClipIndex
from data.parts import ClipInput, Frames
from data.transforms import RGB_MEAN, RGB_STD, Draw, Preprocessing
from tests.support.trees import png_tree
from training.cache.frames import KeptFrames, with_kept_frames
from training.cache.store import CacheFolder

SCALED = Preprocessing(32, 36, RGB_MEAN, RGB_STD)
NUMBERS = [1, 2, 2, 5]


@pytest.fixture
def clip(tmp_path):
    """A clip of six frames of noise, whose scaling could go wrong in any pixel."""
    index = ClipIndex.from_tree(png_tree(tmp_path / "tree"))
    clip = max(index.clips, key=lambda clip: clip.num_frames)
    rng = np.random.default_rng(0)
    for path in clip.frames.paths:
        Image.fromarray(rng.integers(0, 256, (50, 90, 3), np.uint8)).save(path)
    return clip


def kept(tmp_path, **bound) -> KeptFrames:
    return KeptFrames(CacheFolder(tmp_path / "cache", **bound))


def test_the_same_pixels_whoever_reads(clip, tmp_path, monkeypatch):
    plain = FrameReader().read(clip.frames, NUMBERS, 36)
    assert plain.shape == (4, 3, 36, 64)
    assert torch.equal(kept(tmp_path).read(clip.frames, NUMBERS, 36), plain)
    monkeypatch.setattr("data.images.read_frames", None)  # nothing is decoded any more
    assert torch.equal(kept(tmp_path).read(clip.frames, NUMBERS, 36), plain)


def test_every_draw_of_a_clip_is_the_same_with_and_without(clip, tmp_path):
    index = ClipIndex.from_tree(tmp_path / "tree")
    number = index.keys.index(clip.key)
    plain = ClipInput(Frames(4, SCALED))
    stored = with_kept_frames(plain, CacheFolder(tmp_path / "cache"))
    assert stored == plain and stored.part(Frames).reader != plain.part(Frames).reader
    key = plain.test_keys(index)[number]
    for draw in [None, *map(Draw.from_number, range(40))]:
        one, other = (inputs.dataset(index)[key._replace(draw=draw)] for inputs in (plain, stored))
        assert torch.equal(one["frames"], other["frames"])
    assert len(list((tmp_path / "cache").iterdir())) == 1


def test_a_changed_frame_is_read_again(clip, tmp_path):
    old = kept(tmp_path).read(clip.frames, NUMBERS, 36)
    Image.new("RGB", (90, 50), "red").save(clip.frames.path(5))
    new = kept(tmp_path).read(clip.frames, NUMBERS, 36)
    assert torch.equal(old[:3], new[:3]) and not torch.equal(old[3], new[3])
    assert not torch.equal(kept(tmp_path).read(clip.frames, [1, 2, 3, 4], 36), new)


def test_a_missing_frame_is_named_although_it_was_kept(clip, tmp_path):
    kept(tmp_path).read(clip.frames, NUMBERS, 36)
    clip.frames.path(2).unlink()
    with pytest.raises(UserError, match="is missing"):
        kept(tmp_path).read(clip.frames, NUMBERS, 36)


@pytest.mark.parametrize("damage", ["flipped bit", "cut short", "empty"])
def test_damage_is_noticed_and_mended(clip, tmp_path, damage):
    good = kept(tmp_path).read(clip.frames, NUMBERS, 36)
    [file] = (tmp_path / "cache").iterdir()
    whole = file.read_bytes()
    if damage == "flipped bit":
        file.write_bytes(whole[:-50] + bytes([whole[-50] ^ 1]) + whole[-49:])
    else:
        os.truncate(file, 1000 if damage == "cut short" else 0)
    assert torch.equal(kept(tmp_path).read(clip.frames, NUMBERS, 36), good)
    assert file.read_bytes() == whole


def test_no_room_and_no_folder(clip, tmp_path, capsys):
    plain = FrameReader().read(clip.frames, NUMBERS, 36)
    assert torch.equal(kept(tmp_path, limit_gib=1e-9).read(clip.frames, NUMBERS, 36), plain)
    assert not (tmp_path / "cache").exists() and "--cache-gib" in capsys.readouterr().out
    (tmp_path / "cache").write_text("")
    assert torch.equal(kept(tmp_path).read(clip.frames, NUMBERS, 36), plain)
    assert "can't be written" in capsys.readouterr().out
