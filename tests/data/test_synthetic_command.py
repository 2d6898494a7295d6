"""The kitchen's command: same bytes whatever the jobs, goes on after a stop, refuses what is not its own."""

import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from core import cli
from core.errors import UserError
from data.synthetic import catalogue, command
from data.synthetic.catalogue import CLASSES, Picture, draw_picture
from data.synthetic.command import Settings
from data.synthetic.hands import HandSprites, HandStyle
from data.synthetic.presets import ClipSpec, PresetName, plan
from data.synthetic.scene import PEOPLE, Backdrop, Person
from data.tree import rgb_folder, truth_file
from tests.support.trees import contents


def main(settings: Settings) -> None:
    """The command, with four short, small clips in place of the presets'."""
    command.main(settings, short_plan)


def short_plan(preset: PresetName, seed: int) -> list[ClipSpec]:
    return [
        ClipSpec(u, a, "1", 4, (114, 64), seed) for u in ("S1", "S2") for a in ("open_jam", "pour_honey,cup")
    ]


def test_same_bytes_whatever_the_jobs(tmp_path: Path) -> None:
    for jobs in (1, 2):
        main(Settings(out=tmp_path / f"jobs{jobs}", preset="tiny", jobs=jobs))
    one, two = contents(tmp_path / "jobs1"), contents(tmp_path / "jobs2")
    assert one == two
    assert len(one) == 4 * 4 + 4 + 1
    main(Settings(out=tmp_path / "other", preset="tiny", seed=1, jobs=1))
    assert contents(tmp_path / "other") != one


def test_a_hidden_start_is_another_kitchen_and_none_is_the_same(tmp_path: Path) -> None:
    for name, flags in {"plain": {}, "none": {"hidden_start": 0.0}, "hidden": {"hidden_start": 0.25}}.items():
        main(Settings(out=tmp_path / name, preset="tiny", jobs=1, **flags))
    plain, none, hidden = (contents(tmp_path / name) for name in ("plain", "none", "hidden"))
    assert plain == none and plain.keys() == hidden.keys() and b"hidden_start" not in plain[command.MARK]
    truth = truth_file(tmp_path / "hidden", "S1", "open_jam", "1")
    with np.load(truth) as found:
        assert not found["layer"][:1].any() and found["layer"][1:].any(axis=(1, 2)).all()
    with pytest.raises(UserError, match="hidden_start 0.25.* asked for was .*seed 0; name another folder"):
        main(Settings(out=tmp_path / "hidden", preset="tiny", jobs=1))
    with pytest.raises(UserError, match="--hidden-start belongs to --preset"):
        Settings(out=tmp_path / "x", catalogue=3, hidden_start=0.25)


def test_goes_on_after_a_stop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole, cut = (Settings(out=tmp_path / name, preset="tiny", jobs=1) for name in ("whole", "cut"))
    main(whole)
    written = []

    def dies(path: str, *rest: Any) -> bool:
        written.append(path)
        if len(written) == 7:
            raise KeyboardInterrupt
        return imwrite(path, *rest)

    imwrite = cv2.imwrite
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(cv2, "imwrite", dies)
        main(cut)
    frames = rgb_folder(cut.out, "S1", "pour_honey,cup", "1")
    assert not frames.exists() and rgb_folder(cut.out, "S1", "open_jam", "1").is_dir()
    (frames.parent / ".rgb.left").mkdir(parents=True)
    (truth_file(cut.out, "S1", "pour_honey,cup", "1").parent).mkdir(parents=True, exist_ok=True)
    main(cut)
    assert contents(cut.out) == contents(whole.out)
    assert not (frames.parent / ".rgb.left").exists()


def test_frames_never_stand_without_their_truth(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full_disk(*_: object, **__: object) -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr(np, "savez_compressed", full_disk)
    with pytest.raises(UserError, match="No space"):
        main(Settings(out=tmp_path, preset="tiny", jobs=1))
    assert not list(tmp_path.rglob("rgb")) and not list(tmp_path.rglob("*.npz"))


@pytest.mark.parametrize("wanted", [dict(preset="demo"), dict(preset="tiny", seed=3), dict(catalogue=5)])
def test_refuses_another_run_s_folder(tmp_path: Path, wanted: dict[str, object]) -> None:
    main(Settings(out=tmp_path, preset="tiny", jobs=1))
    before = contents(tmp_path)
    with pytest.raises(UserError, match="holds edition 1, preset tiny, seed 0, asked for"):
        main(Settings(out=tmp_path, jobs=1, **wanted))
    assert contents(tmp_path) == before


def test_refuses_foreign_files(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(UserError, match="not the synthetic kitchen's"):
        main(Settings(out=tmp_path, preset="tiny", jobs=1))
    with pytest.raises(UserError, match="is a file"):
        main(Settings(out=tmp_path / "thesis.txt", preset="tiny", jobs=1))
    assert contents(tmp_path) == {"thesis.txt": b"mine"}


@pytest.mark.parametrize(
    "flags",
    [
        ["--preset", "tiny", "--jobs", "0"],
        ["--preset", "tiny", "--catalogue", "4"],
        [],
        ["--catalogue", "-3"],
        ["--preset", "huge"],
        ["--preset", "tiny", "--seed", "-1"],
        ["--catalogue", "4", "--size", "8"],
        ["--catalogue", "4", "--without-users", "S9"],
        ["--catalogue", "4", "--without-users", "S1", "S2", "S3", "S4"],
        ["--preset", "tiny", "--without-users", "S2"],
    ],
)
def test_bad_flags_end_with_status_2(
    flags: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["synthetic", "--out", str(tmp_path / "new"), *flags])
    with pytest.raises(SystemExit) as stop:
        cli.run(command.main, Settings)
    assert stop.value.code == 2 and not (tmp_path / "new").exists()


def test_catalogue_fills_class_folders(tmp_path: Path) -> None:
    settings = Settings(out=tmp_path, catalogue=70, size=32, jobs=1)
    main(settings)
    pictures = sorted(tmp_path.rglob("*.png"))
    assert len(pictures) == 70 and {path.parent.name for path in pictures} == set(CLASSES)
    assert all(cv2.imread(str(path)).shape == (32, 32, 3) for path in pictures)
    before = contents(tmp_path)
    pictures[11].unlink()
    main(settings)
    assert contents(tmp_path) == before


def test_pictures_without_users_show_neither_their_tables_nor_their_hands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tables, skins = set(), set()

    def paints(person: Person, *rest: Any) -> Backdrop:
        tables.add(person.table)
        return paint(person, *rest)

    def draws(style: HandStyle, *rest: Any) -> HandSprites:
        skins.add(style.skin)
        return draw(style, *rest)

    paint, draw = catalogue.paint_backdrop, catalogue.hands.draw_hand
    monkeypatch.setattr(catalogue, "paint_backdrop", paints)
    monkeypatch.setattr(catalogue.hands, "draw_hand", draws)
    for users, flags in (({"S1", "S2", "S3", "S4"}, {}), ({"S1", "S3"}, {"without_users": ("S4", "S2")})):
        tables.clear(), skins.clear()
        main(Settings(out=tmp_path / str(len(users)), catalogue=64, size=32, jobs=1, **flags))
        assert tables == {PEOPLE[user].table for user in users}
        assert skins == {PEOPLE[user].hand.skin for user in users}
    main(Settings(out=tmp_path / "2", catalogue=64, size=32, jobs=1, without_users=("S2", "S4")))
    with pytest.raises(UserError, match="holds .*without_users .*'S4'.*; name another folder"):
        main(Settings(out=tmp_path / "2", catalogue=64, size=32, jobs=1))


def test_catalogue_has_the_nouns_and_as_many_distractors() -> None:
    nouns = {noun for spec in plan("gtea61", 0) for noun in spec.nouns}
    assert len(nouns) == 16 and nouns <= set(CLASSES) and len(CLASSES) == 32


def test_pictures_of_a_class_differ() -> None:
    first, second = (draw_picture(Picture(number, 64, 0)).astype(int) for number in (3, 3 + len(CLASSES)))
    assert np.abs(first - second).mean() > 5
