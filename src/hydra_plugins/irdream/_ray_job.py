"""A job on its way to a process of Ray, and there.

What travels is bytes, so that nothing is imported there before the process looks like the one
that sent it: the same working folder and the same places to import from. A task that stands in
the script that was started, such as main.py's `run`, is found by the file's path, as
multiprocessing does it; sent by value it would carry the script's globals along, and its clock.

What comes back is bytes, too: Hydra's JobReturn, whose error is one that any process can read.
"""

from __future__ import annotations

import importlib.util
import inspect
import os
import pickle
import socket
import sys
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cloudpickle  # pickle cannot: Hydra scans its plugins, and then has two of a class
from hydra.core.singleton import Singleton
from hydra.core.utils import JobReturn, JobStatus, run_job, setup_globals
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

from irdream.errors import InputError

MAIN = "__ray_main__"  # the name of the script in the processes of Ray


class JobError(InputError):
    """A job failed or died; the message is one line."""


@dataclass(frozen=True)
class ScriptTask:
    """A function of a script, by its path.

    Args:
        path: of the script.
        name: of the function.
    """

    path: str
    name: str

    def load(self) -> TaskFunction:
        """Return the function, without what Hydra put around it.

        Raises:
            InputError: when the script is not on this machine.
        """
        if MAIN not in sys.modules or sys.modules[MAIN].__file__ != self.path:
            if not Path(self.path).is_file():
                raise InputError(_missing("file", self.path))
            spec = importlib.util.spec_from_file_location(MAIN, self.path)
            assert spec is not None
            assert spec.loader is not None
            module = importlib.util.module_from_spec(spec)
            spec.loader.exec_module(module)
            sys.modules[MAIN] = module
        return inspect.unwrap(getattr(sys.modules[MAIN], self.name))


@dataclass(frozen=True)
class Job:
    """All that a job needs.

    Args:
        number: in its sweep.
        task: what to call.
        config: composed for this job, Hydra's part included.
        context: Hydra's.
        state: of Hydra's singletons.
    """

    number: int
    task: TaskFunction | ScriptTask
    config: DictConfig
    context: HydraContext
    state: dict[Any, Any]

    @property
    def told(self) -> str:
        """Return what was typed for it."""
        return " ".join(self.config.hydra.overrides.task)

    def run(self) -> JobReturn:
        """Run it in this process."""
        setup_globals()
        Singleton.set_state(self.state)
        return run_job(
            hydra_context=self.context,
            task_function=self.task.load() if isinstance(self.task, ScriptTask) else self.task,
            config=self.config,
            job_dir_key="hydra.sweep.dir",
            job_subdir_key="hydra.sweep.subdir",
        )


def portable_task(task: TaskFunction) -> TaskFunction | ScriptTask:
    """Return what stands for a task in another process."""
    path = getattr(sys.modules["__main__"], "__file__", None)
    if task.__module__ == "__main__" and path and task.__qualname__.isidentifier():
        return ScriptTask(os.path.abspath(path), task.__qualname__)
    return task


def work(folder: str, path: Sequence[str], number: int, packed: bytes) -> bytes:
    """Run a job; this is what Ray calls, in one of its processes.

    Args:
        folder: the working folder.
        path: where else to import from.
        number: of the job.
        packed: the job.

    Returns:
        The packed JobReturn, or exit status of a job that ends the sweep.
    """
    try:
        if not Path(folder).is_dir():
            raise InputError(_missing("folder", folder))
        os.chdir(folder)
        sys.path += [place for place in path if place not in sys.path]
        return cloudpickle.dumps(_readable(pickle.loads(packed).run(), number))
    except SystemExit as stop:
        return cloudpickle.dumps(stop.code)
    except Exception as error:
        return cloudpickle.dumps(failed(_one_line(number, error)))
    finally:
        sys.stdout.flush()
        sys.stderr.flush()


def failed(error: InputError) -> JobReturn:
    """Return what stands for a job without a result."""
    return JobReturn(status=JobStatus.FAILED, _return_value=error)


def _readable(result: JobReturn, number: int) -> JobReturn:
    """Return the result with an error that any process can read."""
    if result.status == JobStatus.FAILED:
        result.return_value = _one_line(number, result._return_value)
    return result


def _one_line(number: int, error: Exception) -> InputError:
    if isinstance(error, InputError):
        return InputError(str(error))
    traceback.print_exception(error)
    return JobError(f"job {number}: {type(error).__name__}: {first_line(error)}")


def first_line(error: BaseException) -> str:
    """Return the first line of an error's text."""
    return next(iter(str(error).splitlines()), "")


def _missing(kind: str, path: str) -> str:
    return (
        f"no {kind} {path!r} on {socket.gethostname()}; expected the same folders on every "
        "machine; share them, see docs/ray.md"
    )
