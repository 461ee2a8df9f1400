from __future__ import annotations

import pytest
import torch

from cocoscli.data.conditions import CONDITIONS, GLASSES
from cocoscli.data.planes import expand


def ids(*values: int) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.int32).view(1, 1, 1, -1)


def columns(planes: torch.Tensor) -> list[list[float]]:
    return planes[0, :, 0].T.tolist()


def test_labels_become_one_hot_and_the_ignored_label_is_zero():
    planes = expand(ids(0, 2, 255), "labels", 3)
    assert planes.dtype == torch.float32
    assert columns(planes) == [[1, 0, 0], [0, 0, 1], [0, 0, 0]]


def test_any_label_can_be_ignored_or_none():
    assert columns(expand(ids(0, 1), "labels", 2, ignore=0)) == [[0, 0], [0, 1]]
    assert columns(expand(ids(0, 1), "labels", 2, ignore=None)) == [[1, 0], [0, 1]]


def test_glasses_set_their_plane_and_leave_the_class_beneath():
    array = torch.tensor([[[1, 1, 4, 255]], [[0, 1, 1, 1]]], dtype=torch.uint8)[None]
    planes = expand(array, "celebahq-mask", 19)[0, :, 0]
    assert GLASSES == 16
    assert planes[16].tolist() == [0, 1, 1, 0]
    assert planes[1].tolist() == [1, 1, 0, 0]
    assert planes[4].tolist() == [0, 0, 1, 0]
    assert planes.sum() == 5


def test_maps_are_divided_by_255():
    array = torch.zeros(2, 15, 4, 6, dtype=torch.uint8)
    array[0, 3] = 255
    planes = expand(array, "celebahq-edge", 15)
    assert planes[0, 3].min() == 1 and planes.sum() == 24


@pytest.mark.parametrize("kind", CONDITIONS)
def test_every_kind_expands_to_its_channels(kind):
    condition = CONDITIONS[kind]
    channels = condition.channels or 5
    array = torch.zeros(2, condition.planes or channels, 4, 6, dtype=torch.uint8)
    assert expand(array, kind, channels).shape == (2, channels, 4, 6)
    with pytest.raises(ValueError, match="expected"):
        expand(array[:, :0], kind, channels)
