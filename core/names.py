"""Names known before what they stand for is loaded: those of a package, and those that flags take."""

from collections.abc import Callable, Iterator, Mapping
from importlib import import_module
from typing import Any, TypeVar

from core.errors import UserError

T = TypeVar("T")


def loading(package: str, homes: Mapping[str, str]) -> Callable[[str], Any]:
    """Make the `__getattr__` of a package whose public names are loaded when first used.

    Args:
        package: Its name.
        homes: The module of each public name.

    Examples:
        >>> loading("core", {"UserError": "core.errors"})("UserError").__name__
        'UserError'
    """

    def load(name: str) -> Any:
        if name not in homes:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return getattr(import_module(homes[name]), name)

    return load


class ByName(Mapping[str, T]):
    """What the files of one package hold, mostly classes; a file is loaded when it is asked for.

    Examples:
        >>> heads = ByName("models.temporal", {"lstm": ("vectors.LSTMHead", "the last state")}, "head")
        >>> heads["lstm"].__name__, list(heads)
        ('LSTMHead', ['lstm'])
    """

    def __init__(self, package: str, lines: Mapping[str, tuple[str, str]], kind: str) -> None:
        """Load nothing yet.

        Args:
            package: Where the files are.
            lines: By name, a class (or what else stands there) as "file.Class", and what it is in one line.
            kind: What messages call it.
        """
        self._package, self._lines, self._kind = package, lines, kind

    def __getitem__(self, name: str) -> T:
        file, _, of_file = self._lines[name][0].partition(".")
        found: T = getattr(import_module(f"{self._package}.{file}"), of_file)
        return found

    def __iter__(self) -> Iterator[str]:
        return iter(self._lines)

    def __len__(self) -> int:
        return len(self._lines)

    def __contains__(self, name: object) -> bool:
        return name in self._lines

    def known(self, name: str) -> str:
        """Return a name as it is.

        Raises:
            UserError: Nothing is called so; the message lists all names with a line each.
        """
        if name not in self:
            width = max(map(len, self))
            lines = "".join(f"\n  {known:{width}}  {line}" for known, (_, line) in self._lines.items())
            raise UserError(f"no {self._kind} is called {name!r}; there are{lines}")
        return name
