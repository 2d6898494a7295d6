"""The four people of the set: their table, wall, light, hands and how much their head moves."""

from dataclasses import dataclass

from data.synthetic.hands import HandStyle
from data.synthetic.painter import Colour


@dataclass(frozen=True)
class Person:
    """What stays the same in all clips of one person."""

    table: Colour
    grain: float
    """Strength of the wood's grain, 0 to 1."""
    wall: Colour
    wall_edge: float
    """Where wall and table meet, share of the frame's height."""
    light: Colour
    """Colour of the light: factors on red, green and blue."""
    hand: HandStyle
    shake: float
    """Typical camera motion, pixels a frame."""
    noise: float
    """Standard deviation of the sensor's noise, grey levels."""


PEOPLE: dict[str, Person] = {
    "S1": Person(
        (206, 160, 74),
        0.7,
        (196, 188, 172),
        0.33,
        (1.02, 1.0, 0.94),
        HandStyle((206, 150, 116), None, 0),
        2.6,
        2.0,
    ),
    "S2": Person(
        (196, 142, 72),
        1.0,
        (178, 184, 186),
        0.28,
        (0.96, 0.99, 1.03),
        HandStyle((188, 128, 94), (70, 92, 132), 92),
        2.2,
        2.4,
    ),
    "S3": Person(
        (158, 106, 62),
        0.9,
        (206, 196, 160),
        0.36,
        (1.0, 0.97, 0.90),
        HandStyle((222, 170, 140), (60, 60, 66), 60),
        3.0,
        1.6,
    ),
    "S4": Person(
        (214, 180, 122),
        0.45,
        (168, 176, 164),
        0.30,
        (0.98, 1.0, 0.98),
        HandStyle((150, 100, 72), (150, 56, 52), 120),
        2.0,
        2.2,
    ),
}
