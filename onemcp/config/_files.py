"""Where the configuration is, and where onemcp keeps what it must remember."""

import hashlib
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

FILE_NAME = "onemcp.json"
SYSTEM_RUNTIME: Final = Path("/run/onemcp")
"""Where a service of the system has its control socket; what systemd makes for it."""

SOCKET_SUFFIX: Final = ".sock"
DEMO: Final = "demo"
DIGITS: Final = 8
LONGEST_STEM: Final = 24


def find(explicit: Path | None, cwd: Path, environ: Mapping[str, str]) -> Path | None:
    """Return the configuration file to use.

    Args:
        explicit: The one asked for; it is used even when it does not exist, so that its absence
            is reported.
        cwd: The directory onemcp was started in.
        environ: The environment.

    Returns:
        The file asked for; else `onemcp.json` in `cwd`; else the one in the user's configuration
        directory (XDG); else None.
    """
    if explicit is not None:
        return explicit
    candidates = (cwd / FILE_NAME, configuration_directory(environ) / FILE_NAME)
    # A dangling link counts: to complain about it is better than to run something else.
    return next((path for path in candidates if os.path.lexists(path)), None)


def configuration_directory(environ: Mapping[str, str]) -> Path:
    """Return onemcp's directory under `$XDG_CONFIG_HOME`, by default `~/.config/onemcp`."""
    return _base(environ, "XDG_CONFIG_HOME", ".config") / "onemcp"


def state_directory(environ: Mapping[str, str]) -> Path:
    """Return where onemcp keeps its state; it need not exist yet.

    systemd sets `$STATE_DIRECTORY` for a unit with `StateDirectory=`; of several the first counts.
    Elsewhere it is `onemcp` under `$XDG_STATE_HOME`, by default `~/.local/state/onemcp`.
    """
    from_systemd = environ.get("STATE_DIRECTORY", "").partition(":")[0]
    if from_systemd:
        return Path(from_systemd)
    return _base(environ, "XDG_STATE_HOME", ".local/state") / "onemcp"


def runtime_directory(environ: Mapping[str, str]) -> Path:
    """Return where onemcp has its control socket; it need not exist yet.

    systemd sets `$RUNTIME_DIRECTORY` for a unit with `RuntimeDirectory=`; of several the first
    counts. Elsewhere it is `onemcp` under `$XDG_RUNTIME_DIR`, and where there is none, `run` in the
    state directory.
    """
    from_systemd = environ.get("RUNTIME_DIRECTORY", "").partition(":")[0]
    if from_systemd:
        return Path(from_systemd)
    value = environ.get("XDG_RUNTIME_DIR", "")
    if os.path.isabs(value):  # noqa: PTH117  (the XDG specification: ignore relative paths)
        return Path(value) / "onemcp"
    return state_directory(environ) / "run"


def runtime_directories(environ: Mapping[str, str]) -> Sequence[Path]:
    """Return where control sockets may be, the nearest first."""
    return tuple(dict.fromkeys((runtime_directory(environ), SYSTEM_RUNTIME)))


def socket_name(path: Path | None) -> str:
    """Return what the control socket of a configuration is called, unless that says otherwise.

    Args:
        path: The configuration file; None for the demo.
    """
    if path is None:
        return DEMO + SOCKET_SUFFIX
    real = os.path.realpath(path)
    stem = re.sub(r"[^A-Za-z0-9_-]+", "-", Path(real).parent.name)[:LONGEST_STEM]
    digest = hashlib.sha256(os.fsencode(real)).hexdigest()[:DIGITS]
    return f"{stem or 'root'}-{digest}{SOCKET_SUFFIX}"


def _base(environ: Mapping[str, str], variable: str, fallback: str) -> Path:
    value = environ.get(variable, "")
    if os.path.isabs(value):  # noqa: PTH117  (the XDG specification: ignore relative paths)
        return Path(value)
    home = environ.get("HOME")
    return (Path(home) if home else Path.home()) / fallback
