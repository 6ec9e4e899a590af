"""The errors of Tapeline and the exit codes they lead to.

A bad record is never an error here: it becomes a dead letter and the stream goes on.
"""


class TapelineError(Exception):
    """A failure that a user can act on; its text names the setting or the way out."""

    exit_code = 1


class SettingsError(TapelineError):
    """A setting or option has a value that cannot work."""

    exit_code = 2


class TransientError(TapelineError):
    """A failure that goes away by itself; the caller retries with backoff and a limit."""
