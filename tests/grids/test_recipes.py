"""Every recipe fills the scripts' configs; what can't be meant is refused."""

import hashlib
from collections.abc import Iterable
from pathlib import Path

import pytest
import yaml

from core.cli import parse
from core.errors import UserError
from core.stage import Stage
from core.train_config import TrainConfig
from grid import load_script
from grids.inputs import Input
from grids.plan import GridOptions, Table, make_plan
from grids.progress import kind_of
from grids.recipe import Recipe, Training
from grids.run import Run
from metrics.early import QUARTERS, measurable
from models import EgoRNN, FlowStream, TwoStream
from models.cost import count_parameters, matching_width
from models.temporal import HEADS
from reporting.results import SOURCES

RECIPES = sorted((Path(__file__).resolve().parents[2] / "recipes").glob("*.yaml"))


IMAGES = {kind: kind for kind in ("frames", "maps", "flow_x", "flow_y")}


def planned(name: str, out: Path) -> Table:
    """A shipped recipe with its runs, on data that has all kinds of images."""
    file = next(path for path in RECIPES if path.name == name)
    recipe = Recipe.from_yaml(file)
    others = {name: {kind: f"{kind} of {name}" for kind in IMAGES} for name in recipe.inputs}
    others |= {"data": IMAGES, "pictures": IMAGES}  # which stand in the names below
    inputs = {name: Input(out / name, others[name]) for name in recipe.inputs}
    return make_plan({file: recipe}, GridOptions(out, inputs, load_script)).tables[0]


def first_seed(name: str, out: Path) -> dict[str, TrainConfig]:
    """The resolved configs of the first seed by training."""
    table = planned(name, out)
    return {step.training.name: run.config for step, run in table.runs if step.seed == table.recipe.seeds[0]}


_READ: set[tuple[str, str, str]] = set()
"""Settings whose words a script has read: flags do not depend on each other, and reading takes its time."""


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.name)
def test_a_recipe_fills_the_scripts_configs_and_its_commands_say_the_same(path, tmp_path):
    table = planned(path.name, tmp_path)
    done, shapes = set(), {}

    def shape(run: Run, names: Iterable[str]) -> tuple[str, dict[str, object]]:
        """A command without its seed and folders, and what the config holds of the recipe's settings."""
        command = " ".join(run.command).replace(str(run.folder), "OUT")
        for number, parent in enumerate(run.parents):
            command = command.replace(str(parent.folder), f"PARENT{number}")
        seed = f"--seed {run.config.seed}"
        assert command.count(seed) == 1, command
        return command.replace(seed, "--seed SEED"), {name: getattr(run.config, name) for name in names}

    for step, run in table.runs:
        assert done >= {parent.folder for parent in run.parents}, f"{run.name} stands before a parent"
        done.add(run.folder)
        for parent in run.parents:
            assert str(parent.folder) in run.command
        if step.seed != table.recipe.seeds[0]:  # whose commands are those of the first seed
            assert shape(run, step.training.settings) == shapes[step.training.name], run.name
            continue
        shapes[step.training.name] = shape(run, step.training.settings)
        settings = {
            (run.command[0], name, repr(getattr(run.config, name))) for name in step.training.settings
        }
        if settings <= _READ:
            continue
        _READ.update(settings)
        config_class = load_script(step.training.script).Config
        given = parse(config_class, run.command[1:])
        assert (given.out, given.seed, given.resume) == (run.folder, run.config.seed, True)
        asked = {name: getattr(given, name) for name in step.training.settings}
        assert asked == {name: getattr(run.config, name) for name in asked}
    for seed in table.recipe.seeds:
        variants = [one for one in table.recipe.variants if one.every_seed or seed == table.recipe.seeds[0]]
        rows = {training.row for training in variants} - {None}
        assert {step.training.row for step, _ in table.runs if step.seed == seed} >= rows


def test_step_1_has_the_rows_of_the_table_and_the_published_epochs(tmp_path):
    recipe = Recipe.from_yaml(next(path for path in RECIPES if path.name == "step1.yaml"))
    kinds = ("ConvLSTM", "ConvLSTM-attention", "two-stream (joint)")
    expected = {f"{kind}, {frames} frames" for kind in kinds for frames in (7, 16, 25)} | {
        "temporal warp flow"
    }
    assert {training.row for training in recipe.variants} - {None} == expected
    table = planned("step1.yaml", tmp_path)
    runs = {step.training.name: run for step, run in table.runs if step.seed == 0}
    for frames in (7, 16, 25):
        joint = runs[f"joint-frames-{frames}"]
        assert joint.parents == (runs[f"attention-frames-{frames}"], runs["flow"])
        first = runs[f"attention-stage1-frames-{frames}"]
        assert (first.config.frames, first.config.attention) == (frames, "cam")
        second = runs[f"convlstm-frames-{frames}"]
        assert (second.config.frames, second.config.attention, second.config.stage) == (frames, "none", 2)
    for training in table.recipe.variants:
        assert training.settings["epochs"] == published_stage(training).epochs


@pytest.mark.parametrize("variant", ["classification", "regression"])
def test_step_2_has_six_sets_or_more_over_one_stage_1(tmp_path, variant):
    first, *rows = first_seed(f"step2_{variant}.yaml", tmp_path).values()
    assert first.stage == 1 and {row.init for row in rows} == {first.out}
    heads = [row.motion_values() | {"lr": row.lr} for row in rows if row.ms == variant]
    distinct = {tuple(sorted(values.items(), key=str)) for values in heads}
    assert len(distinct) == len(heads) == len(rows) - 1 >= 6
    varied = {key for key in heads[0] if len({values[key] for values in heads}) > 1}
    assert varied >= {"lr", "ms_weight", "ms_layer", "ms_threshold"}
    assert variant == "classification" or varied >= {"ms_loss", "ms_activation"}
    assert {row.epochs for row in rows} == {EgoRNN.stage(2, "convlstm").epochs}


def test_sparnet_has_the_rows_of_its_paper(tmp_path):
    found = set()
    for config in first_seed("sparnet.yaml", tmp_path).values():
        assert (config.stage, config.epochs, config.batch_size) == ("joint", 500, 4)
        found.add((config.attention, config.ms, config.frames))
    kinds = [("none", "none"), ("cam", "none"), ("none", "classification")]
    assert found == {(*kind, frames) for kind in kinds for frames in (7, 25)}


# Systems of which no number on GTEA61 is known.
UNPUBLISHED = {"two_stream_i3d", "rgb_depth", "frames_and_lstm"}


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.name)
def test_published_numbers_are_of_what_the_row_trains(path):
    kinds = {key.partition("-")[0] for source in SOURCES for key in source.top1}
    recipe = Recipe.from_yaml(path)
    named = [training for training in recipe.variants if training.published is not None]
    compared = "pictures" not in recipe.inputs and path.stem not in UNPUBLISHED
    assert bool(named) == compared, "numbers of GTEA61 say nothing about the kitchen"
    for training in named:
        kind = training.published
        assert kind in kinds
        assert (kind == "flow") == (training.script == "train_flow")
        assert (kind == "joint") == (training.script == "train_twostream")
        assert training.settings.get("ms", "none") in ("none", kind)
        assert kind not in ("classification", "regression") or training.settings["ms"] == kind


def test_what_the_shipped_recipes_share_is_planned_once(tmp_path):
    """Stage 1 with attention at 7 frames is in three recipes for GTEA61, under two names; the quick ones
    share a backbone and both stages with attention."""
    inputs = {name: Input(tmp_path, IMAGES) for name in ("data", "pictures")}
    options = GridOptions(tmp_path, inputs, load_script)

    def counts(*names):
        recipes = {path: Recipe.from_yaml(path) for path in RECIPES if path.stem in names}
        assert len(recipes) == len(names)
        plan = make_plan(recipes, options)
        return sum(len({run.key for _, run in table.runs}) for table in plan.tables), len(plan.runs)

    assert counts("step1_quick", "step2_quick") == (22 + 13, 22 + 13 - (1 + 3 + 3))
    alone, together = counts("step1", "step2_classification", "step2_regression")
    # Both stages with attention at 7 frames, three seeds, in all three; weight 0 on layer3 has another loss.
    assert alone - together == 2 * (3 + 3)


NAMES = {
    "backbones_kitchen": "f78a631ec2",
    "early_kitchen": "13137ed89c",
    "frames_and_lstm": "fc2804a53a",
    "heads": "6e311d9863",
    "heads_kitchen": "bbfd530d71",
    "networks_kitchen": "921a9b6375",
    "networks_scratch_kitchen": "285b26dcd2",
    "pictures_kitchen": "152acf5851",
    "precision_kitchen": "01ad8d6738",
    "rgb_depth": "c3d03079c0",
    "sparnet": "817723598f",
    "step1": "6927e27bc4",
    "step1_quick": "86361ab77f",
    "step2_classification": "d819b1cbe6",
    "step2_kitchen": "0d1baa7065",
    "step2_quick": "08bdcb484b",
    "step2_regression": "1848362633",
    "two_stream": "2a64c709c8",
    "two_stream_i3d": "dfb1044026",
}


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.name)
def test_the_folders_of_runs_keep_their_names(path, tmp_path):
    """Finished runs are found by name. Only a changed recipe or changed numbers may rename one."""
    runs = {run.key: run.name for _, run in planned(path.name, tmp_path).runs}
    assert hashlib.sha256(" ".join(runs.values()).encode()).hexdigest()[:10] == NAMES[path.stem]


@pytest.mark.parametrize(
    "name, kinds",
    [("step1", 3 * 3 + 1), ("step2_classification", 4), ("step2_regression", 5), ("sparnet", 4)],
)
def test_rates_and_weights_leave_the_time_of_an_epoch_as_it_is(tmp_path, name, kinds):
    """In step 1: three lengths of stage 1, stage 2 and joint training, and flow. In step 2: heads' places."""
    assert len({kind_of(run) for _, run in planned(f"{name}.yaml", tmp_path).runs}) == kinds


def published_stage(training: Training) -> Stage:
    if "stage" in training.settings:
        return EgoRNN.stage(training.settings["stage"], "convlstm")
    return TwoStream.stage("convlstm") if training.parents else FlowStream.STAGE


PLAIN = {
    "title": "a table",
    "inputs": {"data": "clips", "pictures": "class folders"},
    "seeds": [3, 4],
    "trainings": [
        {
            "name": "body",
            "script": "train_frame",
            "inputs": {"images": "pictures"},
            "every_seed": False,
        },
        {"name": "flow", "script": "train_flow", "row": "flow", "parents": {"weights": "body"}},
    ],
}


def test_shared_trainings_are_run_once_and_found_by_all_seeds():
    steps = Recipe(**PLAIN).seeded_trainings()
    assert [(step.training.name, step.seed) for step in steps] == [("body", 3), ("flow", 3), ("flow", 4)]
    assert [step.parents for step in steps] == [{}, {"weights": steps[0]}, {"weights": steps[0]}]


def chain(*trainings: dict) -> Recipe:
    """A recipe of train_rgb with these trainings and one seed."""
    full = [{"script": "train_rgb", **training} for training in trainings]
    return Recipe(title="a table", inputs={"data": "clips"}, seeds=[0], trainings=full)


def test_lists_multiply_out_and_children_follow_their_parents():
    recipe = chain(
        {"name": "first", "grid": {"frames": [7, 16]}},
        {"name": "second", "parents": {"init": "first"}, "row": "{frames} frames", "grid": {"lr": [0.1, 1]}},
        {"name": "other", "row": "alone", "settings": {"frames": 3}},
        {"name": "joint", "row": "joint", "parents": {"rgb": "second", "flow": "other", "weights": "first"}},
    )
    found = {training.name: training for training in recipe.variants}
    assert list(found) == (
        ["first-frames-7", "first-frames-16"]
        + [f"second-frames-{frames}-lr-{lr}" for frames in (7, 16) for lr in (0.1, 1)]
        + ["other"]
        + [f"joint-frames-{frames}-lr-{lr}" for frames in (7, 16) for lr in (0.1, 1)]
    )
    second = found["second-frames-16-lr-0.1"]
    assert (second.row, second.settings) == ("16 frames, lr 0.1", {"lr": 0.1})
    assert second.parents == {"init": "first-frames-16"}
    joint = found["joint-frames-7-lr-1"]
    assert joint.row == "joint, frames 7, lr 1" and joint.settings == {}
    assert joint.parents == {"rgb": "second-frames-7-lr-1", "flow": "other", "weights": "first-frames-7"}


def test_one_setting_varied_twice_and_values_that_are_lists():
    recipe = chain(
        {"name": "a", "grid": {"lr": [1, 2]}},
        {"name": "b", "row": "b", "parents": {"init": "a"}, "grid": {"lr": [3], "milestones": [[5, 9], []]}},
    )
    assert [(training.name, training.row) for training in recipe.variants[2:4]] == [
        ("b-lr-1-lr-3-milestones-5_9", "b, a lr 1, lr 3, milestones 5,9"),
        ("b-lr-1-lr-3-milestones-", "b, a lr 1, lr 3, milestones "),
    ]
    assert recipe.variants[2].settings == {"lr": 3, "milestones": [5, 9]}


@pytest.mark.parametrize(
    "number, change, message",
    [
        (1, {"setings": {}}, "setings"),
        (1, {"name": "body"}, "two trainings are called body"),
        (1, {"parents": {"weights": "head"}}, "row 'flow'.: weights takes head, but no training is called"),
        (1, {"parents": {"weights": "flow"}}, "takes flow, which is the training itself"),
        (0, {"parents": {"weights": "flow"}}, "training body: weights takes flow, which comes after it"),
        (0, {"grid": {"lr": []}}, "training body: grid.lr lists no value"),
        (0, {"grid": {"images": ["here"]}}, "sets images twice"),
        (1, {"grid": {"lr": [0.1, 0.1]}}, "two trainings are called flow-lr-0.1"),
        (1, {"settings": {"cache": "here"}}, "sets cache, which is chosen when the recipe is run"),
        (1, {"inputs": {"data": "films"}}, "input films, which is not declared"),
        (1, {"settings": {"weights": "none"}}, "sets weights twice"),
        (1, {"settings": {"seed": 1}}, "sets seed, which is chosen when the recipe is run"),
        (0, {"row": "flow"}, "two trainings have the row 'flow'"),
        (0, {"script": "rm -rf"}, "script"),
        (0, {"name": "../x"}, "name"),
        (0, {"published": "flow"}, "training body has `published`, but no row"),
    ],
)
def test_recipes_that_do_not_fit_together(tmp_path, number, change, message):
    trainings = [dict(training) for training in PLAIN["trainings"]]
    trainings[number] |= change
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(PLAIN | {"trainings": trainings}))
    with pytest.raises(UserError, match=message) as error:
        Recipe.from_yaml(tmp_path / "recipe.yaml")
    assert str(tmp_path / "recipe.yaml") in str(error.value)


def test_a_training_for_all_seeds_with_a_parent_for_each():
    trainings = [PLAIN["trainings"][0] | {"every_seed": True}, PLAIN["trainings"][1] | {"every_seed": False}]
    with pytest.raises(UserError, match="is trained once for all seeds, but its parent body with each"):
        Recipe(**(PLAIN | {"trainings": trainings}))


def test_a_baseline_is_a_row():
    assert Recipe(**PLAIN, baseline="flow").baseline == "flow"
    with pytest.raises(UserError, match="the baseline 'body' is not a row"):
        Recipe(**PLAIN, baseline="body")


def test_inputs_that_are_missing():
    with pytest.raises(UserError, match=r"pictures \(class folders\); add --inputs pictures=FOLDER"):
        Recipe(**PLAIN).check_inputs(["data"])


def heads_of(file: str, out: Path) -> dict[str, TrainConfig]:
    """The resolved configs of a table of heads, first seed, by row."""
    table = planned(file, out)
    rows = [(step.training.row, run.config) for step, run in table.runs if step.seed == table.recipe.seeds[0]]
    return {row: config for row, config in rows if row is not None}


@pytest.mark.parametrize("file", ["heads.yaml", "heads_kitchen.yaml"])
def test_the_tables_of_heads_have_them_all_at_one_width_and_can_be_read_early(tmp_path, file):
    rows = heads_of(file, tmp_path)
    assert set(HEADS) <= rows.keys()
    widths = {head: rows[head].hidden for head in HEADS}
    usual = widths["convlstm"]
    assert widths == {head: min(usual, HEADS[head].largest_hidden or usual) for head in HEADS}
    schedule = ("stage", "epochs", "lr", "milestones", "batch_size")
    for name in ("attention", "frames", "backbone", "dropout", *schedule):
        assert len({getattr(config, name) for config in rows.values()}) == 1, name
    assert measurable(rows["convlstm"].frames) == QUARTERS


def test_heads_are_compared_at_equal_parameters_where_they_can_be(tmp_path):
    """Every head has as many as the ConvLSTM in one row, or none of its widths gives it as many."""
    rows, channels = heads_of("heads_kitchen.yaml", tmp_path), 512
    wanted = count_parameters("convlstm", channels, rows["convlstm"].hidden, rows["convlstm"].frames)
    counts = {
        row: count_parameters(config.temporal, channels, config.hidden, config.frames)
        for row, config in rows.items()
    }
    equal = {row: config for row, config in rows.items() if abs(counts[row] - wanted) <= wanted / 10}
    assert rows.keys() - equal.keys() <= set(HEADS), "rows that are none of the heads at the usual width"
    assert all(row == f"{rows[row].temporal}, {rows[row].hidden} wide" for row in rows.keys() - set(HEADS))
    for head in set(HEADS) - {config.temporal for config in equal.values()}:
        assert matching_width(head, channels, rows["convlstm"].frames, wanted) is None
