"""What must be equal directly and through onemcp, and what may differ.

The eras differ in a few members that the SDKs pass on; everything else must be the same.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from tests.interop.backends import Fixture
    from tests.interop.jobs import Outcome, Step

OF_AN_ERA = ("resultType", "ttlMs", "cacheScope")
ONLY_LEGACY = "execution"
"""What tools have in the legacy era alone; the clients read it in that era alone."""
ONLY_WITH_TASKS = "-request-async"
"""How the tools of server-everything end that it has for clients with tasks, such as onemcp."""
METHOD_NOT_FOUND = -32601
INVALID_PARAMS = -32602
RESOURCE_NOT_FOUND = -32002
SERVER_INFO = "io.modelcontextprotocol/serverInfo"


def without_era(tool: dict[str, Any]) -> dict[str, Any]:
    """Return a definition without what only one era has."""
    return {key: member for key, member in tool.items() if key != ONLY_LEGACY}


def is_for_tasks(item: dict[str, Any]) -> bool:
    """Tell whether a server has something only for clients that have tasks for it."""
    return str(item.get("name")).endswith(ONLY_WITH_TASKS)


def settled(value: Any, fixture: Fixture) -> Any:
    """Return a result without what belongs to its era, or to the server's own rhythm."""
    if isinstance(value, list):
        everyones = [each for each in value if not is_for_tasks(each)]
        return [without_era(item) for item in everyones]
    kept = {key: member for key, member in value.items() if key not in OF_AN_ERA}
    if isinstance(kept.get("result"), dict):
        kept["result"] = settled(kept["result"], fixture)
    if "asked" in kept:
        # Questions of one round may be put in any order.
        kept["asked"] = sorted(kept["asked"], key=lambda asked: json.dumps(asked, sort_keys=True))
    if fixture == "everything":
        _leave_out_roots(kept)
    meta = {key: member for key, member in kept.pop("_meta", {}).items() if key != SERVER_INFO}
    return {**kept, "_meta": meta} if meta else kept


def _leave_out_roots(kept: dict[str, Any]) -> None:
    """Leave out what server-everything asks a third of a second after it was connected to."""
    if "asked" in kept:
        kept["asked"] = [asked for asked in kept["asked"] if asked["method"] != "roots/list"]
    if "logs" in kept:
        kept["logs"] = [log for log in kept["logs"] if log.get("logger") != "everything-server"]


def normalized(outcome: Outcome, fixture: Fixture, prefix: str = "") -> Outcome:
    """Return an outcome with a backend's own names, without what may differ."""
    if "error" not in outcome:
        return {"ok": settled(outcome["ok"], fixture)}
    error = {"data": None, **outcome["error"]}
    if prefix:
        error["message"] = error["message"].replace(prefix, "")
    if error["code"] == METHOD_NOT_FOUND:
        error["message"] = ""  # onemcp says more than that
    if error["data"] and "uri" in error["data"]:
        # Each era has its own code, which this SDK's servers don't heed; and where every
        # backend says in its own words that it lacks the resource, onemcp uses its own.
        error["message"] = ""
        error["code"] = INVALID_PARAMS if error["code"] == RESOURCE_NOT_FOUND else error["code"]
    return {"error": error}


def differences(
    steps: Iterable[Step],
    direct: Iterable[Outcome],
    through: Iterable[Outcome],
    fixture: Fixture,
    prefix: str = "",
) -> list[str]:
    """Say which steps have another outcome through onemcp."""
    return [
        f"{json.dumps(step)[:200]}\n  directly: {json.dumps(one)[:900]}\n"
        f"  through:  {json.dumps(other)[:900]}"
        for step, one, other in zip(
            steps,
            (normalized(outcome, fixture) for outcome in direct),
            (normalized(outcome, fixture, prefix) for outcome in through),
            strict=True,
        )
        if one != other
    ]


def key_of(kind: str) -> Callable[[dict[str, Any]], str]:
    """Return what identifies an item of a list."""
    member = {"resources": "uri", "templates": "uriTemplate"}.get(kind, "name")
    return lambda item: str(item[member])


def exposed(items: Iterable[dict[str, Any]], kind: str, prefix: str) -> list[dict[str, Any]]:
    """Return the items of a backend as they are listed where names have a prefix."""
    if kind in {"resources", "templates"}:
        return list(items)
    return [{**item, "name": prefix + item["name"]} for item in items]
