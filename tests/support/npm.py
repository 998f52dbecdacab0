"""Install the official npm packages at the versions of `tests/npm/package.json`.

They go into a folder of `.cache/npm` that is named after the manifest, so a new version is a
new folder and an old one is never changed. Nothing is shared with the machine's own Node.js:
the manifest has one, because the conformance suite needs 22.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import platform
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tests.support.skipping import skip_unless_ci

if TYPE_CHECKING:
    from collections.abc import Iterator

CHECKOUT = Path(__file__).resolve().parents[2]
MANIFEST = CHECKOUT / "tests" / "npm" / "package.json"
CACHE = CHECKOUT / ".cache" / "npm"
INSTALL_TIMEOUT = 600
"""Seconds for npm to download some 150 packages and a Node.js."""
# No lockfile: it would name the registry that the packages came from.
INSTALL = ("npm", "install", "--no-audit", "--no-fund", "--no-package-lock", "--loglevel=error")


class NpmError(Exception):
    """The packages could not be installed; the message says why."""


@dataclass(frozen=True)
class Installation:
    """A folder with the packages installed.

    Attributes:
        root: The folder that has `node_modules`.
    """

    root: Path

    @property
    def modules(self) -> Path:
        return self.root / "node_modules"

    @property
    def node(self) -> Path:
        return self.modules / "node" / "bin" / "node"

    def package(self, name: str) -> Path:
        """Return the folder of a package, such as `@modelcontextprotocol/sdk`."""
        return self.modules / name

    def binary(self, name: str) -> Path:
        """Return the script that a package installs under this name."""
        return (self.modules / ".bin" / name).resolve()

    def command(self, name: str, *arguments: str) -> list[str]:
        """Return the command line of a package's program, run by the Node.js of the manifest."""
        return [str(self.node), str(self.binary(name)), *arguments]

    def environment(self) -> dict[str, str]:
        """Return an environment in which `node` is the one of the manifest."""
        path = os.pathsep.join((str(self.node.parent), os.environ.get("PATH", os.defpath)))
        return {**os.environ, "PATH": path, "NODE_PATH": str(self.modules)}


def install() -> Installation:
    """Install the packages, unless they are there, and return where they are.

    Raises:
        NpmError: There is no npm, or it failed.
    """
    target = CACHE / _key()
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not target.exists():
            _install(target)
    return Installation(target)


def installed() -> Installation:
    """Return the installation, or leave the test out if there is none to be had."""
    try:
        return install()
    except NpmError as error:
        skip_unless_ci(str(error))


def _key() -> str:
    """Name the folder after all that decides what is in it."""
    digest = hashlib.sha256(MANIFEST.read_bytes())
    digest.update(f"{platform.system()} {platform.machine()}".encode())
    return digest.hexdigest()[:16]


def _install(target: Path) -> None:
    if shutil.which("npm") is None:
        raise NpmError("npm is not installed, and the official packages come from it")
    with tempfile.TemporaryDirectory(dir=CACHE) as folder:
        shutil.copy(MANIFEST, folder)
        try:
            result = subprocess.run(
                INSTALL,
                cwd=folder,
                capture_output=True,
                text=True,
                timeout=INSTALL_TIMEOUT,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise NpmError(f"npm took more than {INSTALL_TIMEOUT} seconds") from error
        if result.returncode != 0:
            raise NpmError("\n".join(("npm failed:", *_tail(result.stderr))))
        if not os.access(Installation(Path(folder)).node, os.X_OK):
            raise NpmError("npm installed no Node.js: did it refuse to run its install script?")
        # Moved only when complete, so that a folder of this name is always usable.
        modules = Path(folder, "node_modules")
        staged = Path(folder, "complete")
        staged.mkdir()
        modules.rename(staged / "node_modules")
        staged.rename(target)


def _tail(output: str, lines: int = 20) -> Iterator[str]:
    yield from output.splitlines()[-lines:]
