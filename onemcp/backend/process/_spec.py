"""What to start, who starts it, and how patiently it is stopped."""

import os
import re
import secrets
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from attrs import Attribute, field, frozen, validators

INSTANCE_VARIABLE = "ONEMCP_INSTANCE"
PROCESS_VARIABLE = "ONEMCP_PROCESS"

# What a program needs to find itself, its user and its language: no secret among them.
_PASSED_ON = frozenset(
    {"PATH", "HOME", "USER", "LOGNAME", "LANG", "TERM", "TMPDIR", "SHELL", "TZ"},
)
_IDENTITY = re.compile(r"[0-9a-f]{32}")
_LINEAGE = re.compile(r"[0-9a-f]{32}(,[0-9a-f]{32}){0,31}")


def new_identity() -> str:
    """Return 128 random bits in hexadecimal: what marks processes as ours."""
    return secrets.token_hex(16)


def _without_nul(_: object, attribute: "Attribute[Any]", value: Any) -> None:
    if "\0" in "".join(value or ()):
        raise ValueError(f"{attribute.name} contains a NUL character")


def _names_variables(_: object, __: object, env: Mapping[str, str]) -> None:
    for name, value in env.items():
        if not name or "=" in name or "\0" in name + value:
            raise ValueError(f"env has an impossible variable {name!r}")


def _repr_names(env: Mapping[str, str]) -> str:
    return "{" + ", ".join(f"{name}: ***" for name in env) + "}"


def _frozen_copy(env: Mapping[str, str]) -> Mapping[str, str]:
    return MappingProxyType(dict(env))


def _tuple_of_text(values: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(values)


@frozen
class ProcessSpec:
    """A program to start.

    Attributes:
        command: A program on the PATH of the new process, or a path (relative ones to `cwd`).
        args: Its arguments.
        env: Variables to set besides the minimal environment. Not shown by `repr`.
        cwd: Where to start it; by default where the gateway runs.
        inherit: Names of variables to take over from the gateway's environment.
        cpu: How much processor time each of its processes may use, in seconds; None for any.
        open_files: How many files each of them may have open; None for as many as the gateway.
    """

    command: str = field(validator=validators.and_(validators.min_len(1), _without_nul))
    args: tuple[str, ...] = field(default=(), converter=_tuple_of_text, validator=_without_nul)
    env: Mapping[str, str] = field(
        factory=dict[str, str],
        converter=_frozen_copy,
        validator=_names_variables,
        repr=_repr_names,
        hash=False,
    )
    cwd: str | None = field(default=None, validator=_without_nul)
    inherit: tuple[str, ...] = field(default=(), converter=_tuple_of_text)
    cpu: int | None = field(default=None, validator=validators.optional(validators.ge(1)))
    open_files: int | None = field(default=None, validator=validators.optional(validators.ge(1)))


@frozen
class StopPolicy:
    """How long each stage of stopping a process may take, in seconds.

    Attributes:
        eof: From closing stdin to SIGTERM.
        terminate: From SIGTERM to SIGKILL.
        kill: From SIGKILL to giving up on what cannot be killed (a hung network mount).
    """

    eof: float = field(default=2.0, validator=validators.ge(0.0))
    terminate: float = field(default=2.0, validator=validators.ge(0.0))
    kill: float = field(default=5.0, validator=validators.gt(0.0))


@frozen
class ProcessInstance:
    """The identity of this run of the gateway, which marks all of its processes.

    Attributes:
        id: 32 hexadecimal digits. Anything shorter or guessable is refused: whatever carries
            it in its environment is killed.
        environ: The gateway's own environment, from which backends get a minimal part. When it
            carries markers, the gateway is itself a backend of another one; they are passed on,
            so that the outer gateway finds what the inner one has started.
    """

    id: str = field(factory=new_identity, validator=validators.matches_re(_IDENTITY))
    environ: Mapping[str, str] = field(
        factory=lambda: dict(os.environ), converter=_frozen_copy, repr=False, eq=False
    )

    def lineage(self) -> dict[str, str]:
        """Return the markers which the gateway itself carries, if it is a backend of another."""
        return {
            name: value
            for name in (INSTANCE_VARIABLE, PROCESS_VARIABLE)
            if _LINEAGE.fullmatch(value := self.environ.get(name, ""))
        }

    def environment(self, spec: ProcessSpec, process: str) -> dict[str, str]:
        """Return the whole environment of a new process.

        Args:
            spec: What is started.
            process: The identity of this incarnation.
        """
        wanted = _PASSED_ON.union(spec.inherit)
        result = {
            name: value
            for name, value in self.environ.items()
            if name in wanted or name.startswith("LC_")
        }
        result.update(spec.env)
        outer = self.lineage()
        for name, own in ((INSTANCE_VARIABLE, self.id), (PROCESS_VARIABLE, process)):
            result[name] = f"{outer[name]},{own}" if name in outer else own
        return result
