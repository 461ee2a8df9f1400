"""What is shipped: the wheel, built from the sdist, in an environment of its own."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def run(*command: object, cwd: Path) -> str:
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")}
    done = subprocess.run(
        [str(part) for part in command], cwd=cwd, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "build", "-q", "--outdir", folder, ROOT, cwd=folder)
    assert list(folder.glob("*.tar.gz")), "the wheel comes from the sdist"
    return next(folder.glob("*.whl"))


@pytest.fixture(scope="module")
def environment(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A new environment that holds the wheel; its dependencies are this environment's."""
    folder = tmp_path_factory.mktemp("environment")
    run(sys.executable, "-m", "venv", "--without-pip", folder, cwd=folder)
    python = folder / "bin" / "python"
    pip = (sys.executable, "-m", "pip", "--python", python, "install", "-q", "--no-deps")
    run(*pip, wheel, cwd=folder)
    libraries = next((folder / "lib").iterdir()) / "site-packages"
    # A path file adds a folder but does not read the path files in it, the editable install's.
    (libraries / "dependencies.pth").write_text(sysconfig.get_paths()["purelib"])
    return folder


@pytest.mark.slow
def test_the_wheel_holds_the_packages_the_recipes_and_the_templates(wheel: Path):
    names = set(zipfile.ZipFile(wheel).namelist())
    recipes = {f"cocoscli/recipes/{path.name}" for path in (ROOT / "recipes").glob("*.toml")}
    templates = {
        f"cocoscli/templates/{path.name}" for path in (ROOT / "cocoscli/templates").iterdir()
    }
    assert recipes and recipes <= names
    assert templates <= names
    tops = {name.split("/")[0] for name in names}
    assert tops - {next(top for top in tops if top.endswith(".dist-info"))} == {
        "cocoscli",
        "cocosnet",
    }


@pytest.mark.slow
@pytest.mark.timeout(1200)  # half a minute of computing, on a machine that may be busy
def test_the_installed_wheel_runs(environment: Path, tmp_path: Path):
    python, cocos = environment / "bin" / "python", environment / "bin" / "cocos"
    where = "import cocoscli, cocosnet; print(cocoscli.__file__); print(cocosnet.__file__)"
    for line in run(python, "-c", where, cwd=tmp_path).splitlines():
        assert line.startswith(str(environment))
    assert run(cocos, "--version", cwd=tmp_path).startswith("cocos ")
    run(cocos, "demo", "--size", "64", cwd=tmp_path)
    page = (tmp_path / "demo/index.html").read_text("utf-8")
    places = re.findall(r'(?:href|src)="([^"#:]+)"', page)
    assert len(places) > 60 and all((tmp_path / "demo" / place).is_file() for place in places)
