"""Writes are all or nothing; checkpoints with code in them are refused."""

import os
import pickle
import re
import zipfile
from io import BytesIO
from pathlib import Path

import pytest
import torch

from core.checkpoint import load_checkpoint, save_checkpoint, weights_in
from core.errors import UserError
from core.files import atomic_folder, atomic_path, refuse_no_folder, write_json, write_text


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


def test_a_place_where_no_folder_can_be_is_refused(tmp_path):
    (tmp_path / "file").write_text("mine")
    (tmp_path / "dangling").symlink_to(tmp_path / "gone")
    for wrong in ("file", "file/below/it", "dangling"):
        named = re.escape(f"--out {tmp_path / wrong}: {tmp_path / wrong.partition('/')[0]} is a file")
        with pytest.raises(UserError, match=f"^{named}; name a folder$"):
            refuse_no_folder("--out", tmp_path / wrong)
    for right in (tmp_path, tmp_path / "new/ Zoë/runs", Path("new")):
        refuse_no_folder("--out", right)
    assert not (tmp_path / "new").exists()


@pytest.mark.skipif(os.geteuid() == 0, reason="nothing is closed to root")
def test_a_closed_folder_is_refused(tmp_path):
    (tmp_path / "closed").mkdir(mode=0o500)
    with pytest.raises(UserError, match="closed is closed to you"):
        refuse_no_folder("--out", tmp_path / "closed" / "below")


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


def archive(files):
    content = BytesIO()
    with zipfile.ZipFile(content, "w") as packed:
        for name, inside in files.items():
            packed.writestr(zipfile.ZipInfo(name), inside)  # whose time is always the same
    return content.getvalue()


@pytest.mark.parametrize(
    "content,said",
    [
        (b"<!DOCTYPE html>\n<html>not found</html>", "a web page"),
        (b"\xef\xbb\xbf\n <html>", "a web page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "a pointer of Git LFS"),
        (b'{"message": "Not Found"}', "a text in JSON"),
        (b"\x1f\x8b\x08\x00 and so on", "a gzip archive"),
        (b"\x89PNG\r\n\x1a\n", "a picture"),
        (b"Quota exceeded\n", "a text that begins with 'Quota exceeded"),
        (b"", "an empty file"),
        (b"\r\n ", "an empty file"),
        (b"Too many requests\tretry later", "a text that begins with 'Too many requests"),
        (bytes(5000), "a file of zeros"),
        (b"\x08\0\0\0\0\0\0\0" + b'{"__metadata__":{}}', "a safetensors file"),
        (bytes(257) + b"ustar", "a tar archive"),
        (archive({"numbers.npy": b"1"}), "a zip archive with numbers.npy in it"),
        (archive({}), "a zip archive with nothing in it"),
        (archive({"model/constants.pkl": b"", "model/data.pkl": b""}), "a TorchScript program"),
        (archive({"model/data.pkl": b"1" * 100})[:60], "a part of one"),
    ],
)
def test_what_is_saved_as_a_checkpoint_and_is_none_is_told_by_how_it_begins(tmp_path, content, said):
    (tmp_path / "model.pth").write_bytes(content)
    with pytest.raises(UserError, match=f"model.pth is no checkpoint but {re.escape(said)}"):
        load_checkpoint(tmp_path / "model.pth")


def test_nobody_is_advised_to_trust_a_file(tmp_path):
    torch.save({"model": Malicious()}, tmp_path / "evil.pt")
    (tmp_path / "half.pt").write_bytes((tmp_path / "evil.pt").read_bytes()[:300])
    (tmp_path / "odd.pt").write_bytes(bytes(range(256)))
    (tmp_path / "bare.pt").write_bytes(pickle.dumps({"model": [1]}, protocol=4))
    (tmp_path / "tar.pt").write_bytes(b"storages" + bytes(2000))
    for name in ("evil.pt", "half.pt", "odd.pt", "bare.pt", "tar.pt"):
        with pytest.raises(UserError) as refused:
            load_checkpoint(tmp_path / name)
        assert "weights_only" not in str(refused.value) and "\n" not in str(refused.value)


def test_weights_are_found_in_what_is_put_around_them():
    plain = {"conv.weight": torch.ones(1), "conv.bias": torch.zeros(1)}
    assert weights_in(plain) == (plain, "")
    parallel = {f"module.{name}": value for name, value in plain.items()}
    for content, words in (
        (parallel, "without 'module.' before every name"),
        ({"state_dict": plain, "epoch": 3}, "under 'state_dict'"),
        ({"model": {"state_dict": parallel}}, "under 'model', under 'state_dict', without 'module.'"),
        ({f"_orig_mod.{name}": value for name, value in parallel.items()}, "without '_orig_mod.'"),
    ):
        found, how = weights_in(content)
        assert found == plain and how.startswith(words)
    partly = plain | {"module.fc.weight": torch.ones(1)}
    assert weights_in(partly) == (partly, "")  # a network may have a part that is called so
