"""Small networks run fastest on one thread, from the same weights each time; those on the meta
device need no power iterations."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch.nn.utils import parametrizations


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(autouse=True)
def same_weights() -> None:
    """Torch seeds every process in another way, and a test would see what others had drawn."""
    torch.manual_seed(0)


@pytest.fixture(scope="module", autouse=True)
def quick_meta() -> Iterator[None]:
    """The iterations that spectral norm begins with, on nothing but shapes, take seconds."""
    kind = parametrizations._SpectralNorm
    original = kind._power_method

    def unless_meta(self: torch.nn.Module, weight: torch.Tensor, iterations: int) -> None:
        if not weight.is_meta:
            original(self, weight, iterations)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kind, "_power_method", unless_meta)
        yield
