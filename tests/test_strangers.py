"""Files from strangers: nothing in them is run, and whatever is wrong with them ends in one message."""

import ast
import os
import pickle
import subprocess
import zipfile
import zlib
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import torch

import evaluate
import grid
import published
import train_rgb
from core.checkpoint import load_checkpoint, save_checkpoint
from core.config import read_yaml
from core.errors import UserError
from core.files import read_json, write_text
from data.index import ClipIndex
from grids.recipe import Recipe
from metrics.predictions import Predictions
from models import build_model
from models.build import build_trained, read_published
from tests.support.trees import png_tree
from training.cache.frames import KeptFrames
from training.cache.store import CacheFolder

ROOT = Path(__file__).parents[1]
TOUCH = "touch pwned"


class Malicious:
    def __reduce__(self):
        return (os.system, (TOUCH,))


@pytest.fixture(autouse=True)
def nothing_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    yield
    assert not (tmp_path / "pwned").exists(), "what a file said was run"


def malicious_files(folder: Path) -> list[Path]:
    """The same attack as torch's archive, as its old format, and as a bare pickle."""
    files = [folder / name for name in ("new.pt", "old.pt", "bare.pt")]
    torch.save({"model": Malicious()}, files[0])
    torch.save({"model": Malicious()}, files[1], _use_new_zipfile_serialization=False)
    files[2].write_bytes(pickle.dumps(Malicious()))
    return files


def test_the_attack_works_where_pickles_are_trusted(tmp_path):
    for file in malicious_files(tmp_path)[:2]:
        torch.load(file, weights_only=False)
        (tmp_path / "pwned").unlink()


def test_a_malicious_checkpoint_is_refused_at_every_door(tmp_path, command):
    run, tree = tmp_path / "run", tmp_path / "tree"
    run.mkdir()
    for file in malicious_files(tmp_path):
        with pytest.raises(UserError, match="could run code|can't be read"):
            load_checkpoint(file)
        (run / "last.pt").write_bytes(file.read_bytes())
        doors = [
            (evaluate.main, evaluate.Config, "--run", run, "--data", tree),
            (evaluate.main, evaluate.Config, "--fuse", run, tmp_path, "--data", tree),
            (published.main, published.Config, "--checkpoint", file, "--data", tree, "--out", "out"),
            (published.main, published.Config, "--run", run, "--out", "out"),
            (train_rgb.main, train_rgb.Config, "--data", tree, "--out", "o", "--stage", 2, "--init", run),
        ]
        for main, config, *flags in doors:
            status, _, said = command(main, config, *flags)
            assert status == 2 and said.count("\n") == 1 and file.suffix in said, said


def test_a_malicious_cache_is_made_again(tmp_path):
    series = ClipIndex.from_tree(png_tree(tmp_path / "tree")).clips[0].frames
    kept = KeptFrames(CacheFolder(tmp_path / "cache"))
    frames = kept.read(series, [1, 2], 4)
    [path] = (tmp_path / "cache").iterdir()
    content = BytesIO()
    np.save(content, np.array([Malicious()], object), allow_pickle=True)
    for evil in (content.getvalue(), pickle.dumps(Malicious()), b"\x93NUMPY\x01\x00\xff\xff"):
        path.write_bytes(evil + zlib.crc32(evil).to_bytes(4, "little"))
        assert torch.equal(kept.read(series, [1, 2], 4), frames)


def test_malicious_predictions_are_refused(tmp_path):
    objects = np.array([Malicious()], object)
    np.savez(tmp_path / "a.npz", clip=objects, label=objects, logits=objects, allow_pickle=True)
    with pytest.raises(UserError, match="a.npz holds no predictions"):
        Predictions.load(tmp_path / "a.npz")


YAML = [
    f"a: !!python/object/apply:os.system ['{TOUCH}']",
    f"!!python/object/new:subprocess.Popen [['{TOUCH}']]",
    "a: !!python/name:os.system",
    "a: !!python/module:os",
    "a: 2020-99-99",
    "a: !!timestamp x",
    "a: !!int x",
    "? [a]\n: 1",
    "a: " + "[" * 600 + "]" * 600,
    "\0",
    "a: *b",
]


@pytest.mark.parametrize("text", YAML, ids=range(len(YAML)))
def test_yaml_of_code_and_of_no_sense_is_refused(tmp_path, text, command):
    file = tmp_path / "evil.yaml"
    file.write_text(text)
    for reader in (read_yaml, Recipe.from_yaml, train_rgb.Config.from_yaml):
        with pytest.raises(UserError, match="evil.yaml"):
            reader(file)
    flags = ("--recipe", file, "--data", tmp_path, "--out", tmp_path / "out")
    assert command(grid.main, grid.Config, *flags)[0] == 2


def test_deep_json_is_refused(tmp_path):
    write_text(tmp_path / "a.json", "[" * 100000)
    with pytest.raises(UserError, match="a.json"):
        read_json(tmp_path / "a.json")


def same(one: object, other: object) -> bool:
    if isinstance(one, torch.Tensor):
        return isinstance(other, torch.Tensor) and torch.equal(one, other)
    if isinstance(one, dict):
        return (
            isinstance(other, dict)
            and one.keys() == other.keys()
            and all(same(one[k], other[k]) for k in one)
        )
    return one == other


def damaged(content: bytes, rng: np.random.Generator) -> bytes:
    """Flip some bytes, cut the end off, or overwrite a stretch with zeros."""
    changed, how = bytearray(content), rng.integers(3)
    start = int(rng.integers(len(content)))
    if how == 0:
        for position in rng.integers(len(content), size=int(rng.integers(1, 5))):
            changed[position] ^= int(rng.integers(1, 256))
    elif how == 1:
        del changed[start:]
    else:
        changed[start : start + 100] = bytes(len(changed[start : start + 100]))
    return bytes(changed)


def test_a_damaged_file_is_refused_or_read_rightly(tmp_path, stress, figures):
    whole = {"model": {f"{n}.weight": torch.randn(9, 7) for n in range(4)}, "epoch": 3, "class_names": ["a"]}
    save_checkpoint(tmp_path / "a.pt", whole)
    labels = np.arange(20) % 4
    scores = Predictions(
        tuple(map(str, range(20))), labels, np.random.default_rng(0).normal(size=(20, 4)), 0, {}
    )
    scores.save(tmp_path / "a.npz")
    originals = [(tmp_path / name).read_bytes() for name in ("a.pt", "a.npz")]
    rng, refused, tries = np.random.default_rng(0), 0, 4000 if stress else 60
    for _ in range(tries):
        for name, original in zip(("b.pt", "b.npz"), originals, strict=True):
            (tmp_path / name).write_bytes(damaged(original, rng))
        try:
            assert same(load_checkpoint(tmp_path / "b.pt"), whole), "damage was loaded"
        except UserError:
            refused += 1
        try:
            found = Predictions.load(tmp_path / "b.npz")
            assert np.array_equal(found.logits, scores.logits) and found.keys == scores.keys
        except UserError:
            refused += 1
    figures["damaged checkpoints and predictions"] += 2 * tries
    figures["of them refused, the others sound"] += refused


def test_packed_checkpoints_are_not_unpacked(tmp_path):
    with zipfile.ZipFile(tmp_path / "bomb.pt", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("bomb/data.pkl", bytes(10**7))
    with pytest.raises(UserError, match="packed"):
        load_checkpoint(tmp_path / "bomb.pt")


def test_a_network_described_larger_than_its_weights_takes_no_memory():
    small = {"name": "FlowStream", "num_classes": 3, "stack": 2, "backbone": "resnet18"}
    weights = build_model(small).state_dict()
    assert isinstance(build_trained(small, weights, "run"), torch.nn.Module)
    for wrong in (
        small | {"num_classes": 10**13},
        small | {"stack": 10**11},
        small | {"no_such_argument": 1},
        small | {"name": "system"},
        small | {"backbone": "resnet9000"},
        {},
    ):
        with pytest.raises(UserError, match="^run holds no network that can be built"):
            build_trained(wrong, weights, "run")
    with pytest.raises(UserError):
        read_published({"fc.weight": "no tensor"})


TRACKED = [
    ROOT / name
    for name in subprocess.run(
        ["git", "ls-files", "*.py"], cwd=ROOT, capture_output=True, text=True, check=False
    ).stdout.split()
    if not name.startswith("tests/")
]


@pytest.mark.skipif(not TRACKED, reason="no checkout of git to list the files of")
def test_no_code_of_ours_trusts_a_pickle_or_builds_a_shell():
    """Of the calls that would: none at all, or none without the argument that makes them safe."""
    never = {
        "eval",
        "exec",
        "os.system",
        "os.popen",
        "pickle.load",
        "pickle.loads",
        "yaml.load",
        "yaml.full_load",
    }
    never |= {"yaml.unsafe_load", "marshal.loads", "tarfile.open", "zipfile.Path", "shutil.unpack_archive"}
    for path in TRACKED:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call):
                continue
            name, given = (
                ast.unparse(node.func),
                {word.arg: ast.unparse(word.value) for word in node.keywords},
            )
            where = f"{path.name}:{node.lineno} {name}"
            assert name not in never and given.get("shell", "False") == "False", where
            assert given.get("allow_pickle", "False") == "False", where
            assert name != "torch.load" or given.get("weights_only") == "True", where
            if name.startswith("subprocess.") and name.split(".")[1] in ("run", "Popen"):
                assert not isinstance(node.args[0], (ast.JoinedStr, ast.Constant)), where
            assert not name.endswith((".extractall", ".extract")), where
