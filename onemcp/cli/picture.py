"""The state of a running onemcp, drawn for people."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any, Final

from rich.console import Console, Group, RenderableType
from rich.text import Text
from rich.tree import Tree

WIDE: Final = 500
"""How wide a line may be where there is no terminal that would break it."""

STYLES: Final[Mapping[str, str]] = MappingProxyType(
    {
        "up": "green",
        "running": "green",
        "starting": "yellow",
        "pending": "yellow",
        "restarting": "yellow",
        "stopping": "yellow",
        "needs-login": "magenta",
        "breaker-open": "red",
        "breaker-half-open": "yellow",
        "paused": "red",
        "stopped": "dim",
        "disabled": "dim",
    }
)
WORDS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "stopped": "stopped by operator",
        "paused": "paused after too many failures",
        "needs-login": "needs a login",
        "breaker-open": "breaker open",
        "breaker-half-open": "breaker half-open",
    }
)
SUSPENDED: Final = "changes of the file are left alone until `onemcp reload`"
BACKENDS: Final = "backends"
COUNTED: Final = ("tools", "prompts", "resources")
_UNITS: Final = (("d", 86_400), ("h", 3600), ("min", 60))


SHEDDING: Final = (
    "nothing is refused",
    "new sessions and streams are refused",
    "new sessions, new streams, and calls beyond a fair share are refused",
)
"""What an instance turns away that is short of something, by the level that it tells."""


def new_console() -> Console:
    """Return what draws on stdout: in colours on a terminal only."""
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = WIDE
    return console


def picture(status: Mapping[str, Any]) -> RenderableType:
    """Draw everything: the instance, what is wrong with its configuration, and its tree."""
    instance, tree = status["instance"], status["tree"]
    head = Text.assemble(
        (f"{instance['name']} {instance['version']}", "bold"),
        f"  pid {instance['pid']}  {instance['url']}  up {duration(instance['uptime'])}",
    )
    traffic = Text(f"{status['inFlight']} in flight, {status['sessions']} sessions", "dim")
    shedding = status.get("shedding", {"level": 0})
    if shedding["level"]:
        traffic.append(f"\n{shedding['reason']}: {SHEDDING[shedding['level']]}", "red")
    backends = {each["name"]: each for each in status["backends"]}
    drawn = Tree(Text(tree["name"]), guide_style="dim")
    _grow(drawn, tree, backends)
    return Group(head, *_configuration(status["configuration"]), traffic, drawn)


def _configuration(told: Mapping[str, Any]) -> Iterator[Text]:
    if told["file"] is None:
        yield Text("no configuration file: a demo is served", "dim")
    elif told["ok"]:
        yield Text(told["file"], "dim")
    else:
        yield Text(f"{told['file']} can't be used; what was before stays in force", "red")
        for each in told["problems"]:
            place = f"{each['line']}:{each['column']}: " if each.get("line") else ""
            yield Text(f"  {place}{each['path']} {each['message']}", "red")
    if told["reloadSuspended"]:
        yield Text(SUSPENDED, "red")


def _grow(branch: Tree, tree: Mapping[str, Any], backends: Mapping[str, Any]) -> None:
    is_list = tree["name"] == BACKENDS
    for child in tree["children"]:
        backend = backends.get(child["id"]) if is_list and "role" not in child else None
        if backend is not None:
            grown = branch.add(backend_line(backend))
            for replica in backend.get("replicas", ()):
                grown.add(backend_line(replica))
            continue
        grown = branch.add(_child_line(child))
        if "supervisor" in child:
            _grow(grown, child["supervisor"], backends)
    if is_list:
        for name, backend in backends.items():
            if backend["state"] == "disabled" and name not in {c["id"] for c in tree["children"]}:
                branch.add(backend_line(backend))


def backend_line(backend: Mapping[str, Any]) -> Text:
    """Tell about one backend, or a replica of one, in one line."""
    state = backend["state"]
    line = Text.assemble((backend["name"], "bold"), "  ")
    line.append(WORDS.get(state, state), STYLES.get(state, ""))
    line.append("".join(f"  {fact}" for fact in _facts(backend)), "dim")
    if "failure" in backend and state != "stopped":
        line.append(f"  {backend['failure']}", "red")
    return line


def _facts(backend: Mapping[str, Any]) -> Iterator[str]:
    if backend["state"] == "disabled":
        return
    if "retryIn" in backend:
        yield f"again in {duration(backend['retryIn'])}"
    yield f"for {duration(backend['for'])}"
    spoken = " ".join(filter(None, [backend.get("transport"), backend.get("revision")]))
    if spoken:
        yield spoken
    if replicas := backend.get("replicas"):
        yield f"{sum(each['state'] == 'up' for each in replicas)} of {len(replicas)} replicas up"
    for name in COUNTED:
        if backend.get(name):
            yield f"{backend[name]} {name if backend[name] > 1 else name.removesuffix('s')}"
    if "unapproved" in backend:
        yield f"{backend['unapproved']} to approve"
    for number, text in ((backend["inFlight"], "in flight"), (backend["restarts"], "restarts")):
        if number:
            yield f"{number} {text}"


def _child_line(child: Mapping[str, Any]) -> Text:
    line = Text(f"{child['id']}  ")
    line.append(child["state"], STYLES.get(child["state"], ""))
    if "role" in child:
        line.append(f"  {child['role']}", "yellow")
    if child["restarts"]:
        line.append(f"  {child['restarts']} restarts", "dim")
    if child.get("reason") and child["state"] != "running":
        line.append(f"  {child['reason']}", "red")
    return line


def duration(seconds: float) -> str:
    """Write a time in the largest unit that it fills."""
    for unit, size in _UNITS:
        if seconds >= size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s" if seconds >= 10 else f"{seconds:.1f} s"  # noqa: PLR2004
