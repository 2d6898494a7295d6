import json

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from torchvision.transforms import v2
from torchvision.transforms.v2 import InterpolationMode

from core.errors import UserError
from data.transforms import (
    FLOW_MEAN,
    FLOW_STD,
    RGB_MEAN,
    RGB_STD,
    Draw,
    Preprocessing,
    crop,
    place_crop,
    scale_short_side,
    short_side_of,
    transform_flow,
    transform_frames,
    transform_maps,
)
from tests.support.trees import texture

SMALL = Preprocessing(56, 64, (0.0,), (1.0,))
draws = st.builds(Draw, st.integers(0, 3), st.integers(0, 4), st.booleans())
draws_or_centre = st.one_of(st.none(), draws)


def clip_of(size, frames=2):
    return torch.from_numpy(np.stack([texture("clip", n, size) for n in range(frames)])).permute(0, 3, 1, 2)


def test_there_are_forty_draws_and_all_are_drawn():
    numbered = [Draw.from_number(number) for number in range(40)]
    assert [draw.number for draw in numbered] == list(range(40))
    assert len(set(numbered)) == 40
    rng = np.random.default_rng(0)
    drawn = np.bincount([Draw.random(rng).number for _ in range(8000)], minlength=40)
    # 39 degrees of freedom: 72.1 is passed once in a thousand.
    assert ((drawn - 200) ** 2 / 200).sum() < 72.1


@pytest.mark.parametrize("numbers", [(4, 0), (-1, 0), (0, 5), (0, -1)])
def test_a_draw_outside_the_tables_is_refused(numbers):
    with pytest.raises(ValueError):
        Draw(*numbers, False)


def published_box(width, height, scale, position):
    """The multi-scale corner crop, after its description: side, then one of four corners or the centre."""
    side = int(min(width, height) * scale)
    x, y = {
        "centre": (width // 2 - side // 2, height // 2 - side // 2),
        "tl": (0, 0),
        "tr": (width - side, 0),
        "bl": (0, height - side),
        "br": (width - side, height - side),
    }[position]
    return x, y, side


@pytest.mark.parametrize("width,height", [(455, 256), (341, 256), (256, 256), (256, 455)])
def test_training_boxes_are_the_published_ones(width, height):
    for scale_number, scale in enumerate((1, 0.875, 0.75, 0.65625)):
        for position_number, position in enumerate(("centre", "tl", "tr", "bl", "br")):
            box = place_crop(width, height, 224, Draw(scale_number, position_number, False))
            assert (box.left, box.top, box.side) == published_box(width, height, scale, position)


@given(st.integers(64, 300), st.integers(64, 300), draws_or_centre)
def test_boxes_lie_inside(width, height, draw):
    box = place_crop(width, height, 56, draw)
    assert box.left >= 0 and box.top >= 0 and box.side > 0
    assert box.left + box.side <= width and box.top + box.side <= height


@pytest.mark.parametrize("size,expected", [(224, 256), (112, 128), (56, 64), (64, 73), (32, 37)])
def test_short_side_is_eight_sevenths(size, expected):
    assert short_side_of(size) == expected == Preprocessing.rgb(size).short_side


@pytest.mark.parametrize("size", [(114, 64), (64, 64), (64, 114)])
@pytest.mark.parametrize("interpolation", [InterpolationMode.BILINEAR, InterpolationMode.NEAREST_EXACT])
def test_a_fitting_short_side_is_left_alone_bit_for_bit(size, interpolation):
    clip = clip_of(size)
    assert scale_short_side(clip, 64, interpolation) is clip


@pytest.mark.parametrize("size", [(455, 256), (228, 128), (100, 180), (60, 40)])
def test_scaling_is_pil_bilinear(size):
    image = texture("scaling", 1, size)
    ours = scale_short_side(torch.from_numpy(image).permute(2, 0, 1)[None], 64, InterpolationMode.BILINEAR)
    width, height = size
    expected = (64 * width // height, 64) if width > height else (64, 64 * height // width)
    pil = np.asarray(Image.fromarray(image).resize(expected, Image.Resampling.BILINEAR))
    assert np.abs(ours[0].permute(1, 2, 0).numpy().astype(int) - pil).max() <= 1


def test_the_test_crop_is_torchvisions_centre_crop():
    clip = clip_of((455, 256))
    assert torch.equal(crop(clip, Preprocessing.rgb(), None), v2.CenterCrop(224)(clip))


def test_a_crop_without_scaling_is_pixels_of_the_flipped_image():
    # Scale .875 of short side 64 is 56, the image size.
    clip = clip_of((114, 64))
    for flip in (False, True):
        source = clip.numpy()[..., ::-1] if flip else clip.numpy()
        top_right = crop(clip, SMALL, Draw(1, 2, flip)).numpy()
        assert np.array_equal(top_right, source[:, :, :56, -56:])
        bottom_left = crop(clip, SMALL, Draw(1, 3, flip)).numpy()
        assert np.array_equal(bottom_left, source[:, :, -56:, :56])


@given(draws_or_centre, st.sampled_from([(114, 64), (90, 50), (64, 150)]))
def test_all_frames_of_a_clip_are_cropped_alike_and_again_alike(draw, size):
    frame = clip_of(size, 1)
    clip = crop(frame.expand(3, -1, -1, -1), SMALL, draw)
    assert clip.shape == (3, 3, 56, 56) and clip.dtype == torch.uint8
    assert torch.equal(clip[0], clip[1]) and torch.equal(clip[0], clip[2])
    assert torch.equal(clip[:1], crop(frame, SMALL, draw))


@given(draws)
def test_a_flip_mirrors_the_mirrored_image(draw):
    clip = clip_of((114, 64), 1)
    other = Draw(draw.scale, draw.position, not draw.flip)
    assert torch.equal(crop(clip, SMALL, draw), crop(clip.flip(-1), SMALL, other))


@given(st.lists(draws_or_centre, min_size=1, max_size=4), st.sampled_from([(114, 64), (90, 50), (228, 128)]))
def test_a_batch_is_its_clips_bit_for_bit(drawn, size):
    clips = torch.stack([clip_of(size, 2).roll(number, dims=-1) for number in range(len(drawn))])
    rgb, flow = Preprocessing.rgb(56), Preprocessing.flow(56)
    together = {
        "frames": transform_frames(clips, rgb, drawn),
        "flow": transform_flow(clips[:, :, :1], clips[:, :, 1:2], flow, drawn),
        "maps": transform_maps(clips[:, :, :1], rgb, drawn),
    }
    for number, draw in enumerate(drawn):
        clip = clips[number]
        assert torch.equal(together["frames"][number], transform_frames(clip, rgb, draw))
        assert torch.equal(together["flow"][number], transform_flow(clip[:, :1], clip[:, 1:2], flow, draw))
        assert torch.equal(together["maps"][number], transform_maps(clip[:, :1], rgb, draw))


def test_a_batch_takes_a_draw_for_each_clip():
    with pytest.raises(ValueError):
        transform_frames(torch.zeros(2, 1, 3, 64, 64, dtype=torch.uint8), SMALL, [None])


def test_frames_are_normalised_by_channel():
    levels = torch.tensor([0, 128, 255], dtype=torch.uint8).view(1, 3, 1, 1).expand(2, 3, 64, 64)
    frames = transform_frames(levels, Preprocessing.rgb(56), None)
    assert frames.shape == (2, 3, 56, 56) and frames.dtype == torch.float32
    for channel, level in enumerate((0.0, 128 / 255, 1.0)):
        expected = (level - RGB_MEAN[channel]) / RGB_STD[channel]
        assert frames[:, channel].numpy() == pytest.approx(expected, abs=1e-6)


def test_flow_channels_alternate_and_a_flip_turns_x_round():
    x = torch.tensor([10, 20, 30], dtype=torch.uint8).view(3, 1, 1, 1).expand(3, 1, 64, 114)
    y = x + 100
    plain = transform_flow(x, y, Preprocessing.flow(56), Draw(1, 0, False))
    flipped = transform_flow(x, y, Preprocessing.flow(56), Draw(1, 0, True))
    assert plain.shape == (6, 56, 56)
    levels = {
        "plain": (plain, [10, 110, 20, 120, 30, 130]),
        "flipped": (flipped, [245, 110, 235, 120, 225, 130]),
    }
    for flow, expected in levels.values():
        shown = (flow[:, 0, 0] * FLOW_STD[0] + FLOW_MEAN[0]) * 255
        assert shown.numpy() == pytest.approx(expected, abs=1e-3)


def test_flow_moves_its_pixels_as_frames_do():
    clip = clip_of((114, 64))
    draw = Draw(2, 4, False)
    as_flow = transform_flow(clip[:, :1], clip[:, 1:2], Preprocessing.flow(56), draw)
    as_frames = transform_frames(clip, Preprocessing(56, 64, FLOW_MEAN, FLOW_STD), draw)
    assert torch.equal(as_flow, as_frames[:, :2].flatten(0, 1))


@given(draws_or_centre, st.sampled_from([(114, 64), (90, 50), (228, 128)]))
def test_maps_keep_their_two_values_and_follow_the_frames(draw, size):
    # A half-white image: its edge must lie where it lies in the frames, within a pixel of their blurred edge.
    halves = torch.zeros(1, 1, size[1], size[0], dtype=torch.uint8)
    halves[..., : size[0] // 2] = 255
    maps = transform_maps(halves, SMALL, draw)
    assert maps.dtype == torch.uint8 and set(maps.unique().tolist()) <= {0, 255}
    frames = transform_frames(halves.expand(1, 3, -1, -1), SMALL, draw)
    assert abs(maps.float().mean() / 255 - frames.mean()) <= 1 / 56
    where = (maps[0, 0] > 0) != (frames[0, 0] > 0.5)
    assert where.float().mean() <= 1 / 56


@given(draws_or_centre)
def test_maps_are_cropped_exactly_as_frames_when_nothing_is_scaled(draw):
    if draw is not None and draw.scale != 1:
        draw = Draw(1, draw.position, draw.flip)
    clip = clip_of((114, 64), 1)
    assert torch.equal(transform_maps(clip[:, :1], SMALL, draw), crop(clip, SMALL, draw)[:, :1])


@pytest.mark.parametrize("preprocessing", [Preprocessing.rgb(112), Preprocessing.flow()])
def test_preprocessing_survives_a_text_file(preprocessing):
    assert Preprocessing.from_dict(json.loads(json.dumps(preprocessing.to_dict()))) == preprocessing


def test_impossible_sizes_are_refused():
    with pytest.raises(UserError, match="--image-size"):
        Preprocessing.rgb(31)
    with pytest.raises(UserError, match="short side"):
        Preprocessing(224, 200, RGB_MEAN, RGB_STD)
