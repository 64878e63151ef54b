"""Labels that are not IRMAS': from a folder of drums to a checkpoint, its scores and its dreams."""

import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pandas as pd
import pytest
import soundfile
import torch

from irdream import checkpoint, save
from irdream.audio import load_audio
from irdream.checkpoint_folder import load_recognizer
from irdream.datasets.base import Mixture, labels_of
from irdream.datasets.folder import Folder
from irdream.datasets.soundfont import SoundFont
from irdream.datasets.starts import ExcerptStart, FileStart
from irdream.dreaming import parametrizations
from irdream.errors import InputError
from irdream.frontends import Waveform
from irdream.instruments import CODES
from irdream.measures.scoring import Scoring
from irdream.recognizer import Recognizer
from irdream.tasks.dream import dream
from irdream.tasks.evaluate import evaluate
from irdream.tasks.paper import paper
from irdream.tasks.predict import predict
from irdream.tracking import NullTracker
from irdream.training.augmentation import WaveformAugmentation
from irdream.training.losses import Robust
from tests.tasks.conftest import write_notes
from tests.tiny import tiny_ascent

RATE_HZ = 1000
PITCHES_HZ = {"hi hat": 330.0, "kick": 60.0, "snare": 150.0}
Run = Callable[..., dict[str, float]]


@pytest.fixture(scope="module")
def drums(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six sounds of 1.2 s for each of three drums, in noise."""
    return write_notes(tmp_path_factory.mktemp("drums"), PITCHES_HZ, seconds=1.2)


@pytest.fixture
def train_drums(run: Run, drums: Path, tiny_frontend: dict[str, Any]) -> Run:
    model = {"_target_": "irdream.models.Light", "width": 2}
    new = partial(checkpoint.new, frontend=tiny_frontend, model=model, device="cpu")
    return partial(run, **{"recognizer": new, "dataset": Folder(root=drums), "epochs": 1})


@pytest.fixture
def trained(train_drums: Run, tmp_path: Path) -> Recognizer:
    train_drums()
    return load_recognizer(tmp_path / "run" / "checkpoint")


def dreamed(
    recognizer: Recognizer, root: Path, folder: Path, target: Any, what: Any = None
) -> pd.DataFrame:
    dream(
        recognizer=recognizer,
        start=ExcerptStart(dataset=Folder(root=root), count=4, part="test", seconds=None),
        target=target,
        ascent=tiny_ascent(what, steps=2, step_size=0.25),
        tracker=NullTracker(),
        output_dir=folder,
        figures=1,
    )
    return pd.read_csv(folder / "dreams.csv")


def test_the_folders_are_the_classes_of_training_scores_and_dreams(
    trained: Recognizer, drums: Path, tmp_path: Path
) -> None:
    assert trained.instruments == ("hi hat", "kick", "snare")
    assert trained.spec["model"]["instruments"] == 3
    scores = evaluate(
        recognizer=trained, dataset=Folder(root=drums), tracker=NullTracker(), output_dir=tmp_path
    )
    assert 0 < scores["eval/micro_f1"] <= 1
    assert list(pd.read_csv(tmp_path / "confusion.csv")) == ["label", *PITCHES_HZ]
    assert "Han" not in (tmp_path / "summary.csv").read_text()

    table = dreamed(trained, drums, tmp_path / "one", "Hi-Hat")
    assert table["target"].tolist() == ["hi hat"] * 4
    gains = table["target_probability"] - table["target_probability_before"]
    assert (gains.to_numpy() >= 0).all()
    table = dreamed(trained, drums, tmp_path / "own", "correct")
    assert table["target"].tolist() == table["labels"].tolist()
    assert len(dreamed(trained, drums, tmp_path / "all", "all")) == 12


def test_files_whose_label_it_lacks_are_told_and_left_out(trained, drums, tmp_path, caplog) -> None:
    root = tmp_path / "more"
    shutil.copytree(drums, root)
    (root / "kick").rename(root / "Kick")
    (root / "snare").rename(root / "cowbell")
    data = Folder(root=root)
    evaluate(recognizer=trained, dataset=data, tracker=NullTracker(), output_dir=tmp_path)
    assert caplog.text.count("does not know cowbell: 6 of 18 files in the test part of") == 1
    assert set(pd.read_csv(tmp_path / "predictions.csv")["labels"]) == {"hi hat", "kick"}

    table = dreamed(trained, root, tmp_path / "dreams", "correct")
    assert set(table["target"]) == {"hi hat", "kick"}
    assert "cowbell" in caplog.text.partition("no label is left to dream toward")[0]
    shutil.rmtree(root / "Kick")
    shutil.rmtree(root / "hi hat")
    with pytest.raises(InputError, match=r"target=correct and no excerpt has such a label; .* hi"):
        dreamed(trained, root, tmp_path / "none", "correct")


def test_a_training_of_other_labels_is_not_resumed(train_drums, drums, tmp_path) -> None:
    train_drums()
    shutil.copytree(drums, tmp_path / "two")
    shutil.rmtree(tmp_path / "two" / "kick")
    with pytest.raises(
        InputError, match=r"model.instruments was 3, now 2; labels was hi hat kick snare, now hi"
    ):
        train_drums("again", dataset=Folder(root=tmp_path / "two"), resume=tmp_path / "run")


def test_a_single_class_is_refused(train_drums: Run, drums: Path, tmp_path: Path) -> None:
    shutil.copytree(drums / "kick", tmp_path / "one" / "kick")
    with pytest.raises(InputError, match="all labels of 'folder' are 'kick'; expected at least tw"):
        train_drums(dataset=Folder(root=tmp_path / "one"))


def test_the_labels_of_mixtures(drums: Path) -> None:
    fonts, own = SoundFont(root=drums), Folder(root=drums)
    assert labels_of(fonts) == CODES
    assert labels_of(Mixture(datasets={"a": own, "b": fonts})) == (*sorted([*CODES, *PITCHES_HZ]),)


def test_the_papers_second_has_the_same_labels(trained: Recognizer, drums, tmp_path) -> None:
    other = SimpleNamespace(instruments=("kick", "snare"))
    study: Any = SimpleNamespace(recognizer=trained, second=other)
    with pytest.raises(InputError, match=r"paper\.second is a checkpoint for kick, snare; ex"):
        paper(study=study, dataset=Folder(root=drums), tracker=NullTracker(), output_dir=tmp_path)


def test_files_are_predicted(
    trained: Recognizer, drums: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "some").mkdir()
    shutil.copy(drums / "kick" / "kick0.wav", tmp_path / "some")
    long = "snare " * 15 + "1"
    shutil.copy(drums / "snare" / "snare1.wav", tmp_path / "some" / f"{long}.wav")
    (tmp_path / "some" / "broken.wav").write_bytes(b"no sound")
    metrics = predict(
        recognizer=trained, start=FileStart(path=tmp_path / "some"), tracker=NullTracker(),
        output_dir=tmp_path, top=2, over_time=True,
    )  # fmt: skip
    assert metrics == {"predict/files": 2.0, "predict/skipped": 1.0}
    table = pd.read_csv(tmp_path / "predictions.csv")
    assert list(table) == ["name", "prediction", *PITCHES_HZ]
    assert table["name"].tolist() == ["kick0", long]
    assert long in capsys.readouterr().out  # which is no terminal, and so has no width
    assert len(list((tmp_path / "over_time").glob("*.png"))) == 2

    alone = trained.predict(tmp_path / "some" / "kick0.wav")
    assert list(alone.values()) == sorted(alone.values(), reverse=True)
    assert alone == pytest.approx({label: table[label][0] for label in PITCHES_HZ}, abs=1e-5)
    waveform = load_audio(tmp_path / "some" / "kick0.wav", sample_rate_hz=RATE_HZ)
    assert trained.predict(waveform) == pytest.approx(alone)
    assert trained(waveform[None]).shape == (1, 3)
    trained.window_seconds = 2.0
    with pytest.raises(InputError, match=r"kick0.wav' is too short"):
        trained.predict(tmp_path / "some" / "kick0.wav")


def test_nothing_to_predict(trained: Recognizer, tmp_path: Path) -> None:
    (tmp_path / "broken.wav").write_bytes(b"no sound")
    with pytest.raises(InputError, match=r"nothing to predict: .*broken.wav"):
        predict(
            recognizer=trained, start=FileStart(path=tmp_path / "broken.wav"),
            tracker=NullTracker(), output_dir=tmp_path,
        )  # fmt: skip


# A network of one's own


def on_waveforms(package: ModuleType, **settings: Any) -> Recognizer:
    torch.manual_seed(0)
    return Recognizer(
        frontend=Waveform(sample_rate_hz=RATE_HZ),
        model=package.OnWaveforms(5, **settings),
        instruments=tuple(PITCHES_HZ),
        output="sigmoid",
        window_seconds=0.7,
    )


def test_a_network_on_waveforms_is_saved_loaded_scored_and_dreamed(
    my_package: ModuleType, drums: Path, tmp_path: Path
) -> None:
    made = on_waveforms(my_package).train()
    save(made, tmp_path / "mine")
    assert made.training
    loaded = checkpoint.load(path=str(tmp_path / "mine"), device="cpu", trust=["my_package"])
    assert loaded.spec["model"] == {"_target_": "my_package.OnWaveforms", "width": 5}
    assert (loaded.output, loaded.window_seconds) == ("sigmoid", 0.7)
    sound = drums / "kick" / "kick0.wav"
    assert loaded.predict(sound) == pytest.approx(made.predict(sound), abs=1e-6)
    scores = evaluate(
        recognizer=loaded, dataset=Folder(root=drums), scoring=Scoring(threshold=0.5),
        tracker=NullTracker(), output_dir=tmp_path,
    )  # fmt: skip
    assert scores["eval/skipped"] == 0

    table = dreamed(loaded, drums, tmp_path / "dreams", "kick", parametrizations.Waveform())
    assert (table["target_probability"] > table["target_probability_before"]).to_numpy().all()
    assert len(list((tmp_path / "dreams" / "spectrograms").glob("*.png"))) == 1
    with pytest.raises(InputError, match=r"no sound can be made of what Waveform gives; .* or w"):
        dreamed(loaded, drums, tmp_path / "other", "kick")


def test_a_network_that_cannot_be_built_again_is_not_saved(my_package, tmp_path) -> None:
    for made, message in (
        (on_waveforms(my_package, classes=4), r"again as .*: Error.* size mismatch .*; expected"),
        (Recognizer(frontend=Waveform(), model=my_package.Gain(1, 2)), "takes 'net', which is not"),
    ):
        with pytest.raises(InputError, match=message):
            save(made, tmp_path / "mine")
    made = on_waveforms(my_package, classes=3)
    made.spec = {"model": {"width": 5, "classes": 3}}
    save(made, tmp_path / "mine")
    assert load_recognizer(tmp_path / "mine", trust=["my_package"]).spec["model"]["classes"] == 3


@pytest.mark.parametrize(
    "augmentation",
    [None, WaveformAugmentation(sample_rate_hz=RATE_HZ, room_seconds=(0.05, 0.1))],
    ids=["as they are", "changed"],
)
def test_a_network_on_waveforms_is_trained(my_package, drums, run, tmp_path, augmentation) -> None:
    made = on_waveforms(my_package)
    settings = {
        "lr": 0.05,
        "epochs": 8,
        "dataset": Folder(root=drums),
        "augmentation": augmentation,
    }
    run(recognizer=made, **settings)
    history = pd.read_csv(tmp_path / "run" / "history.csv")
    assert history["val/loss"].min() < history["val/loss"].iloc[0]
    loaded = load_recognizer(tmp_path / "run" / "checkpoint", trust=["my_package"])
    assert isinstance(loaded.frontend, Waveform)
    assert set(loaded.thresholds) == {"s1", "s2", "max"}


def test_what_changes_log_mels_is_refused_for_waveforms(my_package: ModuleType, run: Run) -> None:
    made = on_waveforms(my_package)
    with pytest.raises(
        InputError, match="augmentation=spectrogram and a network on waveforms; exp"
    ):
        run(recognizer=made)
    with pytest.raises(
        InputError, match=r"train\.robust and a network on waveforms; expected null"
    ):
        run(recognizer=made, augmentation=None, robust=Robust("fgsm", epsilon_db=1.0))


FRONTENDS: dict[str, dict[str, Any]] = {
    "ConstantQ": {"n_bins": 36, "hop_samples": 40},
    "LogMel": {
        "n_fft": 128, "hop_samples": 40, "n_mels": 24, "power": 2, "scale": "db", "coefficients": 9,
    },
}  # fmt: skip


@pytest.mark.parametrize("name", FRONTENDS)
def test_other_front_ends_are_trained_saved_scored_and_dreamed_with(
    name: str, run: Run, train_drums: Run, drums: Path, tmp_path: Path
) -> None:
    frontend = {"_target_": f"irdream.frontends.{name}", "sample_rate_hz": RATE_HZ}
    model = {"_target_": "irdream.models.Light", "width": 2}
    new = partial(checkpoint.new, frontend=frontend | FRONTENDS[name], model=model, device="cpu")
    run(recognizer=new, dataset=Folder(root=drums), epochs=1)
    trained = load_recognizer(tmp_path / "run" / "checkpoint")
    assert trained.spec["frontend"] == frontend | FRONTENDS[name]
    table = dreamed(trained, drums, tmp_path / "gain", "kick", parametrizations.StftGain())
    gains = table["target_probability_wav"] - table["target_probability_before"]
    assert (gains.to_numpy() >= 0).all()
    if name == "ConstantQ":
        with pytest.raises(InputError, match=r"no sound can be made of what ConstantQ gives; exp"):
            dreamed(trained, drums, tmp_path / "mel", "kick")
    else:
        assert len(dreamed(trained, drums, tmp_path / "mel", "kick")) == 4


def test_hits_of_a_third_of_a_second_in_windows_of_a_quarter(
    run: Run, drums: Path, tiny_frontend: dict[str, Any], tmp_path: Path
) -> None:
    hits = tmp_path / "hits"
    for path in drums.glob("*/*.wav"):
        (hits / path.parent.name).mkdir(parents=True, exist_ok=True)
        soundfile.write(hits / path.parent.name / path.name, soundfile.read(path)[0][:300], RATE_HZ)
    model = {"_target_": "irdream.models.Light", "width": 2}
    settings: dict[str, Any] = {"frontend": tiny_frontend, "model": model, "device": "cpu"}
    new = partial(checkpoint.new, window_seconds=0.25, **settings)
    run(recognizer=new, dataset=Folder(root=hits), epochs=1)
    trained = load_recognizer(tmp_path / "run" / "checkpoint")
    scored = evaluate(
        recognizer=trained, dataset=Folder(root=hits), tracker=NullTracker(), output_dir=tmp_path
    )
    assert scored["eval/micro_f1"] >= 0
    assert len(dreamed(trained, hits, tmp_path / "short", "kick")) == 4
    longer = partial(new, window_seconds=0.5)
    with pytest.raises(InputError, match=r"none of 18 training .*0.300 s, at least 0.480 s expec"):
        run("longer", recognizer=longer, dataset=Folder(root=hits), epochs=1)
