"""Mapping over work: fixed batches, faults that cost one item, halves after lack of memory."""

from __future__ import annotations

import errno
from dataclasses import dataclass

import pytest
from squares import Counted

from cocoscli.data.shards import Sample
from cocoscli.engine.batch import Pending, Plan, done_here, run
from cocoscli.engine.output import OutputFolder
from cocoscli.engine.results import Files, Packed
from cocoscli.errors import BadInput, CocosError


@dataclass
class Numbers(Counted):
    """Squares of 0..count-1; some cannot be read, computed or written."""

    uncomputable: tuple[int, ...] = ()
    unwritable: tuple[int, ...] = ()
    error: int = errno.ENAMETOOLONG
    most: int = 99
    """Items that fit in memory at once."""

    def __post_init__(self) -> None:
        self.batches: list[list[int]] = []

    def groups(self, loaded: list[int]) -> list[list[int]]:
        """Even and odd numbers apart."""
        groups = [[n for n, k in enumerate(loaded) if k % 2 == odd] for odd in (0, 1)]
        return [group for group in groups if group]

    def compute(self, loaded: list[int]) -> list[int | BadInput]:
        if len(loaded) > self.most:
            raise MemoryError
        self.batches.append(loaded)
        bad = BadInput("cannot be computed.")
        return [bad if k in self.uncomputable else k * k for k in loaded]

    def pack(self, k: int, result: int) -> Packed:
        if k in self.unwritable:
            raise OSError(self.error, "no")
        return Packed(Sample(str(k), {"txt": str(result).encode()}), source=str(k))


@pytest.fixture
def output(tmp_path):
    folder = OutputFolder(tmp_path / "out")
    folder.open({}, {}, False)
    yield folder
    folder.close()


def done(work: Numbers, output: OutputFolder, **plan: object) -> dict[str, str]:
    """Run; -> status by key, in the order of the rows."""
    how = Plan(**plan)  # type: ignore[arg-type]
    files = Files(output)
    rows = list(run(files, done_here(work, files, how, Pending(work, output, how))))
    return {row["key"]: row["status"] for row in rows}


@pytest.mark.parametrize("batch_size", [1, 3, 10, 99])
@pytest.mark.parametrize("workers", [0, 2])
def test_rows_come_in_order_with_their_files(output, batch_size, workers):
    statuses = done(Numbers(), output, batch_size=batch_size, workers=workers)
    assert list(statuses) == [str(k) for k in range(10)]
    assert set(statuses.values()) == {"done"}
    assert all((output.path / f"{k}.txt").read_text() == str(k * k) for k in range(10))


def test_a_fault_costs_its_item(output):
    work = Numbers(unreadable=(1, 2), uncomputable=(4,), unwritable=(7,))
    statuses = done(work, output, batch_size=4)
    failed = {key for key, status in statuses.items() if status == "failed"}
    assert failed == {"1", "2", "4", "7"}


def test_batches_without_a_good_item(output):
    assert set(done(Numbers(4, unreadable=(0, 1, 2, 3)), output, batch_size=2).values()) == {
        "failed"
    }


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS])
def test_a_fault_of_the_storage_ends_the_run(output, number):
    work = Numbers(unwritable=(5,), error=number)
    with pytest.raises(CocosError, match="cannot be written"):
        done(work, output)
    work.unwritable = ()
    assert 1 <= len(done(work, output)) <= 10
    assert all((output.path / f"{k}.txt").exists() for k in range(10))


def test_resumed_batches_are_the_same(output):
    first, second = Numbers(), Numbers()
    done(first, output, batch_size=4, limit=5)
    (output.path / "0.txt").unlink()
    rows = done(second, output, batch_size=4)
    assert list(rows) == ["0", *(str(k) for k in range(5, 10))]
    assert second.batches[:2] == first.batches[:2] == [[0, 2], [1, 3]]


@pytest.mark.parametrize(("limit", "count"), [(None, 10), (3, 3), (10, 10), (99, 10)])
def test_limits(output, limit, count):
    assert len(done(Numbers(), output, batch_size=4, limit=limit)) == count


def test_failed_items_are_left_or_retried(output):
    work = Numbers(4, unreadable=(2,))
    done(work, output)
    work.unreadable = ()
    assert done(work, output) == {}
    assert done(work, output, retry_failed=True) == {"2": "done"}
    assert done(work, output, retry_failed=True) == {}


def test_batches_are_halved_until_they_fit_and_stay_so(output):
    said: list[int] = []
    work = Numbers(40, most=2)
    assert len(done(work, output, batch_size=20, on_smaller_batch=said.append)) == 40
    assert said == [5, 3, 2] and max(map(len, work.batches)) == 2
    assert sorted(k for batch in work.batches for k in batch) == list(range(40))


def test_an_item_that_never_fits_fails(output):
    statuses = done(Numbers(3, most=0), output, batch_size=3)
    assert list(statuses.values()) == ["failed"] * 3


def test_a_reader_that_stops_early_leaves_what_is_written(output):
    work = Numbers()
    how = Plan()
    files = Files(output)
    rows = run(files, done_here(work, files, how, Pending(work, output, how)))
    next(rows)
    rows.close()
    assert len(done(work, output)) <= 9
    assert all((output.path / f"{k}.txt").exists() for k in range(10))
