"""Joins a Ray cluster whose machines share the disk and this project, or makes one of this machine."""

import logging
import os
import socket
import subprocess
import sys
from pathlib import Path

from core.errors import UserError

RETRY_FOREVER = -1
"""`max_retries` of Ray tasks: as often as their machines are lost."""

_CODE = Path(__file__).resolve().parents[1]
_CONNECT_SEC = 10.0
_HEALTH_CHECK_SEC = 20.0


def connect(address: str | None) -> None:
    """Join a cluster; its machines find this project's modules where this machine has them.

    Args:
        address: HOST:PORT of the cluster's head; None makes one of this machine alone.

    Raises:
        ImportError: Ray is not installed.
        UserError: No cluster answers at the address within 30 seconds.
    """
    import ray  # takes seconds

    if address is not None:
        host, _, port = address.rpartition(":")
        if not host or not port.isdecimal():
            raise UserError(f"--address {address} should look like HOST:PORT, that of the cluster's head")
        refuse_unreachable(host, int(port), "--address")
        if not _is_cluster(address):
            raise UserError(
                f"--address: what answers at {address} is not a Ray cluster; see `ray status` there"
            )
    modules = os.pathsep.join(filter(None, [str(_CODE), os.environ.get("PYTHONPATH")]))
    environment = {"env_vars": {"PYTHONPATH": modules}}
    try:
        ray.init(
            address or "local", runtime_env=environment, log_to_driver=False, logging_level=logging.ERROR
        )
    except (ConnectionError, RuntimeError, ValueError, ray.exceptions.RayError) as error:
        raise UserError(f"--address {address}: {str(error).strip().splitlines()[0]}") from None


def refuse_unreachable(host: str, port: int, flag: str) -> None:
    """Refuse a machine that does not answer within ten seconds.

    Args:
        host: Its name or number.
        port: The port that should answer.
        flag: The flag that named them, for the message.

    Raises:
        UserError: Nothing answers.
    """
    try:
        socket.create_connection((host, port), timeout=_CONNECT_SEC).close()
    except OSError as error:
        raise UserError(
            f"{flag}: nothing answers at {host}:{port} ({error.strerror or error}); check that it runs there "
            "and that this machine may reach it"
        ) from None


def _is_cluster(address: str) -> bool:
    # In a process of its own, since Ray itself would wait for minutes.
    command = [sys.executable, "-m", "ray.scripts.scripts", "health-check", "--address", address]
    try:
        return subprocess.run(command, capture_output=True, timeout=_HEALTH_CHECK_SEC).returncode == 0
    except subprocess.TimeoutExpired:
        return False
