from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile
import torch
from PIL import Image

from irdream.attribution import LRP, AscendedMask, Deconvolution, GradCAM, GradientXInput
from irdream.audio import load_audio
from irdream.checkpoint_folder import new_recognizer
from irdream.datasets.base import Excerpt
from irdream.datasets.starts import DreamStart, FileStart
from irdream.errors import InputError
from irdream.frontends import Waveform
from irdream.instruments import CODES, find
from irdream.measures.table import ATTRIBUTION
from irdream.recognizer import Recognizer
from irdream.reports.attributions import HOW_TO_READ
from irdream.reports.dream_page import MAPS
from irdream.reports.tables import rows_of
from irdream.tasks.attribute import attribute
from irdream.tracking import NullTracker
from tests.sweeps.test_gallery import given_in


@pytest.fixture
def run(tmp_path, sounds, tiny_frontend, my_package):
    torch.manual_seed(0)
    model = {"_target_": "my_package.MyNet"}
    recognizer = new_recognizer(frontend=tiny_frontend, model=model, trust=["my_package"])

    def run(**settings):
        defaults = {
            "recognizer": recognizer.eval(),
            "start": FileStart(path=sounds / "flu"),
            "attribution": GradientXInput(),
            "tracker": NullTracker(),
        }
        return attribute(output_dir=tmp_path, **{**defaults, **settings})

    return run


def test_a_run_writes_a_row_for_each_map(run, tmp_path: Path, capsys) -> None:
    metrics = run(share=0.3, figures=2, sanity=2, judge=None)
    table = pd.read_csv(tmp_path / "attributions.csv")
    maps = {name: rows.to_dict("records") for name, rows in table.groupby("map")}
    own = maps["GradientXInput"]
    assert {name: len(rows) for name, rows in maps.items()} == dict.fromkeys(maps, 6)
    assert maps.keys() == {"GradientXInput", "random", "edges"}
    for i, row in enumerate(own):
        assert row["prediction"] == row["target"]
        assert row["file"] == f"flu{i}-to-{row['target']}"
        assert row["area"] <= 0.31
        drop = max(0, row["probability"] - row["probability_relevant"]) / row["probability"]
        assert row["drop"] == pytest.approx(drop, abs=1e-4)
        for control in ("random", "edges"):  # of equal area
            assert maps[control][i]["area"] == pytest.approx(row["area"], abs=0.01)
    missing = ("change_share", "judge_whole", "judge_agrees")
    shown = [each.name for each in ATTRIBUTION if each.name not in missing]
    for each in ATTRIBUTION:
        if each.needs != "judge" and each.name != "change_share":
            mean = np.mean([row[each.name] for row in own])
            assert metrics[f"attribute/{each.name}"] == pytest.approx(mean, abs=1e-5)
            assert f"attribute/edges/{each.name}" in metrics
    curves = pd.read_csv(tmp_path / "curves.csv")
    one = rows_of(curves, file=own[0]["file"], map="GradientXInput")
    area = np.trapezoid(one["insertion"], one["share"])
    assert own[0]["insertion"] == pytest.approx(area, abs=1e-4)
    assert sorted(path.name for path in (tmp_path / "spectrograms").iterdir()) == [
        f"{row['file']}.png" for row in own[:2]
    ]
    for row in own:  # the same parts as in the WAVs
        points = rows_of(curves, file=row["file"], map="GradientXInput", share=1)
        assert points["insertion"].item() == pytest.approx(row["probability"], abs=1e-3)
    entries = given_in((tmp_path / "index.html").read_text(encoding="utf-8"))["entries"]
    name, shares, insertion, _ = entries[0]["curves"][0]
    assert (name, shares[-1]) == ("GradientXInput", 1)
    np.testing.assert_allclose(np.trapezoid(insertion, shares), own[0]["insertion"], atol=1e-3)
    assert {path.stem for path in (tmp_path / "maps").iterdir()} == {row["file"] for row in own}
    told = pd.read_csv(tmp_path / "probabilities.csv")
    one = rows_of(told, file=own[0]["file"], label=own[0]["target"])
    assert len(told) == 6 * 11
    assert one["original"].item() == pytest.approx(own[0]["probability"], abs=1e-5)
    assert one["dream"].item() == pytest.approx(own[0]["probability_relevant"], abs=1e-5)
    layers = pd.read_csv(tmp_path / "sanity.csv")
    left = layers[["0", "1"]].to_numpy()[-1]
    assert metrics["attribute/sanity"] == pytest.approx(np.abs(left).mean(), abs=1e-5)  # of two
    said = capsys.readouterr().out
    assert "attribute: flu, GradientXInput of what is predicted" in said
    assert "sanity check on 2 excerpts, left when shuffled from the top to: " in said
    page = (tmp_path / "index.html").read_text(encoding="utf-8")
    words = ("random (control)", "left when shuffled", *(HOW_TO_READ[one] for one in shown))
    assert all(word in said and word in page for word in words)
    assert not any(HOW_TO_READ[one] in text for one in missing for text in (said, page))


def test_the_sanity_check_takes_sounds_of_any_length(run, tmp_path: Path, sounds: Path) -> None:
    (tmp_path / "in").mkdir()
    sound, rate_hz = soundfile.read(sounds / "flu" / "flu0.wav")
    for i in range(4):
        soundfile.write(tmp_path / "in" / f"{i}.wav", sound[: 1600 - 100 * i], rate_hz)
    run(start=FileStart(path=tmp_path / "in"), sanity=3, curves=False, figures=0)
    assert pd.read_csv(tmp_path / "sanity.csv").columns.tolist() == ["layer", "0", "1", "2"]


def test_relevant_and_rest_add_up_to_the_original(run, tmp_path: Path) -> None:
    run(curves=False, target="violin")
    table = pd.read_csv(tmp_path / "attributions.csv")
    assert set(table["target"]) == {"vio"}
    assert not {"insertion", "deletion"} & set(table)
    assert len(list((tmp_path / "sounds").iterdir())) == 18
    original, relevant, rest = (
        soundfile.read(tmp_path / "sounds" / f"flu0-to-vio-{part}.wav")[0]
        for part in ("original", "relevant", "rest")
    )
    np.testing.assert_allclose(relevant + rest, original, atol=2 / 32768)
    assert 0 < np.square(relevant).sum() < np.square(original).sum()


def test_the_page_has_each_map_with_its_sounds(run, tmp_path: Path) -> None:
    run(figures=1, attribution=Deconvolution(layers="all"), command=["task=attribute", "seed=0"])
    page = (tmp_path / "index.html").read_text(encoding="utf-8")
    given = given_in(page)
    assert given["voices"] == ["original", "relevant", "rest"]
    first = next(one for one in given["entries"] if len(one["voices"]) > 3)
    names = [voice["name"] for voice in first["voices"]]
    assert names[:3] == ["original", "relevant", "rest"]
    assert [name.split(" ")[0] for name in names[3:]] == ["01-layers.0", "02-layers.3"]
    assert first["map"].startswith("data:image/png;base64,")
    assert first["said"].startswith("Deconvolution. Probability of ")
    assert {network["name"] for network in first["networks"]} == {MAPS.networks["recognizer"]}
    assert "<h1>6 maps of what was listened to, by Deconvolution</h1>" in page
    assert "python main.py -m task=attribute seed=0 &#39;attribution=glob(*)&#39;" in page
    folder = next((tmp_path / "layers").iterdir())
    sound, rate_hz = soundfile.read(next(folder.iterdir()))
    original, _ = soundfile.read(tmp_path / "sounds" / f"{folder.name}-original.wav")
    assert (len(sound), rate_hz) == (1600, 1000)
    assert 0 < np.square(sound).sum() < np.square(original).sum()


def test_of_dreams_where_they_put_their_evidence(
    run, tmp_path: Path, sounds, capsys, caplog
) -> None:
    """The change is noise that the mask of the dream lets through where it is."""
    (tmp_path / "of" / "sounds").mkdir(parents=True)
    (tmp_path / "of" / "dreams.csv").write_text("file,labels,target\nx,flu,vio\n")
    original, rate_hz = soundfile.read(sounds / "flu" / "flu0.wav")
    change = 0.2 * np.random.default_rng(0).standard_normal(len(original))
    for kind, sound in (
        ("original", original),
        ("dream", original + change),
        ("difference", change),
    ):
        sound = sound / np.abs(original + change).max()
        soundfile.write(tmp_path / "of" / "sounds" / f"x-{kind}.wav", sound, rate_hz)
    metrics = run(start=DreamStart(path=tmp_path / "of"), curves=False)
    table = pd.read_csv(tmp_path / "attributions.csv")
    own = rows_of(table, map="GradientXInput")
    assert [(row["name"], row["target"]) for row in own.to_dict("records")] == [
        ("x-original", "flu"), ("x-original", "vio"), ("x-dream", "vio"),
    ]  # fmt: skip
    assert own["change_share"].isna().tolist() == [True, True, False]
    share = own["change_share"].iloc[2]
    assert 0.3 * own["area"].iloc[2] < share < 1  # of white noise about the area, in linear hertz
    assert metrics["attribute/change_share"] == pytest.approx(share, abs=1e-5)
    with Image.open(tmp_path / "spectrograms" / "x-dream-to-vio-evidence.png") as picture:
        assert picture.size > (1000, 500)
    entries = given_in((tmp_path / "index.html").read_text(encoding="utf-8"))["entries"]
    assert ["picture" in entry for entry in entries] == [False, False, True]
    said = capsys.readouterr().out
    assert "GradientXInput of the originals' labels and the targets" in said
    assert HOW_TO_READ["change_share"] in said
    row = next(line for line in said.splitlines() if line.startswith(" faithfulness"))
    assert " to " not in row  # of one recording there is no interval
    assert "does not know" not in caplog.text
    (tmp_path / "of" / "dreams.csv").write_text("file,labels,target\nx,flu,kick\n")
    run(start=DreamStart(path=tmp_path / "of"), curves=False)
    assert "the recognizer does not know kick: what it predicts is explained in" in caplog.text


@pytest.mark.parametrize(
    ("labels", "unknown"),
    [
        (CODES[::-1], ""),  # the same in another order
        (("kick", "Flute", "violin", "snare"), "cel (cello)"),  # some, otherwise spelled
        (("kick", "snare", "org"), "flu (flute), vio (violin), cel (cello)"),
    ],
)
def test_a_judge_of_other_labels_is_asked_about_those_it_knows(
    labels, unknown, run, tmp_path: Path, tiny_frontend, capsys
) -> None:
    model = {"_target_": "irdream.models.Light", "width": 2}
    judge = new_recognizer(frontend=tiny_frontend, model=model, labels=labels).eval()
    metrics = run(judge=judge, curves=False, target=["flu", "vio", "cel"], figures=0)
    own = rows_of(pd.read_csv(tmp_path / "attributions.csv"), map="GradientXInput")
    told = pd.read_csv(tmp_path / "probabilities.csv")
    expected: dict[str, list[float]] = {"original": [], "relevant": []}
    for row in own.to_dict("records"):
        label = find(row["target"], labels)
        for part, column in (("original", "judge_whole"), ("relevant", "judge_agrees")):
            sound = load_audio(
                tmp_path / "sounds" / f"{row['file']}-{part}.wav", sample_rate_hz=1000
            )
            answer = judge.predict(sound)
            on_top = float(max(answer, key=answer.__getitem__) == label) if label else np.nan
            expected[part].append(on_top)
            assert row[column] == pytest.approx(on_top, nan_ok=True)
            if label:
                kept = rows_of(told, network="judge", file=row["file"], label=label)
                kept = kept["original" if part == "original" else "dream"]
                assert kept.item() == pytest.approx(answer[label], abs=2e-5)
    for part, name in (("original", "judge_whole"), ("relevant", "judge_agrees")):
        if np.isnan(expected[part]).all():
            assert f"attribute/{name}" not in metrics
        else:
            assert metrics[f"attribute/{name}"] == pytest.approx(np.nanmean(expected[part]))
    said = capsys.readouterr().out
    line = f"judge: not asked about {unknown}, which it does not know\n"
    assert line in said if unknown else "not asked" not in said


@pytest.mark.parametrize("method", [GradientXInput(), AscendedMask(steps=2)])
def test_a_network_on_waveforms(run, tmp_path: Path, method) -> None:
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(1000, 11))
    recognizer = Recognizer(frontend=Waveform(sample_rate_hz=1000), model=model).eval()
    run(recognizer=recognizer, attribution=method, sanity=1, figures=1)
    own = rows_of(pd.read_csv(tmp_path / "attributions.csv"), map=type(method).__name__)
    assert len(own) == 6
    assert not own["insertion"].isna().to_numpy().any()
    curves = pd.read_csv(tmp_path / "curves.csv")
    whole = curves[(curves["share"] == 1) & (curves["map"] == type(method).__name__)]["insertion"]
    np.testing.assert_allclose(whole, own["probability"], atol=1e-3)
    sounds = [soundfile.read(path)[0] for path in sorted((tmp_path / "sounds").iterdir())[:3]]
    np.testing.assert_allclose(sounds[0], sounds[1] + sounds[2], atol=2 / 32768)
    assert len(list((tmp_path / "spectrograms").iterdir())) == 1


def test_what_does_not_suit_a_network_on_waveforms_is_refused_at_once(run, tmp_path) -> None:
    recognizer = Recognizer(frontend=Waveform(sample_rate_hz=1000), model=torch.nn.Flatten())
    for method in (LRP(), GradCAM(), Deconvolution(layers="all")):
        with pytest.raises(InputError, match="of a network that gets no log-mel"):
            run(recognizer=recognizer, attribution=method, info=True)


class Kazoo:
    name = "kazoo"

    def excerpts(self, *, sample_rate_hz, min_seconds):
        return [Excerpt(waveform=torch.rand(1500), labels=("kazoo",), name="a")], []


def test_what_is_refused(run, sounds, tmp_path) -> None:
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(1000, 11))
    frontend = Waveform(sample_rate_hz=1000)
    vars(frontend)["n_fft"] = 64
    with pytest.raises(InputError, match="front end Waveform has an n_fft and no mel_basis to"):
        run(recognizer=Recognizer(frontend=frontend, model=model))
    soundfile.write(tmp_path / "silent.wav", np.zeros(1600), 1000)
    with pytest.raises(InputError, match=r"nothing to explain: .*silent"):
        run(start=FileStart(path=tmp_path / "silent.wav"))
    with pytest.raises(InputError, match=r"share=0; expected a number above 0"):
        run(share=0)
    with pytest.raises(InputError, match="needs a label and 'flu0' has none"):
        run(target="correct")
    with pytest.raises(
        InputError, match="target=correct and no excerpt has such a label; expected"
    ):
        run(start=Kazoo(), target="correct")
