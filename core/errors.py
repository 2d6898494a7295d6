"""The one exception that a user's mistake raises."""


class UserError(ValueError):
    """A mistake that the user can correct.

    The message says what is wrong, where, and what to do. Commands print it without a traceback and exit
    with status 2; any other exception is a fault of the code and keeps its traceback.
    """
