import errno
import io
import os
import sys
from pathlib import Path
from typing import Any

import librosa
import numpy as np
import pytest
import soundfile
import torch
from hypothesis import example, given
from hypothesis import strategies as st

from irdream.audio import audio_files, load_audio, load_channels, resample, write_wav
from irdream.errors import InputError

RATE_HZ = 22_050


def sine(seconds: float, *, rate_hz: int = RATE_HZ, hz: float = 440.0) -> np.ndarray:
    return 0.5 * np.sin(2 * np.pi * hz * np.arange(round(seconds * rate_hz)) / rate_hz)


def stereo(seconds: float = 1.0) -> np.ndarray:
    return np.random.default_rng(0).uniform(-0.5, 0.5, (round(seconds * RATE_HZ), 2))


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

    def test_silence_that_is_allowed_stays_silence(self, tmp_path: Path) -> None:
        soundfile.write(tmp_path / "a.wav", np.zeros(1000), 44_100)
        loaded = load_audio(tmp_path / "a.wav", sample_rate_hz=RATE_HZ, allow_silence=True)
        assert not loaded.any()

    def test_floats_far_above_full_scale_are_scaled(self, tmp_path: Path) -> None:
        loud = sine(0.5, rate_hz=44_100) * 6e38
        soundfile.write(tmp_path / "a.wav", loud, 44_100, subtype="FLOAT")
        loaded = load_audio(tmp_path / "a.wav", sample_rate_hz=RATE_HZ)
        assert loaded.abs().max() == 1.0
        assert loaded.isfinite().all()

    def test_a_genuine_training_excerpt_also_in_the_home_folder(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("HOME", str(tmp_path))
        soundfile.write(tmp_path / "a.wav", np.linspace([-0.1] * 2, [0.1] * 2, 132_299), 44_100)
        assert load_audio("~/a.wav", sample_rate_hz=RATE_HZ).shape == (66_150,)


def refused(path: Path, match: str, **settings: Any) -> None:
    with pytest.raises(InputError, match=match) as caught:
        load_audio(path, sample_rate_hz=RATE_HZ, **settings)
    assert "\n" not in str(caught.value)
    assert path.name.encode("unicode_escape").decode() in str(caught.value)


def with_value(value: float) -> np.ndarray:
    sound = stereo()
    sound[100, 1] = value
    return sound


class TestBadFiles:
    @pytest.mark.parametrize("name", ["a.wav", "a\nb.wav"])
    def test_missing(self, tmp_path: Path, name: str) -> None:
        refused(tmp_path / name, "does not exist; check the path")

    def test_a_folder(self, tmp_path: Path) -> None:
        refused(tmp_path, "is a folder; name a sound file in it")

    @pytest.mark.parametrize(
        ("data", "said"),
        [
            (b"", r"is empty \(0 bytes\); copy or export it again"),
            (b"no sound at all\n" * 20, r"is not readable as sound \(.+\); use wav, flac"),
        ],
        ids=["nothing", "text"],
    )
    @pytest.mark.parametrize("suffix", ["wav", "mp3", "flac"])
    def test_no_sound(self, tmp_path: Path, data: bytes, said: str, suffix: str) -> None:
        (tmp_path / f"a.{suffix}").write_bytes(data)
        refused(tmp_path / f"a.{suffix}", said)

    @pytest.mark.parametrize(
        ("error", "message"),
        [
            (PermissionError(errno.EACCES, "no"), "no permission; change its permissions"),
            (OSError(errno.EIO, "Input/output error"), "Input/output error; check the disk"),
        ],
        ids=["permission", "disk"],
    )
    def test_unreadable(
        self, tmp_path: Path, error: OSError, message: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def refuse(*_: object) -> None:
            raise error

        monkeypatch.setattr(Path, "open", refuse)  # chmod does not stop root
        refused(tmp_path / "a.wav", f"cannot be read: {message}")

    @pytest.mark.parametrize(
        ("sound", "rate_hz", "message"),
        [
            (np.zeros((0, 2)), RATE_HZ, r"is empty \(0 frames\); replace it"),
            (stereo(0.5), RATE_HZ, r"is too short: 0\.500 s, at least 1 s expected; use a longer"),
            (stereo(1)[:-1], RATE_HZ, r"is too short: 0\.999 s, at least 1 s expected; use"),
            (with_value(np.nan), RATE_HZ, "contains NaN or infinite values; export it again"),
            (with_value(np.inf), RATE_HZ, "contains NaN or infinite values; export it again"),
            (stereo(), 999, r"absurd sample rate of 999 Hz \(1000 to 768000 expected\); export it"),
            (stereo(), 768_001, r"absurd sample rate of 768001 Hz \(1000 to"),
            (np.zeros((100, 65)), RATE_HZ, "has 65 channels, at most 64 expected; export it as"),
        ],
        ids=["empty", "short", "a sample short", "nan", "inf", "999 Hz", "768 kHz", "65 channels"],
    )
    def test_useless(self, tmp_path: Path, sound: np.ndarray, rate_hz: int, message: str) -> None:
        soundfile.write(tmp_path / "a.wav", sound, rate_hz, subtype="FLOAT")
        refused(tmp_path / "a.wav", message, min_seconds=1.0)


class TestSilence:
    """What is too quiet is no recording; it is refused, and kept apart from what cancels out."""

    @pytest.mark.parametrize("subtype", ["PCM_16", "FLOAT"])
    def test_digital_silence(self, tmp_path: Path, subtype: str) -> None:
        soundfile.write(tmp_path / "a.wav", np.zeros((RATE_HZ, 2)), RATE_HZ, subtype=subtype)
        expected = r"a\.wav' is silent; at least -84 dB of full scale expected; use a louder"
        refused(tmp_path / "a.wav", expected)

    def test_the_dither_of_16_bits(self, tmp_path: Path) -> None:
        rng = np.random.default_rng(0)
        dither = np.round(rng.uniform(-0.5, 0.5, RATE_HZ) + rng.uniform(-0.5, 0.5, RATE_HZ)) / 32768
        soundfile.write(tmp_path / "a.wav", dither, RATE_HZ)
        refused(tmp_path / "a.wav", r"is silent, its peak -90 dB; at least")

    @pytest.mark.parametrize("rate_hz", [RATE_HZ, 44_100])
    def test_a_constant_is_no_sound(self, tmp_path: Path, rate_hz: int) -> None:
        dither = np.random.default_rng(0).integers(-1, 2, rate_hz) / 32768
        soundfile.write(tmp_path / "a.wav", 0.25 + dither, rate_hz)
        expected = r"a\.wav' is no sound: all its values are about 0\.25, a constant \(DC\)"
        refused(tmp_path / "a.wav", expected)
        soundfile.write(tmp_path / "b.wav", 0.25 + 0.01 * sine(1.0), RATE_HZ)
        assert load_audio(tmp_path / "b.wav", sample_rate_hz=RATE_HZ).std() > 0.01

    def test_a_quiet_recording_is_read(self, tmp_path: Path) -> None:
        soundfile.write(tmp_path / "a.wav", 2e-4 * sine(1.0), RATE_HZ, subtype="PCM_24")
        assert load_audio(tmp_path / "a.wav", sample_rate_hz=RATE_HZ).abs().max() == 1

    @pytest.mark.parametrize("suffix", ["wav", "mp3"])  # an MP3 leaves a rest of coding noise
    def test_channels_that_cancel_each_other_out(self, tmp_path: Path, suffix: str) -> None:
        left = stereo()[:, 0]
        expected = r"has channels that cancel each other out: .*; turn one of them over, or export"
        soundfile.write(tmp_path / f"a.{suffix}", np.stack([left, -left], axis=1), RATE_HZ)
        refused(tmp_path / f"a.{suffix}", expected)

    def test_one_silent_channel_cancels_nothing(self, tmp_path: Path) -> None:
        sound = np.zeros((RATE_HZ, 2))
        sound[RATE_HZ // 2 :, 1] = sine(0.5)
        soundfile.write(tmp_path / "a.wav", sound, RATE_HZ)
        loaded = load_audio(tmp_path / "a.wav", sample_rate_hz=RATE_HZ)
        assert not loaded[: RATE_HZ // 2].any()
        assert loaded.abs().max() == 1


def encoded(sound: np.ndarray, **settings: Any) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, sound, RATE_HZ, **settings)
    return file.getvalue()


def load(path: Path, data: bytes, **settings: Any) -> torch.Tensor:
    path.write_bytes(data)
    return load_audio(path, sample_rate_hz=RATE_HZ, **settings)


class TestFlac:
    def without_length(self, seconds: float = 3.0) -> bytes:
        data = bytearray(encoded(sine(seconds), format="FLAC"))
        data[21] &= 0xF0  # the upper 4 of 36 bits that count samples
        data[22:26] = bytes(4)
        return bytes(data)

    def test_one_of_unknown_length_is_read_to_its_end(self, tmp_path: Path) -> None:
        assert len(load(tmp_path / "a.flac", self.without_length())) == 3 * RATE_HZ

    def test_one_of_unknown_length_that_breaks_off_is_read_with_a_word(
        self, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        data = self.without_length()
        loaded = load(tmp_path / "a.flac", data[: len(data) // 2])
        assert len(loaded) / RATE_HZ == pytest.approx(1.5, abs=0.3)
        assert "a.flac' is cut off or damaged (" in caplog.text
        with pytest.raises(InputError, match=r"is cut off or damaged \(.*\); copy or export it"):
            load(tmp_path / "a.flac", encoded(sine(3.0), format="FLAC")[: len(data) // 2])

    @pytest.mark.parametrize("tag", [b"TAG".ljust(128), b"\0"])
    def test_a_tag_at_the_end_is_no_damage(self, tmp_path: Path, tag: bytes) -> None:
        data = encoded(sine(1.0), format="FLAC")
        assert len(load(tmp_path / "a.flac", data + tag)) == RATE_HZ


class TestOgg:
    def longer(self, frames: int) -> bytes:
        """Two seconds whose last page says that there are so many frames more."""
        data = encoded(stereo(2.0), format="OGG")
        at = data.rindex(b"OggS")
        page = bytearray(data[at:])
        page[6:14] = (int.from_bytes(page[6:14], "little") + frames).to_bytes(8, "little")
        page[22:26] = bytes(4)
        checksum = 0
        for byte in page:
            checksum ^= byte << 24
            for _ in range(8):
                checksum = (checksum << 1) ^ (0x104C11DB7 if checksum >> 31 else 0)
        page[22:26] = checksum.to_bytes(4, "little")
        return data[:at] + page

    @pytest.mark.parametrize("frames", [40, 800])
    def test_one_that_lacks_some_frames_is_played(self, tmp_path: Path, frames: int) -> None:
        assert len(load(tmp_path / "a.ogg", self.longer(frames))) >= 2 * RATE_HZ

    def test_one_that_lacks_many_frames_is_cut_off(self, tmp_path: Path) -> None:
        with pytest.raises(InputError, match=r"is cut off: \d+ of 48100 frames; copy or export"):
            load(tmp_path / "a.ogg", self.longer(4000))

    @pytest.mark.parametrize("kept", [0.5, 0.9, 0.999])
    def test_one_without_its_end_is_read_with_a_word(
        self, tmp_path: Path, kept: float, caplog: pytest.LogCaptureFixture
    ) -> None:
        data = encoded(stereo(4.0), format="OGG")
        load(tmp_path / "a.ogg", data)
        assert not caplog.text
        assert len(load(tmp_path / "a.ogg", data[: round(kept * len(data))])) < 4 * RATE_HZ
        assert "a.ogg' has no end: it was cut off, or never finished" in caplog.text

    def test_one_with_several_streams_says_so(
        self, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        last_page = b"OggS\0\4".ljust(14) + b"other".ljust(12) + b"\1\0"
        load(tmp_path / "a.ogg", encoded(stereo(1.0), format="OGG") + last_page)
        assert "a.ogg' has several streams, of which the first is read" in caplog.text


class TestMp3:
    def without_length(self, sound: np.ndarray) -> bytes:
        """An MP3 as a pipe leaves it, without the first frame, which counts the others."""
        data = encoded(sound, format="MP3", bitrate_mode="VARIABLE")
        return data[data.index(data[:2], 4) :]

    def test_silence_at_the_beginning_costs_nothing(self, tmp_path: Path) -> None:
        sound = np.concatenate([np.zeros((2 * RATE_HZ, 2)), stereo(2.0)])
        loaded = load(tmp_path / "a.mp3", self.without_length(sound))
        assert len(loaded) / RATE_HZ == pytest.approx(4.0, abs=0.1)
        assert loaded[-RATE_HZ:].abs().mean() > 0.1

    def test_a_cut_one_that_says_its_length_is_refused(self, tmp_path: Path) -> None:
        data = encoded(stereo(4.0), format="MP3")
        with pytest.raises(InputError, match=r"is cut off: \d+ of 88200 frames"):
            load(tmp_path / "a.mp3", data[: len(data) // 2])


class TestFfmpeg:
    """The program reads what libsndfile does not; here a script stands for it."""

    @pytest.fixture
    def program(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        path = tmp_path / "bin" / "ffmpeg"
        path.parent.mkdir()
        monkeypatch.setenv("PATH", str(path.parent), prepend=os.pathsep)
        return path

    def install(self, program: Path, *lines: str) -> None:
        program.write_text("\n".join(["#!/bin/sh", *lines]))
        program.chmod(0o755)

    def test_it_reads_what_libsndfile_does_not(self, program: Path, tmp_path: Path) -> None:
        data = bytearray(encoded(stereo(1.0), format="WAV", subtype="FLOAT"))
        (tmp_path / "piped.wav").write_bytes(data)
        self.install(program, f'echo "$@" > {tmp_path}/said', f"cat {tmp_path}/piped.wav")
        assert len(load(tmp_path / "-a b.m4a", b"not for libsndfile")) == RATE_HZ
        said = (tmp_path / "said").read_text()
        assert f"-i file:{tmp_path}/-a b.m4a" in said
        assert "-nostdin" in said

    def test_a_file_that_it_reads_in_part_is_told(
        self, program: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        (tmp_path / "piped.wav").write_bytes(encoded(stereo(1.0), format="WAV"))
        self.install(program, f"cat {tmp_path}/piped.wav", "echo partial file >&2")
        assert len(load(tmp_path / "a.m4a", b"cut")) == RATE_HZ
        assert "a.m4a' is read as far as it goes; ffmpeg says: partial file" in caplog.text

    def test_what_it_says_is_passed_on(self, program: Path, tmp_path: Path) -> None:
        self.install(program, "echo first >&2; echo moov atom not found >&2; exit 1")
        with pytest.raises(InputError, match=r"is not readable .*; ffmpeg says: moov atom not fo"):
            load(tmp_path / "a.m4a", b"cut")

    def test_without_it_the_message_says_what_it_is_for(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("PATH", str(tmp_path))
        with pytest.raises(InputError, match=r"install the program ffmpeg, which reads m4a"):
            load(tmp_path / "a.M4A", b"something")


@pytest.mark.parametrize(
    ("suffix", "settings"),
    [
        ("aiff", {}), ("aifc", {"format": "AIFF", "subtype": "ULAW"}), ("au", {}), ("caf", {}),
        ("caf", {"subtype": "ALAC_16"}), ("w64", {}), ("rf64", {}), ("opus", {"format": "OGG"}),
        ("wav", {"endian": "BIG"}), ("wav", {"subtype": "PCM_24"}), ("wav", {"subtype": "PCM_U8"}),
        ("wav", {"subtype": "IMA_ADPCM"}), ("voc", {}), ("svx", {"mono": True}), ("nist", {}),
    ],
    ids=str,
)  # fmt: skip
def test_what_a_folder_takes_can_be_read(
    tmp_path: Path, suffix: str, settings: dict[str, Any]
) -> None:
    path, rate_hz = tmp_path / f"a.{suffix}", 24_000  # one that Opus has
    sound = stereo(1.0)
    sound = sound[:, 0] if settings.pop("mono", False) else sound
    if suffix == "opus":
        settings["subtype"] = "OPUS"
    soundfile.write(path, sound, rate_hz, **settings)
    assert audio_files(tmp_path) == [path]
    loaded = load_audio(path, sample_rate_hz=rate_hz)
    assert len(loaded) == pytest.approx(len(sound), rel=0.05)


# Resampling


@pytest.mark.parametrize("from_hz", [8_000, 11_025, 32_000, 44_100, 48_000, 96_000, 384_000])
def test_a_sine_keeps_its_pitch_level_and_length(from_hz: int) -> None:
    given = torch.from_numpy(sine(1.0, rate_hz=from_hz))
    resampled = resample(given, from_hz=from_hz, to_hz=RATE_HZ)
    assert len(resampled) == RATE_HZ
    np.testing.assert_allclose(resampled[2000:-2000], sine(1.0)[2000:-2000], atol=2e-3)


def test_agrees_with_librosa_on_music_band_noise() -> None:
    noise = np.random.default_rng(0).standard_normal(44_100)
    low = librosa.resample(noise, orig_sr=8_000, target_sr=44_100, res_type="polyphase")[:44_100]
    ours = resample(torch.from_numpy(low), from_hz=44_100, to_hz=RATE_HZ).numpy()
    theirs = librosa.resample(low, orig_sr=44_100, target_sr=RATE_HZ, res_type="polyphase")
    assert np.corrcoef(ours[1000:-1000], theirs[1000:-1000])[0, 1] > 0.9999


@given(from_hz=st.integers(1_000, 768_000))
@example(from_hz=44_101)
@example(from_hz=22_061)
def test_odd_rates_cost_neither_gigabytes_nor_pitch(from_hz: int) -> None:
    asked: list[tuple[int, int]] = []

    def record(waveform: torch.Tensor, old: int, new: int) -> torch.Tensor:
        asked.append((old, new))
        return waveform

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("torchaudio.functional.resample", record)
        resample(torch.zeros(1), from_hz=from_hz, to_hz=RATE_HZ)
    for old, new in asked:
        assert old * new * 4 < 1e8  # bytes of the filter
        assert abs(1200 * np.log2(new / old * from_hz / RATE_HZ)) < 1.0  # cents


@pytest.mark.parametrize(
    ("from_hz", "to_hz"),
    [(44_100, 22_050), (22_050, 16_000), (8_000, 22_050), (22_050, 44_100), (96_000, 7_000)],
)
@pytest.mark.parametrize("samples", [9_000, 9_001, 3 * 2048])
def test_a_long_sound_is_resampled_in_pieces_with_one_result(
    from_hz: int, to_hz: int, samples: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    from torchaudio.functional import resample as theirs

    sound = torch.randn(2, samples, generator=torch.Generator().manual_seed(0))
    whole, lengths = resample(sound, from_hz=from_hz, to_hz=to_hz), []

    def record(waveform: torch.Tensor, old: int, new: int) -> torch.Tensor:
        lengths.append(waveform.shape[-1])
        return theirs(waveform, old, new)

    monkeypatch.setattr("irdream.audio.sounds._BLOCK_FRAMES", 2000)
    monkeypatch.setattr("torchaudio.functional.resample", record)
    found = resample(sound, from_hz=from_hz, to_hz=to_hz)
    torch.testing.assert_close(found, whole, rtol=0, atol=1e-6)
    assert max(lengths) < 4_200


def test_says_how_to_mend_a_torchaudio_that_does_not_import(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "torchaudio", None)
    with pytest.raises(InputError, match=r"run `python -m irdream\.repair_torchaudio`"):
        resample(torch.zeros(100), from_hz=44_100, to_hz=RATE_HZ)


# Writing


def test_a_long_sound_is_written_in_pieces(tmp_path: Path, monkeypatch) -> None:
    waveform = torch.linspace(-1, 1, 5001)
    write_wav(tmp_path / "whole.wav", waveform, sample_rate_hz=RATE_HZ)
    monkeypatch.setattr("irdream.audio.sounds._BLOCK_FRAMES", 1000)
    write_wav(tmp_path / "pieces.wav", torch.stack([waveform, -waveform]), sample_rate_hz=RATE_HZ)
    pieces, _ = soundfile.read(tmp_path / "pieces.wav", dtype="int16")
    assert (pieces[:, 0] == soundfile.read(tmp_path / "whole.wav", dtype="int16")[0]).all()


def test_comes_back_within_half_a_step(tmp_path: Path) -> None:
    waveform = torch.linspace(-1, 1, 5001)
    write_wav(tmp_path / "a.wav", waveform, sample_rate_hz=RATE_HZ)
    pcm, rate_hz = soundfile.read(tmp_path / "a.wav", dtype="int16")
    assert rate_hz == RATE_HZ
    assert soundfile.info(tmp_path / "a.wav").subtype == "PCM_16"
    assert np.abs(pcm / 32767 - waveform.numpy()).max() <= 0.5 / 32767 + 1e-6
    loaded = load_audio(tmp_path / "a.wav", sample_rate_hz=RATE_HZ)
    torch.testing.assert_close(loaded, waveform, atol=1 / 32767, rtol=0)


def test_channels_are_written_and_read_as_they_are(tmp_path: Path) -> None:
    waveform = torch.from_numpy(stereo().T)
    write_wav(tmp_path / "a.wav", waveform, sample_rate_hz=48_000)
    channels, rate_hz = load_channels(tmp_path / "a.wav")
    assert (rate_hz, channels.shape, channels.dtype) == (48_000, waveform.shape, torch.float32)
    torch.testing.assert_close(channels.double(), waveform, atol=1 / 32767, rtol=1e-4)
    with pytest.raises(InputError, match="does not exist"):
        load_channels(tmp_path / "b.wav")


@pytest.mark.parametrize(
    ("waveform", "match"),
    [
        (torch.tensor([0.0, -1.001]), r"peak is 1\.001, above full scale 1; scale it down"),
        (torch.tensor([0.0, torch.nan]), "has NaN or infinite values"),
        (torch.tensor([0.0, torch.inf]), "has NaN or infinite values"),
        (torch.zeros(900, 2), r"shape \(900, 2\), not \(samples,\) or \(channels, samples\)"),
        (torch.zeros(1, 2, 9), r"shape \(1, 2, 9\), not \(samples,\) or \(channels, samples\)"),
    ],
    ids=["loud", "nan", "inf", "transposed", "batch"],
)
def test_refuses_rather_than_clips(tmp_path: Path, waveform: torch.Tensor, match: str) -> None:
    with pytest.raises(InputError, match=match):
        write_wav(tmp_path / "a.wav", waveform, sample_rate_hz=RATE_HZ)
    assert os.listdir(tmp_path) == []


def test_a_full_disk_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        write_wav(tmp_path / "a.wav", torch.zeros(100), sample_rate_hz=RATE_HZ)
    assert os.listdir(tmp_path) == []
