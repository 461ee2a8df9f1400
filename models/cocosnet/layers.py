"""Blocks that the networks share.

Letters: B batch, C channels, H and W height and width, N positions, K condition planes.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import parametrizations, parametrize
from torch.utils.checkpoint import checkpoint

from cocosnet import winograd

BLOCK_ELEMENTS = 2**21
"""Entries of a matrix over pairs of positions that are held at once on a CPU (8 MB in fp32)."""
ACCELERATED = 2**26
"""The same elsewhere, where there is no small cache to stay in."""


def elements_at_once(on_cpu: int, device: torch.device) -> int:
    """How many entries of such a matrix a device holds, a CPU `on_cpu`."""
    return on_cpu if device.type == "cpu" else ACCELERATED


def rows_at_once(columns: int, device: torch.device) -> int:
    """How many rows of a matrix with so many columns."""
    return max(1, elements_at_once(BLOCK_ELEMENTS, device) // columns)


def full_precision(x: Tensor) -> AbstractContextManager:
    """A region in which autocast does nothing on x's device: softmax over matches is fp32."""
    if x.device.type == "meta":
        return nullcontext()
    return torch.autocast(x.device.type, enabled=False)


def single(x: Tensor) -> Tensor:
    """x in fp32 where it is of half precision: what norms and losses are computed in."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def as_weights(module: nn.Module, x: Tensor) -> Tensor:
    """x in the precision of a module's weights."""
    return x.to(next(module.parameters()).dtype)


def recomputed(function: Callable[..., Tensor], *inputs: Any) -> Tensor:
    """function(*inputs), which draws no random numbers, is computed again for its gradient.

    Nothing inside is kept for the backward pass but the inputs.
    """
    return checkpoint(function, *inputs, use_reentrant=False, preserve_rng_state=False)


def unit(centred: Tensor, whole: Tensor, dim: int = 1) -> Tensor:
    """Vectors along `dim` at length 1; 0 where what centring left of `whole` is rounding."""
    length = torch.linalg.vector_norm(centred, dim=dim, keepdim=True)
    empty = length <= ROUNDING * torch.linalg.vector_norm(whole, dim=dim, keepdim=True)
    return torch.where(empty, 0.0, centred / torch.where(empty, 1.0, length))


ROUNDING = 1e-6
"""Relative length below which what is left of a centred vector is rounding."""
SLOPE = 0.2
"""Slope of every LeakyReLU."""
LEAST_CHANNELS = {torch.float32: (64, 64), torch.bfloat16: (128, 256)}
"""Inputs and outputs of a convolution from which on `winograd` is faster."""
LEAST_SIDE = 32
"""The same of a map's height and width."""
MOST_CHANNELS = 2**19
"""Inputs times outputs up to which it is taken: the widest run at the fewest pixels, and what would
be kept of them is four times their weights."""


class Conv2d(nn.Conv2d):
    """torch's convolution; large ones go by `winograd` on a CPU in inference, which is faster."""

    _kept: tuple[Tensor, int, Tensor] | None = None
    """A weight, its version, and what `winograd` makes of it."""

    def forward(self, x: Tensor) -> Tensor:
        if not self._is_large(x):
            return super().forward(x)
        mode = "constant" if self.padding_mode == "zeros" else self.padding_mode
        return winograd.convolve(F.pad(x, (1, 1, 1, 1), mode), self._transformed(), self.bias)

    def _is_large(self, x: Tensor) -> bool:
        """Whether to compute it by `winograd`."""
        least = LEAST_CHANNELS.get(x.dtype)
        return (
            least is not None and self.in_channels >= least[0] and self.out_channels >= least[1]
            and self.kernel_size == (3, 3) and self.stride == self.padding == (1, 1)
            and self.in_channels * self.out_channels <= MOST_CHANNELS
            and min(x.shape[-2:]) >= LEAST_SIDE
            and not any(side % winograd.TILE for side in x.shape[-2:])
            and x.device.type == "cpu"
            and not (torch.is_grad_enabled() or torch.is_autocast_enabled("cpu"))
            and not (torch.compiler.is_compiling() or parametrize.is_parametrized(self))
            and not self.weight.is_inference()
        )  # fmt: skip

    def _transformed(self) -> Tensor:
        weight = self.weight.detach()
        if self._kept is None or not (
            weight.data_ptr() == self._kept[0].data_ptr() and weight._version == self._kept[1]
        ):
            self._kept = weight, weight._version, winograd.transformed(weight)
        return self._kept[2]


def reflect_conv(fin: int, fout: int, *, bias: bool = True) -> Conv2d:
    """3x3 convolution that keeps the size by reflection padding."""
    return Conv2d(fin, fout, 3, padding=1, padding_mode="reflect", bias=bias)


def leaky(x: Tensor, *, inplace: bool = False) -> Tensor:
    return F.leaky_relu(x, SLOPE, inplace)


def add_spectral_norm(module: nn.Module, skip: tuple[type[nn.Module], ...] = ()) -> None:
    """Spectral normalisation of every convolution below `module`, but not inside `skip` types."""
    for child in module.children():
        if isinstance(child, skip):
            continue
        if isinstance(child, nn.Conv2d):
            parametrizations.spectral_norm(child)
        else:
            add_spectral_norm(child, skip)


def fold_spectral_norm(module: nn.Module) -> None:
    """Write W / sigma into every spectrally normalised weight, for inference.

    The outputs stay the same and the norm is no longer recomputed at each call.
    """
    module.eval()
    for child in module.modules():
        if parametrize.is_parametrized(child, "weight"):
            parametrize.remove_parametrizations(child, "weight", leave_parametrized=True)


def instance_norm(x: Tensor) -> Tensor:
    """Each channel of each sample (B,C,H,W) at mean 0 and variance 1 over its positions.

    By groups of one channel, for which CPUs have a fast kernel. It sums squares: centred before.
    Its backward pass is the slow one, six times in half precision.
    """
    if x.requires_grad:
        return F.instance_norm(x)
    return F.group_norm(x - x.mean(dim=(2, 3), keepdim=True), x.shape[1])


class InstanceNorm(nn.Module):
    """`instance_norm` as a module."""

    def forward(self, x: Tensor) -> Tensor:
        return instance_norm(x)


class PositionNorm(nn.Module):
    """Eq. 5's normalisation: statistics over channels at each position.

    The variance is the unbiased one, with 1e-5 added, as released; in fp32 whatever x is.
    """

    def forward(self, x: Tensor) -> Tensor:
        channels = x.shape[1]
        share = (channels - 1) / channels  # of the biased variance in the unbiased one
        # A CPU's kernel takes halves and sums in fp32. It subtracts scaled means, which cancel more
        # of what is far from zero: in fp32 that would show.
        whole = x if x.device.type == "cpu" and x.dtype != torch.float32 else single(x)
        if whole.dtype == torch.float32:
            whole = whole - whole.mean(dim=1, keepdim=True)
        scale = torch.full((channels,), share**0.5, device=x.device, dtype=single(x[:0]).dtype)
        normed = F.layer_norm(whole.permute(0, 2, 3, 1), (channels,), scale, eps=1e-5 * share)
        return normed.permute(0, 3, 1, 2).to(x.dtype)


def generator_norm(kind: str, channels: int) -> nn.Module:
    """`position` (the paper's choice) or `batch` (Appendix C's ablation), without affine."""
    return PositionNorm() if kind == "position" else nn.BatchNorm2d(channels, affine=False)


class Spade(nn.Module):
    """The release's modulation: norm(x) * (1 + gamma) + beta, both drawn from a condition map.

    gamma and beta come from one convolution; the first half of its outputs is gamma.
    """

    def __init__(self, channels: int, condition: int, hidden: int, norm: str = "position") -> None:
        super().__init__()
        self.norm = generator_norm(norm, channels)
        self.trunk = reflect_conv(condition, hidden)
        self.heads = reflect_conv(hidden, 2 * channels)

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        """x (B,C,H,W), condition (B,K,any,any) -> (B,C,H,W)."""
        condition = F.interpolate(condition, size=x.shape[-2:], mode="nearest")
        hidden = F.relu(self.trunk(condition), inplace=True)
        gamma, beta = self.heads(hidden).chunk(2, dim=1)
        normed = self.norm(x)
        return torch.addcmul(normed, normed, gamma).add_(beta)


class SpadeBlock(nn.Module):
    """The release's residual block: two modulated convolutions, a third norm on a changed width."""

    def __init__(
        self, fin: int, fout: int, condition: int, hidden: int, norm: str = "position"
    ) -> None:
        super().__init__()
        middle = min(fin, fout)
        self.norm_0 = Spade(fin, condition, hidden, norm)
        self.conv_0 = reflect_conv(fin, middle)
        self.norm_1 = Spade(middle, condition, hidden, norm)
        self.conv_1 = reflect_conv(middle, fout)
        if fin != fout:
            self.norm_s = Spade(fin, condition, hidden, norm)
            self.shortcut = nn.Conv2d(fin, fout, 1, bias=False)

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        """x (B,fin,H,W), condition (B,K,any,any) -> (B,fout,H,W)."""
        y = self.conv_0(leaky(self.norm_0(x, condition), inplace=True))
        y = self.conv_1(leaky(self.norm_1(y, condition), inplace=True))
        return y + (self.shortcut(self.norm_s(x, condition)) if hasattr(self, "shortcut") else x)


class ResidualBlock(nn.Module):
    """The paper's residual block (CycleGAN's): conv, norm, LeakyReLU, conv, norm, plus the input.

    `norm` is "instance" without affine in the adaptors, "batch" with affine in the shared block.
    """

    def __init__(self, fin: int, fout: int, norm: str) -> None:
        super().__init__()
        self.conv_0 = reflect_conv(fin, fout)
        self.conv_1 = reflect_conv(fout, fout)
        instance = norm == "instance"
        self.norm_0 = InstanceNorm() if instance else nn.BatchNorm2d(fout)
        self.norm_1 = InstanceNorm() if instance else nn.BatchNorm2d(fout)
        self.shortcut = nn.Conv2d(fin, fout, 1, bias=False) if fin != fout else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """(B,fin,H,W) -> (B,fout,H,W)."""
        y = leaky(self.norm_0(self.conv_0(x)))
        return self.norm_1(self.conv_1(y)) + self.shortcut(x)


class Blocks(nn.ModuleList):
    """Residual blocks whose activations can be computed again in the backward pass.

    Blocks with batch norm are not, for their running statistics would count a batch twice.
    """

    recompute = False

    def run(self, block: nn.Module, *inputs: Tensor) -> Tensor:
        """block(*inputs). RuntimeError where the weights of a second pass would be others."""
        if not (self.recompute and torch.is_grad_enabled()) or _has_batch_norm(block):
            return block(*inputs)
        _hold_weights(block)
        return recomputed(block, *inputs)


def _has_batch_norm(module: nn.Module) -> bool:
    return any(isinstance(m, nn.modules.batchnorm._BatchNorm) for m in module.modules())


def _hold_weights(block: nn.Module) -> None:
    """Have the spectrally normalised weights of a block ready, so that both passes find the same.

    In training each reading outside `parametrize.cached()` is another power iteration.
    """
    for child in block.modules():
        if parametrize.is_parametrized(child, "weight"):
            first = child.weight
            if child.training and child.weight is not first:
                raise RuntimeError(
                    "recomputing activations in training needs torch.nn.utils.parametrize.cached()"
                    " around the forward and the backward pass"
                )


def attend(query: Tensor, key: Tensor, value: Tensor, rows: int | None = None) -> Tensor:
    """softmax(query . key) . value, `rows` query positions at a time.

    query (B,N,C), key (B,C,M), value (B,M,D) -> (B,N,D). Rows are independent, so the result is
    that of the dense form and the N x M matrix is never held, for the gradient neither.
    """
    rows = rows or rows_at_once(key.shape[2] * len(key), key.device)
    with full_precision(query):
        inputs = key.float(), value
        strips = query.float().split(rows, dim=1)
        if torch.is_grad_enabled():
            many = len(strips) > 1
            parts = [
                recomputed(_attend, q, *inputs) if many else _attend(q, *inputs) for q in strips
            ]
            return torch.cat(parts, dim=1).to(query.dtype)
        # Into one tensor: small results kept between large blocks would keep freed memory apart.
        attended = inputs[1].new_empty(*query.shape[:2], value.shape[2])
        for strip, into in zip(strips, attended.split(rows, dim=1), strict=True):
            into.copy_(_attend(strip, *inputs))
    return attended.to(query.dtype)


def _attend(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    return torch.softmax(query @ key, dim=-1).to(value.dtype) @ value


class NonLocal(nn.Module):
    """Self-attention with pooled keys and a learned gate `gamma` that starts at 0 (Table 5)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.theta = nn.Conv2d(channels, max(channels // 8, 1), 1, bias=False)
        self.phi = nn.Conv2d(channels, max(channels // 8, 1), 1, bias=False)
        self.g = nn.Conv2d(channels, channels // 2, 1, bias=False)
        self.o = nn.Conv2d(channels // 2, channels, 1, bias=False)
        self.gamma = nn.Parameter(torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        """(B,C,H,W) -> (B,C,H,W)."""
        query = self.theta(x).flatten(2).transpose(1, 2)
        key = F.max_pool2d(self.phi(x), 2).flatten(2)
        value = F.max_pool2d(self.g(x), 2).flatten(2).transpose(1, 2)
        attended = attend(query, key, value).transpose(1, 2).unflatten(2, x.shape[-2:])
        return x + self.gamma * self.o(attended)


GAIN = 0.02
"""Xavier gain of start values, the release's."""
PAPER_GAIN = 0.2
"""The same where every convolution has spectral norm, as in the paper's form. The norm hides the
weights' scale from what is computed, but not from Adam: at 0.02 a step turns them by a tenth of
their length. Then the generator's tanh saturates and stays so, and matching hardly learns."""


def initialise(module: nn.Module, gain: float = GAIN) -> None:
    """Xavier normal, zero biases: both forms' start (the modulation's offset stays).

    Spectrally normalised weights are set below their norm, whose vectors then follow.
    """
    for child in module.modules():
        if isinstance(child, nn.Conv2d):
            normed = parametrize.is_parametrized(child, "weight")
            name = "parametrizations.weight.original" if normed else "weight"
            nn.init.xavier_normal_(child.get_parameter(name), gain=gain)
            if child.bias is not None:
                nn.init.zeros_(child.bias)
    settle_spectral_norm(module)


@torch.no_grad()
def settle_spectral_norm(module: nn.Module, iterations: int = 15) -> None:
    """Let spectral norms find new weights' singular vectors: a step a reading in training."""
    for child in module.modules():
        if parametrize.is_parametrized(child, "weight"):
            mode = child.training
            child.train()
            for _ in range(iterations):
                _ = child.weight
            child.train(mode)
