"""One clip from its address: everything about it is drawn from its seed, user, action and instance alone."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from data.synthetic import hands, shelf
from data.synthetic.camera import camera_path
from data.synthetic.geometry import pose
from data.synthetic.layers import Layer, Stack
from data.synthetic.painter import Array
from data.synthetic.people import PEOPLE, Person
from data.synthetic.render import Sensor, render
from data.synthetic.scene import HEIGHT, Backdrop, paint_backdrop, shadow_pose, shadow_sprite
from data.synthetic.shot import Shot
from data.synthetic.things import Look, LookRange
from data.synthetic.verbs import PROGRAMS

_MIDDLE = 0.41
"""Where in a clip the middle of the motion lies.

Frames sampled at linspace(1, N, T, endpoint=False) leave out the end of a clip; were the motion centred at
one half, a bag of seven such frames would hold more of its beginning than of its end, and so tell an action
from its reverse without looking at their order.
"""


@dataclass(frozen=True)
class ClipSpec:
    """Which clip, how long and how large."""

    user: str
    action: str
    instance: str
    frames: int
    size: tuple[int, int]
    """Width and height, pixels."""
    seed: int

    @property
    def verb(self) -> str:
        """What is done."""
        return self.action.partition("_")[0]

    @property
    def nouns(self) -> list[str]:
        """What it is done to, and with."""
        return self.action.partition("_")[2].split(",")


@dataclass(frozen=True)
class Staged:
    """A clip ready to be rendered. N: frames."""

    backdrop: Backdrop
    layers: list[Layer]
    views: Array
    """Table coordinates to pixels. Shape: (N, 3, 3)."""
    sensor: Sensor
    rng: np.random.Generator

    def frames(self, size: tuple[int, int]) -> Iterator[tuple[NDArray[np.uint8], NDArray[np.uint8]]]:
        """Render the frames and layer numbers, see `data.synthetic.render.render`."""
        return render(self.backdrop, self.layers, self.views, size, self.sensor, self.rng)


def generator(*address: object) -> np.random.Generator:
    """A random generator that depends on the address and nothing else."""
    digest = hashlib.sha256("/".join(map(str, address)).encode()).digest()
    return np.random.default_rng(int.from_bytes(digest[:16], "little"))


def stage(spec: ClipSpec) -> Staged:
    """Set up table, things, hands, motion and camera of a clip."""
    rng = generator(spec.seed, spec.user, spec.action, spec.instance)
    person = PEOPLE[spec.user]
    width, scale = spec.size[0] * HEIGHT / spec.size[1], spec.size[1] / HEIGHT
    program, backwards = PROGRAMS[spec.verb]
    forward = phases(spec.frames, rng)
    backdrop = paint_backdrop(person, rng, width, scale)
    looks = _looks(spec.seed, spec.user)
    furnish(backdrop, rng, looks, set(spec.nouns), scale)
    shot = Shot(
        1 - forward if backwards else forward,
        rng,
        backdrop,
        Stack(spec.frames),
        hands.draw_hand(person.hand, scale * 1.15),
        looks,
        scale * 1.3,
        float(rng.uniform(1.15, 1.4)),
        bool(rng.random() < 0.3),
    )
    program(shot, spec.nouns)
    views = camera_path(spec.frames, person.shake * float(rng.uniform(0.8, 1.25)), spec.size, rng)
    return Staged(backdrop, shot.stack.layers, views, _sensor(person, spec.frames, scale, rng), rng)


def phases(frames: int, rng: np.random.Generator) -> Array:
    """How far the motion has gone in each frame: rest, motion, rest, of random lengths. Shape: (N,)."""
    length = rng.uniform(0.45, 0.62)
    middle = _MIDDLE + rng.uniform(-1, 1) * (_MIDDLE - length / 2 - 0.02)
    at = np.arange(frames) / max(1, frames - 1)
    return np.clip((at - middle) / length + 0.5, 0, 1)


def furnish(
    backdrop: Backdrop, rng: np.random.Generator, looks: dict[str, Look], taken: set[str], scale: float
) -> None:
    """Stand a row of things along the back of the table, and a few in the middle, none of those in use."""
    names = [name for name in (*shelf.STANDING, *shelf.OTHERS) if name not in taken]
    chosen = rng.permutation(names)
    row = int(rng.integers(6, 9))
    places = np.linspace(0.04, 0.96, row) + rng.uniform(-0.035, 0.035, row)
    for name, share in zip(chosen[:row], places, strict=True):
        _stand(
            backdrop, str(name), (share, rng.uniform(0.44, 0.53)), rng.uniform(0.72, 0.86), looks, scale, rng
        )
    for name, side in zip(chosen[row : row + 2], (0.12, 0.88), strict=True):
        if rng.random() < 0.6:
            place = (side + rng.uniform(-0.06, 0.06), rng.uniform(0.62, 0.85))
            _stand(backdrop, str(name), place, rng.uniform(0.95, 1.15), looks, scale, rng)


def _stand(
    backdrop: Backdrop,
    name: str,
    place: tuple[float, float],
    size: float,
    looks: dict[str, Look],
    scale: float,
    rng: np.random.Generator,
) -> None:
    """Stand a thing on the table; a wide-angle lens leans it outward."""
    thing = shelf.thing(name, looks.get(name, Look()), scale * 1.3)
    xy = np.array([place[0] * backdrop.width, place[1] * HEIGHT])
    lean = (place[0] - 0.5) * 26 + rng.uniform(-2, 2)
    backdrop.stamp(shadow_sprite(scale), shadow_pose(xy, thing.width * size)[0])
    for part in ("body", "lid"):
        if part in thing.parts:
            backdrop.stamp(thing.parts[part], pose(xy, rng.uniform(-40, 40) if thing.flat else lean, size))


def _looks(seed: int, user: str) -> dict[str, Look]:
    rng = generator(seed, user, "looks")
    return {name: LookRange().draw(rng) for name in (*shelf.NOUNS, *shelf.OTHERS, "teabag", "plate")}


def _sensor(person: Person, frames: int, scale: float, rng: np.random.Generator) -> Sensor:
    waves = np.sin(np.arange(frames)[:, None] * rng.uniform(0.05, 0.3, 2) + rng.uniform(0, 6.28, 2)).mean(1)
    light = np.asarray(person.light) * rng.uniform(0.97, 1.03, 3)
    return Sensor(
        rng.uniform(0.94, 1.14) * (1 + 0.05 * waves),
        (float(light[0]), float(light[1]), float(light[2])),
        float(rng.uniform(0.15, 0.32)),
        float(rng.uniform(0.5, 0.9)) * max(0.6, scale),
        person.noise,
    )
