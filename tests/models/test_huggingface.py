"""Against transformers' own feature extractors and networks, small ones with random weights."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from irdream import Recognizer, dream, load, save
from irdream.errors import InputError
from irdream.frontends import Waveform
from irdream.models.huggingface import HuggingFace, read

transformers = pytest.importorskip("transformers")

LABELS = {0: "Flute", 1: "Violin, fiddle", 2: "Guitar"}
SMALL: dict[str, Any] = {
    "hidden_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "id2label": LABELS,
}
ON_WAVEFORMS = SMALL | {
    "conv_dim": [8] * 7,
    "num_conv_pos_embeddings": 16,
    "num_conv_pos_embedding_groups": 2,
    "classifier_proj_size": 8,
}
SMALL_ONES: dict[str, dict[str, Any]] = {
    "audio-spectrogram-transformer": SMALL | {"max_length": 64},
    "wav2vec2": ON_WAVEFORMS,
    "hubert": ON_WAVEFORMS,
}
every = pytest.mark.parametrize("kind", SMALL_ONES)


def made(kind: str, **settings: Any) -> HuggingFace:
    torch.manual_seed(0)
    return HuggingFace(config={"model_type": kind, **SMALL_ONES[kind], **settings}).eval()


def waveform(samples: int = 16_000, items: int = 2) -> Tensor:
    noise = torch.randn(items, samples, generator=torch.Generator().manual_seed(0))
    return noise * torch.tensor([[0.1], [0.001]])[:items]


@every
@pytest.mark.parametrize("samples", [6_000, 16_000])
def test_features_are_those_of_transformers(kind: str, samples: int) -> None:
    """In the unit of the network, to 1e-4; shorter and longer than the 64 frames of the first."""
    network = made(kind)
    extractor = (
        transformers.ASTFeatureExtractor(max_length=64)
        if kind.startswith("audio")
        else transformers.Wav2Vec2FeatureExtractor()
    )
    sounds = [item.numpy() for item in waveform(samples)]
    theirs = extractor(sounds, sampling_rate=16_000, return_tensors="pt")["input_values"]
    ours = network.features(waveform(samples))
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-4)


@every
def test_logits_labels_and_gradients(kind: str) -> None:
    network, given = made(kind), waveform().requires_grad_()
    assert network.labels == list(LABELS.values())
    logits = network(given)
    theirs = network.network(network.features(given)).logits
    torch.testing.assert_close(logits, theirs)
    (gradient,) = torch.autograd.grad(logits[0, 1], given)
    assert gradient[0].any()
    assert not gradient[1].any()
    silent = torch.zeros(1, 16_000, requires_grad=True)
    (gradient,) = torch.autograd.grad(network(silent)[0, 0], silent)
    assert gradient.isfinite().all()


def test_sigmoids_for_several_labels() -> None:
    assert made("hubert").output == "softmax"
    assert made("hubert", problem_type="multi_label_classification").output == "sigmoid"


@every
def test_from_a_folder_to_a_checkpoint_to_a_dream(kind: str, tmp_path: Path) -> None:
    first = made(kind)
    first.network.save_pretrained(tmp_path / "theirs")
    fast = kind.startswith("audio")
    own = transformers.ASTFeatureExtractor if fast else transformers.Wav2Vec2FeatureExtractor
    own(do_normalize=False).save_pretrained(tmp_path / "theirs")
    network = read(tmp_path / "theirs")
    recognizer = Recognizer(
        frontend=Waveform(sample_rate_hz=16_000),
        model=network,
        instruments=network.labels,
        spec={"model": network.spec},
    )
    save(recognizer, tmp_path / "ours")
    loaded = load(tmp_path / "ours")
    with torch.no_grad():
        expected = first.network(network.features(waveform())).logits
        torch.testing.assert_close(loaded.model(waveform()), expected)
    assert not network.extractor["do_normalize"]
    dreams = dream(loaded, waveform(), "Guitar", steps=3, step_size=3.0, progress=False)
    assert (dreams.after.probabilities[:, 2] > dreams.before.probabilities[:, 2]).all()


# Refusals


def test_what_is_no_such_network(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"config\.model_type='whisper'; expected audio-spec"):
        HuggingFace(config={"model_type": "whisper"})
    with pytest.raises(InputError, match=r"cannot read '.*nothing' with transformers: "):
        read(tmp_path / "nothing")
    with pytest.raises(InputError, match=r"waveform=\(2, 399\); expected .* at least 400"):
        made("hubert")(torch.zeros(2, 399))


def test_a_configuration_names_no_code() -> None:
    code = {"auto_map": {"AutoConfig": "evil--it.It"}, "_attn_implementation": "evil/kernels"}
    network = made("hubert", **code)
    assert network.network.config._attn_implementation == "eager"
    assert "evil" not in json.dumps(network.spec)


def test_without_transformers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(InputError, match=r"transformers cannot be imported .* irdream\[hf\]"):
        made("hubert")
