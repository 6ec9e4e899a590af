"""What the validator was told: the rules' parameters, and the error a user can act on."""

from dataclasses import dataclass


class UnreadableError(Exception):
    """An input cannot be read; the text names the file and the reason."""


@dataclass(frozen=True, slots=True)
class Rules:
    """Parameters of DESIGN's watermark rules; all times in milliseconds."""

    late_ms: int = 500
    skew_ms: int = 20
    bin_ms: int = 10
    jump_ms: int = 21_600_000
    confirm_ms: int = 60_000
    tolerance: float = 1e-9

    def problem(self) -> str | None:
        """Say what cannot work, naming the option; None when all is well."""
        if self.bin_ms < 1 or 1000 % self.bin_ms or self.late_ms % self.bin_ms:
            return "--bin-ms must divide 1000 and --max-late-ms"
        if not 0 <= self.skew_ms <= self.late_ms:
            return "--skew-ms must be between 0 and --max-late-ms"
        if self.jump_ms < 0:
            return "--max-jump-ms must not be negative"
        if not 0 <= self.tolerance < 1:
            return "--tolerance must be at least 0 and less than 1"
        return None
