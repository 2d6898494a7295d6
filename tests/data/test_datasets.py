import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from torch.utils.data import DataLoader

from core.errors import UserError
from data.datasets import FlowStacks, RgbClips, SingleFrames, TwoStreamClips
from data.epochs import EpochSampler, evaluation_keys, flow_evaluation_keys, flow_keys, frame_keys
from data.index import ClipIndex
from data.transforms import FLOW_MEAN, FLOW_STD, Draw, Preprocessing
from tests.support.trees import LENGTHS, flow_value, jpg_tree, png_tree, save

# The trees' frames are 48x32: nothing is scaled, crops of scale 1 are 32x32 pixels of the files.
PLAIN = Preprocessing(32, 32, (0.0,), (1.0,))
FLOW = Preprocessing(32, 32, FLOW_MEAN, FLOW_STD)
TOP_LEFT, FLIPPED = Draw(0, 1, False), Draw(0, 1, True)
draws = st.integers(0, 39).map(Draw.from_number)


@pytest.fixture(scope="module")
def index(tmp_path_factory):
    return ClipIndex.from_tree(png_tree(tmp_path_factory.mktemp("tree")))


def pixels(path):
    return np.asarray(Image.open(path)).astype(np.float32).transpose(2, 0, 1) / 255


def test_a_clip_holds_its_frames_in_rgb_and_its_label(index):
    for number, clip in enumerate(index.clips):
        item = RgbClips(index, 4, PLAIN)[number, TOP_LEFT]
        assert item["label"] == ["close_jam", "open_jam"].index(clip.action) and item["clip"] == number
        numbers = [1 + k * (LENGTHS[clip.key] - 1) // 4 for k in range(4)]
        expected = [pixels(clip.frames.path(n))[:, :, :32] for n in numbers]
        assert item["frames"].numpy() == pytest.approx(np.stack(expected), abs=1e-6)


def test_every_clip_is_kept_however_short(index):
    clips = RgbClips(index, 7, PLAIN)
    assert len(clips) == len(LENGTHS)
    shortest = clips[index.keys.index("S1/open_jam/2"), None]["frames"]
    assert shortest.shape == (7, 3, 32, 32)
    assert torch.equal(shortest[0], shortest[3]) and not torch.equal(shortest[3], shortest[4])


@given(st.integers(0, 4), draws)
def test_maps_follow_the_frames(index, number, draw):
    item = RgbClips(index, 5, PLAIN, maps=True)[number, draw]
    assert item["maps"].shape == (5, 1, 32, 32) and item["maps"].dtype == torch.uint8
    # Map k is white in column k alone: cropped and flipped, a column at most, where the draw puts it.
    side = int(32 * (1, 0.875, 0.75, 0.65625)[draw.scale])
    left = ((48 - side) // 2, 0, 48 - side, 0, 48 - side)[draw.position]
    for k, shown in enumerate(item["maps"][:, 0]):
        column = 1 + k * (index.clips[number].num_frames - 1) // 5
        column = (47 - column if draw.flip else column) - left
        white = shown.any(dim=0).nonzero().flatten().tolist()
        where = [x for x in range(32) if int((x + 0.5) * side / 32) == column]
        assert white == where and (not where or shown[:, where].all())


def test_a_missing_map_is_its_neighbour(index, tmp_path):
    tree = png_tree(tmp_path, {"S1/a_x/1": 3, "S1/b_x/1": 3})
    (tree / "processed_frames2/S1/a_x/1/mmaps/map0001.png").unlink()
    maps = RgbClips(ClipIndex.from_tree(tree), 3, PLAIN, maps=True)[0, TOP_LEFT]["maps"]
    assert maps[:, 0, 0].argmax(dim=1).tolist() == [2, 2, 2]
    whole = RgbClips(index, 3, PLAIN, maps=True)[0, TOP_LEFT]["maps"]
    assert whole[:, 0, 0].argmax(dim=1).tolist() == [1, 3, 6]


def flow_levels(item):
    [stack] = ((item["flow"] * FLOW_STD[0] + FLOW_MEAN[0]) * 255)[:, :, 0, 0].round().int().tolist()
    return stack


def test_a_flow_stack_alternates_x_and_y_each_from_its_own_folder(index):
    expected = [flow_value(axis, number) for number in (3, 4, 5) for axis in "xy"]
    item = FlowStacks(index, 3, FLOW)[0, TOP_LEFT, (3,)]
    assert item["flow"].shape == (1, 6, 32, 32) and item["flow"].dtype == torch.float32
    assert flow_levels(item) == expected


def test_on_a_flip_x_turns_round_and_y_stays(index):
    expected = [255 - flow_value("x", 2), flow_value("y", 2), 255 - flow_value("x", 3), flow_value("y", 3)]
    assert flow_levels(FlowStacks(index, 2, FLOW)[0, FLIPPED, (2,)]) == expected


def test_a_clip_shorter_than_the_stack_repeats_its_last_flow(index):
    short = index.keys.index("S1/open_jam/2")
    xs = [flow_value("x", number) for number in (1, 2, 3, 3, 3)]
    assert flow_levels(FlowStacks(index, 5, FLOW)[short, None, (1,)])[::2] == xs


def test_several_stacks_of_a_clip(index):
    stacks = FlowStacks(index, 3, FLOW)
    together = stacks[0, FLIPPED, (1, 4, 2)]["flow"]
    for number, start in enumerate((1, 4, 2)):
        assert torch.equal(together[number], stacks[0, FLIPPED, (start,)]["flow"][0])


def test_training_starts_are_random_and_leave_out_the_last_as_the_released_code(index):
    key = flow_keys(index, 5)
    rng = np.random.default_rng(0)
    assert {key(0, rng)[2] for _ in range(200)} == {(1,), (2,), (3,), (4,)}, "9 images: 1 to 9 - 5"


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
    both = TwoStreamClips(RgbClips(grey, 5, plain), FlowStacks(grey, 5, plain))
    item = both[0, draw, (1,)]
    frames, flow = item["frames"][:, 0], item["flow"][0]  # of the images 1 to 5, both
    assert frames.shape == (5, 32, 32) and len(both) == 1 and item["label"] == 0
    assert torch.equal(flow[1::2], frames), "y"
    x = 1 - flow[0::2] if draw is not None and draw.flip else flow[0::2]
    assert (x - frames).abs().max() < 2.5 / 255, "two roundings in scaling go the other way for 255 - v"


@given(st.integers(0, 4), draws)
def test_the_same_key_gives_the_same_bits(index, number, draw):
    clips = RgbClips(index, 3, PLAIN)
    assert torch.equal(clips[number, draw]["frames"], clips[number, draw]["frames"])


def test_rgb_and_flow_share_the_draw(index):
    for seed in range(3):
        rgb = EpochSampler(len(index), seed)
        flow = EpochSampler(len(index), seed, flow_keys(index, 5))
        assert [key[:2] for key in flow] == list(rgb)
        assert len({key[2] for key in flow}) > 1


def test_single_frames(index):
    item = SingleFrames(index, PLAIN)[0, TOP_LEFT, 5]
    assert item["frames"].shape == (1, 3, 32, 32)
    expected = pixels(index.clips[0].frames.path(5))[:, :, :32]
    assert item["frames"][0].numpy() == pytest.approx(expected, abs=1e-6)


def test_frame_keys_reach_every_frame_and_no_other(index):
    key = frame_keys(index)
    rng = np.random.default_rng(0)
    assert {key(2, rng)[2] for _ in range(100)} == {1, 2, 3}


def test_worker_processes_change_nothing(index):
    def frames(workers):
        sampler = EpochSampler(len(index), 3)
        sampler.set_epoch(5)
        loader = DataLoader(RgbClips(index, 3, PLAIN), batch_size=2, sampler=sampler, num_workers=workers)
        batches = list(loader)
        return torch.cat([b["frames"] for b in batches]), torch.cat([b["clip"] for b in batches]).tolist()

    here, order = frames(0)
    there, order_there = frames(2)
    assert torch.equal(here, there) and order == order_there and sorted(order) == [0, 1, 2, 3, 4]


def test_evaluation_takes_every_clip_once_in_order(index):
    loader = DataLoader(RgbClips(index, 3, PLAIN), batch_size=2, sampler=evaluation_keys(len(index)))
    assert torch.cat([batch["clip"] for batch in loader]).tolist() == [0, 1, 2, 3, 4]
    assert flow_evaluation_keys(index, 5)[:2] == [(0, None, (2,)), (1, None, (2,))]
    assert flow_evaluation_keys(index, 5, 5)[:2] == [(0, None, (1, 1, 2, 3, 4)), (1, None, (1, 1, 2, 2, 3))]


def test_a_jpg_tree_and_the_png_tree_of_its_pixels_give_the_same_bits(tmp_path):
    jpg = ClipIndex.from_tree(jpg_tree(tmp_path / "jpg"))
    for clip in jpg.clips:
        for number, path in enumerate(clip.frames.paths, start=1):
            decoded = Image.open(path).convert("RGB")
            save(tmp_path / "png/processed_frames2" / clip.key / "rgb" / f"rgb{number:04}.png", decoded)
    png = ClipIndex.from_tree(tmp_path / "png")
    assert png.keys == jpg.keys and png.labels == jpg.labels
    for number in range(len(jpg)):
        a, b = (RgbClips(index, 7, PLAIN)[number, Draw.from_number(number)] for index in (jpg, png))
        assert torch.equal(a["frames"], b["frames"])


def test_what_is_not_there_is_refused_at_once(tmp_path):
    index = ClipIndex.from_tree(png_tree(tmp_path, maps=False, flow=False))
    with pytest.raises(UserError, match=r"S1/close_jam/1 has no maps; .*data\.motion"):
        RgbClips(index, 7, PLAIN, maps=True)
    with pytest.raises(UserError, match="S1/close_jam/1 has no flow_x and no flow_y"):
        FlowStacks(index, 5, FLOW)


def test_a_file_that_vanishes_or_breaks_during_training_is_named(tmp_path):
    index = ClipIndex.from_tree(png_tree(tmp_path, flow=False))
    index.clips[0].frames.path(1).unlink()
    index.clips[1].frames.path(1).write_bytes(b"no image")
    clips = RgbClips(index, 7, PLAIN)
    with pytest.raises(UserError, match=r"S1/close_jam/1/rgb/rgb0001\.png is missing"):
        clips[0, None]
    with pytest.raises(UserError, match=r"S1/open_jam/1/rgb/rgb0001\.png can't be decoded"):
        clips[1, None]
