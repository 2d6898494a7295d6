"""Typed, frozen settings: the same object is filled by flags, by a recipe and by a test."""

import re
from collections.abc import Hashable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic.config import JsonDict

from core.errors import UserError, reason
from core.files import write_text

DeviceName = Literal["auto", "cpu", "cuda"]

COSTS_MEMORY: JsonDict = {"costs_memory": True}
"""`json_schema_extra` of a field that memory grows with: its flag is named when memory runs out."""

# Kinds of Pydantic's errors that its own words say at length.
_PLAIN = {
    "int_parsing": "should be a whole number",
    "int_from_float": "should be a whole number",
    "float_parsing": "should be a number",
    "bool_parsing": "should be true or false",
    "tuple_type": "should be a list",
    "dict_type": "should hold `key: value` lines",
}
Place = tuple[int | str, ...]
"""Where a value stands: the names of fields and the numbers of entries that lead to it."""


class Config(BaseModel):
    """Base of every config: frozen; the docstring under a field is its help.

    Raises:
        UserError: On making one: a value is missing, unknown, of the wrong type or contradicts another one.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    DEFAULTS: ClassVar[Mapping[str, Any]] = {}
    """Values of flags that were left out, by the case where they depend on one; the help names them."""

    GROUPS: ClassVar[Mapping[str, str]] = {}
    """Names of fields whose flags stand together in the help, by the title of their group."""

    def __init__(self, **values: Any) -> None:
        try:
            super().__init__(**values)
        except ValidationError as error:
            raise _RefusedError(error) from None

    def replace(self, **changes: Any) -> Self:
        """Copy the config with some values changed; the whole is checked again."""
        return type(self)(**(self.model_dump() | changes))

    def to_yaml(self, path: Path) -> None:
        """Write every setting to `path`; `from_yaml` reads it back."""
        write_text(path, yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False))

    @classmethod
    def hint(cls, name: str) -> str | None:
        """Say what the help says of a field that is left out; None: its default."""
        for base in cls.__mro__:
            if name in (defaults := vars(base).get("DEFAULTS", {})):
                value = defaults[name]
                if isinstance(value, dict):
                    value = ", ".join(f"{default} with {case}" for case, default in value.items())
                return f"(default: {value})"
        default = cls.model_fields[name].get_default(call_default_factory=True)
        if isinstance(default, bool):  # --no-warp is off by default too
            return "(default: off)"
        return "(optional)" if default in (None, ()) else None

    @classmethod
    def groups(cls) -> tuple[list[str], dict[str, list[str]]]:
        """Sort the flags as the help shows them.

        Returns:
            Names of flags that are in no group, those that are required first, also if a group lists them;
            and the other flags by the title of their group, those of the class before those of its bases.
        """
        required = [name for name, field in cls.model_fields.items() if field.is_required()]
        groups: dict[str, list[str]] = {}
        placed = {*required}
        for base in cls.__mro__:
            for title, names in vars(base).get("GROUPS", {}).items():
                groups.setdefault(title, []).extend(name for name in names.split() if name not in placed)
                placed |= {*names.split()}
        alone = required + [name for name in cls.model_fields if name not in placed]
        return alone, {title: names for title, names in groups.items() if names}

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
            said = error.in_file() if isinstance(error, _RefusedError) else str(error)
            raise UserError(f"{where}: {said}") from None


def read_yaml(path: Path) -> dict[str, Any]:
    """Read a YAML file that holds one mapping, with the safe loader.

    Raises:
        UserError: The file can't be read, is not YAML, has a key twice, or holds something other than a
            mapping.
    """
    try:
        values = parse_yaml(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"can't read {path}: {reason(error)}") from None
    except Exception as error:  # senseless tags, dates and nesting raise errors of many kinds
        raise UserError(f"{path} is not valid YAML: {reason(error)}") from None
    if not isinstance(values, dict):
        raise UserError(f"{path} should hold `key: value` lines, found {type(values).__name__}")
    return {str(key): value for key, value in values.items()}


def parse_yaml(text: str) -> Any:
    """Parse YAML with the safe loader; senseless tags, dates and nesting raise errors of many kinds."""
    return _Loader(text).get_single_data()


class _Loader(yaml.SafeLoader):
    """Reads off, on, yes and no as words, as YAML 1.2 does, since flags have such values (`amp: off`).

    Refuses a key that stands twice in a mapping, of which YAML's readers silently keep the last.
    """

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        names = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and names.count(key.value) > 1:
                raise ValueError(f"{key.value} stands there twice, on line {key.start_mark.line + 1} first")
        return super().construct_mapping(node, deep)


_BOOL = "tag:yaml.org,2002:bool"
_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != _BOOL]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver(_BOOL, re.compile(r"(?:true|True|TRUE|false|False|FALSE)$"), list("tTfF"))


def refuse_repeated(flag: str, paths: Sequence[Path]) -> None:
    """Refuse a flag that names a file or folder twice, be it in two ways.

    Raises:
        ValueError: It does.
    """
    places = [path.resolve() for path in paths]
    for number, path in enumerate(paths):
        if places[number] in places[:number]:
            raise ValueError(f"{flag} names {path} twice; name each once")


class _RefusedError(UserError):
    """Values that a config refuses, each with its place in the config and what is wrong with it."""

    def __init__(self, error: ValidationError) -> None:
        self.problems = list(_problems(error))
        super().__init__("; ".join(_of_flag(place, text) for place, text in self.problems))

    def in_file(self) -> str:
        """Say the same of a file, whose keys are no flags."""
        return "; ".join(_of_key(place, text) for place, text in self.problems)


def _problems(error: ValidationError) -> Iterator[tuple[Place, str]]:
    found = error.errors()
    for one in found:
        place, kind, value = one["loc"], one["type"], one["input"]
        inner = one.get("ctx", {}).get("error")
        if isinstance(inner, _RefusedError):  # of a nested config
            yield from (((*place, *below), text) for below, text in inner.problems)
        elif kind == "extra_forbidden":
            yield place[:-1], f"unknown key {place[-1]!r}; check its spelling"
        elif kind == "missing":
            yield place, "is missing"
        elif kind == "too_short" and any(
            place == other["loc"][: len(place)] for other in found if other != one
        ):
            continue  # what it holds was refused
        elif kind == "too_short":
            least = one["ctx"]["min_length"]
            yield place, f"should have at least {least} value{'s' if least > 1 else ''}"
        else:
            text = _PLAIN.get(kind, one["msg"].removeprefix("Value error, ").removeprefix("Input "))
            own = not place or isinstance(inner, UserError)
            yield place, text if own else f"{text}, got {value!r:.300}"


def _of_flag(place: Place, text: str) -> str:
    # Of a list of values, which one is seen by its value.
    name = ".".join(str(part) for part in place if isinstance(part, str)).replace("_", "-")
    return _joined(f"--{name}" if name else "", text)


def _of_key(place: Place, text: str) -> str:
    return _joined(": ".join(part if isinstance(part, str) else f"entry {part + 1}" for part in place), text)


def _joined(name: str, text: str) -> str:
    return f"{name}{' ' if text == 'is missing' else ': '}{text}" if name else text
