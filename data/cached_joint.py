"""Joint training with the RGB stream's frozen layers kept on disk; flow stacks, drawn anew, are read.

The stores are those of the RGB stream's own trainings: the same seed draws the same crops, so much is there.
"""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from data.cached_clips import CachedBatches, CachedClips, FrozenLayers, clip_opener, print_room
from data.epochs import EpochSampler, FlowKey
from data.index import ClipIndex
from data.inputs import TwoStreamInput
from data.loaders import ClipTrainConfig, EpochLoader, Split, evaluation_loader
from engine.fit import Batches, EvaluationSet, TrainingSet
from engine.task import Batch
from engine.training import Sets


class JointBatches:
    """Batches of kept RGB outputs and of flow under the same keys."""

    def __init__(self, rgb: CachedClips, flow: Batches, keys: Iterable[FlowKey], batch_size: int) -> None:
        """Join the two.

        Args:
            rgb: Kept outputs of the clips' frames.
            flow: Batches of flow stacks by the keys, `batch_size` in each.
            keys: May change between iterations, as a sampler's do, but not within one.
            batch_size: Clips a batch; the last may be smaller.
        """
        self.rgb = rgb
        self.flow = flow
        self.keys = keys
        self.batch_size = batch_size

    def __len__(self) -> int:
        """Count the batches."""
        return len(self.flow)

    def __iter__(self) -> Iterator[Batch]:
        """Give batches of "layer3", "flow", "label" and "clip"."""
        seen = CachedBatches(self.rgb, [(clip, draw) for clip, draw, _ in self.keys], self.batch_size)
        for rgb, flow in zip(seen, self.flow, strict=True):
            assert rgb["clip"].equal(flow["clip"]), "both streams see the same clips"
            yield {**flow, **rgb}


def cached_two_stream_sets(
    split: Split,
    config: ClipTrainConfig,
    inputs: TwoStreamInput,
    frozen: Sequence[FrozenLayers],
    folder: Path,
) -> Sets:
    """Make the batches of joint training from kept outputs of the RGB stream's frozen layers.

    Raises:
        UserError: The folder can't be written.
    """
    opened = clip_opener(inputs.rgb, frozen, folder, config.workers)

    def measured(name: str, index: ClipIndex) -> EvaluationSet:
        keys = inputs.test_keys(index)
        flow = evaluation_loader(inputs.flow.dataset(index), keys, config.batch_size, config.workers)
        batches = JointBatches(opened(index), flow, keys, config.batch_size)
        return EvaluationSet(name, index.keys, batches, inputs.test_protocol())

    sampler = EpochSampler(len(split.train), config.seed, inputs.training_key(split.train))
    flow = EpochLoader(inputs.flow.dataset(split.train), sampler, config)
    rgb = opened(split.train)
    print_room(rgb)

    def epoch(number: int) -> JointBatches:
        return JointBatches(rgb, flow(number), sampler, config.batch_size)

    test = measured("test", split.test)
    watched = test if split.val is None else measured("val", split.val)
    return Sets(TrainingSet(split.train.keys, epoch), watched, test)
