"""Typed, frozen settings: the same object is filled by flags, by a recipe and by a test."""

from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Self

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic.config import JsonDict
from pydantic_core import ErrorDetails

from core.errors import UserError
from core.files import write_text

COSTS_MEMORY: JsonDict = {"costs_memory": True}
"""`json_schema_extra` of a field that memory grows with: its flag is named when memory runs out."""


class Config(BaseModel):
    """Base of every config: frozen; the docstring under a field is its help.

    Raises:
        UserError: On making one: a value is missing, unknown, of the wrong type or contradicts another one.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    DEFAULTS: ClassVar[Mapping[str, Any]] = {}
    """Values of flags that were left out, by the case where they depend on one; the help names them."""

    @classmethod
    def __pydantic_init_subclass__(cls, **_: Any) -> None:
        for name, value in vars(cls).get("DEFAULTS", {}).items():
            if isinstance(value, dict):
                value = ", ".join(f"{default} ({case})" for case, default in value.items())
            field = cls.model_fields[name]
            field.description = f"{field.description} Left out: {value}."

    def __init__(self, **values: Any) -> None:
        try:
            super().__init__(**values)
        except ValidationError as error:
            raise UserError(_readable(error)) from None

    def replace(self, **changes: Any) -> Self:
        """Copy the config with some values changed; the whole is checked again."""
        return type(self)(**(self.model_dump() | changes))

    def to_yaml(self, path: Path) -> None:
        """Write every setting to `path`; `from_yaml` reads it back."""
        write_text(path, yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False))

    @classmethod
    def memory_flags(cls) -> list[str]:
        """Name the flags whose lowering saves memory, in the order of the fields."""
        marked = [name for name, field in cls.model_fields.items() if field.json_schema_extra == COSTS_MEMORY]
        return [f"--{name.replace('_', '-')}" for name in marked]

    @classmethod
    def from_yaml(cls, path: Path) -> Self:
        """Read a config from a YAML mapping.

        Raises:
            UserError: No such file, no mapping in it, unknown keys or bad values; the message names the file.
        """
        return cls.from_mapping(read_yaml(path), where=str(path))

    @classmethod
    def from_mapping(cls, values: dict[str, Any], *, where: str) -> Self:
        """Fill the config from plain values; `where` is named when they are wrong."""
        try:
            return cls(**values)
        except UserError as error:
            raise UserError(f"{where}: {error}") from None


def read_yaml(path: Path) -> dict[str, Any]:
    """Read a YAML file that holds one mapping, with the safe loader.

    Raises:
        UserError: The file can't be read, is not YAML, has a key twice, or holds something other than a
            mapping.
    """
    try:
        values = _OnceLoader(path.read_text(encoding="utf-8")).get_single_data()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"can't read {path}: {error}") from None
    except Exception as error:  # senseless tags, dates and nesting raise errors of many kinds
        raise UserError(f"{path} is not valid YAML: {error or type(error).__name__}") from None
    if not isinstance(values, dict):
        raise UserError(f"{path} should hold `key: value` lines, found {type(values).__name__}")
    return {str(key): value for key, value in values.items()}


class _OnceLoader(yaml.SafeLoader):
    """Refuses a key that stands twice in a mapping, of which YAML's readers silently keep the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        names = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and names.count(key.value) > 1:
                raise ValueError(f"{key.value} stands there twice, on line {key.start_mark.line + 1} first")
        return super().construct_mapping(node, deep)


def refuse_repeated(flag: str, paths: Sequence[Path]) -> None:
    """Refuse a flag that names a file or folder twice, be it in two ways.

    Raises:
        ValueError: It does.
    """
    places = [path.resolve() for path in paths]
    for number, path in enumerate(paths):
        if places[number] in places[:number]:
            raise ValueError(f"{flag} names {path} twice; name each once")


def _readable(error: ValidationError) -> str:
    return "; ".join(map(_one_line, error.errors()))


def _one_line(error: ErrorDetails) -> str:
    location, kind, message, value = error["loc"], error["type"], error["msg"], error["input"]
    flag = "--" + ".".join(str(part) for part in location).replace("_", "-")
    if kind == "extra_forbidden":
        return f"unknown key {'.'.join(map(str, location))!r}; check its spelling"
    if kind == "missing":
        return f"{flag} is missing"
    if not location:
        return message.removeprefix("Value error, ")
    if isinstance(error.get("ctx", {}).get("error"), UserError):  # from a nested config
        return f"{flag}: {message.removeprefix('Value error, ')}"
    return f"{flag}: {message.removeprefix('Value error, ')}, got {value!r}"
