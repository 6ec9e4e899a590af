"""What docs/RUNBOOK.md has people type is what the commands do."""

import re
import subprocess
from pathlib import Path

from glue.deploy.steps import _operators_topics
from glue.io.topics import topics
from glue.settings import Settings

RUNBOOK = (Path(__file__).parents[2] / "docs" / "RUNBOOK.md").read_text()
BY_HAND = RUNBOOK.split("The same by hand:", 1)[1].split("```")[1].removeprefix("sh")
SETTINGS = Settings(_env_file=None, ksqldb_url="http://x")


def typed(script: str, command: str) -> list[str]:
    """Return the arguments of each call of a command in a shell script, nothing of which is carried out."""
    stubs = "kafka-topics.sh() { :; }\ncurl() { :; }\njq() { :; }\n"
    told = f'{command}() {{ echo "$@"; }}\n'
    done = subprocess.run(
        ["bash", "-euc", f"KAFKA_BROKERS=b SCHEMA_REGISTRY_URL=r KSQLDB_URL=k\n{stubs}{told}{script}"],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.splitlines()


def test_topics_made_by_hand_are_those_of_the_topics_step():
    found = {}
    for line in typed(BY_HAND, "kafka-topics.sh"):
        name, partitions = re.findall(r"--(?:topic|partitions) (\S+)", line)
        found[name] = int(partitions), dict(re.findall(r"--config ([^\s=]+)=(\S+)", line))
    expected = {topic.name: topic for topic in (*topics(SETTINGS), *_operators_topics(SETTINGS))}
    assert found.keys() == expected.keys()
    for name, (partitions, config) in found.items():
        assert expected[name].differences(partitions, {"cleanup.policy": "delete"} | config) == [], name


def test_requests_made_by_hand_are_those_of_the_steps():
    asked = [re.findall(r"-X (\S+) (\S+)", line)[0] for line in typed(BY_HAND, "curl")]
    expected = []
    for topic in ("ticks.raw", "ticks.agg.1s", "ticks.dlt"):
        expected += [("PUT", f"r/config/{topic}-value"), ("POST", f"r/subjects/{topic}-value/versions")]
    assert asked == expected + [("POST", "k/ksql")] * 3
