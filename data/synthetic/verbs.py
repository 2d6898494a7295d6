"""The motion programs: how hands and objects move in each verb, as functions of the phase.

`close` is the program of `open` with the phase falling, `put` that of `take`: nothing but the order of the
frames tells them apart. Distances added to positions are in table units; measures of objects are in local
units, times `shot.size`.
"""

from collections.abc import Callable

import numpy as np

from data.synthetic.foods import paint_blob, paint_stream
from data.synthetic.geometry import Role, keyed, swing, within
from data.synthetic.hands import HandMotion
from data.synthetic.painter import Array, DrawnObject
from data.synthetic.scene import HEIGHT
from data.synthetic.shot import Shot


def unscrew(shot: Shot, nouns: list[str]) -> None:
    """One hand holds the object, the other twists its lid, lifts it off and lays it down next to it."""
    item, phase, size = shot.object(nouns[0]), shot.phase, shot.size
    foot = shot.spot((0.38, 0.56), (0.66, 0.84))
    rim = item.height if not item.flat else 0.0
    aside = (shot.rng.uniform(56, 92), rim * size + shot.rng.uniform(-8, 8))
    lift = keyed(phase, (0, 0.42, 0.58, 0.8, 1), ((0, 0), (0, 0), (6, -26), (aside[0], aside[1] - 12), aside))
    turn = swing(phase, 0.18, 0.44, 3)
    rock = shot.rng.uniform(-4, 4) + 2.5 * turn
    tilt = 7 * turn + keyed(phase, (0, 0.46, 0.7, 1), (0, 0, 24, shot.rng.uniform(-6, 10)))
    body = shot.pose(foot, rock)
    lid = shot.pose(foot + (0, -rim * size) + lift, tilt, pivot=(0, -rim))
    hold = np.array([-0.36 * item.width * size, -0.42 * rim * size if rim else 2.0])
    steady = shot.reach(foot + hold, shot.rng.uniform(30, 48), arrive=0.13, left=True)
    reach = (0.30 * item.width * size if item.flat else 6.0, -(rim + 0.5 * item.lid_height) * size)
    twist = shot.reach(foot + reach + lift, -46 + 16 * turn + shot.rng.uniform(-8, 8), arrive=0.16)
    shot.hand_shadows(steady, twist)
    shot.shadow(foot, item.width)
    shot.fingers(steady)
    shot.add(item.body, body, Role.OBJECT)
    shot.fingers(twist)
    shot.add(item.parts["lid"], lid, Role.OBJECT)
    shot.palms(steady, twist)


def carry(shot: Shot, nouns: list[str]) -> None:
    """A hand picks the object up and carries it away towards the lower edge."""
    item, phase = shot.object(nouns[0]), shot.phase
    under = nouns[1:] or (["bread"] if item.flat and nouns[0] in ("bread", "cheese", "hotdog") else [])
    start = shot.spot((0.34, 0.62), (0.56, 0.74))
    if under:
        _plate(shot, start, under)
    end = np.array([shot.width * shot.rng.uniform(0.42, 0.62), HEIGHT * 1.22])
    path = keyed(phase, (0, 0.36, 0.48, 1), (start, start, start + (4, -16), end))
    lift = keyed(phase, (0, 0.36, 0.5, 1), (0.0, 0.0, 26.0, 60.0))
    nearer = keyed(phase, (0, 0.45, 1), (1.0, 1.0, 1.2))
    turn = keyed(phase, (0, 0.4, 1), (0.0, 0.0, shot.rng.uniform(-18, 18)))
    turn = turn + shot.rng.uniform(*((50, 100) if nouns[0] == "spoon" else (-6, 6)))
    motion = shot.reach(shot.point(path, item.hold, turn, nearer), shot.rng.uniform(-44, -26), arrive=0.33)
    shot.hand_shadows(motion)
    shot.shadow(path, item.width, lift)
    shot.fingers(motion)
    carried = shot.pose(path, turn, sx=nearer)
    shot.add(item.body, carried, Role.OBJECT)
    if "lid" in item.parts and not item.flat:
        shot.add(item.parts["lid"], carried, Role.OBJECT)
    shot.palms(motion)


def pour(shot: Shot, nouns: list[str]) -> None:
    """A hand lifts the vessel, tips it over the target until enough has run out, and sets it back."""
    if "spoon" in nouns:
        tip_spoon(shot, nouns)
        return
    item, phase, size = shot.object(nouns[0]), shot.phase, shot.size
    target = shot.spot((0.34, 0.46), (0.70, 0.82))
    mouth_at = _target(shot, target, nouns[1:])
    tip = -shot.rng.uniform(104, 120)
    pivot, spout = (0.0, -0.45 * item.height), (0.0, -0.55 * item.height)
    above = mouth_at + (4, -34) - shot.point((0, 0), spout, tip)[0]
    rest = target + (shot.rng.uniform(105, 135), -0.45 * item.height * size)
    path = keyed(phase, (0, 0.14, 0.36, 0.74, 0.92, 1), (rest, rest, above, above, rest, rest))
    angle = keyed(phase, (0, 0.2, 0.42, 0.72, 0.88, 1), (0, 0, tip, tip, 0, 0))
    angle = angle + 5 * swing(phase, 0.42, 0.72, 2.5)
    motion = shot.reach(path + (0.28 * item.width * size, 2), -34 + 0.5 * angle, arrive=0.12)
    shot.hand_shadows(motion)
    shot.shadow(path + (0, 0.45 * item.height * size), item.width, 0.25 * np.abs(angle))
    mouth = shot.point(path, spout, angle)
    _pour_out(shot, item, mouth, mouth_at, nouns[-1] != "cup")
    shot.fingers(motion)
    shot.add(item.body, shot.pose(path, angle, pivot=pivot), Role.OBJECT)
    shot.palms(motion)


def tip_spoon(shot: Shot, nouns: list[str]) -> None:
    """A spoonful goes from the jar to the cup and is tipped in."""
    jar, spoon, phase, size = shot.object(nouns[0]), shot.object("spoon"), shot.phase, shot.size
    cup = shot.spot((0.30, 0.40), (0.74, 0.84))
    foot = cup + (shot.rng.uniform(96, 124), shot.rng.uniform(-16, 4))
    cup_mouth = cup + (0, -40 * size)
    jar_mouth = foot + (0, -jar.height * size)
    full = jar_mouth + (4, -20)
    above = cup_mouth + (6, -18)
    path = keyed(phase, (0, 0.2, 0.46, 0.72, 1), (full, full, above, above, full))
    angle = 42 + keyed(phase, (0, 0.48, 0.58, 0.7, 0.8, 1), (0, 0, -26, -26, 0, 0))
    angle = angle + 4 * swing(phase, 0.56, 0.72, 2)
    thin = keyed(phase, (0, 0.48, 0.56, 0.7, 0.8, 1), (1, 1, 0.45, 0.45, 1, 1))
    shot.shadow(foot, jar.width)
    shot.shadow(cup, 44)
    shot.add(jar.body, shot.pose(foot), Role.OBJECT)
    shot.add(shot.object("cup").body, shot.pose(cup), Role.OTHER)
    motion = _spoon_hand(shot, path, angle)
    shot.hand_shadows(motion)
    grains = paint_stream(jar.content, shot.scale)
    falling = (phase > 0.52) & (phase < 0.68)
    shot.add(grains, shot.pose(above + (0, 4), 0.0, sx=1.0, sy=0.6), Role.OBJECT, falling)
    shot.fingers(motion)
    shot.add(spoon.body, shot.pose(path, angle, sx=thin, sy=1.0), Role.OTHER)
    heap = paint_blob(jar.content, shot.scale)
    shot.add(heap, shot.pose(path + (0, -2), 0.0, sx=0.42), Role.OBJECT, phase < 0.56)
    shot.palms(motion)


def scoop(shot: Shot, nouns: list[str]) -> None:
    """A spoon dips into the open jar, stirs, and comes out full."""
    jar, spoon, phase, size = shot.object(nouns[0]), shot.object("spoon"), shot.phase, shot.size
    foot = shot.spot((0.36, 0.52), (0.70, 0.84))
    mouth = foot + (0, -jar.height * size)
    aside = mouth + (shot.rng.uniform(60, 84), shot.rng.uniform(0, 30))
    keys = (aside, mouth + (8, -34), mouth + (2, 12), mouth + (0, 12), mouth + (6, -36), aside + (6, -6))
    path = keyed(phase, (0, 0.2, 0.36, 0.6, 0.78, 1), keys)
    path = path + np.stack([5 * swing(phase, 0.36, 0.62, 2), 4 * swing(phase, 0.36, 0.62, 4)], axis=1)
    angle = keyed(phase, (0, 0.2, 0.4, 0.6, 0.8, 1), (48, 30, 12, 16, 40, 52))
    angle = angle + 10 * swing(phase, 0.36, 0.62, 2)
    hold = foot + (-0.36 * jar.width * size, -0.42 * jar.height * size)
    steady = shot.reach(hold, shot.rng.uniform(30, 46), arrive=0.1, left=True)
    motion = _spoon_hand(shot, path, angle)
    shot.hand_shadows(steady, motion)
    shot.shadow(foot, jar.width)
    shot.fingers(steady)
    body = shot.pose(foot, 2 * swing(phase, 0.36, 0.62, 2))
    shot.add(jar.body, body, Role.OBJECT)
    shot.fingers(motion)
    shot.add(spoon.body, shot.pose(path, angle), Role.OTHER)
    heap = paint_blob(jar.content, shot.scale)
    shot.add(heap, shot.pose(path + (0, -3), 0.0, sx=0.44), Role.OBJECT, phase > 0.55)
    shot.add(jar.parts["front"], body, Role.OBJECT, phase < 0.78)
    shot.palms(steady, motion)


def spread(shot: Shot, nouns: list[str]) -> None:
    """The back of a spoon moves to and fro over a slice of bread and leaves a growing layer."""
    jar, spoon, phase, size = shot.object(nouns[0]), shot.object("spoon"), shot.phase, shot.size
    middle = shot.spot((0.38, 0.54), (0.72, 0.84))
    bread = shot.object("bread")
    foot = middle + (shot.rng.uniform(-150, -120), shot.rng.uniform(-34, -10))
    shot.shadow(foot, jar.width)
    shot.add(jar.body, shot.pose(foot), Role.OBJECT)
    shot.stand(shot.object("plate").body, shot.pose(middle, sx=0.9))
    turn = shot.rng.uniform(-8, 8)
    shot.add(bread.body, shot.pose(middle, turn), Role.OTHER)
    way = swing(phase, 0.18, 0.9, 4)
    over = middle + np.stack([20 * size * way, 6 * size * swing(phase, 0.18, 0.9, 1.5)], axis=1)
    off = middle + (70, -26)
    near = keyed(phase, (0, 0.16, 0.9, 1), (0.0, 1.0, 1.0, 0.3))[:, None]
    path = off + near * (over - off)
    angle = 62 + 10 * way
    grown = 0.25 + 0.75 * within(phase, 0.18, 0.85)
    smear = paint_blob(jar.content, shot.scale, int(shot.rng.integers(1 << 30)))
    shot.add(smear, shot.pose(middle, turn, sx=1.15 * grown, sy=0.95 * grown), Role.OBJECT, phase > 0.17)
    steady = shot.reach(middle + (-28 * size, 4), shot.rng.uniform(34, 50), arrive=0.12, left=True)
    motion = _spoon_hand(shot, path, angle)
    shot.hand_shadows(steady, motion)
    shot.fingers(motion)
    shot.add(spoon.body, shot.pose(path, angle), Role.OTHER)
    shot.palms(steady)
    shot.fingers(steady)
    shot.palms(motion)


def stir(shot: Shot, nouns: list[str]) -> None:
    """A spoon goes round and round in the cup that the other hand holds."""
    spoon, cup, phase, size = shot.object("spoon"), shot.object("cup"), shot.phase, shot.size
    foot = shot.spot((0.38, 0.56), (0.74, 0.86))
    mouth = foot + (0, -40 * size)
    turns = 2 * np.pi * (4 * within(phase, 0.16, 0.92) + shot.rng.uniform())
    dip = keyed(phase, (0, 0.16, 0.92, 1), (-46.0, 10.0, 10.0, -20.0))
    path = mouth + np.stack([11 * size * np.cos(turns), dip + 3.2 * size * np.sin(turns)], axis=1)
    angle = 22 + 14 * np.cos(turns)
    steady = shot.reach(foot + (-20 * size, -16 * size), shot.rng.uniform(30, 46), arrive=0.1, left=True)
    motion = _spoon_hand(shot, path, angle)
    shot.hand_shadows(steady, motion)
    shot.shadow(foot, cup.width)
    shot.fingers(steady)
    body = shot.pose(foot, 1.5 * np.cos(turns) * (dip > 0))
    shot.add(cup.body, body, Role.OTHER)
    shot.fingers(motion)
    shot.add(spoon.body, shot.pose(path, angle), Role.OBJECT)
    shot.add(cup.parts["front"], body, Role.OTHER)
    shot.palms(steady, motion)


def shake(shot: Shot, nouns: list[str]) -> None:
    """A bag on a string is dipped up and down in the cup."""
    bag, cup, phase, size = shot.object("teabag"), shot.object("cup"), shot.phase, shot.size
    foot = shot.spot((0.38, 0.56), (0.74, 0.86))
    mouth = foot + (0, -40 * size)
    bob = keyed(phase, (0, 0.16, 0.92, 1), (-52.0, 0.0, 0.0, -30.0)) + 15 * size * swing(phase, 0.14, 0.94, 5)
    path = mouth + np.stack([3 * swing(phase, 0.1, 0.9, 2), -50 * size + bob], axis=1)
    motion = shot.reach(path, -40 + shot.rng.uniform(-6, 6), arrive=0.0)
    shot.shadow(foot, cup.width)
    body = shot.pose(foot)
    shot.add(cup.body, body, Role.OTHER)
    shot.hand_shadows(motion)
    shot.fingers(motion)
    shot.add(bag.body, shot.pose(path, 3 * swing(phase, 0.1, 0.9, 2.5)), Role.OBJECT)
    shot.add(cup.parts["front"], body, Role.OTHER)
    shot.palms(motion)


def fold(shot: Shot, nouns: list[str]) -> None:
    """A hand lifts the right half of a slice and lays it over the left one."""
    bread, phase, size = shot.object(nouns[0]), shot.phase, shot.size
    middle = shot.spot((0.40, 0.56), (0.66, 0.82))
    shot.stand(shot.object("plate").body, shot.pose(middle))
    flip = np.cos(np.pi * keyed(phase, (0, 0.3, 0.85, 1), (0.0, 0.0, 1.0, 1.0)))
    wide = np.where(np.abs(flip) < 0.04, np.where(flip < 0, -0.04, 0.04), flip)
    raised = np.sqrt(1 - np.clip(flip, -1, 1) ** 2)
    turn = shot.rng.uniform(-6, 6)
    edge = middle + np.stack([26 * size * wide, -24 * size * raised], axis=1)
    motion = shot.reach(edge, -40 + 18 * (1 - flip), arrive=0.22, leave=0.86)
    near, far = ("right", "left") if shot.mirrored else ("left", "right")
    shot.add(bread.parts[near], shot.pose(middle, turn), Role.OBJECT)
    shot.hand_shadows(motion)
    shot.fingers(motion)
    shot.add(bread.parts[far], shot.pose(middle, turn, sx=wide, sy=1 + 0.18 * raised), Role.OBJECT)
    shot.palms(motion)


def _spoon_hand(shot: Shot, path: Array, angle: Array) -> HandMotion:
    """The hand that holds a spoon near the end of its handle."""
    grip = shot.point(path, shot.object("spoon").hold, angle)
    return shot.reach(grip, -36 + 0.35 * (angle - 40), arrive=0.0)


def _plate(shot: Shot, middle: Array, foods: list[str]) -> None:
    """Set a plate with foods on it, the first on top."""
    shot.stand(shot.object("plate").body, shot.pose(middle))
    for name in reversed(foods):
        shift = shot.rng.uniform(-5, 5, 2)
        at = shot.pose(middle + shift, shot.rng.uniform(-9, 9))
        shot.stand(shot.object(name).body, at)


def _target(shot: Shot, at: Array, nouns: list[str]) -> Array:
    """Set the cup or plate that is poured on; return where the stream lands. Shape: (2,)."""
    if nouns[0] != "cup":
        _plate(shot, at, nouns)
        return at
    shot.shadow(at, 44)
    shot.add(shot.object("cup").body, shot.pose(at), Role.OTHER)
    return np.asarray(at + (0, -40 * shot.size))


def _pour_out(shot: Shot, item: DrawnObject, mouth: Array, lands: Array, pools: bool) -> None:
    """Add the stream from mouth to target, and the pool it leaves there."""
    running = (shot.phase > 0.42) & (shot.phase < 0.73)
    long = np.maximum(4, lands[1] - mouth[:, 1]) / 40 / shot.size
    if pools:
        size = 0.2 + 0.75 * within(shot.phase, 0.42, 0.72)
        pool = paint_blob(item.content, shot.scale, int(shot.rng.integers(1 << 30)))
        shot.add(pool, shot.pose(lands, 0.0, sx=size), Role.OBJECT, shot.phase > 0.43)
    stream = paint_stream(item.content, shot.scale)
    shot.add(stream, shot.pose(mouth, 0.0, sx=1.0, sy=long), Role.OBJECT, running)


PROGRAMS: dict[str, Callable[[Shot, list[str]], None]] = {
    **{"open": unscrew, "close": unscrew, "take": carry, "put": carry, "pour": pour, "scoop": scoop},
    **{"spread": spread, "stir": stir, "shake": shake, "fold": fold},
}
"""The program of each verb; it receives the action's nouns."""

REVERSED = ("close", "put")
"""Verbs that run their program with the phase falling instead of rising."""
