"""Writes are all or nothing; checkpoints with code in them are refused."""

import os
import pickle

import pytest
import torch

from core.checkpoint import load_checkpoint, save_checkpoint
from core.errors import UserError
from core.files import atomic_folder, atomic_path, write_json, write_text


def test_a_failed_write_leaves_the_old_file(tmp_path):
    target = tmp_path / "a.txt"
    write_text(target, "old")
    with pytest.raises(RuntimeError), atomic_path(target) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert target.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["a.txt"]


def test_a_failed_folder_is_not_there(tmp_path):
    with pytest.raises(RuntimeError), atomic_folder(tmp_path / "clip") as folder:
        (folder / "rgb0001.png").write_text("x")
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []
    with atomic_folder(tmp_path / "clip") as folder:
        (folder / "rgb0001.png").write_text("x")
    assert (tmp_path / "clip" / "rgb0001.png").exists()


def test_written_files_are_as_readable_as_others(tmp_path):
    write_text(tmp_path / "ours", "x")
    (tmp_path / "plain").write_text("x")
    assert os.stat(tmp_path / "ours").st_mode == os.stat(tmp_path / "plain").st_mode


def test_json_holds_no_nan(tmp_path):
    with pytest.raises(ValueError):
        write_json(tmp_path / "a.json", {"x": float("nan")})
    assert list(tmp_path.iterdir()) == []


def test_checkpoint_round_trip(tmp_path):
    save_checkpoint(tmp_path / "a.pt", {"w": torch.arange(3), "names": ["a"], "epoch": 2})
    content = load_checkpoint(tmp_path / "a.pt")
    assert content["names"] == ["a"] and content["w"].tolist() == [0, 1, 2]


class Malicious:
    def __reduce__(self):
        return (os.system, ("touch pwned",))


def test_a_pickle_with_code_is_refused_and_not_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.save({"model": Malicious()}, "evil.pt")
    with pytest.raises(UserError, match="evil.pt"):
        load_checkpoint(tmp_path / "evil.pt")
    (tmp_path / "plain.pt").write_bytes(pickle.dumps(Malicious()))
    with pytest.raises(UserError, match="plain.pt"):
        load_checkpoint(tmp_path / "plain.pt")
    assert not (tmp_path / "pwned").exists()


@pytest.mark.parametrize("content", [b"", b"no checkpoint", b"PK\x03\x04 cut off"])
def test_damaged_checkpoints_are_named(tmp_path, content):
    (tmp_path / "bad.pt").write_bytes(content)
    with pytest.raises(UserError, match="bad.pt"):
        load_checkpoint(tmp_path / "bad.pt")
    with pytest.raises(UserError, match="no checkpoint at"):
        load_checkpoint(tmp_path / "absent.pt")
