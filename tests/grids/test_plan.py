"""Which runs a grid is made of, what their folders are called by, and what is refused before any runs."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from core.errors import UserError
from grids.inputs import Input, find_inputs, refuse_missing_images
from grids.plan import GridOptions, Override, TablePlan
from grids.recipe import Recipe
from grids.run import Run
from tests.support import fakes
from tests.support.fakes import CHAIN, SETTINGS, STAGE, FakeScript, load_script, plan, recipe, runs_of

FRAMES = {"frames": "f1", "maps": "m1"}
WITH_DATA = {"name": "one", "row": "one", "inputs": {"data": "clips"}}


class Reader(fakes.Config):
    """A training that reads the frames of its data."""

    data: Path

    @property
    def reads(self) -> tuple[str, ...]:
        return ("frames",)


class ReaderScript(FakeScript):
    Config = Reader


class Starter(fakes.Config):
    """A training with first weights."""

    weights: str | None = None


class StarterScript(FakeScript):
    Config = Starter


def keys(out: Path, wanted: Recipe, **changes) -> dict[str, str]:
    return {run.training.name: run.key for run in plan(out, wanted, **changes).runs.values()}


def read_key(data: Path, found: dict[str, str]) -> str:
    """The key of a run that reads frames."""
    wanted = recipe(WITH_DATA, inputs={"clips": "clips"})
    given = {"inputs": {"clips": Input(data, found)}, "load_script": lambda name: ReaderScript()}
    return keys(Path("out"), wanted, **given)["one"]


def test_inputs_that_are_unknown_given_twice_or_of_another_kind(tmp_path):
    wanted = recipe(WITH_DATA, inputs={"clips": "clips"})
    for given, message in (
        (["foo=x"], "foo is unknown to the recipes"),
        (["clips=x"] * 2, "clips is given twice"),
    ):
        with pytest.raises(UserError, match=f"the input {message}; they take clips, each once"):
            find_inputs(None, given, {Path("r.yaml"): wanted})
    as_setting = recipe({"name": "one", "row": "one", "settings": SETTINGS | {"data": "clips"}})
    with pytest.raises(UserError, match="training one .*data names data, clips; put it under inputs"):
        plan(tmp_path, as_setting)
    pictures = {"clips": Input(Path("p"), {"pictures": "p1"})}
    runs = plan(tmp_path, wanted, inputs=pictures, load_script=lambda name: ReaderScript()).runs.values()
    with pytest.raises(UserError, match="the input clips, p, is no tree of clips, which training one"):
        refuse_missing_images(runs, pictures)


def test_first_weights_enter_the_key_by_their_content(tmp_path):
    def one(weights: object) -> Run:
        wanted = recipe({"name": "one", "row": "one", "settings": SETTINGS | {"weights": str(weights)}})
        return next(iter(plan(tmp_path, wanted, load_script=lambda name: StarterScript()).runs.values()))

    def key(weights: object) -> str:
        return one(weights).key

    first, run = tmp_path / "first.pth", tmp_path / "run"
    run.mkdir()
    for file in (first, tmp_path / "same.pth", run / "last.pt"):
        file.write_bytes(b"weights")
    before = key(first)
    assert before == key(tmp_path / "same.pth") == key(run)
    assert len({before, key("imagenet"), key("none")}) == 3
    there = one(first)
    there.config.to_yaml(there.folder / "config.yaml")
    assert one(tmp_path / "same.pth").folder == there.folder  # a file that has moved is the same
    first.write_bytes(b"others")
    assert key(first) != before
    with pytest.raises(UserError, match="training one .*weights .*gone.pth can't be read: .*No such file"):
        key(tmp_path / "gone.pth")


def test_a_parent_of_another_script_is_refused_before_anything_is_trained(tmp_path):
    class Joins(FakeScript):
        PARENTS = {"init": SimpleNamespace(script="train_rgb.py")}

    with pytest.raises(
        UserError, match="second.*: init takes a run of train_rgb.py, and first is one of train_f"
    ):
        plan(tmp_path, recipe(*CHAIN), load_script=lambda name: Joins())


def test_a_changed_value_makes_its_run_and_those_that_start_from_it_new(tmp_path):
    before = keys(tmp_path, recipe(*CHAIN))
    assert len(set(before.values())) == 4 and all(len(key) == 10 for key in before.values())
    changed = [CHAIN[0], CHAIN[1] | {"settings": SETTINGS | {"lr": 0.2}}, *CHAIN[2:]]
    after = keys(tmp_path, recipe(*changed))
    assert {name for name in before if after[name] != before[name]} == {"second", "third"}


@pytest.mark.parametrize(
    "setting, value", [("epochs", 4), ("batch_size", 8), ("milestones", [2]), ("amp", "bf16")]
)
def test_every_setting_that_changes_numbers_is_in_the_key(tmp_path, setting, value):
    other = recipe({"name": "one", "settings": SETTINGS | {setting: value}})
    assert keys(tmp_path, other) != keys(tmp_path, recipe({"name": "one"}))


def test_defaults_are_in_the_key_and_where_it_runs_is_not(tmp_path):
    one = recipe({"name": "one"})
    before = keys(tmp_path, one)
    runtime = {"device": "cpu", "workers": 3, "cache": "/no/such/flag"}
    assert keys(tmp_path / "elsewhere", one, runtime_settings=runtime) == before
    assert (
        keys(tmp_path, recipe({"name": "other", "settings": SETTINGS | {"eval_every": 1}})).popitem()[1]
        == before["one"]
    )
    changed = FakeScript(STAGE.override(milestones=(2,)))
    after = keys(tmp_path, one, load_script=lambda name: changed)
    assert after != before, "a published value that is changed in the code"


def test_the_same_data_elsewhere_is_the_same_run_and_other_data_is_not():
    before = read_key(Path("here"), FRAMES)
    assert read_key(Path("there"), FRAMES) == before
    assert read_key(Path("here"), FRAMES | {"maps": "m2"}) == before, "it reads no maps"
    assert read_key(Path("here"), FRAMES | {"frames": "f2"}) != before
    assert read_key(Path("here"), {"pictures": "p1"}) != read_key(Path("here"), {"pictures": "p2"})


def test_recipes_share_runs_whatever_they_call_them(tmp_path):
    other = recipe({"name": "root"}, {"name": "child", "row": "child", "parents": {"init": "root"}})
    made = plan(tmp_path, recipe(*CHAIN), other)
    assert len(made.runs) == 4 and list(made.runs.values())[0].training.name == "first"
    again = plan(tmp_path, other)
    first = next(iter(again.runs.values()))
    assert first.name.startswith("root-seed0-")
    first.folder.with_name(f"old-name-seed0-{first.key}").mkdir(parents=True)
    assert next(iter(plan(tmp_path, other).runs.values())).name.startswith("old-name-seed0-")


@pytest.mark.parametrize("amp", ["off", "bf16"])
def test_the_demo_trains_in_either_precision(tmp_path, amp):
    """It takes `off` where the device does not compute in bfloat16; in YAML 1.1 that word is a boolean."""
    made = runs_of(tmp_path, recipe(*CHAIN), overrides=(Override.parse(f"amp={amp}"),))
    assert {run.config.amp for run in made.values()} == {amp}


def test_overrides_replace_the_recipes_settings(tmp_path):
    overrides = (Override("*", "amp", "bf16"), Override.parse("sec*.lr=0.7"))
    made = runs_of(tmp_path, recipe(*CHAIN), overrides=overrides, max_epochs=2)
    assert {run.config.amp for run in made.values()} == {"bf16"}
    assert {run.epochs for run in made.values()} == {2}
    assert {name: run.config.lr for name, run in made.items() if run.config.lr == 0.7} == {"second0": 0.7}
    assert made["second0"].command[made["second0"].command.index("--epochs") + 1] == "2"


def test_the_table_that_is_written_for_the_report(tmp_path):
    wanted = recipe(*CHAIN, {"name": "body", "row": "body", "every_seed": False}, seeds=(3, 4))
    made = plan(tmp_path, wanted, runtime_settings={"workers": 0})
    made.tables[0].write(GridOptions(tmp_path, {}, load_script))
    table = TablePlan.from_yaml(tmp_path / "tables" / "table0.yaml")
    assert (table.title, table.recipe) == ("fakes", "table0.yaml")
    assert [row.row for row in table.rows] == ["second", "third", "alone", "body"]
    assert [run.seed for run in table.rows[0].runs] == [3, 4] and len(table.rows[3].runs) == 1
    by_folder = {run.folder: run for run in made.runs.values()}
    for row in table.rows:
        for entry in row.runs:
            run = by_folder[tmp_path / entry.folder]
            assert entry.command == ("python", *run.command) and row.settings == run.training.settings
    assert table.rows[2].settings == {"lr": 0.3, "epochs": 3}


def test_rows_and_what_they_need(tmp_path):
    made = plan(tmp_path, recipe(*CHAIN))
    assert [run.training.name for run in made.select(["third"])] == ["first", "second", "third"]
    assert len(made.select([])) == 4
    with pytest.raises(UserError, match="--only fourth: no such row; there are: second; third; alone"):
        made.select(["fourth"])


@pytest.mark.parametrize(
    "trainings, message",
    [
        ([{"name": "a", "row": "A", "settings": {"lr": "no"}}], "table0.yaml: training a .*'A'.*--lr.*'no'"),
        ([{"name": "a", "row": "A", "settings": {"lrr": 1}}], "training a .*'A'.*unknown key 'lrr'"),
        ([{"name": "a", "row": "A"}, {"name": "b", "row": "B"}], "the rows 'A' and 'B' are the same run"),
    ],
)  # fmt: skip
def test_mistakes_in_a_recipe_name_file_row_and_key(tmp_path, trainings, message):
    with pytest.raises(UserError, match=message):
        plan(tmp_path, recipe(*trainings))


def test_rows_that_differ_in_length_alone_are_one_run_when_both_are_cut_short(tmp_path):
    longer = SETTINGS | {"epochs": 9}
    wanted = recipe({"name": "a", "row": "A"}, {"name": "b", "row": "B", "settings": longer})
    assert len(plan(tmp_path, wanted).runs) == 2 and len(plan(tmp_path, wanted, max_epochs=2).runs) == 1
    same = recipe({"name": "a", "row": "A"}, {"name": "b", "row": "B"})
    with pytest.raises(UserError, match="the rows 'A' and 'B' are the same run"):
        plan(tmp_path, same, max_epochs=2)


def test_mistakes_in_what_is_asked_for(tmp_path):
    with pytest.raises(UserError, match="--settings lrr: no training"):
        plan(tmp_path, recipe(*CHAIN), overrides=(Override("*", "lrr", 1),))
    with pytest.raises(UserError, match=r"--settings nobody\*\.lr: no training"):
        plan(tmp_path, recipe(*CHAIN), overrides=(Override("nobody*", "lr", 1),))
    with pytest.raises(UserError, match=r"not given: clips \(a tree\); add --inputs clips=FOLDER"):
        plan(tmp_path, recipe(WITH_DATA, inputs={"clips": "a tree"}))


def test_a_run_directory_that_was_edited_is_named(tmp_path):
    second = runs_of(tmp_path, recipe(*CHAIN))["second0"]
    file = second.folder / "config.yaml"
    second.config.to_yaml(file)
    plan(tmp_path, recipe(*CHAIN))
    second.config.replace(device="cpu", workers=5).to_yaml(file)
    plan(tmp_path, recipe(*CHAIN))
    second.config.replace(batch_size=31).to_yaml(file)
    with pytest.raises(
        UserError, match=r"second-seed0-\w{10}/config.yaml of training second .*batch_size: 31.* 32"
    ):
        plan(tmp_path, recipe(*CHAIN))


@pytest.mark.parametrize("text", ["lr", "=1", "lr=[1", "lr=!tag 1"])
def test_overrides_that_can_not_be_read(text):
    with pytest.raises(UserError, match="--settings"):
        Override.parse(text)
