"""The user's network made ready to be dreamed on: the same function in fewer operations.

What is changed is a copy that shares its weights' memory; the network itself is not touched. In
chains of modules (`torch.nn.Sequential`), where the order of execution is certain,

- batch norm in eval mode is folded into the convolution before it;
- max-pooling is done before a rising activation instead of after it, on a ninth of the values:
  max(f(x)) = f(max(x)), bit for bit;
- activations that follow a convolution or a pooling overwrite its output.

Modules whose output an objective reads, that have hooks, or that the network uses twice, are left
alone; so are subclasses, which may compute something else. Before a copy is used it is compared
with the network. Meanwhile the network is `frozen`.
"""

from __future__ import annotations

import contextlib
import copy
import difflib
import sys
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy
from torch.nn.utils.fusion import fuse_conv_bn_eval

from irdream.dreaming.random_streams import item_keys, normal
from irdream.errors import InputError
from irdream.networks import in_eval, unwrapped
from irdream.recognizer import Recognizer

AGREEMENT = 1e-4  # of the largest output, and of the norm of the gradient; rounding is 1e-6
LISTED = 20  # layers in a message
_COMPARED = 3  # windows, at most
# What the model's own code may raise with modules that were replaced or a layout that changed.
_MISFITS = (AttributeError, AssertionError, LookupError, RuntimeError, TypeError, ValueError)

_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
_POOLS = (
    nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d,
    nn.AdaptiveMaxPool1d, nn.AdaptiveMaxPool2d, nn.AdaptiveMaxPool3d,
)  # fmt: skip
_RECURRENT = (nn.RNN, nn.GRU, nn.LSTM)
_SILENT = (nn.Identity, nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d)  # in eval mode


@contextlib.contextmanager
def frozen(recognizer: nn.Module) -> Iterator[None]:
    """Hold a recognizer in eval mode, without gradients in its weights and uncompiled.

    Its buffers are afterwards what they were, also where its forward writes into them.
    What is compiled would be compiled anew for each number of items, and does not call hooks.
    Recurrent layers have no gradient in eval mode on CUDA (cuDNN): they are left in training mode,
    without their dropout, which is the same. Another thread waits.
    """
    with in_eval(recognizer), contextlib.ExitStack() as stack:
        recurrent = [(m, m.dropout) for m in recognizer.modules() if type(m) in _RECURRENT]
        weights = [(w, w.requires_grad) for w in recognizer.parameters() if not is_lazy(w)]
        buffers = [(b, b.clone()) for b in recognizer.buffers() if not (is_lazy(b) or b.is_meta)]
        eagerly = getattr(torch.compiler, "set_stance", None)  # since torch 2.6
        if eagerly and "torch._dynamo" in sys.modules:  # whose import takes seconds
            stack.enter_context(eagerly("force_eager"))
        try:
            for module, _ in recurrent:
                module.training, module.dropout = True, 0.0  # type: ignore[assignment]
            for weight, _ in weights:  # module.requires_grad_ is refused by a scripted one
                weight.requires_grad_(False)
            yield
        finally:
            for module, dropout in recurrent:
                module.dropout = dropout
            for weight, requires_grad in weights:
                weight.requires_grad_(requires_grad)
            for buffer, values in buffers:
                if not torch.equal(buffer, values):
                    buffer.data.copy_(values)


def check_layers(recognizer: Recognizer, layers: Sequence[str]) -> None:
    """Raise an InputError with the nearest layers when the network has no such layer."""
    model = unwrapped(recognizer.model)
    if layers and isinstance(model, torch.jit.ScriptModule):
        raise InputError(
            f"layer {layers[0]!r} of a scripted network; expected the module that it was made "
            "from, whose layers can be read"
        )
    names = [name for name, _ in model.named_modules(remove_duplicate=False) if name]
    for layer in layers:
        if layer not in names:
            table = recognizer.layers()
            near = difflib.get_close_matches(layer, table.index, n=LISTED, cutoff=0.0)
            more = f"\n... and {len(table) - LISTED} more" if len(table) > LISTED else ""
            raise InputError(
                f"unknown layer {layer!r} of {type(model).__name__}; expected one of these, with "
                f"the shapes of their outputs for a window:\n{table.loc[near].to_string()}{more}"
            )


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


def simplified_copies(model: nn.Module, *, untouched: Collection[str] = ()) -> list[nn.Module]:
    """Return what may compute a model's outputs, the fastest first; nothing where none can.

    Convolutions of the first have the layout that is a third faster on a CPU.
    """
    copies = [simplified(model, untouched=untouched) for _ in range(2)]
    if model in copies:
        return []
    for module in copies[0].modules():
        if isinstance(module, nn.Conv2d):
            module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return copies


@torch.enable_grad()
def agreeing(
    model: nn.Module,
    networks: Sequence[nn.Module],
    answer: Callable[[Tensor, nn.Module], list[Tensor]],
    window: Tensor,
) -> nn.Module:
    """Return the first of some networks that agrees with the model, or the model.

    A model can take the modules of a chain one by one, overwrite what a chain gives, or need a
    layout of its activations.

    Args:
        model: that was simplified.
        networks: the best first.
        answer: gives logits and activations of windows, by a network.
        window: that they are asked about, with some noise, (1, ...).
    """
    noise = normal(item_keys([*range(_COMPARED)], window.device), 0, *window.shape[1:])
    windows, cudnn = (window.detach() + 0.1 * noise.to(window)).split(1), torch.backends.cudnn
    as_exact = {"deterministic": cudnn.deterministic, "allow_tf32": False}
    for network in networks:
        with (
            contextlib.suppress(*_MISFITS),
            cudnn.flags(cudnn.enabled, cudnn.benchmark, **as_exact),
        ):
            if _agrees(network, model, answer, windows):
                return network
    return model


def _agrees(
    network: nn.Module,
    model: nn.Module,
    answer: Callable[[Tensor, nn.Module], list[Tensor]],
    windows: Sequence[Tensor],
) -> bool:
    """Say whether a network gives the model's values and, of a window at least, its gradient.

    Where two values are nearly the largest, rounding can choose the other one and change the
    gradient of a window; a gradient that is wrong is so in all windows.
    """

    def asked(window: Tensor, network: nn.Module) -> tuple[list[Tensor], Tensor]:
        """Return a network's outputs for a window, and the gradient of a mixture of them."""
        window = window.detach().requires_grad_()
        found = answer(window, network)
        values = torch.cat([part.flatten() for part in found])
        mixture = values @ torch.arange(len(values), device=values.device).cos().to(values)
        return found, torch.autograd.grad(mixture, window)[0]

    for window in windows:
        (values, gradient), (expected, true) = asked(window, network), asked(window, model)
        if not all(
            one.shape == other.shape
            and bool(((one - other).abs() <= AGREEMENT * other.abs().amax()).all())
            for one, other in zip(values, expected, strict=True)
        ):
            return False
        if bool((gradient - true).norm() <= AGREEMENT * true.norm()):
            return True
    return False


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
    return any(hooks) or "forward" in vars(module) or getattr(module, "training", False)


def _rises(module: nn.Module) -> bool:
    """Say whether it is an elementwise activation that never falls and can overwrite its input."""
    if type(module) is nn.LeakyReLU:
        return module.negative_slope > 0
    return type(module) is nn.ReLU
