"""The options of `glue.deploy`: one that would do nothing with a step is refused."""

import pytest

from glue.deploy.__main__ import CREATE, main

STEPS = (*CREATE, "all")
ALLOWED = {
    "--replace": {"ksql", "all"},
    "--drop": {"ksql", "connect", "all"},
    "--fresh": {"all"},
    "--operators": {"topics", "ksql", "all"},
}


@pytest.mark.parametrize(
    ("step", "option"),
    [(step, option) for option in ALLOWED for step in STEPS if step not in ALLOWED[option]],
)
def test_an_option_that_does_not_go_with_the_step_is_refused(step, option, capsys):
    with pytest.raises(SystemExit) as ended:
        main([step, option, "--dry-run"])
    assert ended.value.code == 2
    assert f"{option} goes with " in capsys.readouterr().err


@pytest.mark.parametrize(
    "options", [["--replace", "--drop"], ["--drop", "--fresh"], ["--replace", "--fresh"]]
)
def test_one_of_replace_drop_and_fresh_at_a_time(options, capsys):
    with pytest.raises(SystemExit) as ended:
        main(["all", *options])
    assert ended.value.code == 2
    assert "not allowed with" in capsys.readouterr().err
