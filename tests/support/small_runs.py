"""Configs of runs that take a second or two."""

from pathlib import Path

import train_flow
import train_rgb
import train_twostream

SMALL = {"image_size": 64, "workers": 0, "batch_size": 12, "epochs": 2, "device": "cpu"}
RGB = SMALL | {"frames": 3, "hidden": 8}


def stage_1_config(tree: Path, weights: Path, out: Path, /, **changes: object) -> train_rgb.Config:
    values = {
        "data": tree,
        "out": out,
        "stage": 1,
        "backbone": "resnet18",
        "weights": str(weights),
    }
    return train_rgb.Config(**(values | RGB | changes))


def stage_2_config(tree: Path, init: Path, out: Path, /, **changes: object) -> train_rgb.Config:
    inherited = ("image_size", "frames", "hidden")
    settings = {key: value for key, value in RGB.items() if key not in inherited}
    return train_rgb.Config(**({"data": tree, "out": out, "stage": 2, "init": init} | settings | changes))


def flow_config(tree: Path, weights: Path, out: Path, /, **changes: object) -> train_flow.Config:
    values = {"data": tree, "out": out, "stack": 3, "test_stacks": 2, "backbone": "resnet18"}
    return train_flow.Config(**(values | {"weights": str(weights)} | SMALL | changes))


def joint_config(
    tree: Path, rgb: Path, flow: Path, out: Path, /, **changes: object
) -> train_twostream.Config:
    settings = {key: value for key, value in SMALL.items() if key != "image_size"}
    values = {"data": tree, "out": out, "rgb": rgb, "flow": flow}
    return train_twostream.Config(**(values | settings | changes))
