"""Held pixels are those of the files, under every draw; what has no room is read as it is needed."""

import re
import shutil

import numpy as np
import pytest
import torch

from core.errors import UserError
from core.memory import Room, Want
from core.ranks import Ranks
from data.ahead import Buffers
from data.epochs import ClipKey, EpochSampler
from data.held_pictures import HeldPictures
from data.index import ClipIndex
from data.parts import ClipInput, Flow, Frames, Maps, SingleFrames
from data.pictures import PictureIndex, Pictures, picture_key
from data.resident import HeldImages, Resident
from data.transforms import Draw, Preprocessing, crop, crop_together, orient
from tests.support.trees import png_tree, save, texture
from training.batches import KeyBatches, ResidentClips, load, load_clips

CPU = torch.device("cpu")
RGB, FLOW = Preprocessing(32, 37, (0.4, 0.5, 0.6), (0.2, 0.3, 0.4)), Preprocessing.flow(32)
EVERYTHING = ClipInput(Frames(3, RGB), Maps(3, RGB), Flow(2, 4, FLOW))
RGB_ALONE = ClipInput(Frames(3, RGB))
EVERY_INPUT = {
    "frames": RGB_ALONE,
    "single frames": ClipInput(SingleFrames(3, RGB)),
    "frames, maps and flow": EVERYTHING,
    "flow that is not scaled": ClipInput(Flow(2, 4, Preprocessing(32, 32, (0.449,), (0.226,)))),
}
SIZES = {"S1": (48, 32), "S2": (60, 45), "S3": (45, 60)}


@pytest.fixture(scope="module")
def index(tmp_path_factory):
    """Clips of three sizes, of noise, whose scaling could go wrong in any pixel; one is shorter than T."""
    root, rng = tmp_path_factory.mktemp("tree"), np.random.default_rng(0)
    for user, size in SIZES.items():
        png_tree(root, {f"{user}/open_jam/1": 6, f"{user}/close_jam/1": 2 if user == "S2" else 5}, size=size)
    for path in sorted(root.rglob("*.png")):
        size = SIZES[next(user for user in SIZES if user in path.parts)][::-1]
        if path.name.startswith("rgb"):
            save(path, rng.integers(0, 256, (*size, 3)))
        elif path.name.startswith("flow"):
            save(path, rng.integers(0, 256, size))
    (root / "processed_frames2/S1/open_jam/1/mmaps/map0001.png").unlink()
    return ClipIndex.from_tree(root)


def resident(limit="auto", **settings):
    return ResidentClips(Resident(limit, CPU, **settings))


def equal(ours, theirs):
    ours, theirs = list(ours), list(theirs)
    assert len(ours) == len(theirs) > 0
    for one, other in zip(ours, theirs, strict=True):
        assert one.keys() == other.keys()
        for name, tensor in other.items():
            assert one[name].dtype == tensor.dtype and one[name].is_contiguous()
            assert torch.equal(one[name], tensor), name


@pytest.mark.parametrize("threads", [0, 2])
@pytest.mark.parametrize("name", EVERY_INPUT)
def test_batches_have_the_bits_of_those_that_are_read(index, name, threads):
    inputs, clips = EVERY_INPUT[name], resident()
    sampler = EpochSampler(inputs.training_items(index), 3, inputs.training_key(index))
    trained = KeyBatches(sampler, 4)
    measured = [KeyBatches(keys(index), 5) for keys in (inputs.validation_keys, inputs.test_keys)]
    held = [clips(inputs, threads, index, keys) for keys in (trained, *measured)]
    for epoch in range(3):
        sampler.set_epoch(epoch)
        equal(held[0], load_clips(inputs, 0, index, trained))
    for keys, batches in zip(measured, held[1:], strict=True):
        assert len(batches) == 2 and len(list(batches)[-1]["clip"]) == 1
        equal(batches, load_clips(inputs, 0, index, keys))


def test_every_draw_has_the_bits_of_reading(index):
    held, every = resident(), [None, *map(Draw.from_number, range(40))]
    test = EVERYTHING.test_keys(index)
    keys = KeyBatches([test[n % 6]._replace(draw=draw) for n, draw in enumerate(every)], 7)
    equal(held(EVERYTHING, 0, index, keys), load_clips(EVERYTHING, 0, index, keys))


def test_files_are_read_once(index, tmp_path):
    tree = ClipIndex.from_tree(png_tree(tmp_path / "tree"))
    sampler = EpochSampler(len(tree), 0, EVERYTHING.training_key(tree))
    batches = resident()(EVERYTHING, 0, tree, KeyBatches(sampler, 4))
    before = list(batches)
    shutil.rmtree(tmp_path / "tree")
    equal(batches, before)


def test_a_batch_keeps_its_memory_until_nothing_refers_to_it():
    buffers = Buffers()
    first = buffers.take((2, 3), torch.float32)
    part, where = first[1], first.data_ptr()
    first = buffers.take((2, 3), torch.float32)
    assert first.data_ptr() != where
    del part
    assert buffers.take((2, 3), torch.float32).data_ptr() == where
    assert buffers.take((2, 3), torch.uint8).dtype == torch.uint8


# No room


@pytest.mark.parametrize("threads", [0, 1])
def test_without_room_images_are_read_as_they_are_needed(index, capsys, threads):
    sampler = EpochSampler(len(index), 1, EVERYTHING.training_key(index))
    keys = KeyBatches(sampler, 4)
    equal(resident(1e-5)(EVERYTHING, threads, index, keys), load_clips(EVERYTHING, 0, index, keys))
    [line] = capsys.readouterr().out.splitlines()
    assert re.fullmatch(
        r"resident: 0\.\d MiB of frames and maps and flow are read as they are needed; "
        r"of RAM there is 0\.0 MiB for it",
        line,
    )


def test_what_was_chosen_is_said_by_the_first_rank(index, capsys):
    keys = EVERY_INPUT["frames"].test_keys(index)
    for rank in (0, 1):
        clips = resident(1, ranks=Ranks(rank, 2))
        batches = KeyBatches(Ranks(rank, 2).part(keys), 2)
        equal(clips(EVERY_INPUT["frames"], 0, index, batches), load_clips(RGB_ALONE, 0, index, batches))
    [line] = capsys.readouterr().out.splitlines()
    size = 3 * 3 * (37 * 55 + 37 * 49 + 49 * 37) / 2**20
    assert line == f"resident: {size:.1f} MiB of frames in RAM"


def test_memory_that_can_not_be_had_is_no_error(capsys, monkeypatch):
    monkeypatch.setattr("core.memory.free_on", lambda device: 2**62)
    assert Room("auto", CPU).take("frames", [Want((2**56,))]) is None
    assert "of frames are read as they are needed; of RAM that much can't be had" in capsys.readouterr().out


class AnyFrames(Frames):
    """Picks as a part may that says nothing of what it picks from."""

    def pick_for_training(self, clip, rng):
        return tuple((1 + rng.permutation(clip.num_frames)[:2]).tolist())


@pytest.mark.parametrize("part", [*EVERYTHING.parts, SingleFrames(3, RGB), AnyFrames(3, RGB)])
def test_everything_that_training_picks_is_among_what_it_may_read(index, part):
    rng = np.random.default_rng(0)
    for clip in index.clips:
        held = set(part.may_train_on(clip))
        assert all(held >= set(part.numbers(clip, part.pick_for_training(clip, rng))) for _ in range(20))


def test_a_short_training_decodes_no_more_than_it_reads(index, capsys):
    inputs = EVERY_INPUT["single frames"]
    for epochs, held in ((1, False), (2, True)):
        sampler = EpochSampler(inputs.training_items(index), 1, inputs.training_key(index))
        keys = KeyBatches(sampler, 4)
        equal(resident(epochs=epochs)(inputs, 0, index, keys), load_clips(inputs, 0, index, keys))
        line = capsys.readouterr().out
        assert line.endswith("in RAM\n") if held else "1 epochs read 18 images, and the clips have 30" in line


# Trees that change


def test_a_file_that_breaks_before_it_is_read_is_named(tmp_path):
    tree = ClipIndex.from_tree(png_tree(tmp_path))
    broken = tree.clips[0].frames.path(RGB_ALONE.test_keys(tree)[0].picks["frames"][2])
    broken.write_bytes(b"no image")
    sampler = EpochSampler(len(tree), 0, EVERYTHING.training_key(tree))
    batches = resident()(EVERYTHING, 0, tree, KeyBatches(sampler, 4))
    with pytest.raises(UserError, match=f"{broken.name}: the image can't be decoded"):
        next(iter(batches))


def test_images_that_get_another_size_are_noticed(tmp_path):
    tree = ClipIndex.from_tree(png_tree(tmp_path))
    save(tree.clips[2].flow_x.path(1), np.zeros((50, 70)))  # its header is read, and other images then
    keys = KeyBatches([ClipKey(2, None, {"flow": (2,)})], 1)
    with pytest.raises(UserError, match=f"flow of {tree.keys[2]} changed while they were read.*--resume"):
        next(iter(resident()(EVERY_INPUT["flow that is not scaled"], 0, tree, keys)))


def test_lacking_images_are_refused_at_once(tmp_path):
    tree = ClipIndex.from_tree(png_tree(tmp_path, maps=False))
    with pytest.raises(UserError, match="has no maps"):
        resident()(EVERYTHING, 0, tree, KeyBatches([], 4))


# Pictures


@pytest.mark.parametrize("threads", [0, 2])
def test_held_pictures_have_the_bits_of_those_that_are_read(tmp_path, threads, capsys):
    for number in range(7):
        name = f"{'cup' if number < 4 else 'jam'}/{number}.{'jpg' if number == 2 else 'png'}"
        save(tmp_path / name, texture("picture", number, (50 + number, 70 - 3 * number)))
    pictures = Pictures(PictureIndex.from_folder(tmp_path), RGB)
    sampler = EpochSampler(7, 5, picture_key)
    keys = KeyBatches([*sampler, (3, None), (6, None)], 4)
    expected = list(load(pictures, keys, 0))
    refused = HeldPictures(pictures, Room(1e-6, CPU))
    assert not refused.holds() and not refused.holds(), "it is said once"
    held = HeldPictures(pictures, Room("auto", CPU))
    assert held.holds()
    shutil.rmtree(tmp_path / "cup")
    equal(held.batches(keys, threads), expected)
    first, second = capsys.readouterr().out.splitlines()
    assert "pictures are read as they are needed; of RAM" in first and second.endswith("of pictures in RAM")


# As a GPU makes them


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("size", [(455, 256), (256, 300)])
def test_the_float_kernel_differs_by_a_grey_level_at_most(size, layout):
    """The crops of GTEA61's frames, of 256, 224, 192 and 168 pixels, to 224."""
    pixels, rng = Preprocessing.rgb(224), np.random.default_rng(1)
    images = torch.from_numpy(np.stack([texture("frame", number, size) for number in range(4)]))
    images[2:] = torch.from_numpy(rng.integers(0, 256, (2, *size[::-1], 3), np.uint8))
    images = images.permute(0, 3, 1, 2).contiguous(memory_format=layout)
    draws = [None, *(Draw.from_number(number) for number in (0, 3, 14, 21, 26, 39))]
    orders = [((2, 0), (0, 255)), ((0, 1), (0, 0))]
    which, orientations = [[number % 4, 3] for number in range(7)], [orders[n % 2] for n in range(7)]
    together = crop_together(images, which, pixels, draws, orientations)
    assert together.shape == (7, 2, 2, 224, 224) and together.is_contiguous()
    for number, draw in enumerate(draws):
        alone = crop(orient(images[which[number]], orientations[number]), pixels, draw)
        apart = (together[number].int() - alone.int()).abs()
        assert apart.max() <= (0 if draw is None or draw.scale == 1 else 1)


@pytest.mark.parametrize("name", EVERY_INPUT)
def test_a_batch_made_at_once_is_the_batch_made_clip_by_clip(index, name):
    """Within a grey level; maps, which are not rounded, have the same bits."""
    inputs = EVERY_INPUT[name]
    key, rng = inputs.training_key(index), np.random.default_rng(2)
    keys = [key(number, rng) for number in (4, 0, 3, 1, 0, 2, 5)]
    [expected] = load_clips(inputs, 0, index, KeyBatches(keys, 8))
    for part in inputs.parts:
        held = HeldImages(part, index)
        for number, clip in enumerate(index.clips):
            held.want(number, part.may_train_on(clip))
            images = part.load(clip, part.may_train_on(clip))
            assert images.shape[1:] == held.shape(number)
            held.add_block([number], images)
        at_once = held.shown(keys, held.look(keys, CPU))
        theirs = expected[part.name]
        assert at_once.shape == theirs.shape and at_once.dtype == theirs.dtype and at_once.is_contiguous()
        level = 0 if part.name == "maps" else 1 / 255 / min(part.pixels.std)
        assert (at_once.float() - theirs.float()).abs().max() <= level * 1.001
