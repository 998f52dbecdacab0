"""What can be wrong with a configuration, told so that it can be found and mended."""

import re
from collections.abc import Iterable, Sequence
from typing import TypeAlias

import attrs

PLAIN_KEY = re.compile(r"[A-Za-z0-9_$-]+")

Path: TypeAlias = tuple[str | int, ...]


def camel_case(name: str) -> str:
    """Return how the attribute `name` is spelled in JSON."""
    return re.sub(r"_([a-z])", lambda match: match.group(1).upper(), name)


def render_path(path: Sequence[str | int]) -> str:
    """Write a path through a JSON document, as in `mcpServers.github.args[1]`."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        elif PLAIN_KEY.fullmatch(part):
            text += f".{part}" if text else part
        else:
            escaped = part.encode("unicode_escape").decode("ascii").replace('"', '\\"')
            text += f'["{escaped}"]'
    return text


@attrs.frozen(kw_only=True)
class Problem:
    """One thing that is wrong with a configuration. Holds no secret.

    Attributes:
        file: Where the configuration came from.
        line: The line of the mistake, counted from 1; 0 when it concerns the file as a whole.
        column: Its column, counted from 1 in characters; 0 likewise.
        path: The option, as in `mcpServers.github.args[1]`; "" for the document as a whole.
        message: What is wrong.
        remedy: What to do about it; may be "".
    """

    file: str
    line: int = 0
    column: int = 0
    path: str = ""
    message: str
    remedy: str = ""

    def __str__(self) -> str:
        where = f"{self.file}:{self.line}:{self.column}" if self.line else self.file
        what = f"{self.path}: {self.message}" if self.path else self.message
        return f"{where}: {what}." + (f" {self.remedy}" if self.remedy else "")


class ConfigurationError(Exception):
    """The configuration cannot be used.

    Attributes:
        problems: Everything that is wrong, in the order of the file; never empty.
    """

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(sorted(problems, key=lambda problem: (problem.line, problem.column)))
        super().__init__(self.problems)

    def __str__(self) -> str:
        return "\n".join(map(str, self.problems))
