"""The one exception a user's mistake raises."""


class UserError(ValueError):
    """A mistake the user can mend.

    The message says what is wrong, where, and what to do. Commands print it without a traceback and exit
    with status 2; anything else that escapes is a fault of ours and keeps its traceback.
    """
