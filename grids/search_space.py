"""Ranges of settings that a search looks through, as a recipe writes them."""

from typing import Any, Self

from pydantic import Field, model_validator

from core.config import Config


class Range(Config):
    """The values of one setting: numbers between two, or some to choose from."""

    low: int | float | None = None
    """The smallest number; whole numbers are searched if both ends are whole."""
    high: int | float | None = None
    """The largest number, itself included."""
    log: bool = False
    """Search the logarithm: 1e-5 to 1e-4 is as wide as 1e-3 to 1e-2."""
    choices: tuple[Any, ...] | None = Field(None, min_length=2)
    """Values to choose from, in place of numbers."""

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        if (self.choices is None) == (self.low is None or self.high is None):
            raise ValueError("a range has either low and high, or choices")
        if self.choices is not None and (self.log or self.low is not None or self.high is not None):
            raise ValueError("choices go without low, high and log")
        if self.low is not None and self.high is not None:
            if self.low >= self.high:
                raise ValueError(f"low should be under high, got {self.low} and {self.high}")
            if self.log and self.low <= 0:
                raise ValueError(f"a logarithmic range lies above 0, got low: {self.low}")
        return self


class Search(Config):
    """What a search varies."""

    training: str
    """The training whose settings are searched, by its name, with its parents as they are."""
    ranges: dict[str, Range] = Field(min_length=1)
    """Its settings, with the values each may take."""
