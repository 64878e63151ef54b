from __future__ import annotations

import json
from pathlib import Path

from benchmarks import attribute


def test_attribution_is_timed_beside_an_ascent(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(attribute, "STEPS", 2)
    output = tmp_path / "attribute.json"
    report = attribute.main(["--rounds", "1", "--excerpts", "1", "--output", str(output)])
    assert json.loads(output.read_text()) == report
    taken = {name: values["median"] for name, values in report["seconds"].items()}
    assert taken.keys() == {"gradient_x_input", "integrated_gradients", "ascent"}
    share = taken["integrated_gradients"] / taken["ascent"]
    assert abs(report["integrated_gradients_over_ascent"]["median"] / share - 1) < 1e-2
