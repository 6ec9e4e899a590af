"""What every command shares: exit codes 0 / 1 / 2 and no stack trace for a user's mistake."""

import signal
import sys
from collections.abc import Callable
from types import FrameType

from glue.errors import TapelineError


def run(main: Callable[[list[str]], int]) -> None:
    """Run a command's main with the arguments of the process and exit with its code."""
    try:
        code = main(sys.argv[1:])
    except TapelineError as error:
        sys.stderr.write(f"error: {error}\n")
        code = error.exit_code
    except KeyboardInterrupt:
        code = 130
    except BrokenPipeError:  # `… | head`
        sys.stderr.close()
        code = 0
    sys.exit(code)


class StopSignal:
    """True once SIGINT or SIGTERM came; the second SIGINT interrupts at once."""

    def __init__(self) -> None:
        self._stopped = False
        signal.signal(signal.SIGTERM, self._stop)
        signal.signal(signal.SIGINT, self._stop)

    def _stop(self, signum: int, frame: FrameType | None) -> None:
        if self._stopped and signum == signal.SIGINT:
            raise KeyboardInterrupt
        self._stopped = True

    def __bool__(self) -> bool:
        return self._stopped
