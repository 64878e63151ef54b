"""A sweep's view is kept as MLflow's UI reads it, and finds the sweep's runs in order."""

from __future__ import annotations

import json
import re
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from irdream.tracking import MlflowTracker, open_sweep, share_view
from irdream.tracking.store import open_store
from irdream.tracking.view import charts, how_to_open


def view(address: str, root: Path) -> dict:
    """Return what the address leads to."""
    path, _, query = urlsplit(address).fragment.partition("?")
    asked = {key: values[0] for key, values in parse_qs(query).items()}
    assert asked["compareRunsMode"] == "CHART"
    tags = open_store(root=root).client.get_experiment(path.split("/")[2]).tags
    return json.loads(tags[f"mlflow.sharedViewState.{asked['viewStateShareKey']}"])


def test_the_view_finds_the_jobs_in_order_and_has_what_was_swept_as_axes(root: Path) -> None:
    name = "dream.steps & more #1"
    parent, _ = open_sweep(root, "irdream", name)
    for distance in (3.0, 1.0, 2.0):
        with MlflowTracker(root=root, parent_run_id=parent, sweep=name) as tracker:
            tracker.log_metrics({"dream/rmse_db": distance})
            tracker.log_params({"target": "flu", "dream": {"steps": 5, "octaves": distance}})
    swept = ["target", "objective", "dream.octaves", "dream.steps"]
    address = share_view(parent, name, swept=swept, metrics=["dream/rmse_db"], root=root)
    kept = view(address, root)

    runs = open_store(root=root).client.search_runs(
        ["1"], kept["searchFilter"], order_by=[f"{kept['orderByKey']} DESC"]
    )
    assert [run.data.metrics["dream/rmse_db"] for run in runs] == [3.0, 2.0, 1.0]
    parallel, contour, *scatters, bar = kept["compareRunCharts"]
    assert parallel["selectedParams"] == ["target", "dream.octaves", "dream.steps"]
    assert contour["xaxis"] == {"key": "dream.octaves", "type": "PARAM"}
    assert contour["yaxis"] == {"key": "dream.steps", "type": "PARAM"}
    assert contour["zaxis"] == {"key": "dream/rmse_db", "type": "METRIC"}
    assert [one["xaxis"]["key"] for one in scatters] == ["dream.octaves", "dream.steps"]
    assert bar["metricKey"] == "dream/rmse_db"
    sections = {one["uuid"] for one in kept["compareRunSections"]}
    assert {chart["metricSectionId"] for chart in kept["compareRunCharts"]} == sections
    assert len({chart["uuid"] for chart in kept["compareRunCharts"]}) == 5


def test_a_view_is_replaced_and_another_sweeps_left(root: Path) -> None:
    parent, _ = open_sweep(root, "irdream", "a")
    first = share_view(parent, "a", swept=[], metrics=["x"], root=root)
    other = share_view(parent, "b", swept=[], metrics=["x"], root=root)
    assert share_view(parent, "a", swept=[], metrics=["y"], root=root) == first != other
    assert view(first, root)["orderByKey"] == "metrics.`y`"
    assert view(other, root)["orderByKey"] == "metrics.`x`"


def test_how_a_page_is_opened_depends_on_where_the_runs_are(tmp_path: Path, monkeypatch) -> None:
    def opened(folder: Path, root: str, uri: str | None = None) -> str:
        monkeypatch.chdir(folder)
        return how_to_open("/#/x", root=Path(root), uri=uri)

    checkout = Path(__file__).parents[2]
    local = "then http://127.0.0.1:5000/#/x"
    assert opened(checkout, "mlruns") == f"make ui, {local}"
    for folder, root in ((tmp_path, "mlruns"), (checkout, str(tmp_path / "mlruns"))):
        uri = f"sqlite:///{tmp_path}/mlruns/mlflow.db"
        expected = rf"'.* -m mlflow ui --backend-store-uri {uri}', {local}"
        assert re.fullmatch(expected, opened(folder, root))
    assert "--backend-store-uri sqlite:///x.db'" in opened(checkout, "mlruns", "sqlite:///x.db")
    assert opened(checkout, "mlruns", "http://u:p@host:1/") == "http://host:1/#/x"


def test_nothing_is_drawn_without_metrics(root: Path) -> None:
    assert charts(["target"], [], []) == []
    parent, _ = open_sweep(root, "irdream", "a")
    address = share_view(parent, "a", swept=["target"], metrics=[], root=root)
    assert view(address, root)["orderByKey"] == "attributes.start_time"


def test_a_view_fits_into_a_tag(root: Path) -> None:
    keys = [f"parametrization.a_rather_long_name_{i}" for i in range(20)]
    made = charts(keys, keys, [f"dream/some_measure_of_it_{i}" for i in range(9)])
    assert len(json.dumps(made)) < 4500  # a tag holds 5000 characters
