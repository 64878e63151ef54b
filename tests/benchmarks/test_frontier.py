"""The frontier: what a network that knows tags answers, and the table of dreams on the way."""

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from torch import Tensor, nn

from benchmarks import frontier
from irdream.frontends import HanLogMel
from irdream.recognizer import Recognizer


class Fixed(nn.Module):
    """Logits that do not depend on the sound."""

    def __init__(self, logits: list[float]) -> None:
        super().__init__()
        self.given = nn.Parameter(torch.tensor(logits))

    def forward(self, log_mel: Tensor) -> Tensor:
        return self.given.expand(len(log_mel), -1)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    soundfile.write(tmp_path / "a.wav", np.sin(np.arange(22_050) / 10), 22_050)
    return tmp_path / "a.wav"


@pytest.mark.parametrize(
    ("labels", "code", "on_top", "place"),
    [
        (("flute", "loud", "singing", "woman"), "flu", False, 0),
        (("flute", "loud", "singing", "woman"), "voi", True, 3),  # "loud" is no instrument
        (("flu", "vio", "tru", "pia"), "tru", False, 2),  # codes: all of them count
    ],
)
def test_a_tagger_answers_among_six_instruments(path, labels, code, on_top, place) -> None:
    logits = [1.0, 9.0, 0.5, 2.0]
    network = Recognizer(frontend=HanLogMel(), model=Fixed(logits), instruments=labels)
    found, probability = frontier.answer(path, code, network.eval())
    assert found == on_top
    assert probability == pytest.approx(float(torch.tensor(logits).softmax(0)[place]))


@pytest.mark.slow
def test_a_phrase_is_dreamed_and_measured_on_the_way_once(tmp_path: Path, path: Path) -> None:
    phrases = tmp_path / "phrases"
    phrases.mkdir()
    for name in ("flu-1.wav", "cel-1.wav"):
        (phrases / name).write_bytes(path.read_bytes())
    words = [
        str(phrases), "--strangers", "other=shipped", "--targets", "flu", "--networks", "second",
        "--parametrizations", "stft_gain", "--runs", str(tmp_path / "runs"), "--output",
        str(tmp_path / "out"), "--more", "dream.steps=120",
    ]  # fmt: skip
    means = frontier.main(words)
    assert means["steps"].tolist() == [0, 10, 20, 40, 80, 120]
    assert set(means["dreams"]) == {1}  # a flute is not dreamed toward a flute
    assert means["RMSE dB"].tolist()[0] == 0 < means["RMSE dB"].tolist()[1]
    assert {"judge", "other", "on top", "onset_correlation"} <= set(means)
    assert (tmp_path / "out" / "frontier.png").stat().st_size > 10_000
    assert "| second | stft_gain | clear | 120 |" in (tmp_path / "out" / "README.md").read_text()
    job = tmp_path / "runs" / "second-stft_gain-clear-flu" / "job.json"
    began = job.stat().st_mtime_ns
    assert json.loads(job.read_text())["status"] == "finished"
    assert frontier.main(words).equals(means)
    assert job.stat().st_mtime_ns == began
