"""How much memory a run will take, roughly, before it starts, and how much there is."""

from __future__ import annotations

import ctypes
import os
from pathlib import Path

import cocosnet
import torch
from cocosnet import layers, winograd

from cocoscli.data.images import Size
from cocoscli.errors import CocosError

LARGEST = 16384
"""The largest side that commands take."""

WIDTHS = 10
"""Full-size feature maps of `width` channels that live at once in inference, where modulated."""
HIDDENS = 1.5
"""And of `hidden` channels."""
MATCHED_WIDTHS = 4
"""Those of `width` channels where nothing is drawn: the first layer of an adaptor, normalised and
activated. Counted and not fitted; runs stay below."""
MATCHING_BYTES = 200e6
"""What matching takes at most, in tiles."""
PAIR_BYTES = 16
"""What it takes for a pair of positions where all go into one tile."""
LOADING = 2.6
"""The weights' size that loading takes for a moment: the mapped file and its copy."""
BASE_BYTES = 680e6
"""Python, torch and the other libraries. All these but one are fitted to the peaks of runs of the
command from 64 to 1024 px; the estimate is within a quarter of each."""
_MMAP_THRESHOLD = -3  # M_MMAP_THRESHOLD of glibc's malloc.h


def parameter_bytes(model: torch.nn.Module) -> int:
    tensors = [*model.parameters(), *model.buffers()]
    return sum(x.numel() * x.element_size() for x in tensors)


def kept_bytes(model: cocosnet.CoCosNet, size: Size) -> int:
    """What the convolutions that go by `cocosnet.winograd` keep beside their weights in fp32, for
    images of (width, height). The widest ones run at 1/16 of it and less."""
    return sum(
        winograd.PLACES**2 * conv.in_channels * conv.out_channels * 4
        for conv in model.modules()
        if isinstance(conv, layers.Conv2d) and _is_kept(conv, model.config.width, min(size))
    )


def _is_kept(conv: layers.Conv2d, width: int, side: int) -> bool:
    channels = conv.in_channels, conv.out_channels
    least = max(layers.LEAST_CHANNELS[torch.float32])
    widest = max(channels) > 16 * width
    return (
        conv.kernel_size == (3, 3) and conv.stride == (1, 1) and min(channels) >= least
        and channels[0] * channels[1] <= layers.MOST_CHANNELS
        and side >= layers.LEAST_SIDE * (16 if widest else 4)
    )  # fmt: skip


def estimate_bytes(
    model: cocosnet.CoCosNet, size: Size, batch: int, *, draws: bool = True
) -> float:
    """Peak bytes of a process that translates `batch` images of (width, height) at once, or, where
    nothing is drawn, matches them."""
    config, pixels = model.config, size[0] * size[1]
    weights = parameter_bytes(model)
    own = (
        WIDTHS * config.width + HIDDENS * config.hidden if draws else MATCHED_WIDTHS * config.width
    )
    maps = own + 3 * config.channels
    pairs = (pixels / cocosnet.config.STRIDE**2) ** 2
    matching = min(MATCHING_BYTES, PAIR_BYTES * pairs)
    computing = weights + kept_bytes(model, size) + matching + 4.0 * batch * pixels * maps
    return BASE_BYTES + max(LOADING * weights, computing)


def available_bytes(device: torch.device) -> float:
    """The memory of a device (of a CPU, the machine's) that this process has or can have."""
    if device.type == "cuda":
        return float(torch.cuda.mem_get_info(device)[0] + torch.cuda.memory_reserved(device))
    free = _kilobytes(Path("/proc/meminfo"), "MemAvailable")
    own = _kilobytes(Path("/proc/self/status"), "VmRSS")
    if free is None or own is None:
        return float(os.sysconf("SC_PAGE_SIZE")) * os.sysconf("SC_PHYS_PAGES")
    return 1024.0 * (free + own)


def _kilobytes(table: Path, name: str) -> int | None:
    """A row of one of Linux's tables; None on other systems."""
    try:
        rows = (line.split() for line in table.read_text().splitlines())
        return next(int(row[1]) for row in rows if row[0] == f"{name}:")
    except (OSError, StopIteration):
        return None


def give_back_large_blocks() -> bool:
    """From now on blocks of 16 MB and more return to the system as soon as they are freed.

    glibc maps only those of 32 MB on their own once it has seen some; smaller ones that lie between
    kept ones pile up. From 4 MB on more would return, for a fifth to a quarter of a training's
    time. False where it is another C library's.
    """
    setting = getattr(ctypes.CDLL(None), "mallopt", None) if os.name == "posix" else None
    return setting is not None and bool(setting(_MMAP_THRESHOLD, 16 * 2**20))


def computed_at_once(device: torch.device, batch: int) -> int:
    """On a CPU the items of a batch are computed one by one."""
    return 1 if device.type == "cpu" else batch


def check_memory(
    model: cocosnet.CoCosNet,
    size: Size,
    batch: int,
    device: torch.device,
    *,
    draws: bool = True,
) -> float:
    """The peak bytes of a batch. CocosError, with the options that would do, where what is free
    cannot hold it."""
    batch = computed_at_once(device, batch)
    needed, there = estimate_bytes(model, size, batch, draws=draws), available_bytes(device)
    if needed <= there:
        return needed
    smaller = next((n for n in range(batch - 1, 0, -1)
                    if estimate_bytes(model, size, n, draws=draws) <= there), None)  # fmt: skip
    side = largest_size(model, size, there, draws=draws)
    ways = [f"--batch-size {smaller}"] if smaller else []
    ways += [f"--size {size_text(side)}"] if side else []
    raise CocosError(
        f"{size[0]}x{size[1]} pixels{f', {batch} at once,' if batch > 1 else ''} take about "
        f"{needed / 1e9:.1f} GB, and {there / 1e9:.1f} GB are free on {device}.",
        f"Give {' or '.join(ways)}." if ways else "Free some, or take smaller weights.",
    )


def size_text(size: Size) -> str:
    """As `--size` takes it."""
    return str(size[0]) if size[0] == size[1] else f"{size[0]}x{size[1]}"


def largest_size(
    model: cocosnet.CoCosNet, size: Size, there: float, *, draws: bool = True
) -> Size | None:
    """The largest (width, height) up to `size`, of about its shape, that `there` bytes hold."""
    step, smallest = cocosnet.config.MULTIPLE, cocosnet.config.MINIMUM
    longer = max(size)
    for side in range(longer // step * step, smallest - 1, -step):
        shape = [max(smallest, round(n * side / longer / step) * step) for n in size]
        if estimate_bytes(model, (shape[0], shape[1]), 1, draws=draws) <= there:
            return shape[0], shape[1]
    return None
