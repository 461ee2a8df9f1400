"""The folder of a training run."""

from __future__ import annotations

import pytest

from cocoscli.engine.files import TEMPORARY
from cocoscli.engine.training.folder import RunFolder
from cocoscli.errors import CocosError


def test_nothing_is_written_through_a_link_that_leads_out(tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    run = RunFolder(tmp_path / "run")
    (run.path / TEMPORARY).mkdir(parents=True)
    (run.path / "previews").symlink_to(outside)
    with pytest.raises(CocosError, match="a link leads out of the output folder"):
        run.write("previews/step-0000001.jpg", b"panels")
    assert not list(outside.iterdir())
    assert run.write("run.toml", b"x = 1").read_bytes() == b"x = 1"
