"""Deploy Tapeline's files to an estate: `python -m glue.deploy topics|schemas|ksql|snowflake|connect|all`."""

import argparse
import signal
import sys
from collections.abc import Callable

from glue.cli import run
from glue.deploy import steps
from glue.deploy.report import Report
from glue.errors import SettingsError
from glue.settings import Settings

CREATE: dict[str, Callable[[steps.Order], None]] = {
    "topics": steps.topics,
    "schemas": steps.schemas,
    "ksql": steps.ksql,
    "snowflake": steps.snowflake,
    "connect": steps.connect,
}
DROP: dict[str, Callable[[steps.Order], None]] = {"connect": steps.drop_connect, "ksql": steps.drop_ksql}
GOES_WITH = {
    "replace": ("ksql", "all"),
    "drop": (*DROP, "all"),
    "fresh": ("all",),
    "operators": ("topics", "ksql", "all"),
}
"""The steps that an option is for: with others it would do nothing."""
DESCRIPTION = """\
Deploy the files of this project to the estate that the settings name. Safe to run again: what is there is
left, what is missing is made, and what is not as it should be is told as drift (exit code 1).

  topics     Kafka topics with their configuration, those that ksqlDB writes to among them
  schemas    schemas/*.avsc under the subjects of the topics, BACKWARD compatible
  ksql       ksql/*.sql on the server of KSQLDB_URL, statement by statement
  snowflake  snowflake/*.sql on the account of SNOW_ACCOUNT
  connect    connect/*.json on the worker of CONNECT_URL
  all        these in order; ksql where KSQLDB_URL is set, snowflake where SNOW_ACCOUNT is, connect where
             both SNOW_ACCOUNT and CONNECT_URL are
"""


def main(argv: list[str]) -> int:
    """Run the steps that were asked for and show what became of each thing."""
    options = _options(argv)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    settings = Settings.load(options.target)
    report = Report(is_dry_run=options.dry_run, on_stderr=options.json)
    order = steps.Order(settings, report, is_replacing=options.replace, with_operators=options.operators)
    try:
        if options.fresh:
            order = steps.empty(order)
        for step in _steps(options, settings, report):
            step(order)
    except KeyboardInterrupt:
        report.say("interrupted; run the command again to go on")
        raise
    finally:
        if options.json:
            sys.stdout.write(report.to_json() + "\n")
        elif report.outcomes:
            report.show()
    return 1 if report.has_drift else 0


def _steps(
    options: argparse.Namespace, settings: Settings, report: Report
) -> list[Callable[[steps.Order], None]]:
    known = DROP if options.drop else CREATE
    if options.step == "all":
        places = {
            "ksql": ("KSQLDB_URL", settings.ksqldb_url),
            "snowflake": ("SNOW_ACCOUNT", settings.snow_account),
            "connect": ("CONNECT_URL", settings.connect_url),
        }
        if settings.connect_url and not settings.snow_account:  # where the connectors write to
            places["connect"] = places["snowflake"]
        left_out = {name: setting for name, (setting, value) in places.items() if name in known and not value}
        for name, setting in left_out.items():
            report.say(f"{name} is left out: {setting} is not set")
        return [step for name, step in known.items() if name not in left_out]
    if options.step == "ksql" and not settings.ksqldb_url:
        raise SettingsError("KSQLDB_URL is not set: it says where the ksqlDB server is")
    if options.step == "connect" and not settings.connect_url:
        raise SettingsError("CONNECT_URL is not set: it says where the Connect worker is")
    return [known[options.step]]


def _options(argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m glue.deploy",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="Settings come from the environment or .env; see .env.example.",
    )
    parser.add_argument("step", choices=(*CREATE, "all"))
    parser.add_argument("--dry-run", action="store_true", help="change nothing, tell what would be done")
    parser.add_argument("--target", metavar="NAME", help="read the settings from .env.NAME instead of .env")
    parser.add_argument("--json", action="store_true", help="the summary as JSON on stdout")
    how = parser.add_mutually_exclusive_group()
    how.add_argument(
        "--replace",
        action="store_true",
        help="ksql, all: make anew what differs, and all that comes after it",
    )
    how.add_argument(
        "--drop",
        action="store_true",
        help="connect, ksql, all: delete connectors, end queries, drop streams and tables",
    )
    how.add_argument(
        "--fresh", action="store_true", help="all: empty the topics and forget the engine's state first"
    )
    parser.add_argument(
        "--operators", action="store_true", help="topics, ksql, all: with ksql/operators/ too"
    )
    options = parser.parse_args(argv)
    for option, wanted in GOES_WITH.items():
        if getattr(options, option) and options.step not in wanted:
            parser.error(f"--{option} goes with {', '.join(wanted)}; not with {options.step}")
    return options


if __name__ == "__main__":
    run(main)
