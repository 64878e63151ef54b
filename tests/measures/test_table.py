"""One table names what is told of dreams and recognizers; what reads it agrees with it."""

from pathlib import Path

import pytest

from irdream.measures.table import HEADLINES, MEASURES, METRICS, SEARCHED

DOCS = (Path(__file__).parents[2] / "docs" / "measures.md").read_text()


@pytest.mark.parametrize("measure", MEASURES, ids=lambda measure: measure.name)
def test_every_measure_of_a_dream_is_explained(measure) -> None:
    assert f"`{measure.name}`" in DOCS


def test_metrics_that_order_and_are_searched_are_known_with_their_direction() -> None:
    for name in (*HEADLINES, *SEARCHED.values()):
        assert METRICS[name].better in ("higher", "lower"), name
    assert METRICS["val/loss"].direction == METRICS["dream/rmse_db"].direction == "minimize"
    assert METRICS["eval/micro_f1"].direction == "maximize"


def test_units_stand_in_headings() -> None:
    headings = [each.heading for each in MEASURES if each.name.endswith("_db")]
    assert headings == ["RMSE dB", "max dB", "SNR dB", "warble dB/s"]
