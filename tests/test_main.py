"""The command line as a person types it, in processes of their own."""

import ast
import csv
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import soundfile

import main
from irdream.processes import Interrupted, interrupt
from irdream.runtime import cores
from irdream.tracking.store import open_store
from tests.tiny import sweep_runs, write_tone

ROOT = Path(__file__).parents[1]
HEAVY = ("torch", "mlflow", "numpy", "matplotlib", "pandas", "sklearn", "scipy")


def irdream(*words: str, cwd: Path, **environment: str | None) -> subprocess.CompletedProcess[str]:
    """Run a command; a variable of the environment that is None is taken away."""
    variables = {**os.environ, "COLUMNS": "120", **environment}
    return subprocess.run(
        [sys.executable, str(ROOT / "main.py"), *words],
        cwd=cwd,
        env={name: value for name, value in variables.items() if value is not None},
        capture_output=True,
        text=True,
        timeout=300,
    )


def test_outside_the_environment_one_line_says_how_to_enter_it() -> None:
    command = [sys.executable, "-I", "-S", str(ROOT / "main.py"), "--help"]
    answer = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert answer.returncode == 1
    assert re.fullmatch(
        r"error: \S+ has no hydra; expected the project's environment: `make demo` sets it up, "
        r"`source \.venv/bin/activate` enters it\n",
        answer.stderr,
    )


@pytest.mark.skipif(os.name == "nt", reason="signals")
def test_ctrl_c_in_the_imports_prints_no_traceback(tmp_path: Path) -> None:
    (tmp_path / "hydra.py").write_text(
        "import os, signal\nos.kill(os.getpid(), signal.SIGINT)\nwhile True: pass\n"
    )
    answer = irdream("target=flute", cwd=tmp_path, PYTHONPATH=str(tmp_path))
    assert answer.returncode == -signal.SIGINT
    assert answer.stderr == ""


def imported(words: Sequence[str], names: Sequence[str], *, cwd: Path) -> list[str]:
    """Return which of some modules a command imports."""
    script = (
        f"import sys; sys.argv[1:] = {words}; sys.path.insert(0, {str(ROOT)!r}); import main\n"
        "try: main.main()\nexcept SystemExit: pass\n"
        f"print([name for name in {names} if name in sys.modules])"
    )
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True)
    assert done.stdout, done.stderr
    return ast.literal_eval(done.stdout.splitlines()[-1])


@pytest.mark.parametrize(
    "words",
    [
        ["--help"], ["--cfg", "job"], ["dream.stepsize=1"], ["task=x"], ["checkpoint=nowhere"],
        ["start=file", "start.path=[no](1).wav"], ["-m", "start=file", "start.path=.,nowhere"],
        ["task=train", "dataset=folder", "dataset.root=~/nowhere"], ["store=a.txt/mlruns"],
    ],
)  # fmt: skip
def test_nothing_heavy_is_imported_before_the_configuration_is_known(tmp_path, words) -> None:
    (tmp_path / "a.txt").touch()
    assert imported(words, HEAVY, cwd=tmp_path) == []


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["start=file"], "error: start.path is not set; expected a sound file or a folder of them"),
        (["start=file", "start.path=text.wav"], "error: nothing to dream on: "),
        (["dataset=irmas"], "error: dataset.root is not set; IRMAS is Zenodo record 1290750"),
        (["debug=yes"], "error: debug=yes; expected true or false"),
        (["--resolve"], "error: The --resolve flag can only be used in conjunction with --cfg or"),
        (["--multirn"], "error: unknown flag '--multirn'; did you mean '--multirun'?"),
        (
            ["--config-dir=.", "experiment=broken"],
            "broken.yaml\", line 1, column 8 expected ',' or",
        ),
        (
            ["--config-dir=.", "experiment=mine"],
            "error: experiment is no key of a task; expected '# @package _global_' as the first",
        ),
    ],
)
def test_bad_input_ends_in_one_line(tmp_path, words, expected) -> None:
    (tmp_path / "text.wav").write_text("no sound")
    (tmp_path / "experiment").mkdir()
    (tmp_path / "experiment" / "broken.yaml").write_text("dream: [1")
    (tmp_path / "experiment" / "mine.yaml").write_text("dream: {steps: 2}")
    done = irdream("task=dream", "tracker=none", *words, cwd=tmp_path)

    assert done.returncode == 1
    assert expected in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert "Traceback" not in done.stderr + done.stdout


def test_an_interval_without_a_search_names_the_sweeper(tmp_path) -> None:
    words = ["-m", "task=dream", "tracker=none", "dream.step_size=interval(0.1,1)"]
    done = irdream(*words, cwd=tmp_path)
    assert done.returncode == 1
    assert "error: interval(...) is searched with hydra/sweeper=optuna; expected" in done.stderr


@pytest.mark.skipif(os.name == "nt", reason="signals")
def test_ctrl_c_leaves_no_half_of_torch(tmp_path) -> None:
    script = (
        f"import os, signal, sys; sys.path.insert(0, {str(ROOT)!r})\n"
        "class Pressed:\n"
        "    def find_spec(self, name, *_):\n"
        "        if name == 'torch.nn': os.kill(os.getpid(), signal.SIGINT)\n"
        "import main; sys.meta_path.insert(0, Pressed())\n"
        "sys.argv[1:] = ['task=dream', 'tracker=none']\n"
        "try: main.main()\n"
        "finally: print(hasattr(sys.modules.get('torch'), 'nn'))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 128 + signal.SIGINT, done.stderr
    assert done.stderr.splitlines()[-1] == "interrupted"
    assert done.stdout == "True\n"


def test_debug_shows_the_traceback(tmp_path) -> None:
    done = irdream("task=dream", "tracker=none", "checkpoint=no", "debug=true", cwd=tmp_path)

    assert done.returncode == 1
    assert "Traceback" in done.stderr


@pytest.mark.parametrize(
    ("error", "of_sweep", "told", "status"),
    [
        (KeyboardInterrupt(), "", "interrupted", 130),
        (Interrupted("two kept", number=signal.SIGTERM), "", "interrupted: two kept", 143),
        (Interrupted("two kept"), "type again", "interrupted: two kept; type again", 130),
    ],
)
def test_an_interrupt_ends_in_one_line(error, of_sweep, told, status, monkeypatch, capsys) -> None:
    def run() -> None:
        raise error

    before = signal.getsignal(signal.SIGTERM)
    monkeypatch.setattr(sys, "argv", ["main.py"])
    monkeypatch.setattr(main, "run", run)
    monkeypatch.setattr(main.sweep, "interrupt", lambda: of_sweep)
    with pytest.raises(SystemExit) as caught:
        main.main()
    assert signal.signal(signal.SIGTERM, before) is interrupt
    assert caught.value.code == status
    assert capsys.readouterr().err == f"{told}\n"


def test_a_file_is_dreamed_written_measured_and_tracked(tmp_path) -> None:
    write_tone(tmp_path / "my tone ♭.wav").rename(tmp_path / "my t\udcf6ne ♭.wav")
    (tmp_path / "bad.wav").write_text("no sound")
    done = irdream(
        "task=dream", "target=[flute,cello]", "start=file", "start.path=.", "dream.steps=3",
        cwd=tmp_path, PYTHONIOENCODING="ascii",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "skipped 1 excerpt" in done.stderr
    assert "bad.wav" in done.stderr

    (folder,) = tmp_path.glob("outputs/*/*-dream")
    assert done.stdout.splitlines()[-2:] == [f"files: {folder}", f"listen: {folder / 'index.html'}"]
    page = (folder / "index.html").read_text(encoding="utf-8")
    assert "python main.py task=dream &#39;target=[flute,cello]&#39; start=file" in page
    rows = list(csv.DictReader((folder / "dreams.csv").read_text().splitlines()))
    assert [row["target"] for row in rows] == ["flu", "cel"]
    assert {row["name"] for row in rows} == {"my t\\xf6ne ♭"}
    for row in rows:
        assert float(row["target_probability"]) >= float(row["target_probability_before"])
        sounds = {k: folder / "sounds" / f"{row['file']}-{k}.wav" for k in
                  ("original", "dream", "difference")}  # fmt: skip
        original, dream, difference = (soundfile.read(path)[0] for path in sounds.values())
        assert len(original) == len(dream) == round(1.5 * 22_050)
        np.testing.assert_allclose(dream - original, difference, atol=1e-4)
        assert (folder / "spectrograms" / f"{row['file']}.png").stat().st_size > 10_000
    assert (tmp_path / "mlruns" / "mlflow.db").is_file()
    tracked = {path.name for path in (tmp_path / "mlruns" / "artifacts").rglob("*.*")}
    assert {"dreams.csv", "curves.png", "config.yaml", f"{rows[0]['file']}-dream.wav"} <= tracked


def test_a_sweep_goes_on_after_a_failed_job_whatever_hydra_is_set_to(tmp_path) -> None:
    write_tone(tmp_path / "tone.wav", seconds=1.0)
    done = irdream(
        "-m", "task=dream", "target=sax", "start=file", "start.path=tone.wav", "tracker=none",
        "dream.steps=2", "start.seconds=1,0.5,1.0", "dream.figures=0", "hydra.output_subdir=null",
        "hydra/job_logging=disabled", "hydra/hydra_logging=disabled", "hydra.job.chdir=true",
        "hydra.sweep.subdir=deep/${start.seconds}s", cwd=tmp_path,
    )  # fmt: skip

    assert done.returncode == 1
    assert "error: start.seconds=0.5; expected at least 1" in done.stderr
    assert "sweep: 3 jobs, 2 finished, 1 failed" in done.stdout
    assert len(list(tmp_path.glob("outputs/*/*-sweep/deep/1*s/dreams.csv"))) == 2


def test_a_sweep_that_is_killed_goes_on_and_is_one_in_the_store(tmp_path) -> None:
    write_tone(tmp_path / "tone.wav", seconds=1.0)
    words = ["-m", "task=dream", "target=sax", "start=file", "start.path=tone.wav",
             "dream.steps=2", "dream.octaves=1,2,3", "dream.figures=0"]  # fmt: skip
    first = subprocess.Popen([sys.executable, str(ROOT / "main.py"), *words], cwd=tmp_path)
    give_up = time.monotonic() + 120
    while not list(tmp_path.glob("outputs/*/*-sweep/1/job.json")) and time.monotonic() < give_up:
        time.sleep(0.02)
    first.kill()
    first.wait()

    cured = irdream("task=doctor", cwd=tmp_path)
    assert "closed as KILLED" in cured.stdout, cured.stderr
    again = irdream(*words, cwd=tmp_path)
    assert again.returncode == 0, again.stderr
    assert re.search(r"sweep: 3 jobs, [12] finished, [12] skipped", again.stdout)
    assert re.search(r"listen: \S+-sweep/overview/gallery\.html\n", again.stdout)

    parent, below = sweep_runs(open_store(root=tmp_path / "mlruns"))
    assert parent.info.status == "FINISHED"
    done = [run for run in below if run.info.status == "FINISHED"]
    assert len(done) == 3
    assert {run.data.tags["irdream.sweep"] for run in done} == {parent.info.run_name}

    forced = irdream(*words[:-2], "dream.octaves=1,2", "sweep.force=true", cwd=tmp_path)
    assert "sweep: 2 jobs, 2 finished" in forced.stdout, forced.stderr


@pytest.mark.slow
def test_jobs_at_once_share_the_cores_and_the_parent(tmp_path) -> None:
    pytest.importorskip("hydra_plugins.hydra_joblib_launcher")
    write_tone(tmp_path / "tone.wav", seconds=1.0)
    done = irdream(
        "-m", "hydra/launcher=joblib", f"hydra.launcher.n_jobs={2 * cores()}", "task=dream",
        "target=sax", "start=file", "start.path=tone.wav", "dream.steps=2", "dream.figures=0",
        "start.seconds=1,0.5,1.0", cwd=tmp_path, OMP_NUM_THREADS=None,
    )  # fmt: skip

    assert done.returncode == 1
    assert "sweep: 3 jobs, 2 finished, 1 failed" in done.stdout, done.stderr
    parent, below = sweep_runs(open_store(root=tmp_path / "mlruns"))
    assert parent.info.status == "FAILED"
    assert sorted(run.info.status for run in below) == ["FAILED", "FINISHED", "FINISHED"]
    assert {run.data.tags["irdream.threads"] for run in below} == {"1"}
    assert len({run.data.tags["irdream.pid"] for run in [parent, *below]}) > 1


def test_a_sweep_stops_at_a_failed_job_where_it_is_asked_to(tmp_path) -> None:
    write_tone(tmp_path / "tone.wav", seconds=1.0)
    done = irdream(
        "-m", "task=dream", "target=sax", "start=file", "start.path=tone.wav", "tracker=none",
        "dream.steps=2", "start.seconds=0.5,1", "sweep.stop_on_failure=true", cwd=tmp_path,
    )  # fmt: skip

    assert done.returncode == 1
    assert "sweep: 1 job, 1 failed" in done.stdout


def test_a_mistake_in_what_is_swept_is_found_before_the_sweep_begins(tmp_path) -> None:
    done = irdream("-m", "task=dream", "target=sax", "dream.octaves=1,-1", cwd=tmp_path)

    assert done.returncode == 1
    assert done.stderr == "error: dream.octaves=-1; expected a whole number, at least 1\n"
    assert not list(tmp_path.iterdir())


def test_what_would_run_is_said_and_nothing_is_run(tmp_path) -> None:
    write_tone(tmp_path / "tone.wav", seconds=1.0)
    words = ("task=dream", "target=sax", "start=file", "start.path=tone.wav", "dream.steps=2")
    told = irdream("-m", *words, "dream.octaves=1,2", "--info", cwd=tmp_path)
    assert told.returncode == 0, told.stderr
    said = [line for line in told.stdout.splitlines() if not line.startswith("[")]
    by = "2 networks (geometric mean of probabilities), on cpu"
    assert said == [
        f"dream: 1 excerpt toward sax, 2 steps x 1 octave, {by}",
        f"dream: 1 excerpt toward sax, 2 steps x 2 octaves, {by}",
    ]
    assert [path.name for path in tmp_path.iterdir()] == ["tone.wav"]


def test_without_a_tracker_mlflow_is_not_imported(tmp_path) -> None:
    write_tone(tmp_path / "tone.wav", seconds=1.0)
    words = "task=dream target=sax start=file start.path=tone.wav tracker=none dream.steps=1"
    assert imported(words.split(), ["torch", "mlflow", "sklearn"], cwd=tmp_path) == ["torch"]
