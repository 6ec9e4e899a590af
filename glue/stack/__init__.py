"""The embedded parts of Tapeline, as child processes on a Java runtime from PyPI: `python -m glue.stack`."""

from glue.stack.health import PartStatus
from glue.stack.stack import Stack

__all__ = ["PartStatus", "Stack"]
