"""Build onemcp as one file that runs where there is no Python: ``executable.py FILE``.

PyInstaller collects the program into a folder. PyInstaller's own single file would unpack that at
each start, for each Python child as well, and keep a parent process between onemcp and whoever
started it. So the folder is packed behind a few lines of shell, which unpack it once.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import shutil
import subprocess
import sys
import tarfile
import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import Final

import onemcp

HERE: Final = Path(__file__).parent
SWEEP: Final = "onemcp/backend/process"
"""Where the guardian's script is, which is run as a file."""

LEFT_OUT: Final = (
    *("tkinter", "lib2to3", "setuptools", "pip"),
    *("pytest", "_pytest", "pluggy", "hypothesis", "mypy", "IPython", "pycparser", "cffi"),
)
"""What the program never imports: PyInstaller finds it in what only tests of libraries use."""
LEVEL: Final = 9


def freeze(folder: Path) -> Path:
    """Collect the program with PyInstaller; return its folder."""
    options = [
        "--noconfirm",
        "--log-level=WARN",
        "--onedir",
        "--name=onemcp",
        f"--distpath={folder / 'dist'}",
        f"--workpath={folder / 'work'}",
        f"--specpath={folder}",
        "--collect-submodules=onemcp",
        "--collect-data=onemcp",
        f"--add-data={Path(onemcp.__file__).parents[1] / SWEEP / '_sweep.py'}:{SWEEP}",
        "--recursive-copy-metadata=onemcp",
        *(f"--exclude-module={name}" for name in LEFT_OUT),
    ]
    if shutil.which("strip"):
        options.append("--strip")
    program = str(HERE / "program.py")
    subprocess.run([sys.executable, "-m", "PyInstaller", *options, program], check=True)
    return folder / "dist" / "onemcp"


def pack(folder: Path, name: str) -> bytes:
    """Return a folder as a compressed archive, the same for the same files."""

    def anonymous(member: tarfile.TarInfo) -> tarfile.TarInfo:
        member.uid = member.gid = member.mtime = 0
        member.uname = member.gname = ""
        return member

    packed = io.BytesIO()
    with (
        gzip.GzipFile(fileobj=packed, mode="wb", compresslevel=LEVEL, mtime=0) as compressed,
        tarfile.open(fileobj=compressed, mode="w") as archive,
    ):
        archive.add(folder, name, filter=anonymous)
    return packed.getvalue()


def launcher(name: str, label: str) -> bytes:
    """Return the lines in front of the archive."""
    text = (HERE / "launcher.sh").read_text(encoding="utf-8")
    text = text.replace("@NAME@", name).replace("@VERSION@", label)
    offset = len(text.encode()) + 1
    while True:  # the number that is written says how long the text with it is
        filled = text.replace("@OFFSET@", str(offset)).encode()
        if len(filled) + 1 == offset:
            return filled
        offset = len(filled) + 1


def digest(folder: Path) -> str:
    """Return what tells one build from another."""
    found = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        found.update(str(path.relative_to(folder)).encode())
        if path.is_file():
            found.update(path.read_bytes())
    return found.hexdigest()[:16]


def build(target: Path) -> None:
    """Write the executable."""
    label = version("onemcp")
    with tempfile.TemporaryDirectory() as work:
        folder = freeze(Path(work))
        name = f"onemcp-{label}-{digest(folder)}"
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(launcher(name, label) + pack(folder, name))
    target.chmod(0o755)
    sys.stdout.write(f"{target}: {target.stat().st_size / 1e6:.1f} MB\n")


if __name__ == "__main__":
    build(Path(sys.argv[1]))
