"""Turns a published checkpoint of Ego-RNN or LSTA into a run directory, and a run into such a checkpoint.

    python published.py --checkpoint model_rgb_state_dict.pth.tar --data GTEA61 --out runs/published_rgb
    python published.py --run runs/rgb2 --out rgb2_state_dict.pth

The run directory is one that evaluate.py, cam_viz.py and train_twostream.py take. Which of the three networks
(RGB, flow, two-stream) a file holds is told from the names in it, and so is the head of the RGB network: a
ConvLSTM, or LSTA with its 100 entries for GTEA61. Files are read as tensors alone: one that would run code is
refused.
"""

from pathlib import Path
from typing import ClassVar

from pydantic import Field, model_validator

from core.cli import read_flags, run
from core.config import COSTS_MEMORY
from core.config import Config as BaseConfig


class Config(BaseConfig):
    """Turn a published checkpoint of Ego-RNN or LSTA into a run (--checkpoint), or a run into one (--run)."""

    GROUPS: ClassVar[dict[str, str]] = {"import": "data frames test_stacks image_size train_users test_users"}

    checkpoint: Path | None = None
    """A downloaded file; --out is the run directory to make of it."""
    run: Path | None = None
    """A run directory; --out is the file to make, a state_dict under the published names."""
    out: Path
    """What to make; it must not exist."""
    data: Path | None = None
    """With --checkpoint: a tree of clips with all of its classes, whose sorted names are the class names."""
    frames: int = Field(25, ge=1, json_schema_extra=COSTS_MEMORY)
    """With --checkpoint: frames a clip that the RGB network was trained on (the paper: 25)."""
    test_stacks: int = Field(5, ge=1)
    """With --checkpoint: stacks a clip whose logits the flow network's test averages."""
    image_size: int = Field(224, ge=32, json_schema_extra=COSTS_MEMORY)
    """With --checkpoint: side of the network's input in pixels."""
    train_users: tuple[str, ...] = Field(("S1", "S3", "S4"), min_length=1)
    """With --checkpoint: users that the network learned from."""
    test_users: tuple[str, ...] = Field(("S2",), min_length=1)
    """With --checkpoint: users to measure it on."""

    @model_validator(mode="after")
    def _one_direction(self) -> "Config":
        if (self.checkpoint is None) == (self.run is None):
            raise ValueError("give either --checkpoint (a file to import) or --run (a run to export)")
        if self.checkpoint is not None and self.data is None:
            raise ValueError("--checkpoint needs --data, a tree of clips: the file does not name its classes")
        if both := sorted(set(self.train_users) & set(self.test_users)):
            raise ValueError(
                f"{', '.join(both)} in both --train-users and --test-users; take them out of one"
            )
        return self


if __name__ == "__main__":
    flags = read_flags(Config)  # help and mistakes are told before what follows is loaded

import hashlib
from typing import Any

from core.checkpoint import load_checkpoint, save_checkpoint, weights_in
from core.errors import UserError
from core.files import atomic_folder, refuse_no_folder
from core.run_dir import RunDirectory
from data.index import ClipIndex
from data.parts import ClipInput, Flow, Frames
from data.transforms import Preprocessing
from models import reference_state
from models.build import build_trained, read_published
from selfsup.head import without_heads


def import_checkpoint(file: Path, config: Config) -> None:
    """Make the run directory, all of it or nothing.

    Raises:
        UserError: The file is no published network or knows another number of classes than the data, or the
            data lacks a test user.
    """
    assert config.data is not None
    content = load_checkpoint(file)
    architecture, model = read_published(content)
    if how := weights_in(content)[1]:
        print(f"note: the weights of {file} were found {how}")
    index = ClipIndex.from_tree(config.data)
    index.select(config.test_users)  # refuses users who are not there
    class_names = index.class_names
    if architecture["num_classes"] != len(class_names):
        raise UserError(
            f"{file} knows {architecture['num_classes']} classes, {config.data} has {len(class_names)}; "
            "give the tree with all the classes that it was trained on"
        )
    with file.open("rb") as opened:
        digest = hashlib.file_digest(opened, "sha256").hexdigest()
    users = {"train_users": list(config.train_users), "test_users": list(config.test_users)}
    content = {
        "model": model.state_dict(),
        "architecture": architecture,
        "class_names": list(class_names),
        "preprocessing": _inputs(model.takes, architecture, config).to_dict(),
        "config": {**users, "val_fraction": 0.0, "seed": 0},
        "epoch": None,
        "published": {"file": file.name, "sha256": digest},
    }
    with atomic_folder(config.out) as folder:
        save_checkpoint(RunDirectory(folder).last, content)
        config.to_yaml(RunDirectory(folder).config)
    print(
        f"{architecture['name']} of {len(class_names)} classes, to be measured by evaluate.py: {config.out}"
    )


def export_run(path: Path, config: Config) -> None:
    """Write the run's last weights under the published names.

    Raises:
        UserError: The run's network has no published form.
    """
    checkpoint = RunDirectory.finished(path).checkpoint("last")
    architecture, state = without_heads(checkpoint)
    if "motion" in checkpoint["architecture"]:
        print("note: the run's motion head has no published form and is left out")
    model = build_trained(architecture, state, str(path))
    save_checkpoint(config.out, reference_state(model))
    print(f"{architecture['name']} under its published names: {config.out}")


def _inputs(takes: tuple[str, ...], architecture: dict[str, Any], config: Config) -> ClipInput:
    """Describe how the tensors that a network takes are made; a two-stream network describes its streams."""
    stack = architecture.get("flow", architecture).get("stack", 0)
    parts = {
        "frames": Frames(config.frames, Preprocessing.rgb(config.image_size)),
        "flow": Flow(stack, config.test_stacks, Preprocessing.flow(config.image_size)),
    }
    return ClipInput(*(parts[name] for name in takes))


def main(config: Config) -> None:
    """Import a checkpoint or export a run."""
    if config.out.exists():
        raise UserError(f"--out {config.out} exists; choose another name or remove it")
    refuse_no_folder("--out", config.out.parent)
    if config.checkpoint is not None:
        import_checkpoint(config.checkpoint, config)
    elif config.run is not None:
        export_run(config.run, config)


if __name__ == "__main__":
    run(main, flags)
