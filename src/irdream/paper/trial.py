"""One batch of dreams: dreamed, turned into sound in every way, and measured beside its controls.

Each dream gives a row for each way to sound and each kind: the dream; the undreamed original
through the same sonification; a random change of equal RMSE. Every sound is written as a 16-bit
WAV, read back and analyzed anew.
"""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from irdream.audio import load_audio, write_wav
from irdream.audio.masking import masking_violation
from irdream.audio.stft import inverse_stft, stft
from irdream.datasets.base import Excerpt
from irdream.dreaming.ascent import Ascent
from irdream.dreaming.parametrizations import Parametrization, StftGain
from irdream.dreaming.parametrizations.sound import QUIETEST_RMS
from irdream.dreaming.random_streams import item_keys, normal, substream
from irdream.dreaming.record import Answer, Dreams, first_step
from irdream.dreaming.targets import Item, item_seed
from irdream.measures import dreams as measures
from irdream.measures import sounds
from irdream.measures.table import BAR
from irdream.recognizer import Recognizer
from irdream.reports.dreams import FULL_SCALE, Sonify, file_names

KINDS = ("dream", "undreamed", "random")
PCM = 32767  # full scale of 16 bits
SEGMENT_SECONDS, SEGMENT_HOP_SECONDS = 0.032, 0.016
_CONTROL = 2  # substream of an item; a dream uses 0 and 1
_SEARCH_STEPS = 14  # of bisection: to a percent
_LARGEST_SCALE, _OCTAVES = 8.0, 30  # clean sounds have bands at the floor: -150 dB may matter

Keep = Callable[[Item, str], bool]


@dataclass(frozen=True, kw_only=True)
class _Batch:
    """Originals and targets of some items, on the recognizer's device."""

    items: Sequence[Item]
    names: Sequence[str]  # of files
    waveform: Tensor
    original: Tensor
    targets: Tensor


@dataclass(frozen=True, kw_only=True)
class Trial:
    """What the batches of a study have in common, see `Study`.

    `ways` say how a dream becomes sound, by name; one entry with None where dreams are sound.
    """

    recognizer: Recognizer
    second: Recognizer | None
    ascent: Ascent
    ways: Mapping[str, Sonify | None]
    seed: int

    def __call__(
        self, excerpts: Sequence[Excerpt], items: Sequence[Item], *, folder: Path, keep: Keep
    ) -> tuple[pd.DataFrame, dict[str, np.ndarray]]:
        """Dream items of excerpts of one length; WAVs are kept in `folder` where `keep` says so.

        Returns:
            A row for each way, kind and item; and by name the log-mels (items, n_mels, frames)
            "original", "dream" and "wav-<way>", that of the dream's WAV at the original's scale,
            and the probabilities (items, instruments) "before" and "after".
        """
        recognizer, codes = self.recognizer, self.recognizer.instruments
        chosen = [excerpts[item.excerpt] for item in items]
        waveform = torch.stack([one.waveform for one in chosen]).to(recognizer.device)
        original, names = recognizer.log_mel(waveform), file_names(excerpts, items, codes)
        targets = torch.tensor([codes.index(item.target) for item in items]).to(waveform.device)
        batch = _Batch(
            items=items, names=names, waveform=waveform, original=original, targets=targets
        )
        pairs = zip(chosen, items, strict=True)
        seeds = [item_seed(self.seed, one.name, item.target) for one, item in pairs]
        dreams = self.ascent.run(recognizer, waveform, targets, seeds)
        about = _about(batch, chosen, dreams)
        size_db, what = measures.rmse_db(original, dreams.log_mel), self.ascent.parametrization
        versions = {
            "dream": (dreams.log_mel, dreams.waveform),
            "undreamed": (original, None if dreams.waveform is None else waveform),
            "random": random_change(recognizer, what, waveform, size_db, seeds),
        }
        on_spectrogram = {
            kind: self._spectrogram_measures(batch, log_mel)
            for kind, (log_mel, _) in versions.items()
        }
        on_spectrogram["dream"] |= {
            "steps": dreams.steps,
            "steps_to_flip": dreams.flip_steps,
            "steps_to_0.9": first_step(dreams.probability_curve, BAR),
        }
        tables, of_wavs = [], {}
        for (way, sonify), (kind, version) in itertools.product(
            self.ways.items(), versions.items()
        ):
            log_mel, sound = version
            if sound is None:
                assert sonify is not None
                sound = self._sonified(batch, log_mel, sonify, shared=kind == "undreamed")
            kept = [folder if keep(item, kind) else None for item in items]
            written, log_mel_read = self._written(batch, sound, way, kind, kept)
            log_mel_written = recognizer.log_mel(written)
            measured = batch, log_mel, written, log_mel_written, log_mel_read
            found = on_spectrogram[kind] | self._sound_measures(*measured)
            if kind == "dream":
                of_wavs[f"wav-{way}"] = log_mel_written
            columns = {name: value.cpu().tolist() for name, value in found.items()}
            tables.append(pd.DataFrame({**about, "way": way, "kind": kind, **columns}))
        arrays = {
            "original": original,
            "dream": dreams.log_mel,
            "before": dreams.before.probabilities,
            "after": dreams.after.probabilities,
            **of_wavs,
        }
        table = pd.concat(tables, ignore_index=True)
        return table, {name: values.numpy(force=True) for name, values in arrays.items()}

    def _sonified(self, batch: _Batch, log_mel: Tensor, sonify: Sonify, *, shared: bool) -> Tensor:
        """Return the sounds of log-mels; `shared`: items of one excerpt have the same sound."""
        keys = [item.excerpt for item in batch.items] if shared else range(len(batch.items))
        _, first, place = np.unique(list(keys), return_index=True, return_inverse=True)
        sound = sonify(
            dream=log_mel[first],
            original=batch.original[first],
            waveform=batch.waveform[first],
            frontend=self.recognizer.frontend,
        )
        return sound[place]

    def _written(
        self, batch: _Batch, sound: Tensor, way: str, kind: str, kept: Sequence[Path | None]
    ) -> tuple[Tensor, Tensor]:
        """Write 16-bit WAVs and read them as the recognizer would.

        A dream that is kept has its original beside it, on the same scale.

        Returns:
            The sounds as they stand in the files, at the originals' scale, (items, samples); the
            log-mels of what is read, its peak at 1, (items, n_mels, frames).
        """
        rate_hz = self.recognizer.sample_rate_hz
        peak = torch.maximum(sound.abs().amax(dim=1), batch.waveform.abs().amax(dim=1))
        scale = (FULL_SCALE / peak.clamp(min=FULL_SCALE))[:, None].cpu()
        scaled, originals, read = sound.cpu() * scale, batch.waveform.cpu() * scale, []
        with tempfile.TemporaryDirectory() as temporary:
            for i, name in enumerate(batch.names):
                folder = kept[i] or Path(temporary)
                folder.mkdir(parents=True, exist_ok=True)
                path = folder / f"{name}-{way}-{kind}.wav"
                write_wav(path, scaled[i], sample_rate_hz=rate_hz)
                read.append(load_audio(path, sample_rate_hz=rate_hz, allow_silence=True))
                if kept[i] and kind == "dream":
                    path = folder / f"{name}-{way}-original.wav"
                    write_wav(path, originals[i], sample_rate_hz=rate_hz)
        written = (scaled.double() * PCM).round() / PCM / scale
        return written.to(sound), self.recognizer.log_mel(torch.stack(read).to(sound))

    def _spectrogram_measures(self, batch: _Batch, log_mel: Tensor) -> dict[str, Tensor]:
        original = batch.original
        return {
            **_predictions(self.recognizer, log_mel, batch.targets, ""),
            "rmse_db": measures.rmse_db(original, log_mel),
            "mse_db2": measures.mse_db2(original, log_mel),
            "max_abs_db": measures.max_abs_db(original, log_mel),
            "total_variation_db": measures.total_variation_db(log_mel),
            **_predictions(self.second, log_mel, batch.targets, "transfer_"),
        }

    def _sound_measures(
        self, batch: _Batch, log_mel: Tensor, y: Tensor, log_mel_written: Tensor, read: Tensor
    ) -> dict[str, Tensor]:
        """Measure sounds in WAVs, `y`, that were to have `log_mel`; `read`: as of `_written`."""
        frontend, rate_hz = self.recognizer.frontend, self.recognizer.sample_rate_hz
        frames: Any = {"n_fft": frontend.n_fft, "hop_samples": frontend.hop_samples}
        segments = {
            "frame_samples": round(SEGMENT_SECONDS * rate_hz),
            "hop_samples": round(SEGMENT_HOP_SECONDS * rate_hz),
        }
        x, original = batch.waveform, batch.original
        violation = masking_violation(x, y, **frames, sample_rate_hz=rate_hz)
        return {
            **_predictions(self.recognizer, read, batch.targets, "wav_"),
            "wav_rmse_db": measures.rmse_db(original, log_mel_written),
            "realized_correlation": measures.correlation(
                log_mel - original, log_mel_written - original
            ),
            "snr_db": sounds.snr_db(x, y),
            "segmental_snr_db": sounds.segmental_snr_db(x, y, **segments),
            "db_x": sounds.db_x(x, y),
            "log_spectral_distance_db": sounds.log_spectral_distance_db(x, y, **frames),
            "masking_violation": violation.share,
            "masking_excess_db": violation.excess_db,
            "noise_to_mask_db": violation.noise_to_mask_db,
            "flatness": sounds.spectral_flatness(y, **frames),
            "voiced_share": sounds.voiced_share(y, sample_rate_hz=rate_hz),
            **_predictions(self.second, read, batch.targets, "transfer_wav_"),
        }


def _about(batch: _Batch, excerpts: Sequence[Excerpt], dreams: Dreams) -> dict[str, list[Any]]:
    """Return the columns that say which dream a row is of."""
    pairs, targets = list(zip(excerpts, batch.items, strict=True)), batch.targets
    return {
        "excerpt": [one.name for one in excerpts],
        "recording": [one.recording or one.name for one in excerpts],
        "labels": [" ".join(one.labels) for one in excerpts],
        "target": [item.target for item in batch.items],
        "toward": ["own" if one.labels[:1] == (item.target,) else "other" for one, item in pairs],
        "before": dreams.before.of_target(targets).tolist(),
        "before_on_top": dreams.before.on_top(targets).tolist(),
        "file": list(batch.names),
    }


def _predictions(
    recognizer: Recognizer | None, log_mel: Tensor, targets: Tensor, prefix: str
) -> dict[str, Tensor]:
    """Return what a recognizer says of the targets; nothing without one."""
    if recognizer is None:
        return {}
    answer = Answer.to(recognizer, log_mel, targets)
    return {
        f"{prefix}target_probability": answer.of_target(targets),
        f"{prefix}on_top": answer.on_top(targets),
        f"{prefix}at_0.9": answer.on_top(targets, BAR),
    }


@torch.no_grad()
def random_change(
    recognizer: Recognizer,
    parametrization: Parametrization,
    waveform: Tensor,
    wanted_db: Tensor,
    seeds: Sequence[int],
) -> tuple[Tensor, Tensor | None]:
    """Return the log-mels, and the sounds where sound is dreamed, of random changes.

    Gaussian noise in what is dreamed, the log-mel, the gain on the spectrum or the waveform, at the
    scale that gives the wanted change of the log-mel.

    Args:
        parametrization: says what is changed; one that wraps another changes what that changes.
        waveform: the originals, (items, samples).
        wanted_db: RMSE of each change, (items,).
    """
    keys = substream(item_keys(list(seeds), waveform.device), _CONTROL)
    original, frontend = recognizer.log_mel(waveform), recognizer.frontend
    changed = getattr(parametrization, "of", parametrization)
    if "sound" not in changed.kinds:
        noise = normal(keys, 0, *original.shape[1:]).to(original)
        unit_db = measures.rmse_db(torch.zeros_like(noise), noise)
        return original + noise * (wanted_db / unit_db)[:, None, None], None
    if isinstance(changed, StftGain):
        spectrum = stft(waveform, frontend)
        noise = normal(keys, 0, *spectrum.shape[1:]).to(waveform)
    else:
        rms = waveform.square().mean(dim=1, keepdim=True).sqrt().clamp(min=QUIETEST_RMS)
        noise = rms * normal(keys, 0, waveform.shape[-1]).to(waveform)

    def sound(scale: Tensor) -> Tensor:
        if not isinstance(changed, StftGain):
            return waveform + scale[:, None] * noise
        gain = torch.exp(scale[:, None, None] * noise)
        return inverse_stft(spectrum * gain, frontend, samples=waveform.shape[-1])

    high = torch.full_like(wanted_db, _LARGEST_SCALE)
    low = high / 2.0**_OCTAVES
    for _ in range(_SEARCH_STEPS):
        middle = (low * high).sqrt()
        too_large = measures.rmse_db(original, recognizer.log_mel(sound(middle))) > wanted_db
        low, high = torch.where(too_large, low, middle), torch.where(too_large, middle, high)
    found = sound(torch.where(wanted_db > 0, (low * high).sqrt(), 0.0))
    return recognizer.log_mel(found), found
