"""The parts of the demo that run as processes of their own."""

import json
import subprocess
import sys
import time
from pathlib import Path

from glue.errors import TapelineError

START_DEADLINE_S = 180.0
RUN_DEADLINE_S = 180.0
STOP_DEADLINE_S = 60.0
TAIL_LINES = 15


class Child:
    """One `python -m glue.…` or the dashboard; its output goes to a log file, that of last runs to others."""

    def __init__(
        self, name: str, *args: str, log_dir: Path, env: dict[str, str], is_last: bool = False
    ) -> None:
        self.name = name
        self.log = log_dir / f"{name}{'_last' if is_last else ''}.log"
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-u", "-m", name if name == "webapp" else f"glue.{name}", *args],
                env=env,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C reaches the demo alone, which stops its parts in order
            )

    @property
    def exit_code(self) -> int | None:
        """Return how it ended, None while it runs."""
        return self._process.poll()

    def check(self) -> None:
        """Raise if it ended with an error."""
        if self.exit_code:
            tail = "\n".join(self.lines()[-TAIL_LINES:])
            raise TapelineError(
                f"{self.name} ended with exit code {self.exit_code}; {self.log} ends with:\n{tail}"
            )

    def lines(self) -> list[str]:
        """Return what it has written so far."""
        return self.log.read_text(errors="replace").splitlines()

    def wait_for(self, text: str) -> str:
        """Return the first line of its output that starts with `text`."""
        deadline = time.monotonic() + START_DEADLINE_S
        while time.monotonic() < deadline:
            for line in self.lines():
                if line.startswith(text):
                    return line
            self.check()
            time.sleep(0.05)
        raise TapelineError(f"{self.name} did not start in {START_DEADLINE_S:.0f} s; see {self.log}")

    def wait(self) -> None:
        """Wait until it has ended by itself.

        Raises:
            TapelineError: it failed, or takes too long.
        """
        try:
            self._process.wait(RUN_DEADLINE_S)
        except subprocess.TimeoutExpired:
            raise TapelineError(
                f"{self.name} did not end in {RUN_DEADLINE_S:.0f} s; see {self.log}"
            ) from None
        self.check()

    def stop(self) -> None:
        """End it, politely first."""
        if self.exit_code is None:
            self._process.terminate()
            try:
                self._process.wait(STOP_DEADLINE_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()

    def ticks_taken(self) -> int:
        """Return how many ticks the worker says it took in, once its feed has ended."""
        ended = (line for line in reversed(self.lines()) if '"feed ended"' in line)
        return next((int(json.loads(line)["ticks"]) for line in ended), 0)
