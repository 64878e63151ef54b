from __future__ import annotations

import errno
import os
import struct
import sys
from pathlib import Path

import librosa
import numpy as np
import pytest
import soundfile
import torch
from hypothesis import example, given
from hypothesis import strategies as st

from irdream.audio import audio_files, load_audio, resample, write_wav
from irdream.errors import InputError

RATE_HZ = 22_050


def sine(seconds: float, *, rate_hz: int = RATE_HZ, hz: float = 440.0) -> np.ndarray:
    return 0.5 * np.sin(2 * np.pi * hz * np.arange(round(seconds * rate_hz)) / rate_hz)


def stereo(seconds: float = 1.0) -> np.ndarray:
    return np.random.default_rng(0).uniform(-0.5, 0.5, (round(seconds * RATE_HZ), 2))


def wav_bytes(path: Path, sound: np.ndarray, *, rate_hz: int = RATE_HZ) -> bytes:
    soundfile.write(path, sound, rate_hz, subtype="PCM_16")
    return path.read_bytes()


class TestLoadAudio:
    def test_is_the_mean_of_the_channels_divided_by_its_peak(self, tmp_path: Path) -> None:
        sound = stereo()
        soundfile.write(tmp_path / "a.wav", sound, RATE_HZ, subtype="FLOAT")
        mono = sound.mean(axis=1)
        loaded = load_audio(tmp_path / "a.wav", sample_rate_hz=RATE_HZ)
        assert loaded.dtype == torch.float32
        np.testing.assert_allclose(loaded, mono / np.abs(mono).max(), atol=1e-6)

    @pytest.mark.parametrize("suffix", ["wav", "flac", "ogg", "mp3"])
    def test_every_format_gives_the_same_sound(self, tmp_path: Path, suffix: str) -> None:
        path = tmp_path / f"a.{suffix}"
        soundfile.write(path, sine(2.0, rate_hz=44_100), 44_100)
        loaded = load_audio(path, sample_rate_hz=RATE_HZ)[RATE_HZ // 2 : RATE_HZ].numpy()
        expected = sine(2.0)[RATE_HZ // 2 : RATE_HZ]
        spectra = [np.abs(np.fft.rfft(x / np.linalg.norm(x))) for x in (loaded, expected)]
        assert np.argmax(spectra[0]) == np.argmax(spectra[1])
        assert np.dot(*spectra) / (np.linalg.norm(spectra[0]) * np.linalg.norm(spectra[1])) > 0.999

    def test_silence_stays_silence(self, tmp_path: Path) -> None:
        soundfile.write(tmp_path / "a.wav", np.zeros(1000), 44_100)
        assert not load_audio(tmp_path / "a.wav", sample_rate_hz=RATE_HZ).any()

    def test_floats_far_above_full_scale_are_scaled(self, tmp_path: Path) -> None:
        soundfile.write(
            tmp_path / "a.wav", sine(0.5, rate_hz=44_100) * 6e38, 44_100, subtype="FLOAT"
        )
        loaded = load_audio(tmp_path / "a.wav", sample_rate_hz=RATE_HZ)
        assert loaded.abs().max() == 1.0
        assert loaded.isfinite().all()

    def test_a_genuine_training_excerpt_has_this_length(self, tmp_path: Path) -> None:
        soundfile.write(tmp_path / "a.wav", np.zeros((132_299, 2)), 44_100)
        assert load_audio(tmp_path / "a.wav", sample_rate_hz=RATE_HZ).shape == (66_150,)

    @pytest.mark.parametrize("size", [0, 0x7FFFF000, 0xFFFFFFFF], ids=hex)
    def test_a_wav_from_a_pipe_is_read_to_its_end(self, tmp_path: Path, size: int) -> None:
        data = bytearray(wav_bytes(tmp_path / "a.wav", stereo()))
        data[40:44] = struct.pack("<I", size)
        (tmp_path / "a.wav").write_bytes(data)
        if size == 0:  # libsndfile takes this size at its word
            with pytest.raises(InputError, match=r"a\.wav' is empty \(0 frames\)"):
                load_audio(tmp_path / "a.wav", sample_rate_hz=RATE_HZ)
        else:
            assert len(load_audio(tmp_path / "a.wav", sample_rate_hz=RATE_HZ)) == RATE_HZ

    def test_a_wav_with_chunks_around_its_sound_is_whole(self, tmp_path: Path) -> None:
        data = wav_bytes(tmp_path / "a.wav", stereo())
        odd = b"LIST" + struct.pack("<I", 3) + b"abc\0"
        (tmp_path / "a.wav").write_bytes(data[:36] + odd + data[36:] + odd)
        assert len(load_audio(tmp_path / "a.wav", sample_rate_hz=RATE_HZ)) == RATE_HZ

    def test_a_long_wav_header_is_understood(self, tmp_path: Path) -> None:
        soundfile.write(tmp_path / "a.wav", stereo(), RATE_HZ, format="RF64")
        assert len(load_audio(tmp_path / "a.wav", sample_rate_hz=RATE_HZ)) == RATE_HZ

    def test_a_tilde_is_the_home_folder(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("HOME", str(tmp_path))
        wav_bytes(tmp_path / "a.wav", stereo())
        assert len(load_audio("~/a.wav", sample_rate_hz=RATE_HZ)) == RATE_HZ


class TestBadFiles:
    def refused(self, path: Path, match: str, *, min_seconds: float = 0.0) -> None:
        with pytest.raises(InputError, match=match) as caught:
            load_audio(path, sample_rate_hz=RATE_HZ, min_seconds=min_seconds)
        assert "\n" not in str(caught.value)
        assert path.name in str(caught.value)

    def test_missing(self, tmp_path: Path) -> None:
        self.refused(tmp_path / "a.wav", "does not exist; check the path")

    def test_a_folder(self, tmp_path: Path) -> None:
        self.refused(tmp_path, "is a folder; name a sound file in it")

    @pytest.mark.parametrize("data", [b"", b"no sound at all\n" * 20], ids=["nothing", "text"])
    @pytest.mark.parametrize("suffix", ["wav", "mp3", "flac"])
    def test_no_sound(self, tmp_path: Path, data: bytes, suffix: str) -> None:
        (tmp_path / f"a.{suffix}").write_bytes(data)
        self.refused(tmp_path / f"a.{suffix}", r"not readable as sound \(.+\); use wav, flac")

    def test_no_permission(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def refuse(*_: object) -> None:
            raise PermissionError(errno.EACCES, "Permission denied")

        monkeypatch.setattr(Path, "open", refuse)  # chmod does not stop root
        self.refused(tmp_path / "a.wav", "cannot be read: no permission; change its permissions")

    def test_no_frames(self, tmp_path: Path) -> None:
        wav_bytes(tmp_path / "a.wav", np.zeros((0, 2)))
        self.refused(tmp_path / "a.wav", r"is empty \(0 frames\)")

    def test_too_short(self, tmp_path: Path) -> None:
        wav_bytes(tmp_path / "a.wav", stereo(0.5))
        expected = r"is too short: 0\.500 s, at least 1 s expected; use a longer recording"
        self.refused(tmp_path / "a.wav", expected, min_seconds=1.0)

    @pytest.mark.parametrize("value", [np.nan, np.inf])
    def test_not_finite(self, tmp_path: Path, value: float) -> None:
        sound = stereo()
        sound[100, 1] = value
        soundfile.write(tmp_path / "a.wav", sound, RATE_HZ, subtype="FLOAT")
        self.refused(tmp_path / "a.wav", "contains NaN or infinite values")

    @pytest.mark.parametrize("kept", [0.99, 0.5, 0.01])
    def test_a_cut_wav(self, tmp_path: Path, kept: float) -> None:
        data = wav_bytes(tmp_path / "a.wav", stereo())
        (tmp_path / "a.wav").write_bytes(data[: round(len(data) * kept)])
        self.refused(tmp_path / "a.wav", r"is cut off: \d+ of 88200 bytes of sound; copy or")

    def test_a_cut_long_wav(self, tmp_path: Path) -> None:
        soundfile.write(tmp_path / "a.wav", stereo(), RATE_HZ, format="RF64", subtype="PCM_16")
        data = bytearray((tmp_path / "a.wav").read_bytes())
        at = data.index(b"data") + 4
        data[at : at + 4] = b"\xff\xff\xff\xff"
        (tmp_path / "a.wav").write_bytes(data[: len(data) // 2])
        if data[:4] != b"RF64":  # libsndfile writes RIFF when the file turns out to be small
            data[:4] = b"RF64"
            chunk = data.index(b"JUNK")
            data[chunk : chunk + 4] = b"ds64"
            data[chunk + 8 : chunk + 24] = struct.pack("<QQ", len(data) - 8, 88_200)
            (tmp_path / "a.wav").write_bytes(data[: len(data) // 2])
        self.refused(tmp_path / "a.wav", r"is cut off: \d+ of 88200 bytes of sound")

    def test_a_cut_flac(self, tmp_path: Path) -> None:
        soundfile.write(tmp_path / "a.flac", stereo(2.0), RATE_HZ)
        data = (tmp_path / "a.flac").read_bytes()
        (tmp_path / "a.flac").write_bytes(data[: len(data) // 2])
        self.refused(tmp_path / "a.flac", r"is cut off|not readable as sound")

    @pytest.mark.parametrize("rate_hz", [1, 999, 768_001])
    def test_an_absurd_rate(self, tmp_path: Path, rate_hz: int) -> None:
        wav_bytes(tmp_path / "a.wav", stereo(), rate_hz=rate_hz)
        expected = rf"absurd sample rate of {rate_hz} Hz \(1000 to 768000 expected\)"
        self.refused(tmp_path / "a.wav", expected)

    def test_absurdly_many_channels(self, tmp_path: Path) -> None:
        wav_bytes(tmp_path / "a.wav", np.zeros((100, 65)))
        self.refused(tmp_path / "a.wav", "has 65 channels, at most 64 expected")

    def test_a_name_with_a_line_break_stays_on_one_line(self, tmp_path: Path) -> None:
        with pytest.raises(InputError, match=r"a\\nb\.wav' does not exist"):
            load_audio(tmp_path / "a\nb.wav", sample_rate_hz=RATE_HZ)


class TestResample:
    @pytest.mark.parametrize("from_hz", [8_000, 32_000, 44_100, 48_000, 96_000])
    def test_a_sine_keeps_its_pitch_and_level(self, from_hz: int) -> None:
        resampled = resample(
            torch.from_numpy(sine(1.0, rate_hz=from_hz)), from_hz=from_hz, to_hz=RATE_HZ
        )
        np.testing.assert_allclose(resampled[2000:-2000], sine(1.0)[2000:-2000], atol=2e-3)

    def test_agrees_with_librosa_on_music_band_noise(self) -> None:
        noise = np.random.default_rng(0).standard_normal(44_100)
        low = librosa.resample(noise, orig_sr=8_000, target_sr=44_100, res_type="polyphase")[
            :44_100
        ]
        ours = resample(torch.from_numpy(low), from_hz=44_100, to_hz=RATE_HZ).numpy()
        theirs = librosa.resample(low, orig_sr=44_100, target_sr=RATE_HZ, res_type="polyphase")
        assert np.corrcoef(ours[1000:-1000], theirs[1000:-1000])[0, 1] > 0.9999

    @given(from_hz=st.integers(1_000, 768_000))
    @example(from_hz=44_101)
    @example(from_hz=22_061)
    def test_odd_rates_cost_neither_gigabytes_nor_pitch(self, from_hz: int) -> None:
        asked: list[tuple[int, int]] = []

        class Functional:
            @staticmethod
            def resample(waveform: torch.Tensor, old: int, new: int) -> torch.Tensor:
                asked.append((old, new))
                return waveform

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("irdream.audio._torchaudio_functional", lambda: Functional)
            resample(torch.zeros(1), from_hz=from_hz, to_hz=RATE_HZ)
        for old, new in asked:
            assert old * new * 4 < 1e8  # bytes of the filter
            assert abs(1200 * np.log2(new / old * from_hz / RATE_HZ)) < 1.0  # cents

    def test_common_rates_are_exact(self) -> None:
        for from_hz in (8_000, 11_025, 16_000, 44_100, 48_000, 88_200, 96_000, 192_000, 384_000):
            second = resample(torch.zeros(from_hz), from_hz=from_hz, to_hz=RATE_HZ)
            assert len(second) == RATE_HZ

    def test_says_how_to_mend_a_torchaudio_that_does_not_import(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setitem(sys.modules, "torchaudio.functional", None)
        with pytest.raises(InputError, match=r"run `python -m irdream\.repair_torchaudio`"):
            resample(torch.zeros(100), from_hz=44_100, to_hz=RATE_HZ)


class TestWriteWav:
    def test_comes_back_within_half_a_step(self, tmp_path: Path) -> None:
        waveform = torch.linspace(-1, 1, 5001)
        write_wav(tmp_path / "a.wav", waveform, sample_rate_hz=RATE_HZ)
        pcm, rate_hz = soundfile.read(tmp_path / "a.wav", dtype="int16")
        assert rate_hz == RATE_HZ
        assert soundfile.info(tmp_path / "a.wav").subtype == "PCM_16"
        assert np.abs(pcm / 32767 - waveform.numpy()).max() <= 0.5 / 32767 + 1e-6

    def test_what_was_read_is_written_unchanged(self, tmp_path: Path) -> None:
        write_wav(tmp_path / "a.wav", torch.from_numpy(sine(1.0)), sample_rate_hz=RATE_HZ)
        loaded = load_audio(tmp_path / "a.wav", sample_rate_hz=RATE_HZ)
        write_wav(tmp_path / "b.wav", loaded, sample_rate_hz=RATE_HZ)
        again = load_audio(tmp_path / "b.wav", sample_rate_hz=RATE_HZ)
        torch.testing.assert_close(again, loaded, atol=1 / 32767, rtol=0)

    @pytest.mark.parametrize(
        ("waveform", "match"),
        [
            (torch.tensor([0.0, -1.001]), r"peak is 1\.001, above full scale 1; scale it down"),
            (torch.tensor([0.0, torch.nan]), "has NaN or infinite values"),
            (torch.tensor([0.0, torch.inf]), "has NaN or infinite values"),
            (torch.zeros(2, 100), r"shape \(2, 100\), not \(samples,\)"),
        ],
        ids=["loud", "nan", "inf", "batch"],
    )
    def test_refuses_rather_than_clips(
        self, tmp_path: Path, waveform: torch.Tensor, match: str
    ) -> None:
        with pytest.raises(InputError, match=match):
            write_wav(tmp_path / "a.wav", waveform, sample_rate_hz=RATE_HZ)
        assert os.listdir(tmp_path) == []

    def test_a_full_disk_leaves_nothing_behind(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def full(_: int) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

        monkeypatch.setattr(os, "fsync", full)
        with pytest.raises(OSError, match="No space left"):
            write_wav(tmp_path / "a.wav", torch.zeros(100), sample_rate_hz=RATE_HZ)
        assert os.listdir(tmp_path) == []


class TestAudioFiles:
    def test_a_file_is_itself(self, tmp_path: Path) -> None:
        (tmp_path / "a.aiff").touch()
        assert audio_files(tmp_path / "a.aiff") == [tmp_path / "a.aiff"]

    def test_a_folder_is_all_sounds_below_it_sorted(self, tmp_path: Path) -> None:
        names = ["b/2.FLAC", "a.ogg", "b/1.wav", "c.mp3", "notes.txt", ".hidden.wav", "._c.mp3"]
        names += [".git/x.wav", "__MACOSX/a.wav"]
        for name in names:
            (tmp_path / name).parent.mkdir(exist_ok=True)
            (tmp_path / name).touch()
        found = [path.relative_to(tmp_path).as_posix() for path in audio_files(tmp_path)]
        assert found == ["a.ogg", "b/1.wav", "b/2.FLAC", "c.mp3"]

    def test_links_are_followed_but_not_in_circles(self, tmp_path: Path) -> None:
        elsewhere = tmp_path / "elsewhere"
        elsewhere.mkdir()
        (elsewhere / "a.wav").touch()
        root = tmp_path / "root"
        root.mkdir()
        (root / "linked").symlink_to(elsewhere)
        (elsewhere / "back").symlink_to(root)
        assert audio_files(root) == [root / "linked" / "a.wav"]

    def test_nothing_there(self, tmp_path: Path) -> None:
        with pytest.raises(InputError, match=r"no such file or folder: '.*x'; check the path"):
            audio_files(tmp_path / "x")
        with pytest.raises(
            InputError, match=r"no sound file below .*; expected wav, flac, ogg, mp3"
        ):
            audio_files(tmp_path)

    def test_a_folder_that_cannot_be_listed(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def refuse(path: str) -> None:
            raise PermissionError(errno.EACCES, "Permission denied", path)

        monkeypatch.setattr(os, "scandir", refuse)
        with pytest.raises(InputError, match=r"cannot list .*: Permission denied; check its perm"):
            audio_files(tmp_path)
