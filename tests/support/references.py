"""The reference servers, which have every fixture that the conformance suite asks for.

Each is written with an official SDK, so they are independent of onemcp, and offers the same names.
What asks the client does so in the manner of the server's own era: with requests of its own while
the call runs, or by ending it with the questions. So whatever client of the other era calls the
same tool has onemcp between them, and nothing else.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.support.npm import Installation

FOLDER = Path(__file__).resolve().parents[1] / "reference"
MODERN = ("2026-07-28",)
LEGACY = ("2025-11-25", "2025-06-18")


@dataclass(frozen=True)
class Reference:
    """A reference server.

    Attributes:
        name: What it is called in tests.
        script: The program.
        versions: The revisions that it speaks itself, of those that the suite knows.
    """

    name: str
    script: Path
    versions: tuple[str, ...]

    def command(self, npm: Installation) -> list[str]:
        """Return its command line, to which `--stdio` or `--http PORT` is added."""
        if self.script.suffix == ".py":
            return [sys.executable, str(self.script)]
        return [str(npm.node), str(self.script), str(npm.modules)]


DUAL = Reference("dual", FOLDER / "everything.py", MODERN + LEGACY)
"""The Python SDK 2.x, which speaks both eras."""
ONLY_2025 = Reference("2025-only", FOLDER / "typescript" / "server2025.mjs", LEGACY)
"""The TypeScript SDK 1.x."""
ONLY_2026 = Reference("2026-only", FOLDER / "typescript" / "server2026.mjs", MODERN)
"""The TypeScript SDK 2.x, which refuses every handshake here."""
REFERENCES = (DUAL, ONLY_2025, ONLY_2026)
