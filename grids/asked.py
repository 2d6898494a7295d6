"""What a command line asks of a grid: recipes, where their inputs lie, settings in place of theirs."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import yaml

from core.errors import UserError
from grids.planner import Change
from grids.recipe import Recipe


def read_recipes(files: Sequence[Path], seeds: tuple[int, ...] | None) -> dict[Path, Recipe]:
    """Read recipes.

    Args:
        files: Where they are.
        seeds: Seeds in place of theirs.

    Raises:
        UserError: A file is no recipe, or two would write one table.
    """
    if len({file.stem for file in files}) < len(files):
        raise UserError("--recipe: two recipes have one name, which is what their tables are called by")
    recipes = {file: Recipe.from_yaml(file) for file in files}
    if seeds is None:
        return recipes
    return {file: recipe.replace(seeds=seeds) for file, recipe in recipes.items()}


def find_inputs(data: Path | None, others: Sequence[str], recipes: Mapping[Path, Recipe]) -> dict[str, Path]:
    """Say where the recipes' inputs lie.

    Args:
        data: That of the input called data.
        others: NAME=FOLDER of others.
        recipes: What takes them.

    Raises:
        UserError: One is malformed, given twice, or taken by no recipe.
    """
    pairs = [_pair(text, "--inputs", "NAME=FOLDER") for text in others]
    if data is not None:
        pairs.append(("data", str(data)))
    found = {name: Path(path).absolute() for name, path in pairs}
    known = {name for recipe in recipes.values() for name in recipe.inputs}
    if len(found) < len(pairs) or found.keys() - known:
        raise UserError(f"inputs are each given once and are of {sorted(known)}; given were {pairs}")
    return found


def read_changes(texts: Sequence[str]) -> tuple[Change, ...]:
    """Read NAME=VALUE and TRAINING.NAME=VALUE; values are written as in a recipe.

    Raises:
        UserError: One is malformed, or its value no YAML.
    """
    return tuple(map(_change, texts))


def _change(text: str) -> Change:
    name, value = _pair(text, "--settings", "NAME=VALUE")
    trainings, _, setting = name.rpartition(".")
    try:
        return Change(trainings or "*", setting.replace("-", "_"), yaml.safe_load(value))
    except Exception:  # as in core.config
        raise UserError(f"--settings {text}: {value} is no value; write it as in a recipe") from None


def _pair(text: str, flag: str, form: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not name or not equals:
        raise UserError(f"{flag} {text} should look like {form}")
    return name, value
