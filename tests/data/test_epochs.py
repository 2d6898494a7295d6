from hypothesis import given
from hypothesis import strategies as st

from data.epochs import EpochSampler, draws_for_epoch
from data.transforms import Draw

seeds = st.integers(0, 2**31)
epochs = st.integers(0, 1000)


def clip_and_draw(clip, rng):
    return clip, Draw.random(rng)


@given(seeds, epochs, st.integers(0, 60))
def test_an_epoch_is_each_clip_once_with_its_own_draw(seed, epoch, num_clips):
    sampler = EpochSampler(num_clips, seed, clip_and_draw)
    sampler.set_epoch(epoch)
    keys = list(sampler)
    assert len(sampler) == num_clips and sorted(clip for clip, _ in keys) == list(range(num_clips))
    draws = draws_for_epoch(seed, epoch, num_clips)
    assert all(draw == draws[clip] for clip, draw in keys)
    assert list(sampler) == keys


@given(seeds, epochs, st.integers(1, 40))
def test_a_clips_draw_does_not_depend_on_the_other_clips(seed, epoch, num_clips):
    assert draws_for_epoch(seed, epoch, num_clips + 5)[:num_clips] == draws_for_epoch(seed, epoch, num_clips)


def test_epochs_and_seeds_differ():
    plans = set()
    for seed in range(4):
        sampler = EpochSampler(50, seed, clip_and_draw)
        for epoch in range(4):
            sampler.set_epoch(epoch)
            plans.add(tuple(sampler))
            assert [clip for clip, _ in sampler] != list(range(50))
    assert len(plans) == 16
    assert len({tuple(clip for clip, _ in plan) for plan in plans}) == 16


def test_all_forty_draws_occur_equally_often_over_epochs_and_clips():
    counts = [0] * 40
    for epoch in range(40):
        for draw in draws_for_epoch(7, epoch, 200):
            counts[draw.number] += 1
    # 39 degrees of freedom: 72.1 is passed once in a thousand.
    assert sum((count - 200) ** 2 / 200 for count in counts) < 72.1


def test_the_order_can_be_kept():
    sampler = EpochSampler(6, 0, clip_and_draw, shuffle=False)
    assert [clip for clip, _ in sampler] == [0, 1, 2, 3, 4, 5]
    assert [draw for _, draw in sampler] == draws_for_epoch(0, 0, 6)
    assert all(isinstance(draw, Draw) for _, draw in sampler)
