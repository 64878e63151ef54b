from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from irdream.datasets.base import ExcerptFile, Excerpts
from irdream.datasets.cache import log_mels
from irdream.errors import InputError
from irdream.frontends import HanLogMel
from irdream.recognizer import Recognizer
from irdream.training.augmentation import WaveformAugmentation
from irdream.training.data import WindowBatches, context_frames, on_waveforms

RATE_HZ = 1000
OFF: dict[str, Any] = {
    "semitones": (0.0, 0.0), "equalizer_db": 0.0, "room_share": 0.0, "mix_share": 0.0,
    "noise_db": None, "gain_db": (0.0, 0.0), "sample_rate_hz": RATE_HZ,
}  # fmt: skip
FRAMES = (25, 10, 39)  # 2, 1 and 3 windows


@pytest.fixture
def make(in_memory):
    """Excerpt e has the value 100 e + f in its frame f, and instrument e as its label."""

    def make(excerpts: Sequence[int] = (0, 1, 2), **settings: Any) -> WindowBatches:
        log_mels = [(100 * e + torch.arange(n)).repeat(2, 1) for e, n in enumerate(FRAMES)]
        defaults = {"window_frames": 10, "batch_size": 4, "labels": torch.eye(3)}
        return WindowBatches(
            log_mels=in_memory(log_mels), excerpts=excerpts, **{**defaults, **settings}
        )

    return make


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def first_values(batches: Sequence[tuple[Tensor, Tensor]]) -> list[int]:
    return [int(window[0, 0]) for windows, _ in batches for window in windows]


def test_all_windows_once_in_order(make) -> None:
    batches = list(make().batches())
    assert first_values(batches) == [0, 10, 100, 200, 210, 220]
    assert [windows.shape for windows, _ in batches] == [(4, 2, 10), (2, 2, 10)]
    assert len(make()) == 6


def test_labels_belong_to_their_windows(make) -> None:
    for windows, labels in make().batches(generator(), random_start=True):
        assert labels.argmax(1).tolist() == (windows[:, 0, 0] // 100).tolist()


def test_a_shuffled_epoch_has_every_window_once(make) -> None:
    orders = [first_values(list(make().batches(generator(seed)))) for seed in range(5)]
    assert all(sorted(order) == [0, 10, 100, 200, 210, 220] for order in orders)
    assert len({tuple(order) for order in orders}) > 1


def test_a_random_start_moves_windows_by_up_to_half_and_within_their_excerpt(make) -> None:
    batches, seen = make(), set()
    for seed in range(100):
        seen.update(first_values(list(batches.batches(generator(seed), random_start=True))))
    assert seen == {*range(16), 100, *range(200, 226)}  # the fixture checks the ends


def test_a_random_start_needs_a_generator(make) -> None:
    assert first_values(list(make().batches(random_start=True))) == [0, 10, 100, 200, 210, 220]


def test_balanced_windows_name_each_instrument_as_often(make) -> None:
    """Of 6 windows 3, 1 and 2 have the labels 2, 1 and 0."""
    batches = make(balanced=True, batch_size=6)
    assert len(batches) == 6
    for seed in range(20):
        [(_, labels)] = batches.batches(generator(seed))
        assert labels.sum(0).tolist() == pytest.approx([2, 2, 2], abs=1)
    drawn = torch.cat([batch[1] for s in range(200) for batch in batches.batches(generator(s))])
    assert drawn.mean(0).tolist() == pytest.approx([1 / 3] * 3, abs=0.02)
    assert first_values(list(batches.batches())) == [0, 10, 100, 200, 210, 220]  # validation


def test_balanced_windows_with_several_labels_or_none(make) -> None:
    labels = torch.tensor([[1.0, 1, 0], [0, 1, 0], [0, 0, 0]])
    batches = make(balanced=True, labels=labels)
    values = [v for s in range(50) for v in first_values(list(batches.batches(generator(s))))]
    assert len(values) == 300
    assert max(values) < 200  # what has no label has no share


def test_a_window_that_is_drawn_twice_is_moved_twice(make) -> None:
    batches, apart = make(balanced=True, excerpts=[0, 2], batch_size=5), []
    for seed in range(20):
        values = first_values(list(batches.batches(generator(seed), random_start=True)))
        apart.append(len({value for value in values if value < 100}))  # excerpt 0 has 2 windows
    assert max(apart) == 3


@pytest.mark.parametrize(
    ("size", "sizes"), [(1, [1] * 6), (2, [2, 2, 2]), (4, [4, 2]), (5, [6]), (6, [6]), (9, [6])]
)
def test_a_last_window_joins_the_batch_before(make, size, sizes) -> None:
    """No batch norm could be trained on it alone."""
    batches = list(make(batch_size=size).batches())
    assert [len(windows) for windows, _ in batches] == sizes
    assert first_values(batches) == [0, 10, 100, 200, 210, 220]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"window_frames": 11}, "an excerpt of 10 frames is too short; expected at least one win"),
        ({"excerpts": []}, "no excerpts to train on; expected at least one"),
    ],
)
def test_what_gives_no_batches(make, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        make(**settings)


# Windows of waveforms


@pytest.fixture
def recognizer() -> Recognizer:
    frontend = HanLogMel(sample_rate_hz=RATE_HZ, n_fft=128, hop_samples=40, n_mels=12)
    return Recognizer(frontend=frontend, model=nn.Flatten())


@pytest.fixture
def excerpts(tmp_path: Path) -> Excerpts:
    """Two excerpts of noise, 2.4 s and 1.61 s long."""
    loaded: dict[str, Tensor] = {}
    files = []
    for i, samples in enumerate((2400, 1610)):
        path = tmp_path / str(i)
        path.touch()
        loaded[str(path)] = 0.1 * torch.randn(samples, generator=generator(i))
        files.append(ExcerptFile(path=path, name=str(i), labels=("flu",), recording=str(i)))
    load: Callable[[Path], Tensor] = lambda path: loaded[str(path)]  # noqa: E731
    return Excerpts(files, load)


def test_unchanged_waveforms_have_the_log_mels_of_their_excerpts(
    recognizer: Recognizer, excerpts: Excerpts, tmp_path: Path
) -> None:
    expected = log_mels(excerpts, recognizer.log_mel, cache_dir=None)
    for cache in (None, tmp_path / "cache", tmp_path / "cache"):
        waveforms, heard = on_waveforms(WaveformAugmentation(**OFF), excerpts, recognizer, cache)
        assert waveforms.frames.tolist() == expected.frames.tolist()
        which, starts = np.array([0, 1, 0, 1]), np.array([3, 5, 35, 15])
        cut = waveforms.windows(which, starts, recognizer.window_frames)
        windows, labels = heard(cut, torch.eye(11)[:4], generator())
        inside = expected.windows(which, starts, recognizer.window_frames)
        torch.testing.assert_close(windows[:2], inside[:2], rtol=0, atol=1e-4)
        torch.testing.assert_close(windows[2:, :, :-2], inside[2:, :, :-2], rtol=0, atol=1e-4)
        assert torch.equal(labels, torch.eye(11)[:4])


@pytest.mark.parametrize("fastest", [-3.0, 0.0, 1.0, 5.0])
def test_context_is_enough_for_the_transform_and_for_speed(
    recognizer: Recognizer, fastest: float
) -> None:
    context, hop = context_frames(recognizer, fastest=fastest), recognizer.hop_samples
    speed = 2 ** (max(fastest, 0) / 12)
    whole = (recognizer.window_frames + 2 * context) * hop
    assert whole >= ((recognizer.window_frames - 1) * hop + 128) * speed
    assert context * hop >= 64 * speed


def test_beyond_an_excerpt_there_is_silence(recognizer: Recognizer, excerpts: Excerpts) -> None:
    waveforms, _ = on_waveforms(WaveformAugmentation(**OFF), excerpts, recognizer, None)
    cut = waveforms.windows(np.array([1]), np.array([0]), 40)
    before = waveforms.context * recognizer.hop_samples
    assert cut[0, :before].abs().max() == 0
    assert torch.equal(cut[0, before : before + 1600], excerpts[1].waveform[:1600])
    assert cut[0, before + 1600 :].abs().max() == 0
