"""The schemas step against a registry whose subjects were registered without a rule."""

import json
from typing import Any

from glue.deploy.__main__ import main
from tests.fake_rest import Answer, FakeRest, serving

NO_RULE = (
    404,
    {"error_code": 40408, "message": "Subject does not have subject-level compatibility configured"},
)


class FakeRegistry(FakeRest):
    """One that has every schema, and the rules that it is given."""

    def __init__(self) -> None:
        super().__init__()
        self.levels: dict[str, str] = {}

    def serve(self, method: str, path: str, body: Any) -> Answer:
        what, subject, *rest = path.partition("?")[0].strip("/").split("/")
        match method, what, rest:
            case "PUT", "config", []:
                self.levels[subject] = body["compatibility"]
                return 200, body
            case "GET", "config", []:
                known = self.levels.get(subject)
                return (200, {"compatibilityLevel": known}) if known else NO_RULE
            case "GET", "subjects", ["versions"]:
                return 200, [1]
            case "POST", "subjects", _:
                return 200, {"id": 1, "version": 1, "subject": subject, "schema": body["schema"]}
        return super().serve(method, path, body)


def test_a_subject_without_a_rule_gets_backward_once(monkeypatch, tmp_path, capsys):
    monkeypatch.chdir(tmp_path)
    fake = FakeRegistry()
    subjects = ["ticks.raw-value", "ticks.agg.1s-value", "ticks.dlt-value"]
    with serving(fake):
        monkeypatch.setenv("SCHEMA_REGISTRY_URL", fake.url)
        for options, state, levels in (
            (["--dry-run"], "would be changed", {}),
            ([], "changed", dict.fromkeys(subjects, "BACKWARD")),
            ([], "exists", dict.fromkeys(subjects, "BACKWARD")),
        ):
            assert main(["schemas", "--json", *options]) == 0
            told = {outcome["name"]: outcome["state"] for outcome in json.loads(capsys.readouterr().out)}
            assert told == dict.fromkeys(subjects, state)
            assert fake.levels == levels
