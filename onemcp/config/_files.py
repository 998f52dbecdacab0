"""Where the configuration is, and where onemcp keeps what it must remember."""

import os
from collections.abc import Mapping
from pathlib import Path

FILE_NAME = "onemcp.json"


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


def _base(environ: Mapping[str, str], variable: str, fallback: str) -> Path:
    value = environ.get(variable, "")
    if os.path.isabs(value):  # noqa: PTH117  (the XDG specification: ignore relative paths)
        return Path(value)
    home = environ.get("HOME")
    return (Path(home) if home else Path.home()) / fallback
