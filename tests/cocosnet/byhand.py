"""The networks' arithmetic written a second time: numpy float64, one position at a time.

Maps are (C,H,W) arrays of one sample.
"""

from __future__ import annotations

import numpy as np
from torch import Tensor, nn
from torch.nn.utils import parametrize

Array = np.ndarray


def array(tensor: Tensor) -> Array:
    return tensor.detach().numpy().astype(np.float64)


def weight_of(conv: nn.Module) -> Array:
    """A convolution's weight; W / (u . W v) where it is spectrally normalised."""
    if not parametrize.is_parametrized(conv, "weight"):
        return array(conv.weight)
    norm = conv.parametrizations.weight
    w, u, v = (array(x) for x in (norm.original, norm[0]._u, norm[0]._v))
    return w / (u @ w.reshape(len(w), -1) @ v)


def conv(x: Array, module: nn.Conv2d) -> Array:
    """What a convolution module should compute; its padding mode, stride and bias are obeyed."""
    (pad, _), (stride, _) = module.padding, module.stride
    weight, size = weight_of(module), module.kernel_size[0]
    mode = "reflect" if module.padding_mode == "reflect" else "constant"
    padded = np.pad(x, ((0, 0), (pad, pad), (pad, pad)), mode=mode)
    height = (padded.shape[1] - size) // stride + 1
    width = (padded.shape[2] - size) // stride + 1
    out = np.zeros((len(weight), height, width))
    for i in range(height):
        for j in range(width):
            top, left = i * stride, j * stride
            patch = padded[:, top : top + size, left : left + size]
            out[:, i, j] = (weight * patch).sum(axis=(1, 2, 3))
    return out if module.bias is None else out + array(module.bias)[:, None, None]


def leaky(x: Array, slope: float = 0.2) -> Array:
    return np.where(x > 0, x, slope * x)


def relu(x: Array) -> Array:
    return np.where(x > 0, x, 0)


def instance_norm(x: Array) -> Array:
    return np.stack([(c - c.mean()) / np.sqrt(c.var() + 1e-5) for c in x])


def batch_norm(x: Array, module: nn.BatchNorm2d) -> Array:
    """In eval mode: running statistics, then the affine part where there is one."""
    mean, var = array(module.running_mean), array(module.running_var)
    y = (x - mean[:, None, None]) / np.sqrt(var + 1e-5)[:, None, None]
    if module.affine:
        y = y * array(module.weight)[:, None, None] + array(module.bias)[:, None, None]
    return y


def position_norm(x: Array) -> Array:
    """Eq. 5's: over channels at each position, unbiased variance plus 1e-5."""
    out = np.zeros_like(x)
    for i in range(x.shape[1]):
        for j in range(x.shape[2]):
            v = x[:, i, j]
            mean = sum(v) / len(v)
            variance = sum((v - mean) ** 2) / (len(v) - 1)
            out[:, i, j] = (v - mean) / np.sqrt(variance + 1e-5)
    return out


def nearest(x: Array, height: int, width: int) -> Array:
    rows = [i * x.shape[1] // height for i in range(height)]
    columns = [j * x.shape[2] // width for j in range(width)]
    return x[:, rows][:, :, columns]


def bilinear(x: Array, height: int, width: int) -> Array:
    """Pixel centres at half integers (align_corners off), clamped at the border."""

    def axis(y: Array, n: int) -> Array:
        out = []
        for i in range(n):
            at = min(max((i + 0.5) * y.shape[1] / n - 0.5, 0), y.shape[1] - 1)
            low = int(at)
            high = min(low + 1, y.shape[1] - 1)
            out.append(y[:, low] * (1 - (at - low)) + y[:, high] * (at - low))
        return np.stack(out, axis=1)

    return axis(axis(x, height).transpose(0, 2, 1), width).transpose(0, 2, 1)


def unit(x: Array, eps: float, centre: bool) -> Array:
    """Channel-wise normalisation: at each position, over channels."""
    if centre:
        x = x - x.mean(axis=0)
    return x / (np.sqrt((x**2).sum(axis=0)) + eps)


def spade(x: Array, condition: Array, module: nn.Module) -> Array:
    hidden = relu(conv(nearest(condition, *x.shape[1:]), module.trunk))
    gamma, beta = np.split(conv(hidden, module.heads), 2)
    return position_norm(x) * (1 + gamma) + beta


def spade_block(x: Array, condition: Array, block: nn.Module) -> Array:
    y = conv(leaky(spade(x, condition, block.norm_0)), block.conv_0)
    y = conv(leaky(spade(y, condition, block.norm_1)), block.conv_1)
    if len(x) == len(y):
        return x + y
    return conv(spade(x, condition, block.norm_s), block.shortcut) + y


def residual_block(x: Array, block: nn.Module, norms: tuple) -> Array:
    y = norms[1](conv(leaky(norms[0](conv(x, block.conv_0))), block.conv_1))
    return y + (x if len(x) == len(y) else conv(x, block.shortcut))


def paper_block(x: Array, warped: Array, block: nn.Module) -> Array:
    y = conv(leaky(x), block.conv_0)
    resized = bilinear(warped, *y.shape[1:])
    alpha, beta = np.split(conv(relu(conv(resized, block.style.trunk)), block.style.heads), 2)
    y = conv(leaky(alpha * position_norm(y) + beta), block.conv_1)
    return y + (x if len(x) == len(y) else conv(x, block.shortcut))


def non_local(x: Array, module: nn.Module) -> Array:
    def pooled(y: Array) -> Array:
        c, h, w = y.shape
        return y.reshape(c, h // 2, 2, w // 2, 2).max(axis=(2, 4)).reshape(c, -1)

    query = conv(x, module.theta).reshape(-1, x.shape[1] * x.shape[2])
    key, value = pooled(conv(x, module.phi)), pooled(conv(x, module.g))
    out = np.stack([value @ softmax(key.T @ q) for q in query.T], axis=1)
    return x + array(module.gamma) * conv(out.reshape(-1, *x.shape[1:]), module.o)


def softmax(x: Array) -> Array:
    e = np.exp(x - x.max())
    return e / e.sum()


def patches(x: Array, kernel: int) -> Array:
    """(C,H,W) -> (H*W, C*kernel^2), zeros around."""
    pad = kernel // 2
    padded = np.pad(x, ((0, 0), (pad, pad), (pad, pad)))
    _, h, w = x.shape
    cells = [(i, j) for i in range(h) for j in range(w)]
    return np.stack([padded[:, i : i + kernel, j : j + kernel].ravel() for i, j in cells])


def eq3(query: Array, key: Array, kernel: int = 1) -> Array:
    """M(u,v): the cosine of centred descriptors, (N,n)."""
    sides = []
    for x in (query, key):
        v = patches(x, kernel)
        v = v - v.mean(axis=1, keepdims=True)
        sides.append(v / np.sqrt((v**2).sum(axis=1, keepdims=True)))
    m = np.zeros((len(sides[0]), len(sides[1])))
    for u, a in enumerate(sides[0]):
        for v, b in enumerate(sides[1]):
            m[u, v] = sum(a * b)
    return m


def eq4(m: Array, values: Array, temperature: float) -> Array:
    """r(u) = sum_v softmax_v(M(u,v) / temperature) y(v); values (D,n) -> (D,N)."""
    return np.stack([values @ softmax(row / temperature) for row in m], axis=1)


def eq12(m: Array, warped: Array, temperature: float) -> Array:
    """r'(v) = sum_u softmax_u(M(u,v) / temperature) r(u); warped (D,N) -> (D,n)."""
    return np.stack([warped @ softmax(column / temperature) for column in m.T], axis=1)


def eq11(x: Array, y: Array, form: str, bandwidth: float) -> float:
    """-log(mean_i max_j A(i,j)) of maps (C,h,w), one pair of positions after the other."""
    mean, eps = (y.mean(axis=0), 1e-3) if form == "released" else (y.mean(axis=(1, 2)), 1e-5)
    mean = mean[None] if form == "released" else mean[:, None, None]
    ours, theirs = ((z - mean).reshape(len(z), -1).T for z in (x, y))
    best = []
    for a in ours:
        d = np.array([1 - a @ b / np.sqrt((a @ a) * (b @ b)) for b in theirs])
        affinity = np.exp((1 - d / (d.min() + eps)) / bandwidth)
        best.append((affinity / affinity.sum()).max())
    return -float(np.log(np.mean(best)))
