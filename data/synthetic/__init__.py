"""The synthetic kitchen: a 2-D renderer of first-person clips whose every pixel's motion is known.

Terms used throughout the package:

Table coordinates: table units, of which the camera's rest view is 256 high at any rendered size; x to the
right, y down. The whole scene is one plane, so a camera motion is exactly a homography.
Local coordinates: units of one object; the origin of a standing object is the middle of its base, that of a
flat one its centre.
Phase: how far an action has progressed, 0 to 1. A verb and its reverse run the same motion program, one with
the phase rising, the other with it falling.
"""

from pathlib import Path
from typing import ClassVar, Literal, Self, get_args

from pydantic import Field, NonNegativeInt, PositiveInt, field_validator, model_validator

from core.jobs import SpreadConfig

PresetName = Literal["tiny", "demo", "gtea61"]
UserName = Literal["S1", "S2", "S3", "S4"]


class Settings(SpreadConfig):
    """Render clips of a synthetic kitchen, or pictures of single objects."""

    GROUPS: ClassVar[dict[str, str]] = {
        "clips": "preset hidden_start",
        "pictures": "catalogue size without_users",
    }

    out: Path
    """Folder to write to; new, empty, or holding an unfinished run of the same settings."""
    preset: PresetName | None = None
    """Clips to render. tiny: 48 short clips for tests. demo: 560 clips of 20 actions. gtea61: 457 clips, the
    real set's actions and lengths."""
    catalogue: PositiveInt | None = None
    """Number of single-object pictures to draw instead of clips, some on users' tables or in their hands."""
    seed: NonNegativeInt = 0
    """The same seed gives the same bytes."""
    hidden_start: float = Field(default=0.0, ge=0, le=0.5)
    """With --preset: share of each clip, its beginning, that shows the table without hands and the things in
    use, so that nothing in it tells an action from its reverse (0.25: the first quarter)."""
    size: int = Field(default=128, ge=32, le=1024)
    """Width and height of the catalogue's pictures, pixels."""
    without_users: tuple[UserName, ...] = ()
    """With --catalogue: users whose table and hand no picture shows, so that pre-training sees nothing of a
    test user."""

    @field_validator("without_users")
    @classmethod
    def _in_order(cls, users: tuple[UserName, ...]) -> tuple[UserName, ...]:
        return tuple(sorted(set(users)))

    @model_validator(mode="after")
    def _one_of_two(self) -> Self:
        if (self.preset is None) == (self.catalogue is None):
            raise ValueError("give either --preset or --catalogue, and not both")
        if self.hidden_start and self.preset is None:
            raise ValueError("--hidden-start belongs to --preset; single pictures have no beginning")
        if self.without_users and self.catalogue is None:
            raise ValueError("--without-users belongs to --catalogue; a preset has clips of all users")
        if len(self.without_users) == len(get_args(UserName)):
            raise ValueError(
                "--without-users leaves nobody's table and hand to show; leave out at most three"
            )
        return self
