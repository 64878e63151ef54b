import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from irdream.audio.stft import DB_PER_NATURAL
from irdream.datasets.base import ExcerptFile, Excerpts
from irdream.errors import InputError
from irdream.frontends import HanLogMel
from irdream.instruments import CODES
from irdream.measures.bootstrap import share_interval
from irdream.measures.robustness import check_robustness, drawn_windows, robust_accuracy, robustness
from irdream.recognizer import Recognizer
from irdream.reports.recognition import robust_line, robust_metrics


class Levels(nn.Module):
    """The log-mel of a waveform is its level, the same in all bands; four frames a window."""

    sample_rate_hz, hop_samples = 4, 1

    def forward(self, waveform: Tensor) -> Tensor:
        return waveform[:, None].expand(-1, 12, -1)


class Bands(nn.Module):
    """Says the loudest of the first 11 bands: how far it is ahead is what it stands."""

    def forward(self, log_mel: Tensor) -> Tensor:
        return log_mel[:, :11].mean(2)


class Net(nn.Module):
    """A small network as it comes, with other logits of the same order."""

    def __init__(self, scale: float = 1.0, offset: float = 0.0) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layers = nn.Sequential(nn.Linear(12, 30), nn.ReLU(), nn.Linear(30, 11))
        self.scale, self.offset = scale, offset

    def forward(self, log_mel: Tensor) -> Tensor:
        return self.scale * self.layers(4 * log_mel.mean(2)) + self.offset


def recognizer(model: nn.Module | None = None, output: Any = "softmax") -> Recognizer:
    frontend = HanLogMel(n_mels=12)
    return Recognizer(frontend=frontend, model=model or Bands(), output=output).eval()


def windows(*ahead_db: float) -> tuple[Tensor, Tensor]:
    """Return windows whose label is so many dB ahead of all others."""
    log_mels = torch.zeros(len(ahead_db), 12, 4)
    log_mels[:, 3] = torch.tensor(ahead_db)[:, None] / DB_PER_NATURAL
    return log_mels, torch.eye(11)[[3] * len(ahead_db)]


def test_a_window_stands_half_of_what_its_label_is_ahead() -> None:
    """The label may fall by epsilon and the next one rise by as much."""
    table = robust_accuracy(
        recognizer(), *windows(-1.0, 0.5, 1.5, 3.5, 9.0), epsilons_db={1.0, 0.0, 0.5, 2.0}, steps=10
    )
    assert table["epsilon_db"].tolist() == [0.0, 0.5, 1.0, 2.0]
    assert table["top1"].tolist() == pytest.approx([0.8, 0.6, 0.4, 0.2])
    assert table["windows"].tolist() == [5] * 4
    assert table["steps"].tolist() == [0, 10, 10, 10]
    assert table["recordings"].tolist() == [5] * 4


def test_where_no_window_is_right_any_more_the_network_gets_none() -> None:
    class Many(Bands):
        def forward(self, log_mel: Tensor) -> Tensor:
            assert len(log_mel)
            return super().forward(log_mel)

    table = robust_accuracy(recognizer(Many()), *windows(-1.0, 0.5), epsilons_db={0.0, 1.0, 2.0})
    assert table["top1"].tolist() == [0.5, 0.0, 0.0]


def test_windows_of_one_recording_count_as_alike() -> None:
    """100 windows of 4 recordings, one of them wrong as a whole, say as much as 4 windows."""
    log_mels, labels = windows(*[-1.0] * 25, *[1.0] * 75)
    recordings = [f"r{i // 25}" for i in range(100)]
    one, alone = (
        robust_accuracy(recognizer(), log_mels, labels, known, epsilons_db={0.0}).iloc[0]
        for known in (recordings, None)
    )
    assert (one["windows"], one["recordings"], one["top1"]) == (100, 4, 0.75)
    expected = share_interval([False, True, True, True])
    assert (one["low"], one["high"]) == (expected.low, expected.high)
    assert one["low"] < alone["low"] < 0.75 < alone["high"] < one["high"]


def test_it_never_rises_and_does_not_depend_on_the_batch() -> None:
    log_mels, labels = windows(*[0.4 * i for i in range(12)])
    sizes_db = {0.0, 0.25, 0.5, 1.0, 2.0, 4.0}
    tables = [
        robust_accuracy(
            recognizer(), log_mels, labels, epsilons_db=sizes_db, steps=3, batch_windows=size
        )
        for size in (5, 128)
    ]
    assert tables[0]["top1"].tolist() == tables[1]["top1"].tolist()
    found = tables[0]["top1"].to_list()
    assert found == sorted(found, reverse=True)
    assert len(set(found)) > 3


@pytest.mark.parametrize(
    ("output", "scale", "offset"),
    [("sigmoid", 1.0, 0.0), ("sigmoid", 1.0, 10.0), ("sigmoid", 1.0, -10.0), ("softmax", 1e3, 0.0)],
)
def test_it_is_the_order_of_the_logits_that_is_attacked(
    output: str, scale: float, offset: float
) -> None:
    """Sigmoids near 1 and a softmax that is sure of itself have losses that hardly change."""
    plain = recognizer(Net())
    log_mels = torch.randn(60, 12, 4, generator=torch.Generator().manual_seed(2))
    labels = torch.eye(11)[plain.logits(log_mels).argmax(1)]
    sizes_db = {0.0, 0.25, 0.5, 1.0}
    found = [
        robust_accuracy(one, log_mels, labels, epsilons_db=sizes_db, steps=5)["top1"].tolist()
        for one in (plain, recognizer(Net(scale, offset), output))
    ]
    assert found[1] == pytest.approx(found[0], abs=0.04)  # two windows, where rounding tells
    assert 0.9 > found[0][1] > found[0][2] > found[0][3] > 0.05


# Windows of a data set


def excerpts(*descriptions: str) -> Excerpts:
    """Return excerpts such as "flu 3": of that label or these, and so many windows.

    Each window of excerpt i has a level of its own, 100 i + 0.5, 1.5, ...
    """
    files = []
    for i, text in enumerate(descriptions):
        labels, _, count = text.partition(" ")
        about = {"name": text, "labels": tuple(labels.split("+")), "recording": f"r{i}"}
        files.append(ExcerptFile(path=Path(f"{i} {count}"), **about))

    def load(path: Path) -> Tensor:
        i, _, count = path.name.partition(" ")
        if count == "broken":
            raise InputError(f"'{path}' is cut off; copy it again")
        halves = torch.arange(int(count) + 1).repeat_interleave(2)
        return 100.0 * int(i) + halves

    return Excerpts(files, load)


def drawn(parts: Excerpts, count: int, seed: int = 0) -> tuple[list[float], list[str]]:
    levels = Recognizer(frontend=Levels(), model=Bands()).eval()
    windows, labels, recordings = drawn_windows(levels, parts, count, seed=seed)
    assert windows.shape[1:] == (12, 4)
    levels = windows.mean((1, 2)).tolist()
    assert recordings == [f"r{level // 100:.0f}" for level in levels]
    return levels, [CODES[i] for i in labels.argmax(1)]


def test_windows_are_drawn_evenly_over_instruments_and_their_excerpts() -> None:
    parts = excerpts(*["flu 9"] * 6, *["pia 9"] * 2, "sax 2", "flu+pia 9", "voi broken")
    levels, codes = drawn(parts, 14)
    assert len(set(levels)) == 14
    assert {code: codes.count(code) for code in set(codes)} == {"flu": 6, "pia": 6, "sax": 2}
    places = [int(level // 100) for level in levels]
    assert sorted(place for place in places if place < 6) == [0, 1, 2, 3, 4, 5]
    assert sorted(place for place in places if place in (6, 7)) == [6, 6, 6, 7, 7, 7]


def test_only_what_is_read_is_drawn() -> None:
    with pytest.raises(InputError, match=r"robust_db is measured on excerpts with one label, and"):
        drawn(excerpts("flu broken", "flu+pia 3"), 4)


def test_it_is_measured_beside_the_unchanged_windows() -> None:
    levels = Recognizer(frontend=Levels(), model=Bands()).eval()
    # All bands are alike, so the first instrument is predicted until any other is raised.
    table = robustness(levels, excerpts("cel 3", "flu 1"), [1, 0.5], steps=2, windows=3, seed=1)
    assert table["epsilon_db"].tolist() == [0.0, 0.5, 1.0]
    assert table["top1"].tolist() == pytest.approx([2 / 3, 0, 0])
    assert table["steps"].tolist() == [0, 2, 2]


def test_what_is_told_of_it() -> None:
    assert robust_metrics(robustness(recognizer(), excerpts("flu+pia 3"), [])) == {}
    one = robust_accuracy(recognizer(), *windows(0.5, -1.0), ["a"] * 2, epsilons_db={0.0})
    assert robust_line(one).endswith("of 1 recordings: 0.500 (no interval)")
    assert "eval/robust_accuracy_0dB_low" not in robust_metrics(one)
    table = robust_accuracy(recognizer(), *windows(0.5, 1.5, 9.0), epsilons_db={0.0, 0.5, 2.0})
    assert robust_metrics(table) == pytest.approx(
        {
            "eval/robust_accuracy_0dB": 1.0,
            "eval/robust_accuracy_0dB_low": 0.2924,
            "eval/robust_accuracy_0dB_high": 1.0,
            "eval/robust_accuracy_0.5dB": 2 / 3,
            "eval/robust_accuracy_0.5dB_low": 0.0,
            "eval/robust_accuracy_0.5dB_high": 1.0,
            "eval/robust_accuracy_2dB": 1 / 3,
            "eval/robust_accuracy_2dB_low": 0.0,
            "eval/robust_accuracy_2dB_high": 1.0,
            "eval/robust_windows": 3.0,
            "eval/robust_recordings": 3.0,
        },
        abs=1e-4,
    )
    assert robust_line(table) == (
        "top-1 of 3 windows of 3 recordings: 1.000 (0.292 to 1.000); at most, changed by PGD of 20 "
        "steps: 0.667 (0.000 to 1.000) up to 0.5 dB, 0.333 (0.000 to 1.000) up to 2 dB"
    )


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"steps": 0}, "steps=0; expected a whole number, at least 1"),
        ({"windows": 0}, "windows=0; expected a whole number, at least 1"),
        ({"epsilons_db": [1.0, -1.0]}, r"epsilons_db=\[1.0,-1.0\]; expected a list of numbers"),
        ({"epsilons_db": [math.nan]}, r"epsilons_db=\[nan\]; expected a list of numbers"),
        ({"excerpts": excerpts("flu+pia 3")}, r"there is none that can be read; leave it out, or"),
    ],
)
def test_what_is_refused_before_anything_is_read(settings: dict[str, Any], message: str) -> None:
    given = {"excerpts": excerpts("flu 3"), "epsilons_db": [1.0], **settings}
    with pytest.raises(InputError, match=message) as error:
        robustness(recognizer(), **given)
    assert "\n" not in str(error.value)


class Constant(nn.Module):
    """Has weights, and the same logits whatever it gets."""

    def __init__(self) -> None:
        super().__init__()
        self.logits = nn.Parameter(torch.zeros(11))

    def forward(self, log_mel: Tensor) -> Tensor:
        return self.logits.expand(len(log_mel), -1)


class Steps(nn.Module):
    """Counts the loud bands."""

    def forward(self, log_mel: Tensor) -> Tensor:
        return (log_mel > 0).float().mean(2)[:, :11]


@pytest.mark.parametrize("model", [Constant(), Steps()])
def test_what_has_no_gradient_is_refused(model: nn.Module) -> None:
    one, files = recognizer(model), excerpts("flu 3").files
    message = rf"^evaluate.robust_db needs .* and {type(model).__name__} has none; leave it out$"
    with pytest.raises(InputError, match=message):
        check_robustness(one, files, [1.0])
    check_robustness(one, files, [])
    check_robustness(one, files, [0.0])  # unchanged windows need none


def test_a_network_in_training_is_left_as_it_is() -> None:
    model = nn.Sequential(nn.Flatten(), nn.LazyLinear(11), nn.BatchNorm1d(11))
    model(torch.zeros(2, 12, 43))
    before = {name: value.clone() for name, value in model.state_dict().items()}
    check_robustness(recognizer(model).train(), excerpts("flu 3").files, [1.0])
    assert model.training
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())


def test_what_is_wrong_with_a_network_is_told_as_it_is() -> None:
    check_robustness(recognizer(), excerpts("flu 3").files, [1.0])
    twelve = nn.Sequential(nn.AvgPool1d(43), nn.Flatten())  # 12 logits for 11 instruments
    with pytest.raises(InputError, match=r"Sequential gave \(1, 12\) for windows"):
        check_robustness(recognizer(twelve), excerpts("flu 3").files, [1.0])
