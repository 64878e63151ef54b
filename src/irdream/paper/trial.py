"""One batch of a study: dreamed, turned into sound in every way, and measured with its controls.

Each dream gives a row for each way to sound and each kind: the dream itself; the undreamed
original through the same sonification; and a random change of equal RMSE. Every sound is written
as a 16-bit WAV, read back and heard anew.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from irdream.audio import load_audio, write_wav
from irdream.audio.masking import masking_violation
from irdream.datasets.base import Excerpt
from irdream.dreaming.ascent import Ascent
from irdream.dreaming.record import Answer, Dreams, first_step
from irdream.dreaming.targets import Item, item_seed
from irdream.measures import dreams as measures
from irdream.measures import sounds
from irdream.measures.table import BAR
from irdream.paper.controls import random_change
from irdream.paper.stages import Row, Stage
from irdream.recognizer import Recognizer
from irdream.reports.dreams import FULL_SCALE, Sonify, file_names

KINDS = ("dream", "undreamed", "random")
PCM = 32767  # full scale of 16 bits
SEGMENT_SECONDS, SEGMENT_HOP_SECONDS = 0.032, 0.016


@dataclass(frozen=True, kw_only=True)
class Trial:
    """What every batch of a study has in common.

    Attributes:
        recognizer: what is to hear the target.
        second: another one, trained apart from it, for the transfer; None: not measured.
        ascent: how to dream.
        ways: how a dream becomes sound, by name; one entry with None where dreams are sound.
        seed: of all random numbers.
        with_visqol: whether to ask ViSQOL, which takes seconds a sound.
        known: what tells the recognizers, the ascent and the ways from others.
    """

    recognizer: Recognizer
    second: Recognizer | None
    ascent: Ascent
    ways: Mapping[str, Sonify | None]
    seed: int
    with_visqol: bool = False
    known: Any = None

    @property
    def signature(self) -> Any:
        """Return what decides its results besides the excerpts."""
        return [
            type(self),
            self.known,
            list(self.ways),
            self.seed,
            self.with_visqol,
        ]

    def __call__(
        self,
        excerpts: Sequence[Excerpt],
        items: Sequence[Item],
        *,
        folder: Path | None = None,
        keep: Callable[[Item, str], bool] = lambda item, kind: True,
    ) -> Stage:
        """Dream items of excerpts of one length.

        Args:
            excerpts: what the items' numbers mean.
            items: one dream each.
            folder: where WAVs are kept; None: nowhere.
            keep: whether those of an item and a kind are.

        Returns:
            A row for each item, way and kind; the planes "original" and "dream", log-mels
            (items, n_mels, frames), "wav-<way>", that of the dream's WAV at the original's
            scale, "before" and "after", probabilities (items, instruments).
        """
        batch = self._dreamt(excerpts, items)
        versions = self._versions(batch)
        on_spectrogram = {
            kind: self._spectrogram_measures(batch, version.log_mel)
            for kind, version in versions.items()
        }
        rows, planes = [], self._planes(batch)
        for way, sonify in self.ways.items():
            for kind, version in versions.items():
                sound = version.sound
                if sound is None:
                    assert sonify is not None
                    sound = self._sonified(batch, version, sonify)
                kept = [folder if keep(item, kind) else None for item in items]
                written, heard = self._written(batch, sound, f"{way}-{kind}", kept)
                if kind == "dream":
                    self._keep_originals(batch, sound, f"{way}-original", kept)
                found = self._sound_measures(batch, version.log_mel, written, heard)
                if kind == "dream":
                    planes[f"wav-{way}"] = self.recognizer.log_mel(written)
                for i, item in enumerate(items):
                    about = self._about(batch, i, item)
                    rows.append(
                        {**about, "way": way, "kind": kind}
                        | {k: v[i] for k, v in on_spectrogram[kind].items()}
                        | {k: v[i] for k, v in found.items()}
                    )
        self._add_steps(rows, batch)
        return Stage(rows=rows, planes=planes)

    # Dreams and controls --------------------------------------------------------------------

    def _dreamt(self, excerpts: Sequence[Excerpt], items: Sequence[Item]) -> _Batch:
        chosen = [excerpts[item.excerpt] for item in items]
        device = self.recognizer.device
        waveform = torch.stack([e.waveform for e in chosen]).to(device)
        targets = [self.recognizer.instruments.index(item.target) for item in items]
        seeds = [
            item_seed(self.seed, e.name, item.target) for e, item in zip(chosen, items, strict=True)
        ]
        toward = torch.tensor(targets, device=device)
        return _Batch(
            items=items,
            excerpts=chosen,
            names=file_names(excerpts, items, self.recognizer.instruments),
            waveform=waveform,
            original=self.recognizer.log_mel(waveform),
            targets=toward,
            seeds=seeds,
            dreams=self.ascent.run(self.recognizer, waveform, toward, seeds),
        )

    def _planes(self, batch: _Batch) -> dict[str, Tensor]:
        return {
            "original": batch.original,
            "dream": batch.dreams.log_mel,
            "before": batch.dreams.before.probabilities,
            "after": batch.dreams.after.probabilities,
        }

    def _versions(self, batch: _Batch) -> dict[str, _Version]:
        """Return the dream and its two controls."""
        dreams, is_sound = batch.dreams, batch.dreams.waveform is not None
        size_db = measures.rmse_db(batch.original, dreams.log_mel)
        control = random_change(
            self.recognizer, self.ascent.parametrization, batch.waveform, size_db, batch.seeds
        )
        return {
            "dream": _Version(dreams.log_mel, dreams.waveform),
            "undreamed": _Version(batch.original, batch.waveform if is_sound else None, True),
            "random": _Version(*control),
        }

    def _sonified(self, batch: _Batch, version: _Version, sonify: Sonify) -> Tensor:
        """Return the sounds; items that are of one excerpt and undreamed share theirs."""
        shares = [item.excerpt if version.is_original else i for i, item in enumerate(batch.items)]
        first = {share: i for i, share in reversed(list(enumerate(shares)))}
        rows = sorted(first.values())
        sounds = sonify(
            dream=version.log_mel[rows],
            original=batch.original[rows],
            waveform=batch.waveform[rows],
            frontend=self.recognizer.frontend,
        )
        return sounds[[rows.index(first[share]) for share in shares]]

    # Measures -------------------------------------------------------------------------------

    def _spectrogram_measures(self, batch: _Batch, log_mel: Tensor) -> dict[str, list]:
        original = batch.original
        answer = Answer.to(self.recognizer, log_mel, batch.targets)
        found = {
            **self._answer(answer, batch.targets, ""),
            "rmse_db": measures.rmse_db(original, log_mel),
            "mse_db2": measures.mse_db2(original, log_mel),
            "max_abs_db": measures.max_abs_db(original, log_mel),
            "total_variation_db": measures.total_variation_db(log_mel),
        }
        if self.second is not None:
            other = Answer.to(self.second, log_mel, batch.targets)
            found |= self._answer(other, batch.targets, "transfer_")
        return _lists(found)

    def _sound_measures(
        self, batch: _Batch, log_mel: Tensor, written: Tensor, heard: Tensor
    ) -> dict[str, list]:
        """Measure what stands in WAVs.

        Args:
            batch: the originals.
            log_mel: what the sounds were to be.
            written, heard: see `_written`.
        """
        recognizer, frontend = self.recognizer, self.recognizer.frontend
        settings: Any = {"n_fft": frontend.n_fft, "hop_samples": frontend.hop_samples}
        rate_hz = recognizer.sample_rate_hz
        change = recognizer.log_mel(written) - batch.original
        violation = masking_violation(batch.waveform, written, **settings, sample_rate_hz=rate_hz)
        x = batch.waveform
        found = {
            **self._answer(Answer.to(recognizer, heard, batch.targets), batch.targets, "wav_"),
            "wav_rmse_db": measures.rmse_db(batch.original, batch.original + change),
            "realized_correlation": measures.correlation(log_mel - batch.original, change),
            "snr_db": sounds.snr_db(x, written),
            "segmental_snr_db": sounds.segmental_snr_db(
                x,
                written,
                frame_samples=round(SEGMENT_SECONDS * rate_hz),
                hop_samples=round(SEGMENT_HOP_SECONDS * rate_hz),
            ),
            "db_x": sounds.db_x(x, written),
            "log_spectral_distance_db": sounds.log_spectral_distance_db(x, written, **settings),
            "masking_violation": violation.share,
            "masking_excess_db": violation.excess_db,
            "noise_to_mask_db": violation.noise_to_mask_db,
            "flatness": sounds.spectral_flatness(written, **settings),
            "voiced_share": sounds.voiced_share(written, sample_rate_hz=rate_hz),
        }
        if self.second is not None:
            answer = Answer.to(self.second, heard, batch.targets)
            found |= self._answer(answer, batch.targets, "transfer_wav_")
        if self.with_visqol:
            found["visqol"] = sounds.visqol(x, written, sample_rate_hz=rate_hz)
        return _lists(found)

    def _answer(self, answer: Answer, targets: Tensor, prefix: str) -> dict[str, Tensor]:
        return {
            f"{prefix}target_probability": answer.of_target(targets),
            f"{prefix}on_top": answer.on_top(targets),
            f"{prefix}at_0.9": answer.on_top(targets, BAR),
        }

    def _written(
        self, batch: _Batch, sound: Tensor, name: str, folders: Sequence[Path | None]
    ) -> tuple[Tensor, Tensor]:
        """Write 16-bit WAVs and read them as the recognizer would.

        Returns:
            The sounds as they stand in the files, at the originals' scale, (items, samples); the
            log-mels of what is read, its peak at 1, (items, n_mels, frames).
        """
        rate_hz = self.recognizer.sample_rate_hz
        scale = batch.scale(sound)
        scaled, again = sound.cpu() * scale, []
        with tempfile.TemporaryDirectory() as temporary:
            for i, waveform in enumerate(scaled):
                path = batch.path(i, folders[i] or Path(temporary), name)
                write_wav(path, waveform, sample_rate_hz=rate_hz)
                again.append(load_audio(path, sample_rate_hz=rate_hz, allow_silence=True))
        written = (scaled.double() * PCM).round() / PCM / scale
        heard = self.recognizer.log_mel(torch.stack(again).to(sound))
        return written.to(sound), heard

    def _keep_originals(
        self, batch: _Batch, sound: Tensor, name: str, folders: Sequence[Path | None]
    ) -> None:
        """Write the originals, each on the scale of its dream, so that both can be compared."""
        scaled = batch.waveform.cpu() * batch.scale(sound)
        for i, (waveform, folder) in enumerate(zip(scaled, folders, strict=True)):
            if folder is not None:
                path = batch.path(i, folder, name)
                write_wav(path, waveform, sample_rate_hz=self.recognizer.sample_rate_hz)

    # Rows -----------------------------------------------------------------------------------

    def _about(self, batch: _Batch, i: int, item: Item) -> Row:
        excerpt = batch.excerpts[i]
        own = excerpt.labels[0] if excerpt.labels else None
        return {
            "excerpt": excerpt.name,
            "recording": excerpt.recording or excerpt.name,
            "labels": " ".join(excerpt.labels),
            "target": item.target,
            "toward": "own" if item.target == own else "other",
            "before": float(batch.dreams.before.of_target(batch.targets)[i]),
            "before_on_top": bool(
                batch.dreams.before.probabilities[i].argmax() == batch.targets[i]
            ),
            "file": batch.names[i],
        }

    def _add_steps(self, rows: Sequence[Row], batch: _Batch) -> None:
        """Add to the dreams' rows how many steps were taken, to the flip, to 0.9; NaN: never."""
        late = first_step(batch.dreams.probability_curve, BAR)
        found = _lists(
            {
                "steps": batch.dreams.steps,
                "steps_to_flip": batch.dreams.flip_steps,
                "steps_to_0.9": late,
            }
        )
        for place, row in enumerate(row for row in rows if row["kind"] == "dream"):
            row |= {name: values[place % len(batch.items)] for name, values in found.items()}


@dataclass(frozen=True, kw_only=True)
class _Batch:
    """Originals, targets and dreams of some items, on the recognizer's device."""

    items: Sequence[Item]
    excerpts: Sequence[Excerpt]
    names: Sequence[str]
    waveform: Tensor
    original: Tensor
    targets: Tensor
    seeds: Sequence[int]
    dreams: Dreams

    def scale(self, sound: Tensor) -> Tensor:
        """Return what keeps sounds and originals within full scale, (items, 1), on the CPU."""
        peak = torch.maximum(sound.abs().amax(dim=1), self.waveform.abs().amax(dim=1))
        return (FULL_SCALE / peak.clamp(min=FULL_SCALE))[:, None].cpu()

    def path(self, i: int, folder: Path, name: str) -> Path:
        """Return where a WAV of an item stands, in a folder that is made."""
        folder.mkdir(parents=True, exist_ok=True)
        return folder / f"{self.names[i]}-{name}.wav"


class _Version(NamedTuple):
    """A dream or a control: what is heard, and the sound where that is what was changed."""

    log_mel: Tensor
    sound: Tensor | None
    is_original: bool = False


def without_stop(ascent: Ascent, *, steps: int) -> Ascent:
    """Return an ascent that takes all steps, whatever is heard, and keeps the last iterate."""
    return replace(ascent, confidence=None, patience=None, keep="last", steps=steps)


def _lists(values: Mapping[str, Tensor]) -> dict[str, list]:
    return {name: value.cpu().tolist() for name, value in values.items()}
