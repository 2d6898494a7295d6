import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from torchvision.transforms import v2

from core.errors import UserError
from data.epochs import EpochSampler, evaluation_keys
from data.pictures import PictureDraw, PictureIndex, Pictures, picture_key
from data.split import stratified_split
from data.transforms import Preprocessing
from tests.support.trees import save, texture

PLAIN = Preprocessing(32, 37, (0.0,), (1.0,))
picture_draws = st.integers(0, 2**31).map(lambda seed: PictureDraw.random(np.random.default_rng(seed)))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("pictures")
    for name, count in (("jam", 3), ("cup", 11)):
        for number in range(count):
            suffix = ".jpg" if number == 2 else ".png"
            save(root / name / f"{number}{suffix}", texture(name, number, (50 + number, 40)))
    (root / ".cache").mkdir()
    (root / "empty").mkdir()
    (root / "jam/notes.txt").write_text("x")
    (root / "jam/.hidden.png").write_bytes(b"x")
    return root


def test_class_folders_are_listed_in_natural_order(folder):
    index = PictureIndex.from_folder(folder)
    assert index.class_names == ("cup", "jam") and index.labels == (0,) * 11 + (1,) * 3
    assert index.keys[:3] == ("cup/0.png", "cup/1.png", "cup/2.jpg") and index.keys[10] == "cup/10.png"
    index.verify()
    assert index.subset([13, 0]).labels == (1, 0)


def test_training_and_validation_share_no_picture(folder):
    index = PictureIndex.from_folder(folder)
    train, val = (index.subset(numbers) for numbers in stratified_split(index.labels, 0.3, 0))
    assert not set(train.paths) & set(val.paths) and len(train) + len(val) == len(index)
    assert set(val.labels) == set(train.labels) == {0, 1}


def test_validation_is_torchvisions_resize_and_centre_crop(folder):
    index = PictureIndex.from_folder(folder)
    item = Pictures(index, PLAIN)[4, None]
    image = torch.from_numpy(np.asarray(Image.open(index.paths[4])).copy()).permute(2, 0, 1)
    expected = v2.Compose([v2.Resize(37), v2.CenterCrop(32)])(image)
    assert torch.equal((item["frames"][0] * 255).round().to(torch.uint8), expected)
    assert item["label"] == 0 and item["clip"] == 4


@given(picture_draws, st.integers(1, 400), st.integers(1, 400))
def test_crops_lie_inside_with_the_area_and_ratio_drawn(draw, width, height):
    top, left, down, across = draw.box(width, height)
    assert 0 <= top <= height - down and 0 <= left <= width - across and down >= 1 and across >= 1
    if 1 < across < width and 1 < down < height:
        assert abs(across * down - draw.area * width * height) <= across + down
        assert (across - 0.5) / (down + 0.5) <= draw.ratio <= (across + 0.5) / (down - 0.5)


def test_draws_cover_their_ranges():
    draws = [PictureDraw.random(np.random.default_rng(seed)) for seed in range(2000)]
    areas, ratios = [d.area for d in draws], np.log([d.ratio for d in draws])
    assert 0.08 <= min(areas) < 0.1 and 0.98 < max(areas) <= 1
    assert abs(np.mean(areas) - 0.54) < 0.02 and abs(ratios.mean()) < 0.01
    assert np.abs(ratios).max() <= np.log(4 / 3) + 1e-9
    assert 0.45 < np.mean([d.flip for d in draws]) < 0.55


def test_a_training_crop_is_those_pixels_flipped(folder):
    pictures = Pictures(PictureIndex.from_folder(folder), PLAIN)
    image = np.asarray(Image.open(pictures.index.paths[0]))
    # 32x32 of a 50x40 picture: nothing is scaled.
    draw = PictureDraw(32 * 32 / (50 * 40), 1.0, 0.5, 1.0, True)
    shown = (pictures[0, draw]["frames"][0] * 255).round().to(torch.uint8).permute(1, 2, 0).numpy()
    assert np.array_equal(shown, image[8:40, 9:41][:, ::-1])


def test_an_epoch_of_pictures_is_repeatable(folder):
    pictures = Pictures(PictureIndex.from_folder(folder), PLAIN)
    sampler = EpochSampler(len(pictures), 0, picture_key)
    first, second = list(sampler), list(sampler)
    assert first == second and sorted(number for number, _ in first) == list(range(14))
    sampler.set_epoch(1)
    assert {draw for _, draw in first}.isdisjoint(draw for _, draw in sampler)
    assert pictures[evaluation_keys(14)[0]]["frames"].shape == (1, 3, 32, 32)


def test_bad_folders_are_named(tmp_path, folder):
    with pytest.raises(UserError, match="no such folder: .*missing"):
        PictureIndex.from_folder(tmp_path / "missing")
    with pytest.raises(UserError, match="0 class folders"):
        PictureIndex.from_folder(tmp_path)
    save(tmp_path / "a/1.png", texture("a", 1))
    with pytest.raises(UserError, match="1 class folders"):
        PictureIndex.from_folder(tmp_path)
    save(tmp_path / "b/1.png", texture("b", 1))
    (tmp_path / "b/2.png").touch()
    with pytest.raises(UserError, match=r"b/2\.png: empty file, 0 bytes"):
        PictureIndex.from_folder(tmp_path).verify()
