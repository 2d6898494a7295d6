"""What each network is shown of a clip, how it is read, and how checkpoints store it."""

import json

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from torch.utils.data import DataLoader

from core.errors import UserError
from data.epochs import ClipKey, EpochSampler
from data.index import ClipIndex
from data.parts import ClipInput, Flow, Frames, Maps, SingleFrames, Views, read_input
from data.sampling import sample_frames
from data.transforms import FLOW_MEAN, FLOW_STD, Draw, Preprocessing
from tests.support.trees import LENGTHS, flow_value, jpg_tree, png_tree, save

# The trees' frames are 48x32: nothing is scaled, crops of scale 1 are 32x32 pixels of the files.
PLAIN = Preprocessing(32, 32, (0.0,), (1.0,))
FLOW = Preprocessing(32, 32, FLOW_MEAN, FLOW_STD)
TOP_LEFT, FLIPPED = Draw(0, 1, False), Draw(0, 1, True)
draws = st.integers(0, 39).map(Draw.from_number)

RGB_ALONE = ClipInput(Frames(3, Preprocessing.rgb(32)))
FLOW_ALONE = ClipInput(Flow(2, 4, Preprocessing.flow(32)))
BOTH = ClipInput(*RGB_ALONE.parts, *FLOW_ALONE.parts)
VIEWS = ClipInput(Views(6, Preprocessing.rgb(32), frame_interval=2, num_clips=2))
EVERY_INPUT = {"rgb": RGB_ALONE, "flow": FLOW_ALONE, "rgb+flow": BOTH, "views": VIEWS}


@pytest.fixture(scope="module")
def index(tmp_path_factory):
    return ClipIndex.from_tree(png_tree(tmp_path_factory.mktemp("tree")))


def read(index, part, number=0, draw=None, **picks):
    """A clip's tensor of one part: the picks of the test, unless others are named."""
    inputs = ClipInput(part)
    picked = picks or inputs.test_keys(index)[number].picks
    return inputs.dataset(index)[ClipKey(number, draw, picked)][part.name]


def pixels(path):
    return np.asarray(Image.open(path)).astype(np.float32).transpose(2, 0, 1) / 255


# Views


def test_views_are_drawn_in_training_and_follow_each_other_in_the_test(index):
    views, clip = VIEWS.parts[0], max(index.clips, key=lambda clip: clip.num_frames)
    n = clip.num_frames
    assert views.pick(clip) == tuple(sample_frames(n, 3, 2, 2).flatten())
    assert views.pick(clip, "validation") == tuple(sample_frames(n, 3, 2, 1)[0])
    drawn = {views.pick_for_training(clip, np.random.default_rng(seed)) for seed in range(20)}
    assert len(drawn) > 1 and {len(picks) for picks in drawn} == {3}
    assert {number for picks in drawn for number in picks} <= set(views.may_train_on(clip))
    assert read(index, views).shape == (6, 3, 32, 32) and views.shape == (3, 3, 32, 32)
    assert VIEWS.test_protocol() == "mean logits of 2 views of 3 frames, 2 apart, centre crop"


# Frames


def test_a_clip_holds_its_frames_in_rgb_and_its_label(index):
    inputs = ClipInput(Frames(4, PLAIN))
    for clip, key in zip(index.clips, inputs.test_keys(index), strict=True):
        item = inputs.dataset(index)[key._replace(draw=TOP_LEFT)]
        assert item["label"] == ["close_jam", "open_jam"].index(clip.action)
        assert item["clip"] == key.clip == index.clips.index(clip)
        numbers = [1 + k * (LENGTHS[clip.key] - 1) // 4 for k in range(4)]
        expected = [pixels(clip.frames.path(n))[:, :, :32] for n in numbers]
        assert item["frames"].numpy() == pytest.approx(np.stack(expected), abs=1e-6)


def test_every_clip_is_kept_however_short(index):
    frames = Frames(7, PLAIN)
    assert len(ClipInput(frames).dataset(index)) == len(LENGTHS)
    shortest = read(index, frames, index.keys.index("S1/open_jam/2"))
    assert shortest.shape == (7, 3, 32, 32)
    assert torch.equal(shortest[0], shortest[3]) and not torch.equal(shortest[3], shortest[4])


@given(st.integers(0, 4), draws)
def test_the_same_key_gives_the_same_bits(index, number, draw):
    assert torch.equal(*(read(index, Frames(3, PLAIN), number, draw) for _ in range(2)))


def test_a_jpg_tree_and_the_png_tree_of_its_pixels_give_the_same_bits(tmp_path):
    jpg = ClipIndex.from_tree(jpg_tree(tmp_path / "jpg"))
    for clip in jpg.clips:
        for number, path in enumerate(clip.frames.paths, start=1):
            decoded = Image.open(path).convert("RGB")
            save(tmp_path / "png/processed_frames2" / clip.key / "rgb" / f"rgb{number:04}.png", decoded)
    png = ClipIndex.from_tree(tmp_path / "png")
    assert png.keys == jpg.keys and png.labels == jpg.labels
    for number in range(len(jpg)):
        draw = Draw.from_number(number)
        assert torch.equal(*(read(tree, Frames(7, PLAIN), number, draw) for tree in (jpg, png)))


def test_single_frames_are_random_in_training_and_spread_in_the_test(index):
    part = SingleFrames(4, PLAIN)
    frame = read(index, part, 0, TOP_LEFT, frames=(5,))
    assert frame.shape == (1, 3, 32, 32)
    assert frame[0].numpy() == pytest.approx(pixels(index.clips[0].frames.path(5))[:, :, :32], abs=1e-6)
    inputs, rng = ClipInput(part), np.random.default_rng(0)
    key = inputs.training_key(index)
    assert {key(2, rng).picks["frames"] for _ in range(100)} == {(1,), (2,), (3,)}, "a clip of 3 frames"
    assert inputs.training_items(index) == 4 * len(index), "as many of each clip as the test sees"
    assert [key(item, rng).clip for item in range(11)] == [0, 1, 2, 3, 4] * 2 + [0]
    assert inputs.test_keys(index) == ClipInput(Frames(4, PLAIN)).test_keys(index)


# The first part of a clip


@pytest.mark.parametrize("share, lasts", [(0.25, (3, 2, 1, 2, 2)), (0.5, (5, 4, 2, 4, 4))])
def test_the_first_part_alone_is_opened(tmp_path, share, lasts):
    """Every file after it is broken once the tree is indexed: who opened one would stop."""
    index = ClipIndex.from_tree(png_tree(tmp_path))
    frames = Frames(4, PLAIN, observed=share)
    shown = [ClipInput(frames, Maps.of(frames)), ClipInput(SingleFrames(4, PLAIN, observed=share))]
    data = [inputs.dataset(index) for inputs in shown]
    for clip, last in zip(index.clips, lasts, strict=True):
        assert clip.maps is not None
        for number in range(last + 1, clip.num_frames + 1):
            clip.frames.path(number).write_bytes(b"broken")
            clip.maps.path(number).write_bytes(b"broken")
    for inputs, clips in zip(shown, data, strict=True):
        training, rng = inputs.training_key(index), np.random.default_rng(0)
        keys = [training(item, rng) for item in range(10 * len(index))]
        for key in [*inputs.test_keys(index), *inputs.validation_keys(index), *keys]:
            item = clips[key]
            assert max(key.picks["frames"]) <= lasts[key.clip]
            if "maps" in item:
                numbers = [1 + k * (lasts[key.clip] - 1) // 4 for k in range(4)]
                assert list(key.picks["frames"]) == list(key.picks["maps"]) == numbers


def test_the_first_part_is_named_and_kept():
    frames = Frames(8, Preprocessing.rgb(32), observed=0.125)
    inputs = ClipInput(frames)
    assert inputs.test_protocol() == "8 frames of the first 12.5 % of a clip, centre crop"
    assert inputs.validation_protocol() == inputs.test_protocol()
    again = read_input(json.loads(json.dumps(inputs.to_dict())))
    assert again == inputs and again.part(Frames).observed == 0.125
    joint = read_input(json.loads(json.dumps(ClipInput(frames, *FLOW_ALONE.parts).to_dict())))
    assert joint.part(Frames) == frames
    whole = ClipInput(Frames(8, Preprocessing.rgb(32)))
    assert whole.to_dict() == {k: v for k, v in inputs.to_dict().items() if k != "observed"}


# Motion maps


@given(st.integers(0, 4), draws)
def test_maps_follow_the_frames(index, number, draw):
    maps = read(index, Maps(5, PLAIN), number, draw)
    assert maps.shape == (5, 1, 32, 32) and maps.dtype == torch.uint8
    # Map k is white in column k alone: cropped and flipped, a column at most, where the draw puts it.
    side = int(32 * (1, 0.875, 0.75, 0.65625)[draw.scale])
    left = ((48 - side) // 2, 0, 48 - side, 0, 48 - side)[draw.position]
    for k, shown in enumerate(maps[:, 0]):
        column = 1 + k * (index.clips[number].num_frames - 1) // 5
        column = (47 - column if draw.flip else column) - left
        white = shown.any(dim=0).nonzero().flatten().tolist()
        where = [x for x in range(32) if int((x + 0.5) * side / 32) == column]
        assert white == where and (not where or shown[:, where].all())


def test_a_missing_map_is_its_neighbour(index, tmp_path):
    tree = png_tree(tmp_path, {"S1/a_x/1": 3, "S1/b_x/1": 3})
    (tree / "processed_frames2/S1/a_x/1/mmaps/map0001.png").unlink()
    maps = read(ClipIndex.from_tree(tree), Maps(3, PLAIN), 0, TOP_LEFT)
    assert maps[:, 0, 0].argmax(dim=1).tolist() == [2, 2, 2]
    whole = read(index, Maps(3, PLAIN), 0, TOP_LEFT)
    assert whole[:, 0, 0].argmax(dim=1).tolist() == [1, 3, 6]


def test_maps_that_are_scaled_keep_their_two_values(tmp_path):
    tree = png_tree(tmp_path, {"S1/a_x/1": 3, "S1/b_x/1": 3}, size=(60, 45))
    maps = read(ClipIndex.from_tree(tree), Maps(3, Preprocessing.rgb(32)), 0, TOP_LEFT)
    assert maps.unique().tolist() == [0, 255], "the nearest pixel, no mean of several"


def test_maps_are_learned_and_never_shown(index):
    inputs = RGB_ALONE.plus(Maps(3, Preprocessing.rgb(32)))
    assert inputs.kinds == ("frames", "maps") and inputs.names == ("frames",)
    assert inputs.to_dict() == RGB_ALONE.to_dict()
    assert inputs.test_protocol() == RGB_ALONE.test_protocol()
    item = inputs.dataset(index)[inputs.test_keys(index)[1]]
    assert item["maps"].shape == (3, 1, 32, 32) and item["frames"].shape == (3, 3, 32, 32)


# Flow


def flow_levels(stacks):
    [stack] = ((stacks * FLOW_STD[0] + FLOW_MEAN[0]) * 255)[:, :, 0, 0].round().int().tolist()
    return stack


def test_a_flow_stack_alternates_x_and_y_each_from_its_own_folder(index):
    expected = [flow_value(axis, number) for number in (3, 4, 5) for axis in "xy"]
    stacks = read(index, Flow(3, 1, FLOW), 0, TOP_LEFT, flow=(3,))
    assert stacks.shape == (1, 6, 32, 32) and stacks.dtype == torch.float32
    assert flow_levels(stacks) == expected


def test_on_a_flip_x_turns_round_and_y_stays(index):
    expected = [255 - flow_value("x", 2), flow_value("y", 2), 255 - flow_value("x", 3), flow_value("y", 3)]
    assert flow_levels(read(index, Flow(2, 1, FLOW), 0, FLIPPED, flow=(2,))) == expected


def test_a_clip_shorter_than_the_stack_repeats_its_last_flow(index):
    short = index.keys.index("S1/open_jam/2")
    xs = [flow_value("x", number) for number in (1, 2, 3, 3, 3)]
    assert flow_levels(read(index, Flow(5, 1, FLOW), short, flow=(1,)))[::2] == xs


def test_several_stacks_of_a_clip(index):
    together = read(index, Flow(3, 3, FLOW), 0, FLIPPED, flow=(1, 4, 2))
    for number, start in enumerate((1, 4, 2)):
        assert torch.equal(together[number], read(index, Flow(3, 3, FLOW), 0, FLIPPED, flow=(start,))[0])


def test_flow_looked_at_near_the_end_is_the_clips_last_whole_stack(index):
    part, clip = Flow(5, 1, FLOW), index.clips[0]
    looked = part.look(torch.empty(0), clip, (2, 9))
    assert torch.equal(looked, read(index, part, 0, flow=(2, 5))), (
        "9 images: a stack begins at 5 at the latest"
    )


def test_training_starts_are_random_and_leave_out_the_last_as_the_released_code(index):
    key, rng = ClipInput(Flow(5, 5, FLOW)).training_key(index), np.random.default_rng(0)
    starts = {key(0, rng).picks["flow"] for _ in range(200)}
    assert starts == {(1,), (2,), (3,), (4,)}, "9 images: 1 to 9 - 5"


def test_flow_is_validated_at_the_centre_stack_and_reported_over_several(index):
    assert FLOW_ALONE.validation_keys(index)[0].picks == {"flow": (4,)}, "9 images: ceil((9 - 2) / 2)"
    spread = FLOW_ALONE.test_keys(index)[0].picks["flow"]
    assert spread == (1, 2, 4, 6), "floor(linspace(1, 8, 4, endpoint=False))"
    assert BOTH.test_keys(index)[0].picks["flow"] == (4,)
    assert FLOW_ALONE.test_protocol() == "mean logits of 4 stacks of 2 flow images, centre crop"
    assert FLOW_ALONE.validation_protocol() == "the centre stack of 2 flow images, centre crop"
    assert BOTH.test_protocol() == "3 frames and the centre stack of 2 flow images, centre crop"


# Parts together


@pytest.fixture(scope="module")
def grey(tmp_path_factory):
    """A clip whose frames, flow_x and flow_y are the same grey noise, so that each shows what was cropped."""
    root = tmp_path_factory.mktemp("grey")
    for number in range(1, 7):
        noise = np.random.default_rng(number).integers(0, 256, (40, 60), np.uint8)
        image = np.repeat(noise[:, :, None], 3, axis=2)
        save(root / f"processed_frames2/S1/a_x/1/rgb/rgb{number:04}.png", image)
        for axis in "xy":
            save(root / f"flow_{axis}_processed/S1/a_x/1/flow_{axis}_{number:05}.png", image)
    return ClipIndex.from_tree(root)


@given(st.one_of(st.none(), draws))
def test_both_streams_are_cropped_and_flipped_alike(grey, draw):
    plain = Preprocessing(32, 40, (0.0,), (1.0,))
    clips = ClipInput(Frames(5, plain), Flow(5, 1, plain)).dataset(grey)
    item = clips[ClipKey(0, draw, {"frames": (1, 2, 3, 4, 5), "flow": (1,)})]
    frames, flow = item["frames"][:, 0], item["flow"][0]  # of the images 1 to 5, both
    assert frames.shape == (5, 32, 32) and len(clips) == 1 and item["label"] == 0
    assert torch.equal(flow[1::2], frames), "y"
    x = 1 - flow[0::2] if draw is not None and draw.flip else flow[0::2]
    assert (x - frames).abs().max() < 2.5 / 255, "two roundings in scaling go the other way for 255 - v"


@pytest.mark.parametrize("name", EVERY_INPUT)
def test_items_hold_what_the_network_takes(index, name):
    expected = {
        "rgb": {"frames": (3, 3, 32, 32)},
        "flow": {"flow": (4, 4, 32, 32)},
        "rgb+flow": {"frames": (3, 3, 32, 32), "flow": (1, 4, 32, 32)},
        "views": {"frames": (6, 3, 32, 32)},
    }[name]
    inputs = EVERY_INPUT[name]
    keys = inputs.test_keys(index)
    item = inputs.dataset(index)[keys[1]]
    assert inputs.names == tuple(expected)
    assert {name: item[name].shape for name in inputs.names} == expected
    for measured in (keys, inputs.validation_keys(index)):
        assert [key.clip for key in measured] == [0, 1, 2, 3, 4]
        assert {key.draw for key in measured} == {None}


def test_parts_of_an_input_read_its_keys(index):
    key = BOTH.training_key(index)(1, np.random.default_rng(5))
    whole = BOTH.dataset(index)[key]
    for part, smaller in (("flow", BOTH.without(Frames)), ("frames", BOTH.without(Flow))):
        item = smaller.dataset(index)[key]
        assert torch.equal(item[part], whole[part]) and item.keys() == {part, "label", "clip"}
    assert BOTH.part(Maps) is None and BOTH.part(Flow) is BOTH.parts[1]
    assert BOTH.plus(Flow(7, 4, Preprocessing.flow(32))).part(Flow).stack == 7
    assert len(BOTH.plus(Flow(7, 4, Preprocessing.flow(32))).parts) == 2, "it takes the other one's place"


def test_streams_share_the_draw_of_an_epoch(index):
    for seed in range(3):
        epochs = [EpochSampler(len(index), seed, inputs.training_key(index)) for inputs in (RGB_ALONE, BOTH)]
        rgb, both = map(list, epochs)
        assert [key[:2] for key in rgb] == [key[:2] for key in both]
        assert len({key.picks["flow"] for key in both}) > 1


def test_worker_processes_change_nothing(index):
    def frames(workers):
        sampler = EpochSampler(len(index), 3, RGB_ALONE.training_key(index))
        sampler.set_epoch(5)
        data = RGB_ALONE.dataset(index)
        batches = list(DataLoader(data, batch_size=2, sampler=sampler, num_workers=workers))
        return torch.cat([b["frames"] for b in batches]), torch.cat([b["clip"] for b in batches]).tolist()

    here, order = frames(0)
    there, order_there = frames(2)
    assert torch.equal(here, there) and order == order_there and sorted(order) == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("name", EVERY_INPUT)
def test_frames_read_elsewhere_are_seen_as_in_the_test(index, name):
    inputs, clip = EVERY_INPUT[name], index.clips[1]
    numbers = inputs.shown_numbers(clip).tolist()
    frames = torch.stack([torch.from_numpy(np.array(Image.open(clip.frames.path(n)))) for n in numbers])
    looked = inputs.look(frames.permute(0, 3, 1, 2), clip, numbers)
    tested = inputs.dataset(index)[inputs.test_keys(index)[1]]
    assert looked.keys() == set(inputs.names)
    assert all(torch.equal(tensor[0], tested[name]) for name, tensor in looked.items())


# Checkpoints


@pytest.mark.parametrize("name", EVERY_INPUT)
def test_a_checkpoint_keeps_it(name):
    inputs = EVERY_INPUT[name]
    again = read_input(json.loads(json.dumps(inputs.to_dict())))
    assert again == inputs and again.parts == inputs.parts
    assert again.test_protocol() == inputs.test_protocol()


def test_the_dictionary_of_a_checkpoint_keeps_its_format():
    rgb = {"image_size": 32, "short_side": 37, "mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}
    flow = {"image_size": 32, "short_side": 37, "mean": [0.449], "std": [0.226]}
    assert BOTH.to_dict() == {
        "input": "rgb+flow",
        "rgb": {"input": "rgb", "frames": 3, "pixels": rgb},
        "flow": {"input": "flow", "stack": 2, "test_stacks": 4, "pixels": flow},
    }


def test_a_checkpoint_of_a_later_version():
    with pytest.raises(UserError, match="'audio'"):
        read_input({"input": "audio"})


# Mistakes


def test_streams_of_different_sizes_are_not_joined():
    with pytest.raises(UserError, match=r"32 pixels .* 64.*--image-size"):
        RGB_ALONE.plus(Flow(2, 4, Preprocessing.flow(64)))


def test_what_is_not_there_is_refused_at_once(tmp_path):
    index = ClipIndex.from_tree(png_tree(tmp_path, maps=False, flow=False))
    with pytest.raises(UserError, match=r"S1/close_jam/1 has no maps; .*data\.motion.* --maps"):
        RGB_ALONE.plus(Maps(3, Preprocessing.rgb(32))).dataset(index)
    with pytest.raises(UserError, match="S1/close_jam/1 has no flow_x and no flow_y"):
        FLOW_ALONE.dataset(index)


def test_a_file_that_vanishes_or_breaks_during_training_is_named(tmp_path):
    index = ClipIndex.from_tree(png_tree(tmp_path, flow=False))
    index.clips[0].frames.path(1).unlink()
    index.clips[1].frames.path(1).write_bytes(b"no image")
    with pytest.raises(UserError, match=r"S1/close_jam/1/rgb/rgb0001\.png: the file is missing"):
        read(index, Frames(7, PLAIN), 0)
    with pytest.raises(UserError, match=r"S1/open_jam/1/rgb/rgb0001\.png: the image can't be decoded"):
        read(index, Frames(7, PLAIN), 1)
