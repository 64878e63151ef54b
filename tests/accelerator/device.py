"""A device for machines without an accelerator: it computes on the CPU and says otherwise.

Its tensors refuse to meet tensors of the CPU, as CUDA's do, and 64-bit floating point, as Apple's
do; whoever asks for a value of them waits, and is counted. It can be set up once in a process.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterator
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode, return_and_correct_aliasing
from torch.utils.backend_registration import _setup_privateuseone_for_python_backend

NAME = "pretend"
waits: Counter[str] = Counter()
aten = torch.ops.aten
# What has to know values before the host can go on, besides reading them.
_WAITING = {
    aten._local_scalar_dense.default, aten.equal.default, aten.is_nonzero.default,
    aten.nonzero.default, aten.masked_select.default, aten._unique2.default,
    aten.unique_consecutive.default, aten.repeat_interleave.Tensor, aten.bincount.default,
}  # fmt: skip
_COPIES = {aten._to_copy.default, aten.copy_.default}
# Views that are marked instead of computed, which nobody below this device would see.
_MARKED = {
    aten._conj.default: aten._conj_physical.default, aten._neg_view.default: aten.neg.default,
}  # fmt: skip


class OnDevice(Tensor):
    """A tensor on the device; `inner` is where it really is."""

    inner: Tensor

    @staticmethod
    def __new__(cls, inner: Tensor) -> OnDevice:
        place: dict[str, Any] = {"layout": inner.layout}
        if inner.layout is torch.strided:
            place |= {"strides": inner.stride(), "storage_offset": inner.storage_offset()}
        made = torch.Tensor._make_wrapper_subclass(
            cls, inner.size(), dtype=inner.dtype, device=torch.device(NAME, 0), **place
        )
        made.inner = inner
        return made

    def __repr__(self) -> str:
        return f"OnDevice({self.inner!r})"

    def tolist(self) -> Any:
        return self.cpu().tolist()

    @property
    def data(self) -> Tensor:
        return Tensor.data.__get__(self)  # type: ignore[attr-defined]

    @data.setter
    def data(self, value: OnDevice) -> None:
        Tensor.data.__set__(self, value)  # type: ignore[attr-defined]
        self.inner = value.inner

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _computed(func, args, kwargs or {})


class _Factories(TorchDispatchMode):
    """Makes what is asked for on the device by `device=`."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _computed(func, args, kwargs or {})


def _computed(func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    func = _MARKED.get(func, func)
    given = [x for x in _each((*args, *kwargs.values())) if isinstance(x, Tensor)]
    here = [x for x in given if isinstance(x, OnDevice)]
    device = kwargs.get("device")
    to_device = device is not None and torch.device(device).type == NAME
    if here and func not in _COPIES:
        strangers = [x for x in given if not isinstance(x, OnDevice) and x.ndim]
        if strangers:
            raise RuntimeError(f"{func}: tensors on {NAME} and on the CPU")
    generator = kwargs.get("generator")
    of_cpu = generator is not None and generator.initial_seed() not in _Generator.seeds
    if of_cpu and (here or to_device):
        raise RuntimeError(f"{func}: a generator of the CPU on {NAME}")
    _count(func, args, given, device)
    if to_device:
        kwargs = {**kwargs, "device": torch.device("cpu")}
    found = func(*_inner(args), **{name: _inner(value) for name, value in kwargs.items()})
    stays = bool(here) if device is None else to_device
    if not stays:
        return found
    asked = func in _COPIES or not here or kwargs.get("dtype") is torch.float64
    if asked and func is not aten.empty.memory_format:  # which kernels fill themselves
        _check_type(found)
    wrapped = tuple(map(_outer, found)) if isinstance(found, tuple | list) else _outer(found)
    wrapped = list(wrapped) if isinstance(found, list) else wrapped
    return return_and_correct_aliasing(func, args, kwargs, wrapped) if here else wrapped


def _check_type(found: Any) -> None:
    """Refuse 64-bit floating point that was asked for; kernels may use it in passing."""
    if isinstance(found, Tensor) and found.dtype in (torch.float64, torch.complex128):
        raise TypeError(f"{NAME} has no {found.dtype}")


def _each(values: Any) -> Iterator[Any]:
    for value in values:
        yield from _each(value) if isinstance(value, tuple | list) else (value,)


def _inner(value: Any) -> Any:
    if isinstance(value, tuple | list):
        return type(value)(map(_inner, value))
    return value.inner if isinstance(value, OnDevice) else value


def _outer(value: Any) -> Any:
    return OnDevice(value) if isinstance(value, Tensor) else value


def _count(func: Any, args: Any, given: list[Tensor], device: Any) -> None:
    """Count what lets the host wait for the device."""
    if not any(isinstance(x, OnDevice) for x in given):
        return
    by_mask = func is aten.index.Tensor or func is aten.index_put_.default
    masks = by_mask and any(x is not None and x.dtype is torch.bool for x in args[1])
    read = (
        func is aten._to_copy.default and device is not None and torch.device(device).type != NAME
    )
    copied = func is aten.copy_.default and not isinstance(args[0], OnDevice)
    if func in _WAITING or masks or read or copied:
        waits[func.__name__] += 1


class _Generator(torch.Generator):
    """The CPU's random numbers, for one of the devices."""

    here: bool
    seeds: ClassVar[set[int]] = set()  # of those on the device: nothing else of them is handed on

    def __new__(cls, device: Any = "cpu") -> _Generator:
        made = super().__new__(cls)
        made.here = torch.device(device).type == NAME
        return made

    def manual_seed(self, seed: int) -> _Generator:
        if self.here:
            self.seeds.add(seed)
        super().manual_seed(seed)
        return self


class _Backend:
    """What torch asks a device's module for."""

    def is_initialized(self) -> bool:
        return True

    def is_available(self) -> bool:
        return True

    def current_device(self) -> int:
        return 0

    def device_count(self) -> int:
        return 1

    def manual_seed_all(self, seed: int) -> None:
        pass

    def _is_in_bad_fork(self) -> bool:
        return False

    def get_amp_supported_dtype(self) -> list[torch.dtype]:
        return [torch.bfloat16, torch.float16]


def _empty(size: Any, *stride: Any, dtype: Any = None, **about: Any) -> OnDevice:
    """Make what `torch.tensor` asks for, which asks the device's own library and nobody else."""
    made = torch.empty_strided if stride else torch.empty
    _check_type(found := made(size, *stride, dtype=dtype))
    return OnDevice(found)


def _copy_from(source: Tensor, target: OnDevice, non_blocking: bool = False) -> OnDevice:
    target.inner.copy_(_inner(source))
    return target


@contextlib.contextmanager
def device() -> Iterator[torch.device]:
    """Set the device up; backward passes stay in this thread, where it is known."""
    _setup_privateuseone_for_python_backend(NAME, backend_module=_Backend())
    library = torch.library.Library("aten", "IMPL")
    for name in ("empty.memory_format", "empty_strided"):
        library.impl(name, _empty, "PrivateUse1")
    library.impl("_copy_from", _copy_from, "PrivateUse1")
    torch.Generator = _Generator  # type: ignore[misc]
    with torch.autograd.set_multithreading_enabled(False), _Factories():
        yield torch.device(NAME, 0)
