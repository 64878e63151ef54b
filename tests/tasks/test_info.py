"""What a task says it will do: a line, for which nothing is made; wrong input is refused."""

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hydra import compose, initialize_config_dir
from hydra.errors import InstantiationException
from hydra.utils import instantiate

from irdream.datasets.base import counted
from irdream.errors import InputError
from irdream.tracking import NullTracker

CONF = Path(__file__).parents[2] / "conf"


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Work in an empty folder, in which a file that is left behind is seen."""
    monkeypatch.chdir(tmp_path)
    with initialize_config_dir(config_dir=str(CONF), version_base="1.3"):
        yield tmp_path


TWO = r"2 networks \(geometric mean of probabilities\), on cpu"


def say(words: str, folder: Path) -> dict[str, float]:
    task = instantiate(compose("config", [*words.split(), "device=cpu"]).task, _convert_="all")
    return task(tracker=NullTracker(), output_dir=folder, info=True)


@pytest.mark.parametrize(
    ("words", "line"),
    [
        ("task=dream", f"dream: 11 excerpts toward flu, 60 steps x 1 octave, {TWO}"),
        (
            "experiment=paper_dream",
            "dream: 11 excerpts toward flu, at most 100 steps x 1 octave, on cpu",
        ),
        (
            "task=dream target=[sax,flute] dream.step_size=[0.1,0.2] dream.variations=3 "
            "dream.steps=100 dream.octaves=2 dream.count=1",
            "dream: 1 excerpt toward sax, flu, 2 step sizes, 3 variations: 12 dreams, "
            f"100 steps x 2 octaves, {TWO}",
        ),
        (
            "task=dream target=incorrect dream.count=4 dream.confidence=0.9 dream.steps=100",
            f"dream: 4 excerpts toward incorrect, at most 100 steps x 1 octave, {TWO}",
        ),
        (
            "task=dream start=noise target=all dream.steps=1",
            f"dream: 11 excerpts toward all: 121 dreams, 1 step x 1 octave, {TWO}",
        ),
        (
            "task=train train.test=true train.register=mine",
            r"train: \d+ training and \d+ validation excerpts, at most 20 epochs in batches of "
            "128 windows, then scored on the test part, on cpu",
        ),
        ("task=train model=mfcc_svm", r"train: \d+ training and .* excerpts, fitted at once, on"),
        ("task=evaluate", "evaluate: 110 excerpts, the test part of 'soundfont', on cpu"),
        ("task=compare", "compare: shipped and second, 110 excerpts, the test part of 'soundfont'"),
        ("task=prepare", "prepare: 'soundfont' renders the training part and the test part into"),
        (
            "task=prepare dataset=irmas dataset.download=true dataset.root=x",
            "prepare: 'irmas' fetches what 'x' lacks of Zenodo record 1290750",
        ),
        (
            "task=prepare dataset=openmic dataset.download=true dataset.root=x",
            "prepare: 'openmic' fetches what 'x' lacks of Zenodo record 1432913",
        ),
        (
            "experiment=paper",
            r"paper: at most 10 excerpts of each instrument \(of 110 excerpts, the test part of "
            r"'soundfont'\) in 3 ways, 2 of each toward all instruments, 20 steps; 6 noises of "
            "each color, 20 steps; on cpu",
        ),
        ("task=doctor", "doctor: looks in .*/mlruns for runs that are marked RUNNING"),
    ],
)
def test_one_line_is_said_and_nothing_is_made(words, line, here, capsys) -> None:
    assert say(words, here / "run") == {}
    assert re.fullmatch(f"{line}.*\n", capsys.readouterr().out)
    assert list(here.iterdir()) == []


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("task=dream start=file start.path=text.wav", r"nothing to dream on: .*text\.wav"),
        ("task=dream start=file start.path=no.wav", r"no such file or folder: 'no\.wav'"),
        ("task=dream start=file start.path=a.wav target=correct", "'a' has none"),
        ("task=dream dream.budget_db=1 constraint=rmse_budget", "are both given"),
        ("task=dream objective=layer objective.layer=nix", "'nix' of several networks"),
        ("task=dream optimizer=least_change dream.confidence=null", "needs to know how far"),
        ("task=train train.register=a/b", "a/b"),
        ("task=train train.resume=nowhere", "nothing to resume in train.resume='nowhere'"),
        ("task=train dataset=folder dataset.root=.", "has no labelled excerpts"),
        (
            "task=train train.test=true evaluate.robust_db=[-1]",
            r"robust_db=\[-1\]; expected a list",
        ),
        ("task=evaluate evaluate.robust_windows=0", "robust_windows=0; expected a whole number"),
        ("task=evaluate dataset=irmas dataset.root=x", "no such folder: dataset.root='x'"),
        ("task=prepare dataset=irmas dataset.download=true", "dataset.root is not set"),
        ("experiment=paper paper.noises=1", "noises=1; expected a whole number, at least 2"),
    ],
)
def test_what_a_task_refuses_is_refused_before_its_line(words, message, here, capsys) -> None:
    (here / "text.wav").write_text("no sound")
    soundfile.write(here / "a.wav", np.linspace(0, 0.1, 22_050), 22_050)
    with pytest.raises((InputError, InstantiationException), match=message):
        say(words, here / "run")
    assert capsys.readouterr().out == ""
    assert {path.name for path in here.iterdir()} == {"text.wav", "a.wav"}


def test_of_a_folder_nothing_is_decoded(here, capsys, monkeypatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("it was decoded")

    for level, name in enumerate(("flute/a.wav", "flute/b.wav", "voice/c.wav"), start=1):
        (here / name).parent.mkdir(exist_ok=True)
        soundfile.write(here / name, np.linspace(0, 0.1 * level, 22_050), 22_050)
    monkeypatch.setattr("irdream.audio.load_audio", refuse)
    monkeypatch.setattr("irdream.datasets.starts.load_audio", refuse)
    for words, said in {
        "task=dream start=file start.path=.": "dream: 3 excerpts toward flu",
        "task=evaluate dataset=folder dataset.root=.": "evaluate: 3 excerpts",
        "task=train dataset=folder dataset.root=.": "train: 2 training and 1 validation excerpt, ",
        "task=prepare dataset=folder dataset.root=.": "prepare: counts 3 training and 3 test exc",
    }.items():
        say(words, here / "run")
        assert capsys.readouterr().out.startswith(said)
    assert {path.name for path in here.iterdir()} == {"flute", "voice"}


@pytest.mark.parametrize(("count", "said"), [(1, "1 step"), (0, "0 steps"), (6705, "6705 steps")])
def test_counts(count, said) -> None:
    assert counted(count, "step") == said
