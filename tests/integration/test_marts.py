"""The dashboard's questions to the warehouse, on the local Snowflake with the deployed views."""

import pytest

from glue.errors import TapelineError
from glue.io.marts import QUERIES, read_marts
from glue.settings import Settings

pytestmark = pytest.mark.stack


def test_every_question_has_an_answer_of_its_columns(warehouse: Settings) -> None:
    marts, took_s = read_marts(warehouse, "NO.SUCH/SYMBOL")
    assert [mart.title for mart in marts] == list(QUERIES)
    assert marts[0].columns == ["start", "open", "high", "low", "close", "vwap", "volume", "ticks"]
    assert marts[0].rows == []
    bands = ["start", "close", "close ma 20", "log return %", "ma 20 %", "lower band %", "upper band %"]
    assert marts[-1].columns == bands
    assert took_s > 0


def test_a_warehouse_without_views_is_told_how_to_get_them(warehouse: Settings) -> None:
    with pytest.raises(TapelineError, match=r"glue\.deploy snowflake"):
        read_marts(Settings.load(**(warehouse.model_dump() | {"snow_database": "NOTHING_HERE"})), "WDC")
