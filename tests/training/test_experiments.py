"""Each ablation is the best recipe without one of its parts."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

CONF = Path(__file__).parents[2] / "conf"
ABLATIONS = sorted(path.stem for path in (CONF / "experiment" / "ablation").glob("*.yaml"))
CHANGED = {
    "nothing": set(),
    "augmentation": {"augmentation"},
    "log_mel": {"augmentation"},
    "schedule": {"scheduler"},
    "mixing": {"augmentation.mix_share"},
    "union": {"augmentation.union"},
    "room": {"augmentation.room_share"},
    "pitch": {"augmentation.semitones"},
    "equalizer": {"augmentation.equalizer_db"},
    "noise": {"augmentation.noise_db", "augmentation.gain_db"},
    "masks": {"augmentation.time_masks", "augmentation.band_masks"},
    "balance": {"train.balanced"},
    "smoothing": {"train.label_smoothing"},
    "averaging": {"train.weight_averaging"},
    "clipping": {"train.clip_norm"},
}


@pytest.fixture(autouse=True)
def _conf() -> Iterator[None]:
    with initialize_config_dir(config_dir=str(CONF), version_base="1.3"):
        yield


def composed(override: str) -> dict[str, Any]:
    config = compose("config", [override])
    values = OmegaConf.to_container(config, resolve=False)
    assert isinstance(values, dict)
    return {str(name): value for name, value in values.items()}


def differences(one: dict[str, Any], other: dict[str, Any]) -> set[str]:
    found = set()
    for name in one.keys() | other.keys():
        a, b = one.get(name), other.get(name)
        if a == b:
            continue
        if isinstance(a, dict) and isinstance(b, dict) and a.get("_target_") == b.get("_target_"):
            found |= {f"{name}.{key}" for key in differences(a, b)}
        else:
            found.add(name)
    return found


@pytest.mark.parametrize("name", ABLATIONS)
def test_an_ablation_leaves_out_one_part(name: str) -> None:
    best, ablation = composed("experiment=irmas_best"), composed(f"+experiment/ablation={name}")
    assert differences(best, ablation) == CHANGED[name]


def test_hans_protocol() -> None:
    config = composed("experiment=han2016")
    assert config["optimizer"]["_target_"] == "torch.optim.Adam"
    assert config["optimizer"]["lr"] == 1e-3
    assert config["model"]["_target_"] == "irdream.models.Han2016"
    assert config["augmentation"] is None
    assert config["scheduler"] is None
    train = config["train"]
    assert (train["batch_size"], train["validation_share"], train["patience"]) == (128, 0.15, 3)
    assert (train["split"], train["loss"], train["random_start"]) == (
        "excerpt", "categorical", False,
    )  # fmt: skip
