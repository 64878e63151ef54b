"""The examples run, and the page of the engine says what there is."""

import importlib.util
import json
import re
import sys
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import matplotlib
import pytest
import soundfile
import torch
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate

from irdream.audio import load_audio
from irdream.cli import command
from irdream.dreaming.ascent import Ascent
from irdream.dreaming.objectives import LogProbability
from irdream.dreaming.optimizers import NormalizedAscent

ROOT = Path(__file__).parents[2]
NOTEBOOK = ROOT / "examples" / "dream_your_own_network.ipynb"
PAGE = ROOT / "docs" / "engine.md"
GROUPS = ("objective", "parametrization", "transform", "constraint", "optimizer")


# The notebook ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def notebook() -> dict[str, Any]:
    return json.loads(NOTEBOOK.read_text())


@pytest.fixture
def _agg(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Draw without a window, leave no figure open and no setting changed."""
    from matplotlib import pyplot

    with matplotlib.rc_context():
        pyplot.switch_backend("Agg")
        yield
        pyplot.close("all")


def names_after(cells: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Run all cells, no warning allowed, and return what they named."""
    names: dict[str, Any] = {"__name__": "notebook"}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for cell in cells:
            if cell["cell_type"] == "code":
                exec(compile("".join(cell["source"]), cell["id"], "exec"), names)
    return names


def test_the_notebook_of_attributions_runs(monkeypatch, capsys) -> None:
    monkeypatch.chdir(NOTEBOOK.parent)
    text = NOTEBOOK.with_name("attribution.ipynb").read_text()
    assert len(text) < 200_000
    names = names_after(json.loads(text)["cells"])
    printed = capsys.readouterr().out.splitlines()
    heard = {name: float(p) for name, p in (x.split(": ") for x in printed[1:4])}
    assert heard["mask"] > 0.9 > 0.1 > heard["rest"]
    assert [line.split(",")[0] for line in printed[4:12]] == [
        f"features.{k}" for k in (1, 4, 9, 12, 17, 20, 25, 28)
    ]
    assert names["of_mine"].relevance.shape == names["log_mel"].shape


@pytest.mark.usefixtures("_agg")
def test_every_cell_of_the_notebook_runs_and_every_dream_is_heard(
    notebook, monkeypatch, capsys
) -> None:
    monkeypatch.chdir(NOTEBOOK.parent)
    names = names_after(notebook["cells"])
    results = names["results"]
    assert [bool(dreams.reached.all()) for dreams in results.values()] == [True] * len(results)
    flute = names["labels"].index("flu")
    heard = [answer.probabilities[0, flute] for answer in (names["one"].before, names["one"].after)]
    assert heard[0] < 0.1 < 0.9 <= heard[1]
    rmse_db = names["table"].xs("RMSE (dB)", axis=1, level=1).median()
    assert rmse_db["least change"] < rmse_db["fixed steps"]
    sound = results["a sound, SNR at least 12 dB"]
    assert names["snr_db"](names["cello"][None], sound.waveform)[0] > 12 - 1e-3
    assert names["excited"].objective_curve[-1, 0] > 1.5 * names["excited"].objective_curve[0, 0]
    printed = capsys.readouterr().out
    assert "log_probability - 0.3 * total_variation" in printed
    assert "5 of 5 new drums are named rightly" in printed
    assert names["beat"].sound().shape == (1, 8000)
    assert names["beat"]._repr_html_().count("<audio") == 3
    assert names["saved"]["prediction_wav"].tolist() == ["snare"]
    loaded = names["again"].predict(names["kick"])
    assert loaded == pytest.approx(names["ear"].predict(names["kick"]), abs=1e-6)  # rounding


def test_the_notebook_is_small_and_stores_what_it_gave(notebook) -> None:
    assert NOTEBOOK.stat().st_size < 700_000
    code = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert [cell["execution_count"] for cell in code] == list(range(1, len(code) + 1))
    outputs = [output for cell in code for output in cell["outputs"]]
    assert "error" not in {output["output_type"] for output in outputs}
    assert sum("image/png" in output.get("data", {}) for output in outputs) == 3


# The six dreams ----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def six_dreams() -> Iterator[ModuleType]:
    path = ROOT / "examples" / "six_dreams.py"
    spec = importlib.util.spec_from_file_location("six_dreams", path)
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules["six_dreams"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    yield module
    del sys.modules["six_dreams"]


def test_six_dreams_are_drawn_and_written(six_dreams, tmp_path, capsys) -> None:
    cello = load_audio(ROOT / "docs" / "cello.ogg", sample_rate_hz=22_050)[22_050:44_100]
    dreamed = six_dreams.main(tmp_path, cello)
    assert [one.name for one in dreamed] == list(six_dreams.WAYS)
    assert min(one.probability for one in dreamed) >= 0.9
    printed = capsys.readouterr().out
    for name in ("original", *six_dreams.WAYS):
        sound, rate_hz = soundfile.read(tmp_path / "engine" / f"{name}.ogg")
        assert sound.shape == cello.shape
        assert rate_hz == 22_050
        if name != "original":
            assert f"(engine/{name}.ogg)" in printed
    peaks = [float(one.sound.abs().max()) for one in dreamed]
    scale = six_dreams.PEAK / max(*peaks, float(cello.abs().max()))
    original = torch.from_numpy(soundfile.read(tmp_path / "engine" / "original.ogg")[0]).float()
    assert (original - scale * cello).norm() < 0.05 * (scale * cello).norm()
    picture = (tmp_path / "engine.png").read_bytes()
    assert picture.startswith(b"\x89PNG")
    assert len(picture) < 500_000


@pytest.fixture
def _conf() -> Iterator[None]:
    with initialize_config_dir(config_dir=str(ROOT / "conf"), version_base="1.3"):
        yield


@pytest.mark.usefixtures("_conf")
def test_what_is_typed_for_the_six_dreams_is_what_is_dreamed(six_dreams) -> None:
    default = {"objective": LogProbability(), "optimizer": NormalizedAscent(), **six_dreams.PAPER}
    for way in six_dreams.WAYS.values():
        config = compose("config", ["experiment=paper_dream", *way.typed.split()])
        typed = instantiate(config.task.ascent, step_size=config.dream.step_size, _convert_="all")
        assert contents(typed) == contents(Ascent(**default | way.settings))


def contents(thing: Any) -> Any:
    """Return what an object was made with, so that two can be compared."""
    if isinstance(thing, list | tuple):
        return [contents(part) for part in thing]
    if hasattr(thing, "__dict__"):
        public = {name: part for name, part in vars(thing).items() if name[0] != "_"}
        return type(thing).__name__, {name: contents(part) for name, part in public.items()}
    return thing


# The page ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def page() -> str:
    return PAGE.read_text()


@pytest.mark.parametrize("group", GROUPS)
def test_the_page_lists_every_yaml_of_a_group_and_no_other(page, group) -> None:
    rows = page.split(f"| `{group}=` |")[1].split("\n\n")[0].splitlines()[2:]
    listed = [name for row in rows for name in re.findall(r"`(\w+)`", row.split("|")[1])]
    assert sorted(listed) == sorted(path.stem for path in (ROOT / "conf" / group).glob("*.yaml"))


def test_what_the_page_links_to_is_there(page) -> None:
    links = re.findall(r"\]\(([^)]+)\)", page)
    assert len(links) > 10
    assert [link for link in links if not (PAGE.parent / link).exists()] == []


def test_the_pages_sounds_are_small_and_as_long_as_each_other() -> None:
    sounds = sorted((PAGE.parent / "engine").glob("*.ogg"))
    assert len(sounds) == 7
    assert sum(path.stat().st_size for path in sounds) < 400_000
    about = [soundfile.info(path) for path in sounds]
    assert {(one.samplerate, one.channels, one.frames) for one in about} == {(22_050, 1, 66_150)}


@pytest.mark.usefixtures("_conf")
def test_the_pages_keys_and_choices_are_those_of_the_configuration(page) -> None:
    config = compose("config", ["task=dream"])
    keys = set(re.findall(r"`dream\.(\w+)`", page))
    assert {"confidence", "patience", "steps"} <= keys <= set(config.dream)
    layer = "checkpoint=robust objective=layer objective.layer=features.9"
    assert f"`{layer}`" in page
    command.check(compose("config", ["task=dream", *layer.split()]))


def test_the_pages_table_is_that_of_the_script(page, six_dreams) -> None:
    for letter, (name, way) in zip("ABCDEF", six_dreams.WAYS.items(), strict=True):
        assert f"| {letter} [{name}](engine/{name}.ogg) | `{way.typed}` |" in page


def test_the_pages_python_runs(page, monkeypatch, capsys) -> None:
    monkeypatch.chdir(ROOT)
    names: dict[str, Any] = {"__name__": "page"}
    for block in re.findall(r"```python\n(.*?)```", page, re.DOTALL):
        exec(compile(block, "docs/engine.md", "exec"), names)
    assert bool(names["dreams"].reached.all())
    assert repr(names["objective"]) == "log_probability + 0.1 * bright"
    assert "tensor([True])" in capsys.readouterr().out
