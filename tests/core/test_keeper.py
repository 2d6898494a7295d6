"""What a training hands over outlives it unchanged, and takes no more room than it may."""

import os
import socket
import threading

import pytest
import torch

from core import keeper
from core.keeper import Client, Keeper, SharedMemory
from core.memory import Room, Want, free_on
from tests.support.processes import wait_until

CPU, BESIDE_A_GPU = torch.device("cpu"), torch.device("meta")


@pytest.fixture
def trainings():
    """A keeper in another thread; each call connects one more training."""
    kept, open_sockets = Keeper(), []

    def connect() -> Client:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        open_sockets.append(ours)

        def answer() -> None:
            while kept.answer(theirs):
                pass

        threading.Thread(target=answer, daemon=True).start()
        return Client(ours)

    connect.kept = kept
    yield connect
    for ours in open_sockets:
        ours.shutdown(socket.SHUT_RDWR)
        ours.close()
    kept.close()


def hand_over(client, key, size, value=7):
    assert client.make_room(size, 10**6)
    memory = SharedMemory.new(size)
    memory.pixels.fill_(value)
    client.keep(key, memory)


def end(client):
    """As the kernel does when a training is killed; its keeper has then noticed."""
    client._connection.shutdown(socket.SHUT_RDWR)


def test_facts(trainings):
    first, second = trainings(), trainings()
    assert not first.knows("sound")
    first.remember("sound")
    assert second.knows("sound") and not second.knows("sounder")


def test_pixels_outlive_who_decoded_them_and_no_other_changes_them(trainings):
    first, second, third = trainings(), trainings(), trainings()
    assert second.find("frames") is None
    hand_over(first, "frames", 5000)
    end(first)
    found = second.find("frames")
    assert found.dtype == torch.uint8 and torch.equal(found, torch.full((5000,), 7, dtype=torch.uint8))
    found.zero_()
    assert torch.equal(third.find("frames"), torch.full((5000,), 7, dtype=torch.uint8))
    assert third.held() == 5000


def test_a_training_that_is_killed_after_it_has_asked_harms_nobody(trainings):
    hand_over(trainings(), "frames", 10)
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    keeper.send(ours, {"find": "frames"})
    ours.close()
    assert not trainings.kept.answer(theirs)
    theirs.close()
    assert trainings().find("frames") is not None


def test_what_is_complete_can_not_be_written_through_its_handle(trainings):
    memory = SharedMemory.new(100)
    handle = os.dup(memory.handle)
    trainings().keep("frames", memory)
    with pytest.raises(OSError):
        os.pwrite(handle, b"x", 0)
    with pytest.raises(OSError):
        os.ftruncate(handle, 1)
    os.close(handle)


def test_the_first_of_two_that_decode_the_same_is_kept(trainings):
    first, second = trainings(), trainings()
    hand_over(first, "frames", 10, value=1)
    hand_over(second, "frames", 10, value=2)
    assert trainings().find("frames")[0] == 1 and first.held() == 10


def test_what_was_not_used_for_longest_makes_room(trainings):
    first = trainings()
    for name in ("frames", "flow", "maps"):
        hand_over(first, name, 100)
    assert not first.make_room(1, 300), "a running training uses all of it"
    assert trainings().make_room(0, 300)
    end(first)
    later = trainings()
    wait_until(lambda: later.make_room(100, 300), seconds=10)
    assert later.find("frames") is None and later.find("flow") is not None and later.held() == 200
    assert not later.make_room(250, 300) and later.find("maps") is None, "what is in use stays"


def test_what_is_being_filled_counts_until_its_training_ends(trainings):
    first, second = trainings(), trainings()
    assert first.make_room(200, 300) and not second.make_room(200, 300) and second.make_room(100, 300)
    end(first)
    wait_until(lambda: second.make_room(200, 300), seconds=10)


def test_trainings_on_one_gpu_have_equal_parts(trainings, monkeypatch):
    monkeypatch.setattr("torch.cuda.mem_get_info", lambda device: (800, 1000))
    monkeypatch.setattr("torch.cuda.memory_reserved", lambda device: 150)
    monkeypatch.setattr("torch.cuda.memory_allocated", lambda device: 50)
    gpu = torch.device("cuda")
    assert free_on(gpu) == 900
    for sharing in (1, 3):
        client = trainings()
        client.sharing = sharing
        monkeypatch.setattr(keeper, "ours", client)
        assert free_on(gpu) == 900 // sharing


# Room


@pytest.fixture
def training(trainings, monkeypatch):
    """Make this process a training of the keeper, again and again; half of 1000 free bytes may be taken."""
    monkeypatch.setattr("core.memory.free_on", lambda device: 1000)

    def begin(limit="auto", device=CPU):
        monkeypatch.setattr(keeper, "ours", client := trainings())
        return Room(limit, device), client

    return begin


def fill(blocks, value):
    for block in blocks:
        if not block.filled:
            block.source.fill_(value)
    return [block.complete() for block in blocks]


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_the_next_training_finds_its_blocks_as_they_were_laid_out(training, capsys, layout):
    wanted = [Want((2, 3, 4, 5), layout, "frames"), Want((7,), key="flow")]
    room, _ = training()
    before = fill(room.take("frames", wanted), 9)
    before[0][1, 2, 3, 4] = 200
    room, _ = training()
    blocks = room.take("frames", [*wanted, Want((3,))])
    assert [block.filled for block in blocks] == [True, True, False]
    after = fill(blocks, 1)
    assert torch.equal(after[0], before[0]) and after[0].is_contiguous(memory_format=layout)
    assert torch.equal(after[1], before[1]) and after[2].sum() == 3
    room, _ = training()
    fill(room.take("frames", wanted), 1)
    said = capsys.readouterr().out.splitlines()
    assert [line.endswith("of frames in RAM, decoded by a training before") for line in said] == [0, 0, 1]


def test_beside_a_gpu_pixels_are_kept_in_ram_too(training):
    room, client = training(device=BESIDE_A_GPU)
    [block] = room.take("frames", [Want((300,), key="frames")])
    assert block.pixels.device == BESIDE_A_GPU and block.source.device == CPU
    block.source.fill_(3)
    assert block.complete() is block.pixels and client.held() == 300
    assert client.find("frames").sum() == 900
    [again] = training(device=BESIDE_A_GPU)[0].take("frames", [Want((300,), key="frames")])
    assert again.filled and again.source.sum() == 900


def test_what_ram_has_no_room_for_goes_to_the_gpu_alone(training):
    room, client = training(limit=1, device=BESIDE_A_GPU)
    [block] = room.take("frames", [Want((600,), key="frames")])
    assert block.source is block.pixels and block.complete() is block.pixels and client.held() == 0


def test_old_pixels_make_room_for_new_ones(training):
    """Of 1000 free bytes and what is kept, half may be kept."""
    room, first = training()
    fill(room.take("frames", [Want((400,), key="frames")]), 1)
    flow = [Want((350,), key="flow")]
    assert training()[0].take("flow", flow) is None, "a running training uses the frames"
    end(first)
    wait_until(lambda: training()[0].take("flow", flow) is not None, seconds=10)
    assert training()[1].held() == 0, "the frames went, and the flow is not complete"
