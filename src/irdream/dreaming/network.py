"""The user's network made ready to be dreamed on: the same function in fewer operations.

What is changed is a copy that shares its weights' memory; the network itself is not touched. In
chains of modules (`torch.nn.Sequential`), where the order of execution is certain,

- batch norm in eval mode is folded into the convolution before it;
- max-pooling is done before a rising activation instead of after it, on a ninth of the values:
  max(f(x)) = f(max(x)), bit for bit;
- activations that follow a convolution or a pooling overwrite its output.

Modules whose output an objective reads, that have hooks, or that the network uses twice, are left
alone; so are subclasses, which may compute something else.
"""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Collection, Iterator
from itertools import pairwise

from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
_POOLS = (
    nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d,
    nn.AdaptiveMaxPool1d, nn.AdaptiveMaxPool2d, nn.AdaptiveMaxPool3d,
)  # fmt: skip
_SILENT = (nn.Identity, nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d)  # in eval mode


def unwrapped(model: nn.Module) -> nn.Module:
    """Return the network inside what `torch.compile` or a data-parallel wrapper made of it."""
    while True:
        if isinstance(model, nn.DataParallel | nn.parallel.DistributedDataParallel):
            model = model.module
        elif type(model).__name__ == "OptimizedModule":  # a class whose import takes a second
            model = model._orig_mod  # type: ignore[assignment]
        else:
            return model


def simplified(model: nn.Module, *, untouched: Collection[str] = ()) -> nn.Module:
    """Return a copy of a model in eval mode that computes the same with less work.

    Args:
        model: every module in eval mode; of a model that cannot be copied, itself is returned.
        untouched: names of modules whose outputs have to stay what they are.
    """
    shared = {id(buffer): buffer.detach() for buffer in model.buffers()}
    for parameter in model.parameters():
        shared[id(parameter)] = nn.Parameter(parameter.detach(), requires_grad=False)
    try:
        copied = copy.deepcopy(model, memo=shared)  # type: ignore[arg-type]
    except (RuntimeError, TypeError, AttributeError):
        return model
    uses = Counter(id(m) for _, m in copied.named_modules(remove_duplicate=False))
    kept = {id(m) for name, m in copied.named_modules() if name in untouched}
    kept |= {id(m) for m in copied.modules() if uses[id(m)] > 1 or _is_special(m)}
    for chain in copied.modules():
        plain = getattr(type(chain), "forward", None) is nn.Sequential.forward
        if plain and "forward" not in vars(chain):
            _simplify(chain, kept)  # type: ignore[arg-type]
    return copied


def _simplify(chain: nn.Sequential, kept: set[int]) -> None:
    """Rewrite one chain in place; names stay, since a module only changes places or is replaced."""
    for i, j in _neighbors(chain, kept):
        first, second = chain[i], chain[j]
        fixed = type(second) in _NORMS and second.running_mean is not None
        if fixed and type(first) in _CONVOLUTIONS:
            chain[i] = fuse_conv_bn_eval(first, second)  # type: ignore[arg-type]
            chain[j] = nn.Identity()
    for i, j in _neighbors(chain, kept):
        if _rises(chain[i]) and type(chain[j]) in _POOLS and not chain[j].return_indices:
            chain[i], chain[j] = chain[j], chain[i]
    for module in chain:
        if getattr(module, "inplace", False) is True:
            module.inplace = False  # type: ignore[assignment]  # of its input a gradient may now be taken
    for i, j in _neighbors(chain, kept):
        if type(chain[i]) in (*_CONVOLUTIONS, *_POOLS, nn.Linear) and _rises(chain[j]):
            chain[j].inplace = True  # type: ignore[assignment]


def _neighbors(chain: nn.Sequential, kept: set[int]) -> Iterator[tuple[int, int]]:
    """Yield the places of two modules with nothing between that does something in eval mode."""
    heard = [i for i, m in enumerate(chain) if type(m) not in _SILENT or id(m) in kept]
    for i, j in pairwise(heard):
        if id(chain[i]) not in kept and id(chain[j]) not in kept:
            yield i, j


def _is_special(module: nn.Module) -> bool:
    """Say whether more happens in a module than its class says, or another thing than in eval."""
    hooks = (
        module._forward_hooks, module._forward_pre_hooks,
        module._backward_hooks, module._backward_pre_hooks,
    )  # fmt: skip
    return any(hooks) or "forward" in vars(module) or module.training


def _rises(module: nn.Module) -> bool:
    """Say whether it is an elementwise activation that never falls and can overwrite its input."""
    if type(module) is nn.LeakyReLU:
        return module.negative_slope > 0
    return type(module) is nn.ReLU
