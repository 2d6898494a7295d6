"""The RGB stream's frozen layers kept on disk, and what is read beside them: flow stacks or motion maps.

The stores are those of the RGB stream's own trainings: the same seed draws the same crops, so much is there.
"""

from collections.abc import Iterable, Iterator, Sequence

from core.ranks import Ranks
from core.task import Batch
from data.epochs import ClipKey, EpochSampler
from data.index import ClipIndex
from data.parts import ClipInput, Frames
from models.base import Prefix
from training.batches import ClipTrainConfig, EpochLoader, Split, evaluation_loader
from training.cache.features import CachedBatches, CachedClips, clip_opener, print_room
from training.cache.store import CacheFolder
from training.fit import Batches, EvaluationSet, TrainingSet
from training.run import Sets


class JointBatches:
    """Batches of kept RGB outputs and of another data set under the same keys."""

    def __init__(self, rgb: CachedClips, beside: Batches, keys: Iterable[ClipKey], batch_size: int) -> None:
        """Join the two.

        Args:
            rgb: Kept outputs of the clips' frames.
            beside: Batches of the other data set by the keys, `batch_size` in each.
            keys: They may change between iterations, as a sampler's do, but not within one.
            batch_size: Clips a batch; the last may be smaller.
        """
        self.rgb = rgb
        self.beside = beside
        self.keys = keys
        self.batch_size = batch_size

    def __len__(self) -> int:
        """Count the batches."""
        return len(self.beside)

    def __iter__(self) -> Iterator[Batch]:
        """Give batches of the kept outputs, the other data set's tensors, "label" and "clip"."""
        seen = CachedBatches(self.rgb, list(self.keys), self.batch_size)
        for rgb, other in zip(seen, self.beside, strict=True):
            assert rgb["clip"].equal(other["clip"]), "both hold the same clips"
            yield {**other, **rgb}


def cached_joint_sets(
    split: Split,
    config: ClipTrainConfig,
    inputs: ClipInput,
    frozen: Sequence[Prefix],
    cache: CacheFolder,
    ranks: Ranks,
) -> Sets:
    """Make batches from kept outputs of the RGB stream's frozen layers and from what is read beside them."""
    frames, others = inputs.part(Frames), inputs.without(Frames)
    assert frames is not None, "what is kept is made of frames"
    opened = clip_opener(ClipInput(frames), frozen, cache, config.workers)

    def measured(name: str, index: ClipIndex) -> EvaluationSet:
        keys = ranks.part(inputs.test_keys(index))
        beside = evaluation_loader(others.dataset(index), keys, config.batch_size, config.workers)
        batches = JointBatches(opened(index), beside, keys, config.batch_size)
        return EvaluationSet(name, index.keys, batches, inputs.test_protocol())

    sampler = EpochSampler(len(split.train), config.seed, inputs.training_key(split.train), ranks=ranks)
    beside = EpochLoader(others.dataset(split.train), sampler, config, ranks)
    rgb = opened(split.train)
    print_room(rgb)

    def epoch(number: int) -> JointBatches:
        return JointBatches(rgb, beside(number), sampler, ranks.batch_size(config.batch_size))

    test = measured("test", split.test)
    watched = test if split.val is None else measured("val", split.val)
    return Sets(TrainingSet(split.train.keys, epoch), watched, test)
