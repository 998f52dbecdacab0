"""The program that is frozen: onemcp, and as much of `python` as onemcp starts itself.

In a frozen program `sys.executable` is the program. Where onemcp starts a Python child, the
guardian or the demo, it gets here with the arguments of `python`.
"""

from __future__ import annotations

import os
import runpy
import sys


def main() -> int:
    """Run what the arguments say."""
    _forget_loader()
    match sys.argv[1:]:
        case ["-I", "-S", script, *arguments]:
            sys.argv = [script, *arguments]
            # Modules are frozen without their source; this one lies beside them.
            runpy.run_path(script.removesuffix("c"), run_name="__main__")
        case ["-P", "-m", module, *arguments]:
            sys.argv = [module, *arguments]
            runpy.run_module(module, run_name="__main__")
        case _:
            from onemcp.cli import main as onemcp  # noqa: PLC0415 - the guardian needs nothing of it

            return onemcp()
    return 0


def _forget_loader() -> None:
    """Take back what the bootloader has set for this process: it is nothing for others."""
    before = os.environ.pop("LD_LIBRARY_PATH_ORIG", None)
    os.environ.pop("LD_LIBRARY_PATH", None)
    if before is not None:
        os.environ["LD_LIBRARY_PATH"] = before
    for name in [name for name in os.environ if name.startswith("_PYI_")]:
        del os.environ[name]


if __name__ == "__main__":
    sys.exit(main())
