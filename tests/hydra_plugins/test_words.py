"""Paths and other text that people have are taken as they were typed."""

import unicodedata
from typing import Any

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf

from hydra_plugins.irdream._words import as_grammar

NAMES = [
    "[cel][cla]0001__1.wav", "008__[cel][nod][cla]0058__1.wav", "[flute]", "C#4.wav", "x (1).wav",
    "Flöte.wav", unicodedata.normalize("NFD", "Flöte.wav"), "笛.wav", "🎷.wav", "epoch=9.wav",
    "it's.wav", 'say "a".wav', "both'\".wav", "a,b.wav", "a;b.wav", "{a}.wav", "{a:b}", "100%.wav",
    "$x.wav", "a${b}.wav", "a\\${b}.wav", "a\\b.wav", "back\\", "a:b.wav", "a: b.wav", "a!&b.wav",
    "<a>.wav", "~tilde.wav", " spaced .wav", "2024", "1e5", "1_000", "0x1f", "007", "-3", "true",
    "null", "nan", "int(3)", "choice(a)", "range(1,3)", "glob(*)", "'quoted'", '"q".wav',
    "a|b?.wav",
]  # fmt: skip


@pytest.fixture(autouse=True)
def _folder(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/home/me")


def read(word: str, *others: str) -> Any:
    """Return the value that a key has where this is typed."""
    override = OverridesParser.create().parse_override(as_grammar([word, *others])[0])
    assert not override.is_sweep_override()
    node = OmegaConf.create({"store": "mlruns", "key": override.value()})
    return OmegaConf.to_container(node, resolve=True)["key"]  # type: ignore[index,call-overload]


def jobs(word: str) -> list[Any]:
    """Return the values that the jobs of a multirun have, where this is typed."""
    parser = OverridesParser.create()
    override = parser.parse_override(as_grammar(["-m", word])[1])
    return [
        parser.parse_override(f"key={value}").value() for value in override.sweep_string_iterator()
    ]


@pytest.mark.parametrize("name", NAMES)
def test_the_name_of_a_file_is_what_was_typed(name, tmp_path) -> None:
    (tmp_path / name).touch()
    for others in ([], ["-m"]):
        assert read(f"start.path={name}", *others) == name
        assert read(f"start.path={tmp_path / name}", *others) == str(tmp_path / name)


@pytest.mark.parametrize(
    "name",
    [name for name in NAMES if not any(sign in name for sign in ("\\", "${", " spaced", "'quoted'"))
     and name not in ("null", "choice(a)", "range(1,3)", "glob(*)")],
)  # fmt: skip
@pytest.mark.parametrize(
    "key", ["store", "paper.publish", "dataset.root", "train.resume", "tracker.run_name"]
)
def test_text_without_a_file_is_what_was_typed(name, key) -> None:
    assert read(f"{key}={name}") == name


@pytest.mark.parametrize(
    ("word", "value"),
    [
        ("start.path='a b'", "a b"),
        ('start.path="[cel].wav"', "[cel].wav"),
        ("start.path=a\\,b.wav", "a,b.wav"),
        ("start.path=null", None),
        ("start.path=${store}/a", "mlruns/a"),
        ("store=${oc.env:HOME}/[a]", "/home/me/[a]"),
        ("target=[flute,cello]", ["flute", "cello"]),
        ("dataset.fonts=[2024,a (1).sf2,~/b.sf2,'c d']", ["2024", "a (1).sf2", "~/b.sf2", "c d"]),
        ("dataset.fonts=2024", "2024"),
        ("trust=[my_nets]", ["my_nets"]),
        ("dream.steps=3", 3),
        ("device=0", 0),
        ("evaluate.threshold=0.5", 0.5),
        ("dataset.seed=2024", 2024),
        ("+tracker.tags={a:b}", {"a": "b"}),
        ("++dataset.name=2024", "2024"),  # no yaml has it
        ("dream.octave_ratio=[1,2", "[1,2"),
    ],
)
def test_what_is_hydras_grammar_on_purpose_keeps_its_meaning(word, value) -> None:
    assert read(word) == value


@pytest.mark.parametrize(
    ("word", "values"),
    [
        ("start.path=a.wav,b.wav", ["a.wav", "b.wav"]),
        ("start.path=[cel]1.wav,it's.wav,2024", ["[cel]1.wav", "it's.wav", "2024"]),
        ("start.path=a,b.wav,c.wav", ["a,b.wav", "c.wav"]),  # where there is a file a,b.wav
        ("start.path=c#4.wav,a,b.wav", ["c#4.wav", "a,b.wav"]),
        ("start.path='a,b',2024", ["a,b", "2024"]),
        ("checkpoint=shipped,~/é", ["shipped", "~/é"]),
        ("dream.steps=1,2", [1, 2]),
        ("dataset.fonts=[a b,2024],[é]", [["a b", "2024"], ["é"]]),
        ("start.path=choice(a,b)", ["a", "b"]),
        ("start.path=x\\,y.wav,c.wav", ["x,y.wav", "c.wav"]),
    ],
)
def test_a_sweep_has_a_job_for_each_value(word, values, tmp_path) -> None:
    (tmp_path / "a,b.wav").touch()
    assert jobs(word) == values


def test_one_file_with_a_comma_is_one_job(tmp_path) -> None:
    (tmp_path / "a,b.wav").touch()
    assert as_grammar(["-m", "start.path=a,b.wav"]) == ["-m", 'start.path="a,b.wav"']


def test_the_folder_of_a_run_is_never_one_called_tilde() -> None:
    typed = ["hydra.run.dir=~/my runs", "hydra.sweep.dir=~/x", "hydra.sweep.subdir=2024"]
    assert as_grammar(typed) == [
        "hydra.run.dir=/home/me/my runs", "hydra.sweep.dir=/home/me/x", 'hydra.sweep.subdir="2024"'
    ]  # fmt: skip


def test_other_words_are_left_alone() -> None:
    words = "--info -cd my=x ~dataset ~dataset.root=x hydra/launcher=joblib task=dream a"
    assert " ".join(as_grammar(words.split())) == words


@pytest.mark.parametrize(
    ("typed", "read"),
    [
        ("-m objective=layer,channel objective.layer=a,b",
         "-m objective=layer,channel ++objective.layer=a,b"),
        ("-m +experiment/ablation=glob(*) scheduler.warmup_epochs=1 dream.steps=1",
         "-m +experiment/ablation=glob(*) ++scheduler.warmup_epochs=1 dream.steps=1"),
        ("-m objective=layer objective.layer=a,b", "-m objective=layer objective.layer=a,b"),
        ("-m objective=layer,logit model.width=2", "-m objective=layer,logit model.width=2"),
    ],
)  # fmt: skip
def test_keys_beside_choices_that_are_swept_are_those_of_each_choice(typed, read) -> None:
    assert " ".join(as_grammar(typed.split())) == read
