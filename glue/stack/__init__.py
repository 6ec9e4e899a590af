"""The embedded parts of Tapeline, as child processes on a Java runtime from PyPI: `python -m glue.stack`."""

from glue.stack.stack import PartStatus, Stack

__all__ = ["PartStatus", "Stack"]
