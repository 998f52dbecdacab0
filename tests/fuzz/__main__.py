"""Look for bytes that do harm, guided by which code they reach (Atheris, libFuzzer).

``nox -s fuzz`` runs this for every target, ``nox -s fuzz -- requests`` for one::

    python -m tests.fuzz TARGET CORPUS [options of libFuzzer]

What it finds is written to a file that libFuzzer names; handed over instead of the corpus, it is
tried again. It then belongs to the seeds.
"""

from __future__ import annotations

import sys
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["onemcp"]):
    from tests.fuzz.seeds import SEEDS
    from tests.fuzz.targets import TARGETS


def main() -> None:
    """Fuzz one target; libFuzzer ends the process."""
    name, corpus, *options = sys.argv[1:]
    folder = Path(corpus)
    if not folder.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        for number, seed in enumerate(SEEDS[name]):
            (folder / f"seed-{number}").write_bytes(seed)
    atheris.Setup([sys.argv[0], corpus, *options], TARGETS[name])
    atheris.Fuzz()


if __name__ == "__main__":
    main()
