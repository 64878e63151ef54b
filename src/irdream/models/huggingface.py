"""Audio classifiers of Hugging Face's transformers, as networks on waveforms (extra `hf`).

    python examples/huggingface_checkpoint.py MIT/ast-finetuned-audioset-10-10-0.4593 my/ast

What their feature extractors do with numpy is done here in torch, so that gradients reach the
waveform: Kaldi's filter bank for the audio spectrogram transformer (Gong, Chung, Glass 2021), and
zero mean and unit variance for wav2vec 2.0 (Baevski et al. 2020) and what is built like it.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from irdream.errors import InputError, told

AST = "audio-spectrogram-transformer"
ON_WAVEFORMS = (
    "data2vec-audio", "hubert", "sew", "sew-d", "unispeech", "unispeech-sat", "wav2vec2",
    "wav2vec2-conformer", "wavlm",
)  # fmt: skip
FRAME = 400  # samples of a frame, at least


class HuggingFace(nn.Module):
    """waveform (batch, samples) -> logits (batch, labels), the labels of the configuration.

    Args:
        config: what a transformers configuration gives by `to_diff_dict`, with its `model_type`.
        extractor: what a feature extractor gives by `to_dict`, of which `sampling_rate`,
            `do_normalize`, `mean` and `std` are used; None: those of transformers.

    Raises:
        InputError: without transformers, or for a configuration of another kind.
    """

    def __init__(
        self, *, config: Mapping[str, Any], extractor: Mapping[str, Any] | None = None
    ) -> None:
        super().__init__()
        transformers = _transformers()
        # Nothing that names code: no auto_map, no kernels from a hub.
        plain = {key: config[key] for key in config if key[0] != "_" and key != "auto_map"}
        if (kind := plain.pop("model_type", None)) not in (AST, *ON_WAVEFORMS):
            raise InputError(
                f"config.model_type={kind!r}; expected {AST} or one of {', '.join(ON_WAVEFORMS)}"
            )
        self.config = transformers.AutoConfig.for_model(kind, **plain)
        self.network = transformers.AutoModelForAudioClassification.from_config(
            self.config, attn_implementation="eager"
        )
        own = transformers.Wav2Vec2FeatureExtractor
        own = transformers.ASTFeatureExtractor if kind == AST else own
        self.extractor = vars(own()) | dict(extractor or {})
        self.spec = {"config": {"model_type": kind, **plain}, "extractor": dict(extractor or {})}
        several = self.config.problem_type == "multi_label_classification"
        self.output = "sigmoid" if several else "softmax"

    @property
    def labels(self) -> list[str]:
        return [self.config.id2label[i] for i in range(self.config.num_labels)]

    @property
    def sample_rate_hz(self) -> int:
        return int(self.extractor["sampling_rate"])

    def forward(self, waveform: Tensor) -> Tensor:
        """Return the logits; InputError when the waveform is shorter than a frame."""
        if waveform.ndim != 2 or waveform.shape[1] < FRAME:
            raise InputError(
                f"waveform={tuple(waveform.shape)}; expected (batch, samples), at least {FRAME}"
            )
        return self.network(self.features(waveform)).logits

    def features(self, waveform: Tensor) -> Tensor:
        """Return what the feature extractor gives: (batch, frames, bands), or (batch, samples)."""
        if self.config.model_type == AST:
            return self._filter_banks(waveform)
        if not self.extractor["do_normalize"]:
            return waveform
        variance, mean = torch.var_mean(waveform, dim=1, correction=0, keepdim=True)
        return (waveform - mean) / torch.sqrt(variance + 1e-7)

    def _filter_banks(self, waveform: Tensor) -> Tensor:
        """Return as many frames as the network takes: cut, or followed by zeros."""
        from torchaudio.compliance import kaldi

        bands, most = self.config.num_mel_bins, self.config.max_length
        options = {"sample_frequency": self.sample_rate_hz, "window_type": "hanning"}
        each = [kaldi.fbank(item[None], num_mel_bins=bands, **options) for item in waveform]
        banks = torch.stack(each)[:, :most]
        banks = nn.functional.pad(banks, (0, 0, 0, most - banks.shape[1]))
        if not self.extractor["do_normalize"]:
            return banks
        return (banks - self.extractor["mean"]) / (2 * self.extractor["std"])


def read(path: str | Path) -> HuggingFace:
    """Return a classifier in eval mode, of a folder that `save_pretrained` wrote or of the hub.

    Raises InputError without transformers, when there are no weights, or for other networks.
    """
    transformers, name = _transformers(), str(path)
    try:
        network = transformers.AutoModelForAudioClassification.from_pretrained(name)
        extractor = transformers.AutoFeatureExtractor.from_pretrained(name).to_dict()
    except (OSError, ValueError) as error:
        raise InputError(f"cannot read {name!r} with transformers: {told(error)}") from error
    used = ("sampling_rate", "do_normalize", "mean", "std")
    made = HuggingFace(
        config=network.config.to_diff_dict(),
        extractor={key: extractor[key] for key in used if key in extractor},
    )
    made.network.load_state_dict(network.state_dict())
    return made.eval()


def _transformers() -> Any:
    try:
        return importlib.import_module("transformers")
    except ImportError as error:
        raise InputError(
            f"transformers cannot be imported ({told(error)}); run `pip install irdream[hf]`"
        ) from error
