"""The difference between two lists of children, as a plan. Pure."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING

from attrs import field, frozen

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from onemcp.supervision._spec import ChildSpec


@frozen(kw_only=True)
class ReloadPlan:
    """Say what a reload will do, by id.

    Attributes:
        stop: To be stopped and forgotten, last started first.
        restart: Changed: to be stopped, then started from the new spec, in the new order.
        replace: Changed, and old and new can coexist: start new, await ready, drain, stop old.
        start: To be added, in the new order.
        keep: Left untouched.
    """

    stop: tuple[str, ...] = ()
    restart: tuple[str, ...] = ()
    replace: tuple[str, ...] = ()
    start: tuple[str, ...] = ()
    keep: tuple[str, ...] = ()


def _frozen_mapping(failed: Mapping[str, BaseException]) -> Mapping[str, BaseException]:
    return MappingProxyType(dict(failed))


@frozen(kw_only=True)
class ReloadReport:
    """Say what a reload did, by id.

    Attributes:
        stopped: Stopped and forgotten.
        restarted: Stopped and started from the new spec.
        replaced: Replaced without a gap.
        started: Added.
        kept: Left untouched.
        failed: What did not work, and why. A replacement that failed left its old one running.
    """

    stopped: tuple[str, ...] = ()
    restarted: tuple[str, ...] = ()
    replaced: tuple[str, ...] = ()
    started: tuple[str, ...] = ()
    kept: tuple[str, ...] = ()
    failed: Mapping[str, BaseException] = field(factory=dict, converter=_frozen_mapping)

    @property
    def ok(self) -> bool:
        """Tell whether everything worked."""
        return not self.failed

    def __str__(self) -> str:
        parts = [
            f"{name}: {', '.join(ids)}"
            for name in ("stopped", "restarted", "replaced", "started", "kept")
            if (ids := getattr(self, name))
        ]
        parts += [f"failed: {child} ({error})" for child, error in self.failed.items()]
        return "; ".join(parts) or "nothing to do"


def plan_reload(old: Sequence[ChildSpec], new: Sequence[ChildSpec]) -> ReloadPlan:
    """Compare two lists of children by id and version.

    Args:
        old: The children now, in start order.
        new: The children wanted, in start order, with unique ids.
    """
    before = {spec.id: spec for spec in old}
    after = {spec.id: spec for spec in new}
    changed = [
        spec for spec in new if spec.id in before and before[spec.id].version != spec.version
    ]
    beside = {spec.id for spec in changed if spec.coexists and before[spec.id].coexists}
    touched = {spec.id for spec in changed}
    return ReloadPlan(
        stop=tuple(spec.id for spec in reversed(old) if spec.id not in after),
        restart=tuple(spec.id for spec in changed if spec.id not in beside),
        replace=tuple(spec.id for spec in changed if spec.id in beside),
        start=tuple(spec.id for spec in new if spec.id not in before),
        keep=tuple(spec.id for spec in new if spec.id in before and spec.id not in touched),
    )
