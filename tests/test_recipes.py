"""Every recipe fills the scripts' configs; what can't be meant is refused."""

import importlib
from pathlib import Path

import pytest
import yaml

import train_rgb
from engine.errors import UserError
from engine.recipe import Recipe
from engine.stage import Stage
from models.stages import FLOW, rgb_stage, two_stream_stage
from viz.report.published import SOURCES

RECIPES = sorted((Path(__file__).resolve().parents[1] / "recipes").glob("*.yaml"))


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.name)
def test_a_recipe_fills_the_scripts_configs(path, tmp_path):
    recipe = Recipe.from_yaml(path)
    steps = recipe.steps({name: tmp_path / name for name in recipe.inputs}, tmp_path / "out")
    done = set()
    for step in steps:
        config = importlib.import_module(step.training.script).Config(**step.values)
        assert (config.out, config.seed, config.resume) == (step.out, step.seed, True)
        assert done >= set(step.parents), f"{step.training.name} stands before a parent"
        assert step.out not in done
        done.add(step.out)
    rows = [training for training in recipe.trainings if training.row]
    for seed in recipe.seeds:
        assert {step.training.name for step in steps if step.seed == seed} >= {row.name for row in rows}


def test_step_1_has_the_rows_of_the_table_and_the_published_epochs(tmp_path):
    recipe = Recipe.from_yaml(next(path for path in RECIPES if path.name == "step1.yaml"))
    kinds = ("ConvLSTM", "ConvLSTM-attention", "two-stream (joint)")
    expected = {f"{kind}, {frames} frames" for kind in kinds for frames in (7, 16, 25)} | {
        "temporal warp flow"
    }
    assert {training.row for training in recipe.trainings} - {None} == expected
    steps = recipe.steps({"data": tmp_path}, tmp_path)
    by_name = {step.training.name: step.values for step in steps if step.seed == 0}
    for frames in (7, 16, 25):
        first = by_name[f"attention-{frames}-stage1"]
        assert (first["frames"], first["attention"]) == (frames, "cam")
        assert by_name[f"convlstm-{frames}-stage1"]["attention"] == "none"
        joint = by_name[f"joint-{frames}"]
        assert Path(joint["rgb"]) == tmp_path / f"attention-{frames}" / "seed0"
        assert Path(joint["flow"]) == tmp_path / "flow" / "seed0"
    for step in steps:
        assert step.values["epochs"] == published_stage(step.values).epochs


@pytest.mark.parametrize("variant", ["classification", "regression"])
def test_step_2_has_six_sets_or_more_over_one_stage_1(tmp_path, variant):
    recipe = Recipe.from_yaml(next(path for path in RECIPES if path.name == f"step2_{variant}.yaml"))
    steps = [step for step in recipe.steps({"data": tmp_path}, tmp_path) if step.seed == 0]
    first, *rows = (train_rgb.Config(**step.values) for step in steps)
    assert first.stage == 1 and {row.init for row in rows} == {first.out}
    heads = [row.motion_values() | {"lr": row.lr} for row in rows if row.ms == variant]
    distinct = {tuple(sorted(values.items(), key=str)) for values in heads}
    assert len(distinct) == len(heads) == len(rows) - 1 >= 6
    varied = {key for key in heads[0] if len({values[key] for values in heads}) > 1}
    assert varied >= {"lr", "ms_weight", "ms_layer", "ms_threshold"}
    assert variant == "classification" or varied >= {"ms_loss", "ms_activation"}
    assert {row.epochs for row in rows} == {rgb_stage(2, "convlstm").epochs}


def test_sparnet_has_the_rows_of_its_paper(tmp_path):
    recipe = Recipe.from_yaml(next(path for path in RECIPES if path.name == "sparnet.yaml"))
    found = set()
    for step in recipe.steps({"data": tmp_path}, tmp_path):
        config = train_rgb.Config(**step.values)
        assert (config.stage, config.epochs, config.batch_size) == ("joint", 500, 4)
        found.add((config.attention, config.ms, config.frames))
    kinds = [("none", "none"), ("cam", "none"), ("none", "classification")]
    assert found == {(*kind, frames) for kind in kinds for frames in (7, 25)}


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.name)
def test_published_numbers_are_of_what_the_row_trains(path):
    kinds = {key.partition("-")[0] for source in SOURCES for key in source.top1}
    named = [training for training in Recipe.from_yaml(path).trainings if training.published is not None]
    assert bool(named) == ("quick" not in path.name), "numbers of GTEA61 say nothing about the kitchen"
    for training in named:
        kind = training.published
        assert kind in kinds
        assert (kind == "flow") == (training.script == "train_flow")
        assert (kind == "joint") == (training.script == "train_twostream")
        assert training.settings.get("ms", "none") in ("none", kind)
        assert kind not in ("classification", "regression") or training.settings["ms"] == kind


def test_the_quick_recipes_share_what_both_begin_with():
    def trainings(name):
        recipe = Recipe.from_yaml(next(path for path in RECIPES if path.name == f"{name}_quick.yaml"))
        return {t.name: t.model_dump(exclude={"row"}) for t in recipe.trainings}

    first, second = trainings("step1"), trainings("step2")
    shared = first.keys() & second.keys()
    assert shared == {"backbone", "attention-7-stage1", "attention-7"}
    assert all(first[name] == second[name] for name in shared)


def published_stage(values: dict) -> Stage:
    if "stage" in values:
        return rgb_stage(values["stage"], "convlstm")
    return two_stream_stage("convlstm") if "rgb" in values else FLOW


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
    steps = Recipe(**PLAIN).steps({"data": Path("clips"), "pictures": Path("pictures")}, Path("out"))
    assert [(step.training.name, step.seed) for step in steps] == [("body", 3), ("flow", 3), ("flow", 4)]
    assert steps[0].values == {"images": "pictures", "out": "out/body/seed3", "seed": 3, "resume": True}
    body = {"weights": "out/body/seed3", "data": "clips", "resume": True}
    assert steps[2].values == body | {"out": "out/flow/seed4", "seed": 4}


@pytest.mark.parametrize(
    "number, change, message",
    [
        (1, {"setings": {}}, "setings"),
        (1, {"name": "body"}, "two trainings are called body"),
        (1, {"parents": {"weights": "head"}}, "parent head does not stand before it"),
        (0, {"parents": {"weights": "flow"}}, "parent flow does not stand before it"),
        (1, {"inputs": {"data": "films"}}, "input films, which is not declared"),
        (1, {"settings": {"weights": "none"}}, "sets weights twice"),
        (1, {"settings": {"seed": 1}}, "sets seed, which is for who runs the recipe"),
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
    with pytest.raises(UserError, match="flow is for all seeds, its parent body for each"):
        Recipe(**(PLAIN | {"trainings": trainings}))


def test_a_baseline_is_a_row():
    assert Recipe(**PLAIN, baseline="flow").baseline == "flow"
    with pytest.raises(UserError, match="the baseline 'body' is no row"):
        Recipe(**PLAIN, baseline="body")


def test_inputs_that_are_missing():
    with pytest.raises(UserError, match="pictures: class folders; given were .'data'."):
        Recipe(**PLAIN).steps({"data": Path()}, Path())
