"""The catalogue: pictures of one object each, on any background, to pre-train a backbone."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from data.synthetic import hands
from data.synthetic.distractors import DISTRACTORS
from data.synthetic.geometry import Layer, LayerStack, Role, pose
from data.synthetic.hands import HandMotion, HandSprites, HandStyle
from data.synthetic.objects import NOUNS, LookRange, draw_object
from data.synthetic.painter import Array, DrawnObject
from data.synthetic.presets import generator
from data.synthetic.scene import HEIGHT, PEOPLE, Person, blend, paint_backdrop, shadow_pose, shadow_sprite

CLASSES = tuple(sorted((*NOUNS, *DISTRACTORS)))
"""The sixteen nouns of the action names and sixteen distractors."""

_LOOKS = LookRange(stretch=0.14, value=0.12, hue=0.06)
_HAND_SHARE = 0.3


@dataclass(frozen=True)
class Picture:
    """Number and size of one picture."""

    number: int
    """From 0; consecutive numbers go through the classes."""
    size: int
    """Width and height, pixels."""
    seed: int
    users: tuple[str, ...] = tuple(PEOPLE)
    """Whose tables and hands it may show."""

    @property
    def class_name(self) -> str:
        """The object it shows."""
        return CLASSES[self.number % len(CLASSES)]

    @property
    def file_name(self) -> str:
        """Name of the file in its class folder."""
        return f"{self.number // len(CLASSES) + 1:05d}.png"


def draw_picture(picture: Picture) -> NDArray[np.uint8]:
    """Draw a picture. Returns RGB, shape (size, size, 3)."""
    rng = generator(picture.seed, "catalogue", picture.number)
    people = [PEOPLE[user] for user in picture.users]
    image = _background(picture.size, people, rng)
    share = rng.uniform(0.38, 0.9)
    look = _LOOKS.draw(rng)
    item = draw_object(picture.class_name, look, share * picture.size / 64)
    shift = 34.0 if picture.class_name in ("spoon", "fork") else 0.0  # their origin is not in the middle
    for layer in _arrange(item, picture.size, share, shift, people, rng):
        blend(image, layer.sprite.rgba, layer.poses[0] @ layer.sprite.to_local)
    return _photograph(image, rng)


def _arrange(
    item: DrawnObject,
    side: int,
    share: float,
    shift: float,
    people: list[Person],
    rng: np.random.Generator,
) -> list[Layer]:
    """Put an object somewhere in the picture, sometimes held by a hand; `share` is its size there."""
    unit = share * side / max(64.0, item.height + 12, item.width)
    reach = (0.5 - min(0.42, share / 2)) * side
    middle = side / 2 + rng.uniform(-1, 1, 2) * reach
    foot = middle + (0.0, 0.0 if item.flat else 0.5 * item.height * unit)
    turn = rng.uniform(-70, 70) if item.flat else rng.normal(0, 12)
    at = pose(foot, turn, unit) @ pose((0, shift))
    stack = LayerStack(1)
    stack.add(shadow_sprite(1.0), shadow_pose(foot, item.width * unit), Role.SHADOW)
    held = _holding(side, at[0], item, unit, people, rng) if rng.random() < _HAND_SHARE else None
    if held:
        hands.add_fingers(stack, *held)
    closed = rng.random() < 0.75 and not item.flat and "lid" in item.parts
    for part in ("body", "lid") if closed else ("body",):
        stack.add(item.parts[part], at, Role.OBJECT)
    if held:
        hands.add_palm(stack, *held)
    return stack.layers


def _holding(
    side: int,
    at: Array,
    item: DrawnObject,
    unit: float,
    people: list[Person],
    rng: np.random.Generator,
) -> tuple[HandSprites, HandMotion]:
    """A hand at the object's right or left side."""
    left = bool(rng.random() < 0.5)
    style = HandStyle(people[rng.integers(len(people))].hand.skin, None, 0)
    way = -1 if left else 1
    grip = at @ (way * 0.34 * item.width, 0.0 if item.flat else -0.45 * item.height, 1)
    elbow = np.array([[side * (0.5 + way * 0.4), side * 1.7]])
    size = unit * float(rng.uniform(0.7, 0.95))
    angle = np.array([-way * rng.uniform(20, 50)])
    motion = HandMotion(grip[None, :2], angle, np.ones(1), elbow, left, size)
    return hands.draw_hand(style, side / 128), motion


def _background(side: int, people: list[Person], rng: np.random.Generator) -> NDArray[np.uint8]:
    kind = rng.integers(5)
    if kind <= 1:
        return _table(side, people, rng)
    first, second = rng.uniform(40, 235, (2, 3))
    y, x = np.mgrid[0:side, 0:side].astype(np.float32) / side
    if kind == 2:
        mix = x * rng.uniform(-1, 1) + y * rng.uniform(-1, 1)
        mix = (mix - mix.min()) / (np.ptp(mix) + 1e-6)
    elif kind == 3:
        across = x * np.cos(angle := rng.uniform(0, np.pi)) + y * np.sin(angle)
        mix = 0.5 + 0.5 * np.sin(2 * np.pi * across * rng.uniform(1, 12))
    else:
        cells = rng.uniform(0, 1, (int(rng.integers(3, 30)),) * 2).astype(np.float32)
        mix = cv2.resize(cells, (side, side), interpolation=cv2.INTER_CUBIC)
    image = first + np.clip(mix, 0, 1)[..., None] * (second - first)
    return np.asarray(image, np.uint8)


def _table(side: int, people: list[Person], rng: np.random.Generator) -> NDArray[np.uint8]:
    """Crop somebody's table, at any size."""
    scale = side / HEIGHT
    table = paint_backdrop(people[rng.integers(len(people))], rng, HEIGHT * 1.4, scale).image
    cut = int(rng.uniform(0.5, 1.0) * min(table.shape[:2]))
    top, left = (int(rng.integers(0, table.shape[i] - cut + 1)) for i in (0, 1))
    return np.asarray(cv2.resize(table[top : top + cut, left : left + cut], (side, side)), np.uint8)


def _photograph(image: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    """Add the blur, light and noise of a careless photographer."""
    soft = cv2.GaussianBlur(image, (0, 0), float(rng.uniform(0.3, 1.0)) * len(image) / 128)
    gain = (rng.uniform(0.75, 1.15) * rng.uniform(0.93, 1.07, 3)).astype(np.float32)
    noise = rng.standard_normal(image.shape, dtype=np.float32) * np.float32(rng.uniform(1, 5))
    return np.asarray(cv2.add(soft * gain, noise, dtype=cv2.CV_8U), np.uint8)
