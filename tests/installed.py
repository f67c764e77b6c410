"""
Environments that packages are really installed into: a new one for each test, from wheels, without any index.

Third-party packages are taken from the environment of the tests, through a path file; the gateway is not, since a path file
does not carry on to the one by which an editable install is found.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

from tests.running import ROOT

EXAMPLES = ROOT / "examples"
_UV = Path(sys.executable).parent / "uv"


class Environment:
    """A new virtual environment."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.python = path / "bin" / "python"
        _call(_UV, "venv", "--quiet", "--offline", "--no-project", "--python", sys.executable, path)
        (site,) = path.glob("lib/python*/site-packages")
        (site / "of-the-tests.pth").write_text("\n".join({sysconfig.get_path(kind) for kind in ("purelib", "platlib")}))

    def install(self, *wheels: Path) -> None:
        """Install wheels, and nothing that they ask for."""
        self._pip("install", "--no-deps", "--no-index", *wheels)

    def uninstall(self, *distributions: str) -> None:
        """Take packages out."""
        self._pip("uninstall", *distributions)

    def run(self, *words: object, cwd: Path) -> subprocess.CompletedProcess[str]:
        """Run a Python of this environment."""
        environ = {
            name: value for name, value in os.environ.items() if not name.startswith(("GATEWAY_", "PYTEST_", "PYTHON"))
        }
        return subprocess.run(
            [self.python, *map(str, words)],
            cwd=cwd,
            env=environ,
            capture_output=True,
            text=True,
            timeout=110,
            check=False,
        )

    def _pip(self, verb: str, *rest: object) -> None:
        _call(_UV, "pip", verb, "--quiet", "--offline", "--python", self.python, *rest)


def built(project: Path, into: Path) -> Path:
    """The wheel of a project, built from a copy."""
    copy = into / "sources" / project.name
    skipped = shutil.ignore_patterns(".*", "__pycache__", "tests", "docs", "bench", "examples", "dist")
    shutil.copytree(project, copy, ignore=skipped)
    _call(sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", into / "wheels", cwd=copy)
    name = project.name.replace("-", "_") if project != ROOT else "alert_gateway"
    (wheel,) = (into / "wheels").glob(f"{name}-*.whl")
    return wheel


def wheel_of(into: Path, distribution: str, entries: dict[str, str], files: dict[str, str]) -> Path:
    """A wheel with these files and entry points in the group of plugins."""
    into.mkdir(parents=True, exist_ok=True)
    stem = f"{distribution.replace('-', '_')}-2.1"
    info = f"{stem}.dist-info"
    points = "\n".join(f"{name} = {value}" for name, value in entries.items())
    content = files | {
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 2.1\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{info}/entry_points.txt": f"[gateway.plugins]\n{points}\n",
    }
    content[f"{info}/RECORD"] = "".join(f"{name},,\n" for name in [*content, f"{info}/RECORD"])
    wheel = into / f"{stem}-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for name, text in content.items():
            archive.writestr(name, text)
    return wheel


def _call(*command: object, cwd: Path | None = None) -> None:
    done = subprocess.run([str(word) for word in command], cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{' '.join(map(str, command))}\n{done.stdout}{done.stderr}"
