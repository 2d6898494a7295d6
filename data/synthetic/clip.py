"""One clip from its address: everything about it is drawn from its seed, user, action and instance alone.

N: frames.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from data.synthetic.distractors import DISTRACTORS
from data.synthetic.geometry import Layer, LayerStack
from data.synthetic.hands import draw_hand
from data.synthetic.objects import NOUNS, STANDING, LookRange
from data.synthetic.painter import Array
from data.synthetic.presets import ClipSpec, generator
from data.synthetic.render import Sensor, camera_path, render
from data.synthetic.scene import HEIGHT, PEOPLE, Backdrop, Person, furnish, paint_backdrop
from data.synthetic.shot import Shot
from data.synthetic.verbs import PROGRAMS, REVERSED

_MIDDLE = 0.41
"""Where in a clip the middle of the motion lies.

Frames sampled at linspace(1, N, T, endpoint=False) leave out the end of a clip; were the motion centred at
one half, a bag of seven such frames would hold more of its beginning than of its end, and so tell an action
from its reverse without looking at their order.
"""
_MIDDLE_OF_REST = 0.457
"""The same in what follows a hidden start of a quarter, for 8 or 16 sampled frames."""


@dataclass(frozen=True)
class Composition:
    """A clip ready to be rendered."""

    backdrop: Backdrop
    layers: list[Layer]
    views: Array
    """Table coordinates to pixels. Shape: (N, 3, 3)."""
    sensor: Sensor
    rng: np.random.Generator

    def frames(self, size: tuple[int, int]) -> Iterator[tuple[NDArray[np.uint8], NDArray[np.uint8]]]:
        """Render the frames and layer numbers, see `data.synthetic.render.render`."""
        return render(self.backdrop, self.layers, self.views, size, self.sensor, self.rng)


def compose(spec: ClipSpec) -> Composition:
    """Set up table, objects, hands, motion and camera of a clip."""
    rng = generator(spec.seed, spec.user, spec.action, spec.instance)
    return compose_action(spec, draw_phase(spec.frames, rng, spec.hidden_frames), rng)


def draw_phase(frames: int, rng: np.random.Generator, hidden: int = 0) -> Array:
    """Draw the progress of an action in each frame: rest, motion, rest, of random lengths.

    Args:
        frames: Length of the clip, N.
        rng: Decides the lengths.
        hidden: Frames at the beginning that show nothing; the action takes the others.

    Returns:
        From 0 to 1. Shape: (N,).
    """
    length, centre = rng.uniform(0.45, 0.62), _MIDDLE_OF_REST if hidden else _MIDDLE
    middle = centre + rng.uniform(-1, 1) * (centre - length / 2 - 0.02)
    at = (np.arange(frames) - hidden) / max(1, frames - hidden - 1)
    return np.clip((at - middle) / length + 0.5, 0, 1)


def compose_action(spec: ClipSpec, progress: Array, rng: np.random.Generator) -> Composition:
    """Set up a clip whose action progresses as given.

    Args:
        spec: Its user, action, length and size.
        progress: From 0 before the action to 1 after it. Shape: (N,).
        rng: Decides everything else but the looks of the user's objects, which are the same in all clips.
    """
    person = PEOPLE[spec.user]
    width, scale = spec.size[0] * HEIGHT / spec.size[1], spec.size[1] / HEIGHT
    backdrop = paint_backdrop(person, rng, width, scale)
    looks_rng = generator(spec.seed, spec.user, "looks")
    looks = {name: LookRange().draw(looks_rng) for name in (*NOUNS, *DISTRACTORS, "teabag", "plate")}
    furnish(backdrop, rng, looks, bystanders(spec), scale)
    shot = Shot(
        phase=1 - progress if spec.verb in REVERSED else progress,
        rng=rng,
        backdrop=backdrop,
        stack=LayerStack(spec.frames, hidden=spec.hidden_frames),
        hand=draw_hand(person.hand, scale * 1.15),
        looks=looks,
        scale=scale * 1.3,
        size=float(rng.uniform(1.15, 1.4)),
        mirrored=bool(rng.random() < 0.3),
    )
    PROGRAMS[spec.verb](shot, spec.nouns)
    views = camera_path(spec.frames, person.shake * float(rng.uniform(0.8, 1.25)), spec.size, rng)
    return Composition(backdrop, shot.stack.layers, views, _sensor(person, spec.frames, scale, rng), rng)


def bystanders(spec: ClipSpec) -> list[str]:
    """List what may stand on the table beside what is in use.

    What stands there isn't in use, which says something about the action. So before a hidden start only
    objects stand there that no action uses.
    """
    others = () if spec.hidden_start else tuple(name for name in STANDING if name not in spec.nouns)
    return [*others, *DISTRACTORS]


def _sensor(person: Person, frames: int, scale: float, rng: np.random.Generator) -> Sensor:
    waves = np.sin(np.arange(frames)[:, None] * rng.uniform(0.05, 0.3, 2) + rng.uniform(0, 6.28, 2)).mean(1)
    red, green, blue = (np.asarray(person.light) * rng.uniform(0.97, 1.03, 3)).tolist()
    return Sensor(
        exposure=rng.uniform(0.94, 1.14) * (1 + 0.05 * waves),
        light=(red, green, blue),
        vignette=float(rng.uniform(0.15, 0.32)),
        softness=float(rng.uniform(0.5, 0.9)) * max(0.6, scale),
        noise=person.noise,
    )
