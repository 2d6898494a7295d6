"""A Ray cluster whose machines share the disk and this project: joining it, or making one of this machine."""

import logging
import os
import subprocess
import sys
from pathlib import Path

import ray

from core.errors import UserError
from core.reach import refuse_unreachable

AS_OFTEN_AS_IT_TAKES = -1
"""How often Ray may start work again whose machine was lost."""

_CODE = Path(__file__).resolve().parents[1]
_PATIENCE_SEC = 20.0


def connect(address: str | None) -> None:
    """Join a cluster; its machines find this project's modules where this one has them.

    Args:
        address: HOST:PORT of the cluster's head; None makes one of this machine alone.

    Raises:
        UserError: No cluster answers at the address within 30 seconds.
    """
    if address is not None:
        host, _, port = address.rpartition(":")
        if not host or not port.isdecimal():
            raise UserError(f"--address {address} should look like HOST:PORT, that of the cluster's head")
        refuse_unreachable(host, int(port), "--address")
        if not _is_cluster(address):
            raise UserError(f"--address: what answers at {address} is no Ray cluster; see `ray status` there")
    modules = os.pathsep.join(filter(None, [str(_CODE), os.environ.get("PYTHONPATH")]))
    environment = {"env_vars": {"PYTHONPATH": modules}}
    try:
        ray.init(
            address or "local", runtime_env=environment, log_to_driver=False, logging_level=logging.ERROR
        )
    except (ConnectionError, RuntimeError, ValueError, ray.exceptions.RayError) as error:
        raise UserError(f"--address {address}: {str(error).strip().splitlines()[0]}") from None


def _is_cluster(address: str) -> bool:
    """Ask in a process of its own: Ray itself would wait for minutes."""
    command = [sys.executable, "-m", "ray.scripts.scripts", "health-check", "--address", address]
    try:
        return subprocess.run(command, capture_output=True, timeout=_PATIENCE_SEC).returncode == 0
    except subprocess.TimeoutExpired:
        return False
