# SPDX-License-Identifier: MIT
"""twistd finds the proxy, installed from a wheel and from a checkout."""

from __future__ import annotations

import shutil
import subprocess
import sys
import venv
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
pytestmark = [pytest.mark.packaging, pytest.mark.timeout(300)]


def run(*command: str | Path, cwd: Path | None = None) -> str:
    done = subprocess.run([str(word) for word in command], cwd=cwd, text=True, capture_output=True)
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of what belongs to the project, without what was built in it."""
    copy = tmp_path_factory.mktemp("checkout") / "siproxd_tw"
    built = (".venv", ".git", "build", "dist", "*.egg-info", "__pycache__", "*.cache", ".*_cache")
    shutil.copytree(ROOT, copy, ignore=shutil.ignore_patterns(*built))
    return copy


@pytest.fixture
def fresh(tmp_path: Path) -> Iterator[Path]:
    """The bin folder of a virtual environment with nothing in it but pip."""
    venv.create(tmp_path / "venv", with_pip=True)
    yield tmp_path / "venv" / "bin"


def test_from_a_wheel(checkout: Path, fresh: Path, tmp_path: Path) -> None:
    """The wheel brings the plugin, no other file of Twisted's, and twistd lists it."""
    run(sys.executable, "-m", "build", "--wheel", "--outdir", tmp_path, checkout)
    [wheel] = tmp_path.glob("*.whl")
    in_twisted = [name for name in zipfile.ZipFile(wheel).namelist() if name.startswith("twisted/")]
    assert in_twisted == ["twisted/plugins/siproxd_plugin.py"]
    run(fresh / "pip", "install", "--quiet", wheel)
    assert "siproxd " in run(fresh / "twistd", "--help", cwd=tmp_path)
    assert "--check" in run(fresh / "twistd", "siproxd", "--help", cwd=tmp_path)
    installed = run(fresh / "pip", "list", "--format", "freeze").lower()
    assert "zope.interface" in installed or "zope-interface" in installed
    assert "pytest" not in installed


def test_from_an_editable_install(checkout: Path, fresh: Path, tmp_path: Path) -> None:
    """`pip install -e` shows the plugin too, from any working directory."""
    run(fresh / "pip", "install", "--quiet", "--editable", checkout)
    assert "siproxd " in run(fresh / "twistd", "--help", cwd=tmp_path)
