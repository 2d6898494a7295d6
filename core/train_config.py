"""The flags every training script has."""

import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

from pydantic import Field, field_validator

from core.config import COSTS_MEMORY, Config, DeviceName

if TYPE_CHECKING:
    from core.stage import Stage

Predict = Literal["last", "every-frame", "every-frame-rising"]
"""What is learned from: the scores after a clip's last frame, or those after each frame, weighted alike or by
t / T."""

# A resumed run may differ in these: they say where and how fast it runs, not what it computes.
FREE_ON_RESUME = (
    "out",
    "resume",
    "device",
    "workers",
    "graphs",
    "resident",
    "cache",
    "cache_gib",
    "save_every_sec",
)


def spare_cores() -> int:
    """Count the cores that this process may use beside the one that it trains on: 1 to 8."""
    return max(1, min(8, len(os.sched_getaffinity(0)) - 1))


class TrainConfig(Config):
    """Flags that say how long, how fast and where to train, whatever is trained.

    A flag that is None was left out; `fill` and `schedule` give it its value. Such values stand in
    `DEFAULTS`, from which the help takes them, or in a network's stage, and nowhere else.
    """

    GROUPS: ClassVar[dict[str, str]] = {
        "training": "epochs batch_size lr weight_decay milestones seed eval_every",
        "speed": "device amp compile graphs workers resident save_every_sec",
    }
    SAME_EPOCH_TIME: ClassVar[tuple[str, ...]] = ("epochs", "lr", "weight_decay", "milestones", "seed")
    """Settings that leave the time of an epoch as it is; scripts add theirs."""

    out: Path
    """Run directory to make; one that holds a finished run is refused."""
    epochs: int | None = Field(None, ge=1)
    """Epochs; left out: those of the training (README.md, docs/systems.md)."""
    batch_size: int = Field(32, ge=1, json_schema_extra=COSTS_MEMORY)
    """Clips (or pictures) a step."""
    lr: float | None = Field(None, gt=0)
    """Learning rate; left out: that of the training."""
    weight_decay: float | None = Field(None, ge=0)
    """L2 penalty; left out: that of the training."""
    milestones: tuple[int, ...] | None = None
    """Epochs after which the learning rate falls; left out: those of the training."""
    seed: int = Field(0, ge=0)
    """Seed of weights, order, augmentation and dropout."""
    device: DeviceName = "auto"
    """Where to compute; auto takes a GPU if there is one."""
    amp: Literal["off", "bf16"] = "off"
    """bf16 computes what is trained in bfloat16; frozen layers stay in float32."""
    compile: bool = False
    """Compile the model with torch.compile; falls back with a message where it can't. On the CPUs measured it
    is slower (docs/performance.md)."""
    graphs: Literal["auto", "off"] = "auto"
    """auto runs a step on a GPU as one CUDA graph, if the first steps agree with plain ones; not with
    --compile or in several processes."""
    workers: int = Field(default_factory=spare_cores, ge=0, json_schema_extra=COSTS_MEMORY)
    """Processes that load and augment; 0 loads in the main process. By default all cores but one, at most
    8."""
    resident: Literal["auto", "off"] | float = Field("auto", json_schema_extra=COSTS_MEMORY)
    """Hold decoded pixels on the GPU, in at most so many GiB (auto: half of what is free), else in half of
    the free RAM, and on a GPU outputs of never-trained layers, in at most as many; off, and what does not
    fit, is read or computed whenever it is needed."""
    resume: bool = False
    """Go on with the unfinished run in --out; without one, begin."""
    eval_every: int = Field(1, ge=1)
    """Measure after every so many epochs, and always after the last."""
    save_every_sec: float = Field(30.0, ge=0)
    """Least seconds between two writings of last.pt and best.pt, which go on beside the training."""
    val_fraction: float = Field(0.0, ge=0.0, lt=1.0)
    """Share of the training clips held out to select best.pt on, stratified by class; 0 selects on the test
    clips, labelled best_on_test since it is optimistic."""

    @property
    def reads(self) -> tuple[str, ...]:
        """Names of the parts of its data that the training reads, where data has parts."""
        return ()

    @classmethod
    def same_epoch_time(cls) -> frozenset[str]:
        """Collect `SAME_EPOCH_TIME` of the config and its bases; other settings may change the time."""
        return frozenset(name for base in cls.__mro__ for name in vars(base).get("SAME_EPOCH_TIME", ()))

    def fill(self, values: Mapping[str, Any]) -> Self:
        """Give flags that were left out their values."""
        return self.replace(**{name: v for name, v in values.items() if getattr(self, name) is None})

    def schedule(self, stage: "Stage") -> tuple[Self, "Stage"]:
        """Fill the schedule from a stage, and return the stage with the schedule that was asked for.

        A weight decay that was left out stays None: runs from before the flag are resumed with it.
        """
        stage = stage.override(
            lr=self.lr, epochs=self.epochs, milestones=self.milestones, weight_decay=self.weight_decay
        )
        return self.replace(lr=stage.lr, epochs=stage.epochs, milestones=stage.milestones), stage

    @field_validator("resident", mode="before")
    @classmethod
    def _some_memory(cls, value: Any) -> Any:
        try:
            if value in ("auto", "off") or 0 < float(value) < math.inf:
                return value
        except (TypeError, ValueError):
            pass
        raise ValueError("should be auto, off or a number of GiB above 0")

    @field_validator("milestones")
    @classmethod
    def _rising(cls, milestones: tuple[int, ...] | None) -> tuple[int, ...] | None:
        if milestones and (milestones[0] < 1 or list(milestones) != sorted(set(milestones))):
            raise ValueError("should be rising epoch numbers from 1")
        return milestones


class ClipTrainConfig(TrainConfig):
    """Flags of every script that trains on clips."""

    GROUPS: ClassVar[dict[str, str]] = {"data": "data train_users test_users val_fraction"}

    data: Path
    """Tree of clips."""
    train_users: tuple[str, ...] = Field(("S1", "S3", "S4"), min_length=1)
    """Users to learn from."""
    test_users: tuple[str, ...] = Field(("S2",), min_length=1)
    """Users to measure on, never learned from."""

    @property
    def reads(self) -> tuple[str, ...]:
        """The images of a clip that the training reads."""
        return ("frames",)

    @field_validator("train_users", "test_users")
    @classmethod
    def _each_once(cls, users: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(users)) < len(users):
            raise ValueError("name each user once")
        return users
