"""Locks in an object store."""

from __future__ import annotations

import errno
import json
import time

import pytest

from cocoscli.data import stores
from cocoscli.data.storage import place
from cocoscli.engine import leases
from cocoscli.engine.leases import Held, holder, take_lease


@pytest.fixture
def lock(bucket):
    return place(bucket.url("out/_cocos/lock"))


def test_a_lease_is_held_by_one(lock):
    lease = take_lease(lock)
    with pytest.raises(Held, match=r"process [0-9]+ on"):
        take_lease(lock)
    assert holder(lock)
    lease.check()
    lease.close()
    assert holder(lock) is None and not lock.exists()
    take_lease(lock).close()


def test_one_that_is_not_renewed_runs_out_and_is_taken_over(lock, monkeypatch):
    monkeypatch.setattr(leases.Lease, "_renew", lambda self: None)  # of a dead process
    dead = take_lease(lock)
    with pytest.raises(Held):
        take_lease(lock)
    later = time.time() + leases.LASTS + 1
    monkeypatch.setattr(leases, "now", lambda: later)
    assert holder(lock) is None
    heir = take_lease(lock)
    with pytest.raises(OSError, match="not renewed"):
        dead.check()
    dead.close()
    heir.check()
    assert holder(lock)
    heir.close()


def test_a_lease_is_renewed(lock, monkeypatch):
    monkeypatch.setattr(leases, "LASTS", 4.0)
    lease = take_lease(lock)
    until = json.loads(lock.read_bytes())["until"]
    for _ in range(100):
        time.sleep(0.1)
        if json.loads(lock.read_bytes())["until"] > until:
            break
    assert json.loads(lock.read_bytes())["until"] > until
    lease.check()
    lease.close()


def test_a_renewal_that_fails_does_not_count(lock, monkeypatch):
    monkeypatch.setattr(leases, "LASTS", 1.2)
    lease = take_lease(lock)

    def fails(*_, **__):
        raise OSError(errno.EIO, "the store is down")

    monkeypatch.setattr(stores, "replace", fails)
    with pytest.raises(OSError, match="not renewed"):
        for _ in range(100):
            time.sleep(0.1)
            lease.check()
    lease.close()


def test_a_lease_that_another_took_is_lost(lock, monkeypatch):
    monkeypatch.setattr(leases, "LASTS", 1.2)
    lease = take_lease(lock)
    lock.write_bytes(json.dumps({"mark": "another's", "until": time.time() + 9}).encode())
    lease._renewing.join(timeout=10)
    with pytest.raises(OSError, match="another process has it"):
        lease.check()
    lease.close()
    assert holder(lock)


def test_of_two_heirs_one_is_refused(lock, monkeypatch):
    lock.write_bytes(b"damaged")
    first = lock.info()
    stores.replace(str(lock), b"quicker", first)
    with pytest.raises(FileExistsError):
        stores.replace(str(lock), b"slower", first)
    assert lock.read_bytes() == b"quicker"
    take_lease(lock).close()


def test_without_conditional_puts_the_last_one_counts(lock):
    class Plain:
        """A store that knows no condition."""

        def pipe_file(self, path, data, mode="overwrite"):
            if mode == "create":
                raise NotImplementedError
            self.data = data

        def exists(self, path):
            return hasattr(self, "data")

        def _strip_protocol(self, url):
            return url

    plain = Plain()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stores, "_file_system", lambda store, process: plain)
        stores.create(str(lock), b"1")
        with pytest.raises(FileExistsError):
            stores.create(str(lock), b"2")
    assert plain.data == b"1"
