"""Mistakes on the command line end in one line that names the nearest word."""

import errno
import re
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hydra import compose, initialize_config_dir
from hydra.errors import HydraException, MissingConfigException
from hydra.utils import instantiate
from joblib.externals.loky.process_executor import TerminatedWorkerError
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from hydra_plugins.irdream._words import as_grammar
from irdream.cli import command
from irdream.errors import InputError
from irdream.sweeps.job import Job
from tests.tiny import Notebook

CONF = Path(__file__).parents[2] / "conf"


@pytest.fixture(autouse=True)
def _conf(monkeypatch) -> Iterator[None]:
    monkeypatch.chdir(CONF.parent)
    with initialize_config_dir(config_dir=str(CONF), version_base="1.3"):
        yield


def checked(typed: Sequence[str]) -> DictConfig:
    """Return the configuration that these overrides make, after it was checked."""
    words = as_grammar(list(typed))
    config = compose("config", words)
    command.prepare(config, words)
    command.check(config)
    return config


def answer(*overrides: str) -> str:
    """Return the line that these overrides end in."""
    with pytest.raises((ValueError, HydraException, OmegaConfBaseException)) as caught:
        checked(overrides)
    line = command.line(caught.value)
    assert line is not None
    assert "\n" not in line
    return line


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        # keys
        ("dream.stepsize=1", "unknown key 'dream.stepsize'; did you mean 'dream.step_size' or 'dr"),
        ("+dream.stepsize=1", "unknown key 'dream.stepsize'; did you mean 'dream.step_size' or 'd"),
        ("~dream.stepz", "unknown key 'dream.stepz'; did you mean 'dream.steps'"),
        ("sweep.forse=true", "unknown key 'sweep.forse'; did you mean 'sweep.force'"),
        ("octaves=3", "unknown key 'octaves'; did you mean 'dream.octaves'?"),
        ("trian.epochs=3", "unknown key 'trian.epochs'; did you mean 'train.epochs'"),
        ("+tagret=flute", "unknown key 'tagret'; did you mean 'target'"),
        ("+foo=1", "unknown key 'foo'; python -m irdream.cli.reference shows all"),
        ("train.zzzzzz=3", "unknown key 'train.zzzzzz'; expected one of train.epochs, train.patie"),
        ("hydra.sweeper.params={seed:'1,2'}", "expected a + before it, and quotes: '+hydra.sw"),
        ("hydra.run.dri=x", "unknown key 'hydra.run.dri'; python main.py --cfg hydra shows Hydra'"),
        ("~dream", "dream is missing; do not take it away"),
        ("~dream.steps", "dream.steps is missing; expected a whole number, at least 1; do not tak"),
        ("~objective", "objective is missing; do not take it away"),
        ("~dream.steps dream.steps=5", "dream.steps is not in this configuration; expected 'def"),
        ("dream:steps=5", "cannot read 'dream:steps=5'; expected key=value"),
        ("+dream.steps=5", "+dream.steps adds a key that is there; leave out the +"),
        # groups
        ("task=drem", "unknown task 'drem'; expected one of attribute, compare, "),
        ("objective=logitt", ", masked, neuron, probability, smooth, sparse; did you mean 'logit'"),
        ("hydra/sweeper=optun", "unknown hydra/sweeper 'optun'; expected one of basic, optuna; di"),
        ("+objectiv=layer", "unknown key 'objectiv'; did you mean 'objective'"),
        ("objective@dream=layer", "unknown key 'objective@dream'; did you mean 'objective'"),
        ("objective=null", "unknown objective 'null'; expected one of blur, "),
        ("experiment=2024", "unknown experiment '2024'; expected one of "),
        ("objective=logit,margin", "objective=logit,margin has several choices; expected one, or "),
        ("objective=[logit,margin]", "objective=[logit,margin] has several choices; expected one"),
        ("experiment=second,robust_dreams", "type a list: 'experiment=[second,robust_dreams]'"),
        # keys in groups
        ("objective.layr=a", "unknown key 'objective.layr'; did you mean 'objective.layer'?"),
        ("tracker.experimnt=a", "unknown key 'tracker.experimnt'; did you mean 'tracker.experimen"),
        (
            "objective=layer +objective.layr=a",
            "unknown key 'objective.layr' of irdream.dreaming.objectives.Layer; did you mean 'laye",
        ),
        (
            "objective=logit +objective.layer=a",
            "unknown key 'objective.layer' of irdream.dreaming.objectives.Logit, which takes none",
        ),
        (
            "constraint.db=3",
            "constraint.db is no key of the constraint that is chosen; it belongs to "
            "constraint=max_change or rmse_budget or snr_floor",
        ),
        (
            "task=train augmentation=none ++augmentation.mix_share=0",
            "augmentation.mix_share is no key of the augmentation that is chosen; it belongs to "
            "augmentation=spectrogram or waveform",
        ),
        ("dataset=folder", "dataset.root is not set; expected dataset.root=..."),
        # values
        ("target=[all,flute]", "target: all has others beside it; expected it alone"),
        ("target=flut", "unknown instrument 'flut'; expected one of cel (cello), cla (clarinet),"),
        ("target=null", "target=null; expected text, or a list of texts"),
        ("dream.step_size=abc", "dream.step_size=abc; expected a number above 0, or a list of num"),
        ("dream.start_noise=x", "dream.start_noise=x; expected a number, at least 0"),
        ("dream.steps=", "dream.steps=; expected a whole number, at least 1"),
        ("dream.steps=3.5", "dream.steps=3.5; expected a whole number, at least 1"),
        ("dream.octave_ratio.0=a", "dream.octave_ratio=[a,1.4]; expected a list of 2 numbers, at "),
        ("++dream=5", "dream=5; expected keys below it, such as dream.step_size=..."),
        ("dream.steps=${nope}", "dream.steps: Interpolation key 'nope' not found"),
        ("dream.steps=${dream.keep}", "dream.steps=last; expected a whole number, at least 1"),
        ("start=noise start.seconds=abc", "start.seconds=abc; expected a number"),
        ("start=noise start.count=1.5", "start.count=1.5; expected a whole number"),
        ("optimizer=momentum optimizer.momentum=true", "optimizer.momentum=true; expected a nu"),
        ("constraint=band_range constraint.least_db=[a]", "constraint.least_db=[a]; expected a n"),
        ("constraint=several constraint.1.db=x", "constraint.1.db=x; expected a number"),
        ("dataset._target_=irdream.datasets.Folder", "dataset._target_=irdream.datasets.Folder is "
         "not in irdream; did you mean 'irdream.datasets.folder.Folder'"),
        ("dream.octave_ratio.x=3", "error: 'x' is no item of a list; expected a number, such as 0"),
        ("dream.octave_ratio.5=3", "error: dream.octave_ratio.5=3: list index out of range"),
        # paths
        ("start=file start.path=tests/cli/test_comand.py", "start.path=tests/cli/test_comand.py "
         "does not exist; expected a file or a folder; did you mean 'test_command.py'"),
        ("start=file start.path=", "start.path=; expected text"),
        ("dataset=folder dataset.root=no", "dataset.root=no does not exist"),  # of ${dataset}
        ("task=train dataset=folder dataset.root=. dataset.labels_csv=no.csv",
         "dataset.labels_csv=no.csv does not exist"),
        ("checkpoint=[]", "checkpoint=[]; expected text, or a list of texts"),
        ("checkpoint=tests", "checkpoint=tests is no checkpoint; expected a folder with recogn"),
        ("task=compare compare.other=1e5", "compare.other=1e5 is no checkpoint"),
        ("task=paper paper.second=no", "paper.second=no is no checkpoint"),
        ("task=train train.resume=no", "train.resume=no does not exist"),
        ("constraint=band_range constraint.path=no", "constraint.path=no does not exist"),
        ("objective=inversion objective.reference=no", "objective.reference=no does not exist"),
        ("store=README.md", "store=README.md is no folder: 'README.md' is a file"),
        ("task=paper paper.publish=README.md", "paper.publish=README.md is no folder"),
        ("store=", "store=; expected text"),
        ("task=", "unknown task ''; expected one of attribute, compare,"),
        ("experiment=unseen_font/fluidr", "unknown experiment 'unseen_font/fluidr'; expected one"),
        ("experiment=my/one.yaml", "unknown experiment 'my/one.yaml'; expected a name: of FOLDER/"),
        ("experiment=/my/one", "FOLDER/experiment/one.yaml it is --config-dir FOLDER experiment="),
        ("+objective=logit", "objective is chosen twice; type objective=CHOICE without +, or in "),
        # what Hydra cannot read
        ("dream.steps", "dream.steps has no value; expected dream.steps=VALUE"),
        ("dream.steps=3 file.wav", "cannot read 'file.wav'; expected key=value, in quotes where"),
        ("dre#am=1", "cannot read 'dre#am=1'; expected key=value, in quotes where"),
        ("dream.octave_ratio=[1,2", "dream.octave_ratio=[1,2; expected a list of 2 numbers, at "),
        ("dream.steps=1,2", "dream.steps=1,2 has several values; add -m for a job with each, or t"),
    ],
)  # fmt: skip
def test_a_mistake_is_answered_in_one_line(words, expected) -> None:
    assert expected in answer(*words.split())


def test_in_place_of_a_runs_folder_its_checkpoint_is_named(tmp_path) -> None:
    (tmp_path / "checkpoint").mkdir()
    (tmp_path / "checkpoint" / "recognizer.json").touch()
    said = answer(f"checkpoint={tmp_path}")
    assert f"checkpoint={tmp_path} is no checkpoint; expected {tmp_path}/checkpoint" in said


@pytest.mark.parametrize(
    "words",
    [
        "dream.step_size=[0.1,0.5] dream.budget_db=[1,2] target=[flute,cello]",
        "dream.steps=${train.epochs} dream.confidence=null threads=2",
        "evaluate.threshold=0.5 paper.parts=noise device=0 trust=[my_nets] info=true",
        "+dataset.name=mine",  # an argument that no yaml names
        "+tracker.tags={a:b}",
        "scheduler=constant augmentation=none transform=none constraint=several",
        "start=file dataset=folder task=dream",  # dataset.root is not set, and not needed
        "task=doctor dataset=folder",
        "task=prepare dataset=irmas dataset.root=nowhere dataset.download=true",
        "checkpoint=runs:/123/checkpoint",
        "checkpoint=models:/han@champion compare.other=nowhere",  # which is not used
        "start=noise checkpoint=src/irdream/checkpoints/second dataset.root=nowhere",
        "model._target_=my.Net +model.anything=1",
    ],
)
def test_what_is_right_is_let_through(words) -> None:
    checked(words.split())


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--multirn"], "unknown flag '--multirn'; did you mean '--multirun'?"),
        (["task=dream", "--target", "x"], "unknown flag '--target'; keys are typed without dashes"),
        (["task=dream", "--zzz=1"], "unknown flag '--zzz'; keys are typed without dashes: targ"),
        (["-x"], "unknown flag '-x'; see --help and --hydra-help"),
    ],
)
def test_an_unknown_flag_is_answered_in_one_line(words, expected) -> None:
    with pytest.raises(InputError, match=re.escape(expected)):
        command.check_flags(words)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("task=dream -m target=flute,sax", "-m task=dream target=flute,sax"),
        ("a=1 --config-dir my b=2 -cn=other ~c", "--config-dir my -cn=other a=1 b=2 ~c"),
        ("a=1 --cfg job --package dream +b=2", "--cfg job --package dream a=1 +b=2"),
    ],
)
def test_flags_may_stand_anywhere(words, expected) -> None:
    assert command.flags_first(words.split()) == expected.split()


def test_flags_of_hydra_are_let_through() -> None:
    flags = "-m --multi --cfg job -cd=conf -sc query=bash --info -h seed=-1"
    command.check_flags(flags.split())


def test_a_task_that_cannot_only_say_what_it_would_do_is_not_run() -> None:
    def mine(*, info: bool, **_: object) -> None: ...

    def other(**_: object) -> None: ...

    assert command.check_info(partial(mine, info=True))
    with pytest.raises(InputError, match=r"other has no argument 'info' .* leave info out"):
        command.check_info(partial(other))


@pytest.mark.parametrize("word", ["--info", "info=true", "info=True", "+info=TRUE"])
def test_with_info_hydra_writes_into_a_folder_that_goes(word) -> None:
    words = command.without_files(["task=dream", word])
    folders = {name.partition("=")[2] for name in words[2:]}
    assert [name.partition("=")[0] for name in words[2:]] == ["hydra.run.dir", "hydra.sweep.dir"]
    assert len(folders) == 1
    assert Path(folders.pop()).is_dir()
    assert command.without_files(["task=dream", "info=false"]) == ["task=dream", "info=false"]


def test_a_group_is_one_of_its_choices() -> None:
    config = compose("config")
    config.objective = "layer"
    expected = "^objective=layer; expected a choice of the group, see conf/objective$"
    with pytest.raises(InputError, match=expected):
        command.check(config)


def test_all_values_that_cannot_be_used_are_told_at_once() -> None:
    with pytest.raises(InputError) as caught:
        checked(["dream.octaves=-3", "dream.keep=bst"])
    assert command.line(caught.value) == (
        "error: dream.octaves=-3; expected a whole number, at least 1\n"
        "error: dream.keep=bst; expected best or last"
    )


def test_what_a_yaml_names_must_be_trusted(tmp_path) -> None:
    config = compose("config")
    config.model._target_ = "os.system"
    with pytest.raises(
        InputError, match=r"model._target_=os.system is not trusted; .*trust=\[os\]"
    ):
        command.check(config)
    config.trust = ["os"]
    command.check(config)


@pytest.mark.parametrize("group", ["model", "dataset", "optimizer", "constraint", "task"])
def test_a_target_that_was_typed_is_trusted_and_starts_without_the_keys_it_replaces(group) -> None:
    config = checked([f"{group}._target_=my_package.nets.Own", f"{group}.width=8"])
    partial = {"_partial_": True} if group == "task" else {}
    assert config[group] == {"_target_": "my_package.nets.Own", "width": 8, **partial}
    assert config.trust == ["my_package"]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("scheduler._target_=my.Own", {"_partial_": True}),  # how it is built stays
        ("model._target_=my.Own model.output=sigmoid", {"output": "sigmoid"}),  # what was typed too
        ("model._target_=my.Own ~model.output", {}),
        ("optimizer._target_=torch.optim.Adagrad optimizer.lr=1", {"lr": 1, "_partial_": True}),
        ("model._target_=my.Own ~model.anything +model.width=8", {"width": 8}),
        ("model=transfer model.embedding._target_=my.Own", {}),  # further down
        ("constraint=several constraint.1._target_=my.Own", {}),
        ("dataset=folder dataset._target_='my.Own' dataset.root=2024", {"root": "2024"}),
    ],
)
def test_what_was_typed_beside_a_target_of_ones_own_stays(words, expected) -> None:
    config = checked(words.split())
    node = config[next(word for word in words.split() if "_target_" in word).split(".")[0]]
    own = dict(node[1] if OmegaConf.is_list(node) else node.get("embedding", node))
    assert own.pop("_target_") in ("my.Own", "torch.optim.Adagrad")
    assert own == expected


def caused_by(cause: Exception) -> Exception:
    error = RuntimeError("building failed")
    error.__cause__ = cause
    return error


NEEDED = 'hydra/launcher={0} needs the extra {0}; pip install "irdream[{0}]"'
FEWER = "take shorter sounds, or a smaller train.batch_size"
ERRORS = [
    (MissingConfigException("Could not find 'hydra/launcher/joblib'\n\nAvailable"),
     NEEDED.format("joblib")),
    (MissingConfigException("In 'hydra/launcher/slurm': Could not load 'hydra/launcher/submit"
                            "it_slurm'.\nConfig search path:"), NEEDED.format("slurm")),
    (RuntimeError("Unknown plugin class : 'hydra_plugins.hydra_ray_launcher.ray.Ray"),
     NEEDED.format("ray")),
    (ConnectionError("Failed to connect to Ray cluster at HOST:6379\nsee the log"),
     "ConnectionError: Failed to connect to Ray cluster at HOST:6379"),
    (TerminatedWorkerError("A worker process was killed.\nexit codes: {SIGKILL(-9)}"),
     "TerminatedWorkerError: A worker process was killed."),
    (caused_by(InputError("too short")), "too short"),
    (OSError(errno.ENOSPC, "text", "/data/x"),
     "No space left on device '/data/x'; free some space and run again"),
    (OSError(errno.EACCES, "text", "/data/x"),
     "Permission denied '/data/x'; change its permissions, or choose another folder"),
    (OSError(errno.EFBIG, "text", "/data/x"),
     "File too large '/data/x'; raise the limit on the size of files, 'ulimit -f', or choose "
     "another disk"),
    (OSError(errno.EMFILE, "text", "/data/x"),
     "Too many open files '/data/x'; raise the limit on open files: ulimit -n 4096"),
    (OSError(errno.EIO, "text", "/data/x"),
     "Input/output error '/data/x'; check the disk, or choose another"),
    (MemoryError("Unable to allocate 1.60 TiB for an array with shape (2,) and data type float64"),
     "out of memory: Unable to allocate 1.60 TiB; " + FEWER),
    (RuntimeError("CUDA out of memory. Tried to allocate 20.00 GiB. GPU 0 has a total capacity"),
     "out of memory: Tried to allocate 20.00 GiB; " + FEWER),
    (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate"
                  " 400000 bytes. Error code 12"),
     "out of memory: tried to allocate 400000 bytes; " + FEWER),
    (UnicodeDecodeError("utf-8", b"title: caf\xe9\n", 10, 11, "invalid continuation byte"),
     "b'title: caf\\xe9\\n' is no text in UTF-8; save the file as UTF-8"),
    (HydraException(""), "HydraException"),
]  # fmt: skip


@pytest.mark.parametrize(("error", "line"), ERRORS, ids=[line[:30] for _, line in ERRORS])
def test_an_error_is_told_in_one_line(error, line) -> None:
    assert command.line(error) == f"error: {line}"


def test_a_defect_is_no_line() -> None:
    assert command.line(ZeroDivisionError("oops")) is None


@pytest.mark.parametrize(
    ("node", "said"),
    [
        ({"_target_": "fractions.Fraction", "_args_": [[]]},
         "build fractions.Fraction: TypeError: "),
        ({"_target_": "uuid.UUID", "_args_": [5]},
         "build uuid.UUID: AttributeError: 'int' object has no attribute 'replace'"),
        ({"_target_": "fractions.Fraction", "_args_": ["x\ny"]},
         "build fractions.Fraction: Invalid literal for Fraction: 'x\\ny'"),
        ({"_target_": "nowhere.Net"}, "import nowhere.Net: ModuleNotFoundError: No module named "
         "'nowhere'; put the folder of nowhere on PYTHONPATH"),
        ({"_target_": "fractions.Net"},
         "import fractions.Net: fractions has no Net; check the name"),
    ],
)  # fmt: skip
def test_what_cannot_be_made_is_told_in_one_line_with_its_key(node, said) -> None:
    with pytest.raises(HydraException) as caught:
        instantiate(OmegaConf.create({"task": {"ascent": {"constraint": node}}}))
    line = command.line(caught.value)
    assert line is not None
    assert line.startswith(f"error: constraint: cannot {said}")
    assert "\n" not in line


def test_an_unknown_argument_of_a_target_is_told() -> None:
    text = (
        "Error in call to target 'irdream.models.Han2016':\n"
        "TypeError(\"__init__() got an unexpected keyword argument 'instrumens'\")"
    )
    told = command.explain(HydraException(text))
    expected = "unknown key 'instrumens' of irdream.models.Han2016; did you mean 'instruments'"
    assert told.startswith(expected)


def test_a_job_names_its_run_by_what_was_swept() -> None:
    job, tracker = Job(["seed=1", "dream.steps=0"], "out/1"), Notebook()
    job.open(tracker, {"irdream.sweep": "nightly"}, ["seed=1", "dream.steps=0,1"])

    assert tracker.tags == {
        "irdream.sweep": "nightly",
        "irdream.overrides": "seed=1 dream.steps=0",
        "irdream.folder": "out/1",
        "mlflow.runName": "dream.steps=0 seed=1",
    }
    named = Notebook()
    Job(["tracker.run_name=mine"], "out/1").open(named, {})
    assert "mlflow.runName" not in named.tags


def test_what_an_object_of_ones_own_lacks_is_told_in_one_line() -> None:
    own: Any = type("Tracker", (), {"__module__": "my_package.trackers"})()
    with pytest.raises(AttributeError) as asked_by_irdream:
        Job([], "out").open(own, {})
    said = command.line(asked_by_irdream.value, trust=["my_package"])
    assert said is not None
    assert said.startswith("error: my_package.trackers.Tracker has no 'set_tags', which irdream")
    assert command.line(asked_by_irdream.value) is None  # of nobody's package
    with pytest.raises(AttributeError) as their_own_mistake:
        own.anything  # noqa: B018
    assert command.line(their_own_mistake.value, trust=["my_package"]) is None
