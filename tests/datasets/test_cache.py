import gc
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from irdream.audio import load_audio
from irdream.datasets.base import ExcerptFile, Excerpts
from irdream.datasets.cache import LogMels, log_mels
from irdream.errors import InputError
from tests.tiny import RATE_HZ, write_noise

N_MELS = 6
HOP = 100


class CountingLoader:
    """Reads sound and remembers which files it was asked for."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def __call__(self, path: Path) -> Tensor:
        self.asked.append(path.name)
        return load_audio(path, sample_rate_hz=RATE_HZ)

    def __getstate__(self) -> dict[str, object]:
        return {}  # what it was asked for does not decide what it gives


class CountingAnalysis:
    """A log-mel of sorts: frame f of mel m is m + the mean over the frame's samples."""

    def __init__(self) -> None:
        self.batches: list[tuple[int, ...]] = []

    def __call__(self, waveform: Tensor) -> Tensor:
        self.batches.append(tuple(waveform.shape))
        frames = waveform[:, : waveform.shape[1] // HOP * HOP].unflatten(1, (-1, HOP)).mean(2)
        return frames[:, None] + torch.arange(N_MELS)[None, :, None]

    def __getstate__(self) -> dict[str, object]:
        return {}


class Doubled(CountingAnalysis):
    """Another analysis."""

    def __call__(self, waveform: Tensor) -> Tensor:
        return 2 * super().__call__(waveform)


def make_excerpts(folder: Path, seconds: Sequence[float], load: CountingLoader) -> Excerpts:
    paths = [
        write_noise(folder / f"{i}.wav", seed=i, seconds=length) for i, length in enumerate(seconds)
    ]
    return Excerpts(
        [ExcerptFile(path=p, name=p.stem, labels=(), recording=p.stem) for p in paths], load
    )


DAMAGES = pytest.mark.parametrize("damage", [b"", b"\x93NUMPY\x01\x00", b"not an array", None])


class TestLogMels:
    def test_holds_each_excerpts_analysis(self, tmp_path: Path) -> None:
        lengths = [1.0, 1.0, 0.5, 2.0, 2.0]
        excerpts = make_excerpts(tmp_path / "data", lengths, CountingLoader())
        mels = log_mels(excerpts, CountingAnalysis(), cache_dir=tmp_path / "cache")
        assert len(mels) == 5
        assert mels.frames.tolist() == [80, 80, 40, 160, 160]
        for i, excerpt in enumerate(excerpts):
            expected = CountingAnalysis()(excerpt.waveform[None])[0]
            torch.testing.assert_close(mels[i], expected)
        assert torch.equal(mels[-1], mels[4])
        with pytest.raises(IndexError):
            mels[5]

    def test_excerpts_of_one_length_are_analyzed_together(self, tmp_path, monkeypatch) -> None:
        excerpts = make_excerpts(tmp_path / "data", [0.02] * 70 + [0.03] * 2, CountingLoader())
        analyze = CountingAnalysis()
        log_mels(excerpts, analyze, cache_dir=None)
        assert analyze.batches == [(64, 160), (6, 160), (2, 240)]

        monkeypatch.setattr("irdream.datasets.cache._MAX_BATCH_SAMPLES", 400)
        excerpts = make_excerpts(tmp_path / "data", [0.02] * 5 + [0.1], CountingLoader())
        analyze = CountingAnalysis()
        log_mels(excerpts, analyze, cache_dir=None)
        assert analyze.batches == [(2, 160), (2, 160), (1, 160), (1, 800)]

    @pytest.mark.parametrize("change", ["file", "analysis", "loader", "order", "number"])
    def test_a_change_is_noticed(self, tmp_path: Path, change: str) -> None:
        load, cache_dir = CountingLoader(), tmp_path / "cache"
        excerpts = make_excerpts(tmp_path / "data", [1.0, 1.0], load)
        log_mels(excerpts, CountingAnalysis(), cache_dir=cache_dir)
        load.asked.clear()
        if change == "file":
            path = write_noise(tmp_path / "data" / "1.wav", seed=7)
            os.utime(path, ns=(0, path.stat().st_mtime_ns + 1))
        excerpts = excerpts.subset({"order": [1, 0], "number": [0]}.get(change, [0, 1]))
        if change == "loader":
            excerpts = Excerpts(excerpts.files, lambda path: load(path))
        analyze = Doubled() if change == "analysis" else CountingAnalysis()
        mels = log_mels(excerpts, analyze, cache_dir=cache_dir)
        assert len(load.asked) == len(excerpts)
        if change == "analysis":
            return
        torch.testing.assert_close(mels[0], CountingAnalysis()(excerpts[0].waveform[None])[0])

    @DAMAGES
    def test_a_damaged_file_is_made_anew(self, tmp_path: Path, damage) -> None:
        excerpts = make_excerpts(tmp_path / "data", [1.0, 1.0], CountingLoader())
        first = log_mels(excerpts, CountingAnalysis(), cache_dir=tmp_path / "cache")
        expected = first[1].clone()
        path, data = first.path, first.path.read_bytes()
        del first
        path.unlink()
        path.write_bytes(data[:-12] if damage is None else damage)
        again = log_mels(excerpts, CountingAnalysis(), cache_dir=tmp_path / "cache")
        assert torch.equal(again[1], expected)

    def test_a_file_that_went_away_or_none_at_all(self, tmp_path: Path) -> None:
        excerpts = make_excerpts(tmp_path / "data", [1.0], CountingLoader())
        (tmp_path / "data" / "0.wav").unlink()
        for some, match in (
            (excerpts, r"cannot read '.*0\.wav': No such file"),
            (excerpts.subset([]), r"has no excerpts; check dataset\.root"),
        ):
            with pytest.raises(InputError, match=match):
                log_mels(some, CountingAnalysis(), cache_dir=tmp_path / "cache")

    def test_a_bad_excerpt_leaves_nothing_half_written(self, tmp_path: Path) -> None:
        excerpts = make_excerpts(tmp_path / "data", [1.0, 1.0], CountingLoader())
        (tmp_path / "data" / "1.wav").write_bytes(b"no sound")
        with pytest.raises(InputError, match=r"1\.wav' is not readable"):
            log_mels(excerpts, CountingAnalysis(), cache_dir=tmp_path / "cache")
        assert not [path for path in (tmp_path / "cache").rglob("*") if path.is_file()]

    def test_a_second_run_reads_no_sound_though_files_were_touched_or_moved(self, tmp_path) -> None:
        load, cache_dir = CountingLoader(), tmp_path / "cache"
        excerpts = make_excerpts(tmp_path / "data", [1.0, 1.0], load)
        first = log_mels(excerpts, CountingAnalysis(), cache_dir=cache_dir)
        load.asked.clear()
        os.utime(tmp_path / "data" / "0.wav", (0, 0))
        second = log_mels(excerpts, CountingAnalysis(), cache_dir=cache_dir)
        assert torch.equal(first[1], second[1])
        (tmp_path / "data").rename(tmp_path / "moved")
        files = [replace(f, path=tmp_path / "moved" / f.path.name) for f in excerpts.files]
        log_mels(Excerpts(files, load), CountingAnalysis(), cache_dir=cache_dir)
        assert load.asked == []

    def test_an_analysis_that_cannot_be_known_leaves_nothing_behind(self, tmp_path, caplog) -> None:
        excerpts = make_excerpts(tmp_path / "data", [1.0], CountingLoader())
        analyze = eval("lambda waveform: waveform[:, None, :]")
        assert log_mels(excerpts, analyze, cache_dir=tmp_path / "cache")[0].shape == (1, RATE_HZ)
        assert "log-mels are not cached: no source of <lambda>" in caplog.text
        assert not (tmp_path / "cache").exists()

    def test_where_nothing_can_be_written_a_temporary_file_serves(self, tmp_path, caplog) -> None:
        (tmp_path / "cache").write_text("a file where the folder should be")
        excerpts = make_excerpts(tmp_path / "data", [1.0], CountingLoader())
        mels = log_mels(excerpts, CountingAnalysis(), cache_dir=tmp_path / "cache")
        assert mels[0].shape == (N_MELS, 80)
        assert "log-mels are not cached" in caplog.text

    def test_a_temporary_file_goes_when_nobody_needs_it(self, tmp_path: Path) -> None:
        excerpts = make_excerpts(tmp_path / "data", [1.0], CountingLoader())
        mels = log_mels(excerpts, CountingAnalysis(), cache_dir=None)
        folder = mels.path.parent
        assert folder.is_dir()
        del mels
        gc.collect()
        assert not folder.exists()

    def test_what_is_read_can_be_written_to_without_changing_the_file(self, tmp_path: Path) -> None:
        excerpts = make_excerpts(tmp_path / "data", [1.0], CountingLoader())
        mels = log_mels(excerpts, CountingAnalysis(), cache_dir=tmp_path / "cache")
        before = mels[0].clone()
        mels[0].zero_()
        assert torch.equal(LogMels(mels.path)[0], before)


class TestWindows:
    @pytest.fixture
    def mels(self, tmp_path: Path) -> LogMels:
        excerpts = make_excerpts(tmp_path / "data", [1.0, 0.5, 2.0], CountingLoader())
        return log_mels(excerpts, CountingAnalysis(), cache_dir=tmp_path / "cache")

    def test_are_cut_from_their_excerpts(self, mels: LogMels) -> None:
        windows = mels.windows([2, 0, 1, 2], [160 - 40, 3, 0, 0], 40)
        assert windows.shape == (4, N_MELS, 40)
        assert windows.is_contiguous()
        for window, i, start in zip(windows, [2, 0, 1, 2], [120, 3, 0, 0], strict=True):
            assert torch.equal(window, mels[i][:, start : start + 40])

    @pytest.mark.parametrize(("i", "start"), [(0, -1), (0, 41), (1, 1)])
    def test_do_not_reach_into_a_neighbor(self, mels: LogMels, i: int, start: int) -> None:
        with pytest.raises(IndexError, match="a window of 40 frames does not lie in its excerpt"):
            mels.windows([i], [start], 40)


def test_a_cache_in_the_home_folder_is_no_folder_called_tilde(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    excerpts = make_excerpts(tmp_path / "in", [1.0], CountingLoader())
    log_mels(excerpts, CountingAnalysis(), cache_dir="~/cache")
    assert sorted(os.listdir(tmp_path)) == ["home", "in"]
    assert "log_mels" in os.listdir(tmp_path / "home" / "cache")
