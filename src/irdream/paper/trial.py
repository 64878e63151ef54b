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
from irdream.dreaming.best import Answer, Dreams, first_step
from irdream.dreaming.parametrizations import Parametrization, StftGain
from irdream.dreaming.parametrizations.sound import QUIETEST_RMS
from irdream.dreaming.random_streams import item_keys, normal, substream
from irdream.dreaming.targets import Item, item_seed
from irdream.measures import dreams as measures
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
        recognizer = self.recognizer
        names = file_names(excerpts, items, recognizer.instruments)
        batch = _Batch(recognizer, self.second, excerpts, items, names)
        waveform, original, targets = batch.waveform, batch.original, batch.targets
        seeds = [item_seed(self.seed, one.name, item.target) for one, item in batch.pairs]
        dreams = self.ascent.run(recognizer, waveform, targets, seeds)
        size_db, what = measures.rmse_db(original, dreams.log_mel), self.ascent.parametrization
        versions = {
            "dream": (dreams.log_mel, dreams.waveform),
            "undreamed": (original, None if dreams.waveform is None else waveform),
            "random": random_change(recognizer, what, waveform, size_db, seeds),
        }
        on_spectrogram = {
            kind: batch.spectrogram_measures(log_mel) for kind, (log_mel, _) in versions.items()
        }
        on_spectrogram["dream"] |= {
            "steps": dreams.steps,
            "steps_to_flip": dreams.flip_steps,
            "steps_to_0.9": first_step(dreams.probability_curve, BAR),
        }
        about, tables = batch.about(dreams), []
        arrays = {
            "original": original,
            "dream": dreams.log_mel,
            "before": dreams.before.probabilities,
            "after": dreams.after.probabilities,
        }
        for way, kind in itertools.product(self.ways, versions):
            (log_mel, sound), sonify = versions[kind], self.ways[way]
            if sound is None:
                assert sonify is not None
                sound = batch.sonified(log_mel, sonify, is_shared=kind == "undreamed")
            kept = [folder if keep(item, kind) else None for item in items]
            written, read = batch.written(sound, way, kind, kept)
            of_wav = recognizer.log_mel(written)
            if kind == "dream":
                arrays[f"wav-{way}"] = of_wav
            found = on_spectrogram[kind] | batch.sound_measures(log_mel, written, of_wav, read)
            columns = {name: value.cpu().tolist() for name, value in found.items()}
            tables.append(pd.DataFrame({**about, "way": way, "kind": kind, **columns}))
        table = pd.concat(tables, ignore_index=True)
        return table, {name: values.numpy(force=True) for name, values in arrays.items()}


class _Batch:
    """Originals and targets of some items, on the recognizer's device."""

    def __init__(
        self,
        recognizer: Recognizer,
        second: Recognizer | None,
        excerpts: Sequence[Excerpt],
        items: Sequence[Item],
        names: Sequence[str],
    ) -> None:
        self.recognizer, self.second, self.names = recognizer, second, names
        self.pairs = [(excerpts[item.excerpt], item) for item in items]
        waveforms = [excerpt.waveform for excerpt, _ in self.pairs]
        self.waveform = torch.stack(waveforms).to(recognizer.device)
        self.original = recognizer.log_mel(self.waveform)
        targets = [recognizer.instruments.index(item.target) for item in items]
        self.targets = torch.tensor(targets).to(self.waveform.device)

    def about(self, dreams: Dreams) -> dict[str, list[Any]]:
        """Return the columns that say which dream a row is of."""
        return {
            "excerpt": [one.name for one, _ in self.pairs],
            "recording": [one.recording or one.name for one, _ in self.pairs],
            "labels": [";".join(one.labels) for one, _ in self.pairs],
            "target": [item.target for _, item in self.pairs],
            "toward": ["own" if x.labels[:1] == (i.target,) else "other" for x, i in self.pairs],
            "before": dreams.before.of_target(self.targets).tolist(),
            "before_on_top": dreams.before.on_top(self.targets).tolist(),
            "file": list(self.names),
        }

    def sonified(self, log_mel: Tensor, sonify: Sonify, *, is_shared: bool) -> Tensor:
        """Return the sounds of log-mels; shared: items of one excerpt have the same sound."""
        keys = [item.excerpt if is_shared else i for i, (_, item) in enumerate(self.pairs)]
        _, first, place = np.unique(keys, return_index=True, return_inverse=True)
        of_first = {"original": self.original[first], "waveform": self.waveform[first]}
        sounds = sonify(dream=log_mel[first], **of_first, frontend=self.recognizer.frontend)
        return sounds[place]

    def written(
        self, sound: Tensor, way: str, kind: str, kept: Sequence[Path | None]
    ) -> tuple[Tensor, Tensor]:
        """Write 16-bit WAVs, a dream that is kept beside its original, and read them.

        Returns the sounds as they stand in the files, at the originals' scale, (items, samples);
        and the log-mels of what is read, its peak at 1, (items, n_mels, frames).
        """
        rate_hz = self.recognizer.sample_rate_hz
        peak = torch.maximum(sound.abs().amax(dim=1), self.waveform.abs().amax(dim=1))
        scale = (FULL_SCALE / peak.clamp(min=FULL_SCALE))[:, None].cpu()
        scaled, originals, read = sound.cpu() * scale, self.waveform.cpu() * scale, []
        with tempfile.TemporaryDirectory() as temporary:
            for i, name in enumerate(self.names):
                folder = kept[i] or Path(temporary)
                path = folder / f"{name}-{way}-{kind}.wav"
                write_wav(path, scaled[i], sample_rate_hz=rate_hz)
                read.append(load_audio(path, sample_rate_hz=rate_hz, allow_silence=True))
                if kept[i] and kind == "dream":
                    path = folder / f"{name}-{way}-original.wav"
                    write_wav(path, originals[i], sample_rate_hz=rate_hz)
        written = (scaled.double() * PCM).round() / PCM / scale
        return written.to(sound), self.recognizer.log_mel(torch.stack(read).to(sound))

    def spectrogram_measures(self, log_mel: Tensor) -> dict[str, Tensor]:
        """Measure log-mels against the originals."""
        original = self.original
        return {
            **self._predictions(self.recognizer, log_mel, ""),
            "rmse_db": measures.rmse_db(original, log_mel),
            "mse_db2": measures.mse_db2(original, log_mel),
            "max_abs_db": measures.max_abs_db(original, log_mel),
            "total_variation_db": measures.total_variation_db(log_mel),
            **self._predictions(self.second, log_mel, "transfer_"),
        }

    def sound_measures(
        self, log_mel: Tensor, y: Tensor, of_wav: Tensor, read: Tensor
    ) -> dict[str, Tensor]:
        """Measure sounds in WAVs, `y`, that were to have `log_mel`; `read`: as of `written`."""
        frontend, rate_hz = self.recognizer.frontend, self.recognizer.sample_rate_hz
        frames: Any = {"n_fft": frontend.n_fft, "hop_samples": frontend.hop_samples}
        lengths = (round(s * rate_hz) for s in (SEGMENT_SECONDS, SEGMENT_HOP_SECONDS))
        segments = dict(zip(("frame_samples", "hop_samples"), lengths, strict=True))
        x, original = self.waveform, self.original
        violation = masking_violation(x, y, **frames, sample_rate_hz=rate_hz)
        return {
            **self._predictions(self.recognizer, read, "wav_"),
            "wav_rmse_db": measures.rmse_db(original, of_wav),
            "realized_correlation": measures.correlation(log_mel - original, of_wav - original),
            "snr_db": measures.snr_db(x, y),
            "segmental_snr_db": measures.segmental_snr_db(x, y, **segments),
            "db_x": measures.db_x(x, y),
            "log_spectral_distance_db": measures.log_spectral_distance_db(x, y, **frames),
            "masking_violation": violation.share,
            "masking_excess_db": violation.excess_db,
            "noise_to_mask_db": violation.noise_to_mask_db,
            "flatness": measures.spectral_flatness(y, **frames),
            "voiced_share": measures.voiced_share(y, sample_rate_hz=rate_hz),
            **self._predictions(self.second, read, "transfer_wav_"),
        }

    def _predictions(
        self, network: Recognizer | None, log_mel: Tensor, prefix: str
    ) -> dict[str, Tensor]:
        """Return what a network says of the targets; nothing without one."""
        if network is None:
            return {}
        answer = Answer.of_log_mel(network, log_mel, self.targets)
        return {
            f"{prefix}target_probability": answer.of_target(self.targets),
            f"{prefix}on_top": answer.on_top(self.targets),
            f"{prefix}at_0.9": answer.on_top(self.targets, BAR),
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

    Gaussian noise in what the parametrization changes (log-mel, gain on the spectrum or waveform)
    of the originals (items, samples), at the scale that gives the wanted RMSE of each (items,).
    """
    keys = substream(item_keys(list(seeds), waveform.device), _CONTROL)
    original, frontend = recognizer.log_mel(waveform), recognizer.frontend
    changed = getattr(parametrization, "of", parametrization)
    if "sound" not in changed.kinds:
        noise = normal(keys, 0, *original.shape[1:]).to(original)
        unit_db = measures.rmse_db(torch.zeros_like(noise), noise)
        return original + noise * (wanted_db / unit_db)[:, None, None], None
    if isinstance(changed, StftGain):
        noise = normal(keys, 0, *stft(waveform, frontend).shape[1:]).to(waveform)
        found = at_size(recognizer, waveform, gained(recognizer, waveform, noise), wanted_db)
    else:
        rms = waveform.square().mean(dim=1, keepdim=True).sqrt().clamp(min=QUIETEST_RMS)
        noise = rms * normal(keys, 0, waveform.shape[-1]).to(waveform)
        found = at_size(recognizer, waveform, lambda x: waveform + x[:, None] * noise, wanted_db)
    return recognizer.log_mel(found), found


def gained(recognizer: Recognizer, waveform: Tensor, gain: Tensor) -> Callable[[Tensor], Tensor]:
    """Return what makes sounds with a gain (items, bins, frames), times a scale (items,)."""
    frontend, samples = recognizer.frontend, waveform.shape[-1]
    spectrum = stft(waveform, frontend)
    return lambda scale: inverse_stft(
        spectrum * torch.exp(scale[:, None, None] * gain), frontend, samples=samples
    )


@torch.no_grad()
def at_size(
    recognizer: Recognizer, waveform: Tensor, make: Callable[[Tensor], Tensor], wanted_db: Tensor
) -> Tensor:
    """Return `make(scale)` at the scale at which the log-mel has changed by an RMSE (items,)."""
    original = recognizer.log_mel(waveform)
    high = torch.full_like(wanted_db, _LARGEST_SCALE)
    low = high / 2.0**_OCTAVES
    for _ in range(_SEARCH_STEPS):
        middle = (low * high).sqrt()
        too_large = measures.rmse_db(original, recognizer.log_mel(make(middle))) > wanted_db
        low, high = torch.where(too_large, low, middle), torch.where(too_large, middle, high)
    return make(torch.where(wanted_db > 0, (low * high).sqrt(), 0.0))
