"""Disks that fill up, can't be written to or go away: one message, status 2, and the last good state."""

import contextlib
import os
import resource
import shutil
import subprocess
from functools import partial
from pathlib import Path

import pytest

from core.checkpoint import load_checkpoint
from core.train_config import TrainConfig
from tests.support.capabilities import as_anybody
from tests.support.toy import contents, interrupt, left_behind, main, run

# Free bytes of the disk when the run goes on; last.pt of the toy has about 6 kB.
ROOM = (1, 200, 3000, 5000)


@contextlib.contextmanager
def files_of_at_most(size):
    """Let the kernel refuse to write beyond a size, as a quota does."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@contextlib.contextmanager
def mounted(folder: Path, size: int):
    """A disk of its own, if this machine lets us make one."""
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
    if (
        os.geteuid()
        or shutil.which("mount") is None
        or subprocess.run(command, capture_output=True).returncode
    ):
        pytest.skip("no small disk can be mounted here; test_a_quota_... asks the same of a limit on files")
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=False, capture_output=True)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    out = tmp_path_factory.mktemp("whole") / "run"
    run(out)
    return out


def begin(out, epochs=2):
    """Train until some epochs are saved, then stop."""
    with pytest.raises(KeyboardInterrupt):
        run(out, at_epoch=interrupt(epochs + 1))


def refused(command, out, at_epoch=lambda epoch: None):
    flags = ("--out", out, "--epochs", 4, "--resume")
    status, _, said = command(partial(main, at_epoch=at_epoch), TrainConfig, *flags)
    complaint = [line for line in said.splitlines() if line.startswith("error: ")]
    assert status == 2 and len(complaint) == 1 and "Traceback" not in said, said
    return complaint[0]


def goes_on_to_the_same(out, whole, epochs=2):
    assert load_checkpoint(out / "last.pt")["epoch"] >= epochs
    run(out, resume=True)
    assert contents(out) == contents(whole) and not left_behind(out)


@pytest.mark.parametrize("room", ROOM)
def test_a_quota_leaves_the_last_good_state(tmp_path, command, whole, room):
    begin(tmp_path / "run")
    before = (tmp_path / "run" / "last.pt").read_bytes()
    with files_of_at_most(room):
        said = refused(command, tmp_path / "run")
    assert "File too large" in said
    assert (tmp_path / "run" / "last.pt").read_bytes() == before
    goes_on_to_the_same(tmp_path / "run", whole)


@pytest.mark.parametrize("room", ROOM[1::2])
def test_a_full_disk_leaves_the_last_good_state(tmp_path, command, whole, room):
    disk = tmp_path / "disk"
    with mounted(disk, 256 * 1024):
        begin(disk / "run")
        with (disk / "ballast").open("wb", buffering=0) as ballast, contextlib.suppress(OSError):
            while True:
                ballast.write(bytes(4096))
        os.truncate(disk / "ballast", max(0, (disk / "ballast").stat().st_size - (room // 4096 + 1) * 4096))
        said = refused(command, disk / "run")
        assert "No space left" in said
        (disk / "ballast").unlink()
        goes_on_to_the_same(disk / "run", whole)


def test_a_folder_that_can_not_be_written(tmp_path, command, whole):
    begin(tmp_path / "run")
    (tmp_path / "run").chmod(0o555)
    with as_anybody():
        assert "can't be written: Permission denied" in refused(command, tmp_path / "run")
        assert "can't be written: Permission denied" in refused(command, tmp_path / "run" / "new")
    (tmp_path / "run").chmod(0o755)
    goes_on_to_the_same(tmp_path / "run", whole)


def test_a_folder_that_is_locked_up_during_training(tmp_path, command, whole):
    begin(tmp_path / "run")
    with as_anybody():
        said = refused(command, tmp_path / "run", lambda _: (tmp_path / "run").chmod(0o555))
    assert "Permission denied" in said
    (tmp_path / "run").chmod(0o755)
    goes_on_to_the_same(tmp_path / "run", whole)


def test_a_disk_that_goes_away_is_not_replaced_by_a_folder_of_its_name(tmp_path, command, whole):
    out, away = tmp_path / "disk" / "run", tmp_path / "away"
    begin(out)

    def unplug(epoch):
        if epoch == 3:
            (tmp_path / "disk").rename(away)
            (tmp_path / "disk").mkdir()

    assert f"{out} is gone" in refused(command, out, unplug)
    assert list((tmp_path / "disk").iterdir()) == [], "nothing is written where a mount used to be"
    goes_on_to_the_same(away / "run", whole)


def test_a_mount_that_goes_away(tmp_path, command, whole):
    disk = tmp_path / "disk"
    with mounted(disk, 2**21):
        begin(disk / "run")

        def unplug(_):
            subprocess.run(["umount", "--lazy", str(disk)], check=True)

        assert "is gone" in refused(command, disk / "run", unplug)
        assert list(disk.iterdir()) == []
