"""What is swept is checked before a sweep begins, each value once."""

import errno
from collections.abc import Iterator
from pathlib import Path

import pytest
from hydra import initialize_config_dir
from hydra.core.config_loader import ConfigLoader
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import OmegaConf

from hydra_plugins.irdream.sweep_callback import SweepCallback, check_sweep, probes
from irdream.cli import command
from irdream.errors import InputError
from irdream.sweeps import sweep

CONF = Path(__file__).parents[2] / "conf"


@pytest.fixture
def loader() -> Iterator[ConfigLoader]:
    with initialize_config_dir(config_dir=str(CONF), version_base="1.3"):
        yield GlobalHydra.instance().config_loader()


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("a=1,2 b=x c=3,4", ["a=1 b=x c=3", "a=2 b=x c=3", "a=1 b=x c=4"]),
        ("a=range(1,4)", ["a=1", "a=2", "a=3"]),
        ("a=[1,2],[3,4]", ["a=[1,2]", "a=[3,4]"]),
        ("a=int(interval(1,8))", ["a=1", "a=8"]),
        ("a=interval(0,2)", ["a=2e-09", "a=1.999999998"]),
        ("+a=1,2 ~b", ["+a=1 ~b", "+a=2 ~b"]),
        ("", [""]),
    ],
)
def test_each_value_stands_once(words, expected) -> None:
    assert [" ".join(job) for job in probes(words.split())] == expected


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("dream.octaves=1,-2", "dream.octaves=-2; expected a whole number, at least 1"),
        ("seed=0,1 dream.octvs=1,2", "unknown key 'dream.octvs'; did you mean 'dream.octaves'"),
        ("dream.step_size=interval(-1,1)", "; expected a number above 0"),
        ("start=file start.path=glob(*)", "start.path=glob(*) gives no value; expected some, such"),
        ("dream.octaves=range(1,1)", "dream.octaves=range(1,1) gives no value; expected some, "),
        ("objective=layer,logitt", "unknown objective 'logitt'"),
        ("target=flute,celo", "unknown instrument 'celo'"),
        ("hydra/sweeper=optuna +hydra.sweeper.params={dream.keep:best\\,bst}", "dream.keep=bst; "),
        ("+hydra.sweeper.params={seed:0\\,-1}", "seed=-1; expected a whole number from 0"),
        ("+hydra.sweeper.params.seed='0,-1'", "seed=-1; expected a whole number from 0"),
        ("objective=layer +objective.layr=a,b", "unknown key 'objective.layr' of irdream"),
        ("seed=0,1 hydra.sweep.subdir=same", "hydra.sweep.subdir gives two jobs the folder 'same'"),
        ("seed=0,1 dream.steps=1,2 hydra.sweep.subdir=${seed}", "gives two jobs the folder '0'"),
    ],
)  # fmt: skip
def test_a_mistake_in_what_is_swept_is_found(loader, words, expected) -> None:
    config = loader.load_configuration("config", words.split(), RunMode.MULTIRUN)
    with pytest.raises((InputError, HydraException)) as caught:
        check_sweep(config, loader)
    assert expected in str(command.line(caught.value))


@pytest.mark.parametrize(
    "words",
    [
        "dream.step_size=interval(0,2) objective=layer,logit",
        "dream.step_size=[0.1,0.2],[0.3] target=flute,all",
        "seed=range(0,1000)",
        "hydra/sweeper=optuna dream.octaves=tag(log,int(interval(1,64)))",
        "seed=0,1 hydra.sweep.subdir=${target}/deep/${seed}",
        "seed=0,1 hydra.sweep.subdir=${hydra.job.override_dirname}",
        "seed=0,1 hydra.sweep.subdir=${hydra:job.name}-${hydra:job.id}",
    ],
)
def test_what_is_right_is_let_through(loader, words, monkeypatch) -> None:
    monkeypatch.setattr("hydra_plugins.irdream.sweep_callback.MOST", 3)
    config = loader.load_configuration("config", words.split(), RunMode.MULTIRUN)
    check_sweep(config, loader)


def test_what_the_sweepers_yaml_builds_is_trusted_or_was_typed(loader) -> None:
    def check(*words: str, target: str = "mine.Own") -> None:
        typed = ["hydra/sweeper=optuna", "seed=0,1", *words]
        config = loader.load_configuration("config", typed, RunMode.MULTIRUN)
        config.hydra.sweeper.sampler = {"_target_": "optuna.A", "inner": [{"_target_": target}]}
        check_sweep(config, loader)

    with pytest.raises(InputError, match=r"sweeper: mine.Own is not trusted; .* 'trust=\[mine\]'"):
        check()
    check("trust=[mine]")
    check("hydra.sweeper.pruner={_target_: mine.Own}")
    check(target="optuna.samplers.Own")


def test_a_full_disk_at_the_end_is_told_in_one_line(monkeypatch) -> None:
    def end() -> None:
        raise OSError(errno.ENOSPC, "No space left on device", "gallery.html")

    monkeypatch.setattr(sweep, "end", end)
    with pytest.raises(SystemExit, match=r"^error: No space left on device 'gallery.html'; free "):
        SweepCallback().on_multirun_end(OmegaConf.create())
