import pytest
import torch

from irdream.audio.stft import stft
from irdream.errors import InputError
from irdream.measures.dreams import rmse_db
from irdream.paper.trial import at_size, gained
from irdream.studies.dreams import heard_by
from irdream.studies.robust_dreams import robust
from irdream.studies.runner import Variant, weights_of
from irdream.training.loop import Fit, Progress


def test_a_network_is_known_by_its_settings_and_not_by_its_name(runner) -> None:
    one = runner("any")
    relu = Variant("relu", {"activation": "relu"})
    names = (robust(0, "fgsm", 1), robust(2, "fgsm", 1), Variant("again"), relu)
    first, other, again, relu = (next(one.trained(v, 0).model.parameters()) for v in names)
    assert first.equal(again)
    assert not first.equal(other)
    assert not first.equal(relu)
    assert not first.equal(next(one.trained(names[0], 1).model.parameters()))
    assert len([*(one.folder / "networks").iterdir()]) == 4


def test_a_training_that_was_ended_is_taken_up_after_its_last_epoch(runner, monkeypatch) -> None:
    whole, one = runner("any"), runner("any")
    object.__setattr__(whole, "cache_dir", one.cache_dir / "whole")
    save, epochs = Fit._save, []

    def ended(fit: Fit, progress: Progress) -> None:
        save(fit, progress)
        epochs.append(progress.epoch)
        if len(epochs) == 1:
            raise KeyboardInterrupt

    expected = whole.trained(Variant("x"), 0)
    monkeypatch.setattr(Fit, "_save", ended)
    with pytest.raises(KeyboardInterrupt):
        one.trained(Variant("x"), 0)
    resumed = one.trained(Variant("x"), 0)
    assert epochs == [1, 2]
    assert weights_of(resumed) == weights_of(expected)


def test_a_gain_at_a_size_changes_the_log_mel_by_just_that(runner) -> None:
    one = runner("any")
    batch, network = one.batches[0], one.trained(Variant("plain"), 0)
    spectrum = stft(batch.waveform, network.frontend)
    gain = torch.randn(spectrum.shape, generator=torch.Generator().manual_seed(0))
    wanted = torch.linspace(1.0, 8.0, len(batch.targets))
    sound = at_size(network, batch.waveform, gained(network, batch.waveform, gain), wanted)
    found = rmse_db(network.log_mel(batch.waveform), network.log_mel(sound))
    torch.testing.assert_close(found, wanted, rtol=0.01, atol=0.0)


def test_who_lacks_the_target_hears_nothing_of_it(runner) -> None:
    one = runner("any")
    batch, judge = one.batches[0], one.judges["judge"]
    judge.instruments = ("cel", "flu", "drums")
    table = heard_by({"judge": judge}, batch, batch.waveform)
    unknown = table["target"] == "pia"
    assert unknown.to_numpy().any()
    assert table["on_top"].isna().equals(unknown)
    judge.instruments = ("cel", "flu", "pia")


def test_sounds_that_are_too_short_are_refused(runner) -> None:
    with pytest.raises(InputError, match=r"no labelled rendered excerpt of 5 s; .*study.seconds"):
        _ = runner("any", seconds=5.0).batches
