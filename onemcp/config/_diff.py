"""What changed between two configurations. Pure."""

from collections.abc import Iterator, Mapping
from typing import Any

import attrs

from onemcp.config._model import Backend, Configuration
from onemcp.config._structure import SECTIONS, camel_case

LISTENER = frozenset({"server.host", "server.port"})


@attrs.frozen
class BackendChange:
    """One backend, before and after."""

    old: Backend
    new: Backend


@attrs.frozen(kw_only=True)
class ConfigurationDiff:
    """What changed between two configurations.

    Attributes:
        added: Backends only the new one has, in its order.
        removed: Backends only the old one has, in its order.
        changed: Backends that both have and that differ, in the new order.
        unchanged: Backends that are the same in both, in the new order.
        reordered: Whether backends that both have stand in another order.
        options: The options outside `mcpServers` that differ, as in `server.port`.
    """

    added: tuple[Backend, ...] = ()
    removed: tuple[Backend, ...] = ()
    changed: tuple[BackendChange, ...] = ()
    unchanged: tuple[Backend, ...] = ()
    reordered: bool = False
    options: tuple[str, ...] = ()

    @property
    def empty(self) -> bool:
        """Whether nothing changed at all."""
        return not (self.added or self.removed or self.changed or self.reordered or self.options)

    @property
    def sections(self) -> tuple[str, ...]:
        """The sections that differ, as in `server`; `mcpServers` is not among them."""
        return tuple(dict.fromkeys(option.partition(".")[0] for option in self.options))

    @property
    def listener(self) -> tuple[str, ...]:
        """The changed options that take effect only when the listener is opened anew."""
        return tuple(option for option in self.options if option in LISTENER)


def diff(old: Configuration, new: Configuration) -> ConfigurationDiff:
    """Compare two configurations."""
    before = {backend.name: backend for backend in old.backends}
    after = {backend.name: backend for backend in new.backends}
    kept = [name for name in after if name in before]
    return ConfigurationDiff(
        added=tuple(backend for name, backend in after.items() if name not in before),
        removed=tuple(backend for name, backend in before.items() if name not in after),
        changed=tuple(
            BackendChange(before[name], after[name]) for name in kept if before[name] != after[name]
        ),
        unchanged=tuple(after[name] for name in kept if before[name] == after[name]),
        reordered=kept != [name for name in before if name in after],
        options=tuple(_options(old, new)),
    )


def _options(old: Configuration, new: Configuration) -> Iterator[str]:
    for section in SECTIONS:
        before, after = _values(old, section), _values(new, section)
        for name, value in after.items():
            if before[name] != value:
                yield f"{section}.{camel_case(name)}"


def _values(configuration: Configuration, section: str) -> Mapping[str, Any]:
    return attrs.asdict(getattr(configuration, section), recurse=False)
