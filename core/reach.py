"""Whether another machine answers, known within seconds."""

import socket

from core.errors import UserError

PATIENCE_SEC = 10.0


def refuse_unreachable(host: str, port: int, flag: str) -> None:
    """Knock at an address.

    Args:
        host: Name or number of the machine.
        port: The port.
        flag: The flag that names them, for the message.

    Raises:
        UserError: Nothing answers within ten seconds.
    """
    try:
        socket.create_connection((host, port), timeout=PATIENCE_SEC).close()
    except OSError as error:
        raise UserError(
            f"{flag}: nothing answers at {host}:{port} ({error.strerror or error}); see whether it runs "
            "there and whether this machine may reach it"
        ) from None
