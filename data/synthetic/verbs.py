"""The motion programs: what hands and things do in each verb, as functions of the phase.

`close` is the program of `open` with the phase falling, `put` that of `take`: nothing but the order of the
frames tells them apart. Distances are in table units where they are added to places, in local units (times
`shot.size`) where they are measures of things.
"""

from collections.abc import Callable

import numpy as np

from data.synthetic import foods
from data.synthetic.geometry import keyed, swing, within
from data.synthetic.hands import HandMotion
from data.synthetic.layers import Role
from data.synthetic.painter import Array
from data.synthetic.scene import HEIGHT
from data.synthetic.shot import Shot
from data.synthetic.things import Thing

Program = Callable[[Shot, list[str]], None]


def unscrew(shot: Shot, nouns: list[str]) -> None:
    """One hand holds the thing, the other twists its lid, lifts it off and lays it beside."""
    thing, w, k = shot.thing(nouns[0]), shot.phase, shot.size
    foot = shot.spot((0.38, 0.56), (0.66, 0.84))
    rim = thing.height if not thing.flat else 0.0
    aside = (shot.rng.uniform(56, 92), rim * k + shot.rng.uniform(-8, 8))
    lift = keyed(w, (0, 0.42, 0.58, 0.8, 1), ((0, 0), (0, 0), (6, -26), (aside[0], aside[1] - 12), aside))
    turn = swing(w, 0.18, 0.44, 3)
    rock = shot.rng.uniform(-4, 4) + 2.5 * turn
    tilt = 7 * turn + keyed(w, (0, 0.46, 0.7, 1), (0, 0, 24, shot.rng.uniform(-6, 10)))
    body = shot.pose(foot, rock)
    lid = shot.pose(foot + (0, -rim * k) + lift, tilt, pivot=(0, -rim))
    side = -0.36 * thing.width * k
    hold = np.array([side, -0.42 * rim * k if rim else 2.0])
    steady = shot.reach(foot + hold, shot.rng.uniform(30, 48), arrive=0.13, left=True)
    reach = (0.30 * thing.width * k if thing.flat else 6.0, -(rim + 0.5 * thing.lid_height) * k)
    twist = shot.reach(foot + reach + lift, -46 + 16 * turn + shot.rng.uniform(-8, 8), arrive=0.16)
    for motion in (steady, twist):
        shot.hand_shadow(motion)
    shot.shadow(foot, thing.width)
    shot.fingers(steady)
    shot.add(thing.parts["body"], body, Role.OBJECT)
    shot.fingers(twist)
    shot.add(thing.parts["lid"], lid, Role.OBJECT)
    shot.palm(steady)
    shot.palm(twist)


def carry(shot: Shot, nouns: list[str]) -> None:
    """A hand takes the thing from its place and carries it away towards the lower edge."""
    thing, w = shot.thing(nouns[0]), shot.phase
    under = nouns[1:] or (["bread"] if thing.flat and nouns[0] in ("bread", "cheese", "hotdog") else [])
    start = shot.spot((0.34, 0.62), (0.56, 0.74))
    if under:
        _plate(shot, start, under)
    end = np.array([shot.width * shot.rng.uniform(0.42, 0.62), HEIGHT * 1.22])
    path = keyed(w, (0, 0.36, 0.48, 1), (start, start, start + (4, -16), end))
    lift = keyed(w, (0, 0.36, 0.5, 1), (0.0, 0.0, 26.0, 60.0))
    nearer = keyed(w, (0, 0.45, 1), (1.0, 1.0, 1.2))
    turn = keyed(w, (0, 0.4, 1), (0.0, 0.0, shot.rng.uniform(-18, 18)))
    turn = turn + shot.rng.uniform(*((50, 100) if nouns[0] == "spoon" else (-6, 6)))
    motion = shot.reach(shot.point(path, thing.hold, turn, nearer), shot.rng.uniform(-44, -26), arrive=0.33)
    shot.hand_shadow(motion)
    shot.shadow(path, thing.width, lift)
    shot.fingers(motion)
    _whole(shot, thing, shot.pose(path, turn, sx=nearer), Role.OBJECT)
    shot.palm(motion)


def pour(shot: Shot, nouns: list[str]) -> None:
    """A hand lifts the vessel, tips it over the target until enough has run out, and sets it back."""
    if "spoon" in nouns:
        tip_spoon(shot, nouns)
        return
    thing, w, k = shot.thing(nouns[0]), shot.phase, shot.size
    target = shot.spot((0.34, 0.46), (0.70, 0.82))
    mouth_at = _target(shot, target, nouns[1:])
    tip = -shot.rng.uniform(104, 120)
    pivot, spout = (0.0, -0.45 * thing.height), (0.0, -0.55 * thing.height)
    above = mouth_at + (4, -34) - shot.point((0, 0), spout, tip)[0]
    rest = target + (shot.rng.uniform(105, 135), -0.45 * thing.height * k)
    path = keyed(w, (0, 0.14, 0.36, 0.74, 0.92, 1), (rest, rest, above, above, rest, rest))
    angle = keyed(w, (0, 0.2, 0.42, 0.72, 0.88, 1), (0, 0, tip, tip, 0, 0)) + 5 * swing(w, 0.42, 0.72, 2.5)
    motion = shot.reach(path + (0.28 * thing.width * k, 2), -34 + 0.5 * angle, arrive=0.12)
    shot.hand_shadow(motion)
    shot.shadow(path + (0, 0.45 * thing.height * k), thing.width, 0.25 * np.abs(angle))
    mouth = shot.point(path, spout, angle)
    _pour_out(shot, thing, mouth, mouth_at, nouns[-1] != "cup")
    shot.fingers(motion)
    shot.add(thing.parts["body"], shot.pose(path, angle, pivot=pivot), Role.OBJECT)
    shot.palm(motion)


def tip_spoon(shot: Shot, nouns: list[str]) -> None:
    """A spoonful goes from the jar to the cup and is tipped in."""
    jar, spoon, w, k = shot.thing(nouns[0]), shot.thing("spoon"), shot.phase, shot.size
    cup = shot.spot((0.30, 0.40), (0.74, 0.84))
    foot = cup + (shot.rng.uniform(96, 124), shot.rng.uniform(-16, 4))
    cup_mouth = cup + (0, -40 * k)
    jar_mouth = foot + (0, -jar.height * k)
    full = jar_mouth + (4, -20)
    above = cup_mouth + (6, -18)
    path = keyed(w, (0, 0.2, 0.46, 0.72, 1), (full, full, above, above, full))
    angle = 42 + keyed(w, (0, 0.48, 0.58, 0.7, 0.8, 1), (0, 0, -26, -26, 0, 0)) + 4 * swing(w, 0.56, 0.72, 2)
    thin = keyed(w, (0, 0.48, 0.56, 0.7, 0.8, 1), (1, 1, 0.45, 0.45, 1, 1))
    shot.shadow(foot, jar.width)
    shot.shadow(cup, 44)
    shot.add(jar.parts["body"], shot.pose(foot), Role.OBJECT)
    shot.add(shot.thing("cup").parts["body"], shot.pose(cup), Role.OTHER)
    motion = _spoon_hand(shot, path, angle)
    shot.hand_shadow(motion)
    grains = foods.paint_stream(jar.content, shot.scale).parts["body"]
    falling = (w > 0.52) & (w < 0.68)
    shot.add(grains, shot.pose(above + (0, 4), 0.0, sx=1.0, sy=0.6), Role.OBJECT, falling)
    shot.fingers(motion)
    shot.add(spoon.parts["body"], shot.pose(path, angle, sx=thin, sy=1.0), Role.OTHER)
    heap = foods.paint_blob(jar.content, shot.scale).parts["body"]
    shot.add(heap, shot.pose(path + (0, -2), 0.0, sx=0.42), Role.OBJECT, w < 0.56)
    shot.palm(motion)


def scoop(shot: Shot, nouns: list[str]) -> None:
    """A spoon dips into the open jar, stirs, and comes out full."""
    jar, spoon, w, k = shot.thing(nouns[0]), shot.thing("spoon"), shot.phase, shot.size
    foot = shot.spot((0.36, 0.52), (0.70, 0.84))
    mouth = foot + (0, -jar.height * k)
    aside = mouth + (shot.rng.uniform(60, 84), shot.rng.uniform(0, 30))
    keys = (aside, mouth + (8, -34), mouth + (2, 12), mouth + (0, 12), mouth + (6, -36), aside + (6, -6))
    path = keyed(w, (0, 0.2, 0.36, 0.6, 0.78, 1), keys)
    path = path + np.stack([5 * swing(w, 0.36, 0.62, 2), 4 * swing(w, 0.36, 0.62, 4)], axis=1)
    angle = keyed(w, (0, 0.2, 0.4, 0.6, 0.8, 1), (48, 30, 12, 16, 40, 52)) + 10 * swing(w, 0.36, 0.62, 2)
    steady = shot.reach(
        foot + (-0.36 * jar.width * k, -0.42 * jar.height * k),
        shot.rng.uniform(30, 46),
        arrive=0.1,
        left=True,
    )
    motion = _spoon_hand(shot, path, angle)
    for each in (steady, motion):
        shot.hand_shadow(each)
    shot.shadow(foot, jar.width)
    shot.fingers(steady)
    body = shot.pose(foot, 2 * swing(w, 0.36, 0.62, 2))
    shot.add(jar.parts["body"], body, Role.OBJECT)
    shot.fingers(motion)
    shot.add(spoon.parts["body"], shot.pose(path, angle), Role.OTHER)
    heap = foods.paint_blob(jar.content, shot.scale).parts["body"]
    shot.add(heap, shot.pose(path + (0, -3), 0.0, sx=0.44), Role.OBJECT, w > 0.55)
    shot.add(jar.parts["front"], body, Role.OBJECT, w < 0.78)
    shot.palm(steady)
    shot.palm(motion)


def spread(shot: Shot, nouns: list[str]) -> None:
    """The back of a spoon goes to and fro over a slice of bread and leaves a growing layer."""
    jar, spoon, w, k = shot.thing(nouns[0]), shot.thing("spoon"), shot.phase, shot.size
    middle = shot.spot((0.38, 0.54), (0.72, 0.84))
    bread = shot.thing("bread")
    foot = middle + (shot.rng.uniform(-150, -120), shot.rng.uniform(-34, -10))
    shot.shadow(foot, jar.width)
    shot.add(jar.parts["body"], shot.pose(foot), Role.OBJECT)
    plate = shot.thing("plate")
    shot.backdrop.stamp(plate.parts["body"], shot.pose(middle, sx=0.9))
    turn = shot.rng.uniform(-8, 8)
    shot.add(bread.parts["body"], shot.pose(middle, turn), Role.OTHER)
    way = swing(w, 0.18, 0.9, 4)
    over = middle + np.stack([20 * k * way, 6 * k * swing(w, 0.18, 0.9, 1.5)], axis=1)
    off = middle + (70, -26)
    near = keyed(w, (0, 0.16, 0.9, 1), (0.0, 1.0, 1.0, 0.3))[:, None]
    path = off + near * (over - off)
    angle = 62 + 10 * way
    grown = 0.25 + 0.75 * within(w, 0.18, 0.85)
    smear = foods.paint_blob(jar.content, shot.scale, int(shot.rng.integers(1 << 30))).parts["body"]
    shot.add(smear, shot.pose(middle, turn, sx=1.15 * grown, sy=0.95 * grown), Role.OBJECT, w > 0.17)
    steady = shot.reach(middle + (-28 * k, 4), shot.rng.uniform(34, 50), arrive=0.12, left=True)
    motion = _spoon_hand(shot, path, angle)
    for each in (steady, motion):
        shot.hand_shadow(each)
    shot.fingers(motion)
    shot.add(spoon.parts["body"], shot.pose(path, angle), Role.OTHER)
    shot.palm(steady)
    shot.fingers(steady)
    shot.palm(motion)


def stir(shot: Shot, nouns: list[str]) -> None:
    """A spoon goes round and round in the cup that the other hand holds."""
    spoon, cup, w, k = shot.thing("spoon"), shot.thing("cup"), shot.phase, shot.size
    foot = shot.spot((0.38, 0.56), (0.74, 0.86))
    mouth = foot + (0, -40 * k)
    turns = 2 * np.pi * (4 * within(w, 0.16, 0.92) + shot.rng.uniform())
    dip = keyed(w, (0, 0.16, 0.92, 1), (-46.0, 10.0, 10.0, -20.0))
    path = mouth + np.stack([11 * k * np.cos(turns), dip + 3.2 * k * np.sin(turns)], axis=1)
    angle = 22 + 14 * np.cos(turns)
    steady = shot.reach(foot + (-20 * k, -16 * k), shot.rng.uniform(30, 46), arrive=0.1, left=True)
    motion = _spoon_hand(shot, path, angle)
    for each in (steady, motion):
        shot.hand_shadow(each)
    shot.shadow(foot, cup.width)
    shot.fingers(steady)
    body = shot.pose(foot, 1.5 * np.cos(turns) * (dip > 0))
    shot.add(cup.parts["body"], body, Role.OTHER)
    shot.fingers(motion)
    shot.add(spoon.parts["body"], shot.pose(path, angle), Role.OBJECT)
    shot.add(cup.parts["front"], body, Role.OTHER)
    shot.palm(steady)
    shot.palm(motion)


def shake(shot: Shot, nouns: list[str]) -> None:
    """A bag on a string is dipped up and down in the cup."""
    bag, cup, w, k = shot.thing("teabag"), shot.thing("cup"), shot.phase, shot.size
    foot = shot.spot((0.38, 0.56), (0.74, 0.86))
    mouth = foot + (0, -40 * k)
    bob = keyed(w, (0, 0.16, 0.92, 1), (-52.0, 0.0, 0.0, -30.0)) + 15 * k * swing(w, 0.14, 0.94, 5)
    path = mouth + np.stack([3 * swing(w, 0.1, 0.9, 2), -50 * k + bob], axis=1)
    motion = shot.reach(path, -40 + shot.rng.uniform(-6, 6), arrive=0.0)
    shot.shadow(foot, cup.width)
    body = shot.pose(foot)
    shot.add(cup.parts["body"], body, Role.OTHER)
    shot.hand_shadow(motion)
    shot.fingers(motion)
    shot.add(bag.parts["body"], shot.pose(path, 3 * swing(w, 0.1, 0.9, 2.5)), Role.OBJECT)
    shot.add(cup.parts["front"], body, Role.OTHER)
    shot.palm(motion)


def fold(shot: Shot, nouns: list[str]) -> None:
    """A hand lifts the right half of a slice and lays it over the left one."""
    bread, w, k = shot.thing(nouns[0]), shot.phase, shot.size
    middle = shot.spot((0.40, 0.56), (0.66, 0.82))
    plate = shot.thing("plate")
    shot.backdrop.stamp(plate.parts["body"], shot.pose(middle))
    flip = np.cos(np.pi * keyed(w, (0, 0.3, 0.85, 1), (0.0, 0.0, 1.0, 1.0)))
    wide = np.where(np.abs(flip) < 0.04, np.where(flip < 0, -0.04, 0.04), flip)
    high = 1 + 0.18 * np.sqrt(1 - np.clip(flip, -1, 1) ** 2)
    turn = shot.rng.uniform(-6, 6)
    edge = middle + np.stack([26 * k * wide, -24 * k * np.sqrt(1 - np.clip(flip, -1, 1) ** 2)], axis=1)
    motion = shot.reach(edge, -40 + 18 * (1 - flip), arrive=0.22, leave=0.86)
    near, far = ("right", "left") if shot.mirrored else ("left", "right")
    shot.add(bread.parts[near], shot.pose(middle, turn), Role.OBJECT)
    shot.hand_shadow(motion)
    shot.fingers(motion)
    shot.add(bread.parts[far], shot.pose(middle, turn, sx=wide, sy=high), Role.OBJECT)
    shot.palm(motion)


PROGRAMS: dict[str, tuple[Program, bool]] = {
    "open": (unscrew, False),
    "close": (unscrew, True),
    "take": (carry, False),
    "put": (carry, True),
    "pour": (pour, False),
    "scoop": (scoop, False),
    "spread": (spread, False),
    "stir": (stir, False),
    "shake": (shake, False),
    "fold": (fold, False),
}
"""The program of each verb, and whether its phase falls instead of rising."""


def _spoon_hand(shot: Shot, path: Array, angle: Array) -> HandMotion:
    """The hand that holds a spoon near the end of its handle."""
    return shot.reach(
        shot.point(path, shot.thing("spoon").hold, angle), -36 + 0.35 * (angle - 40), arrive=0.0
    )


def _whole(shot: Shot, thing: Thing, at: Array, role: Role) -> None:
    """Add a thing with its lid on."""
    shot.add(thing.parts["body"], at, role)
    if "lid" in thing.parts and not thing.flat:
        shot.add(thing.parts["lid"], at, role)


def _plate(shot: Shot, middle: Array, foods_on_it: list[str]) -> None:
    """Set a plate, with foods on it, the first on top."""
    shot.backdrop.stamp(shot.thing("plate").parts["body"], shot.pose(middle))
    for name in reversed(foods_on_it):
        shift = shot.rng.uniform(-5, 5, 2)
        shot.backdrop.stamp(
            shot.thing(name).parts["body"], shot.pose(middle + shift, shot.rng.uniform(-9, 9))
        )


def _target(shot: Shot, at: Array, nouns: list[str]) -> Array:
    """Set what is poured on or into; return where the stream lands. Shape: (2,)."""
    if nouns[0] != "cup":
        _plate(shot, at, nouns)
        return at
    shot.shadow(at, 44)
    shot.add(shot.thing("cup").parts["body"], shot.pose(at), Role.OTHER)
    return np.asarray(at + (0, -40 * shot.size))


def _pour_out(shot: Shot, thing: Thing, mouth: Array, lands: Array, pools: bool) -> None:
    """The stream from mouth to target, and the pool it leaves there."""
    running = (shot.phase > 0.42) & (shot.phase < 0.73)
    long = np.maximum(4, lands[1] - mouth[:, 1]) / 40 / shot.size
    if pools:
        size = 0.2 + 0.75 * within(shot.phase, 0.42, 0.72)
        pool = foods.paint_blob(thing.content, shot.scale, int(shot.rng.integers(1 << 30))).parts["body"]
        shot.add(pool, shot.pose(lands, 0.0, sx=size), Role.OBJECT, shot.phase > 0.43)
    stream = foods.paint_stream(thing.content, shot.scale).parts["body"]
    shot.add(stream, shot.pose(mouth, 0.0, sx=1.0, sy=long), Role.OBJECT, running)
