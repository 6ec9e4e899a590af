"""The /metrics endpoint: where it listens, and the address that glue.status shows."""

import urllib.request

import pytest

from glue import metrics
from glue.errors import SettingsError


@pytest.mark.parametrize(
    ("host", "shown"),
    [("127.0.0.1", "http://127.0.0.1:"), ("0.0.0.0", "http://127.0.0.1:")],  # noqa: S104
)
def test_the_url_shown_leads_to_the_metrics(host, shown):
    url = metrics.serve(metrics.WORKER, host, 0)
    assert url.startswith(shown)
    with urllib.request.urlopen(url, timeout=10) as answer:
        assert b"tapeline_ticks_total" in answer.read()


@pytest.mark.parametrize(
    ("part", "own", "others"),
    [
        (metrics.WORKER, "tapeline_feed_connected", "tapeline_open_bars"),
        (metrics.ENGINE, "tapeline_open_bars", "tapeline_feed_connected"),
        (metrics.ROLLUP, "tapeline_held_minutes", "tapeline_feed_connected"),
        (metrics.STAGE_RAW, "tapeline_bins_read_total", "tapeline_feed_connected"),
    ],
)
def test_a_part_exports_the_numbers_of_its_process_and_its_own(part, own, others):
    with urllib.request.urlopen(metrics.serve(part, "127.0.0.1", 0), timeout=10) as answer:
        names = {line.split()[0] for line in answer.read().decode().splitlines() if line[0] != "#"}
    assert {own, "process_resident_memory_bytes"} <= names
    assert others not in names


def test_another_port_is_taken_when_the_one_asked_for_is():
    first = metrics.serve(metrics.WORKER, "127.0.0.1", 0)
    second = metrics.serve(metrics.WORKER, "127.0.0.1", int(first.split(":")[2].split("/")[0]))
    assert second != first


def test_an_address_of_another_machine_is_refused_by_the_name_of_the_setting():
    with pytest.raises(SettingsError, match=r"METRICS_HOST=192\.0\.2\.1"):
        metrics.serve(metrics.WORKER, "192.0.2.1", 0)
