"""The one exception that a user's mistake raises, and what others say."""


class UserError(ValueError):
    """A mistake that the user can correct.

    The message says what is wrong, where, and what to do. Commands print it without a traceback and exit
    with status 2; any other exception is a fault of the code and keeps its traceback.
    """


def reason(error: Exception) -> str:
    """Say what went wrong with a file or folder, for a message that names it already."""
    said = (error.strerror if isinstance(error, OSError) else None) or str(error)
    return said or type(error).__name__
