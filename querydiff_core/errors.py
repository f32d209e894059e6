"""The one exception that users see."""


class QueryDiffError(Exception):
    """A failure that the user can act on: one sentence naming the thing, what was expected, what was found, what to do.

    Commands print it on one line and exit with 1; the node logs it and stays alive.
    """
