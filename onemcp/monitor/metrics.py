"""What is looked at when somebody asks for metrics.

Names and units follow the practices of Prometheus; those of the process itself are the ones that
its client libraries have.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterator, Mapping, Sequence

import attrs

from onemcp.backend import BreakerState
from onemcp.telemetry import Family, OwnUsage, Sample, Usage, own_usage, usage_of_sessions

from .health import CONNECTED, BackendHealth, BackendState, Health


@attrs.frozen
class Resources:
    """What processes use.

    Attributes:
        own: What this process uses; None where that is not known.
        backends: What the programs of each backend use, with all that they have started.
    """

    own: OwnUsage | None
    backends: Mapping[str, Usage]

    @classmethod
    def read(cls, processes: Mapping[int, str]) -> Resources:
        """Look at /proc, which blocks.

        Args:
            processes: The programs of backends, by process id, and whose they are.
        """
        backends: dict[str, Usage] = dict.fromkeys(processes.values(), Usage())
        for pid, usage in usage_of_sessions(processes).items():
            backends[processes[pid]] += usage
        return cls(own_usage(), backends)


def families(health: Health, resources: Resources, version: str) -> Iterator[Family]:
    """Return what can be seen of a gateway now."""
    yield Family("onemcp_info", "The version.", "gauge", [Sample(1, {"version": version})])
    yield Family.single("onemcp_ready", "1 if clients should come.", health.readiness.is_ready)
    yield from _of_configuration(health)
    yield from _of_connections(health)
    yield from _of_backends(health.backends)
    yield from _of_replicas(health.backends)
    yield from _of_processes(resources)


def _of_configuration(health: Health) -> Iterator[Family]:
    yield Family.single(
        "onemcp_configuration_valid",
        "1 if the configuration file can be used, 0 if an older one is in force.",
        not health.problems,
    )
    yield Family.single(
        "onemcp_reload_suspended",
        "1 if changes of the configuration file are left alone after repeated failures.",
        health.suspended,
    )


def _of_connections(health: Health) -> Iterator[Family]:
    yield Family.single("onemcp_sessions", "Sessions of legacy clients.", health.sessions)
    yield Family.single("onemcp_streams", "Open streams of events.", health.streams)
    yield Family.single("onemcp_requests_in_flight", "Calls under way.", health.in_flight)
    yield Family.single("onemcp_requests_queued", "Calls that wait for a place.", health.queued)
    yield Family.single(
        "onemcp_admission_wait_seconds", "How long the last call had to wait.", health.wait
    )
    yield Family(
        "onemcp_shed_total",
        "What was refused for a limit.",
        "counter",
        [Sample(count, {"what": what}) for what, count in health.shed.items()],
    )
    yield Family.single(
        "onemcp_shedding_level",
        "What is turned away for want of memory or time: 1 newcomers, 2 also calls, 0 nothing.",
        health.shedding,
    )
    yield Family.single("onemcp_parked_calls", "Calls that wait for clients.", health.parked)


def _of_backends(backends: Sequence[BackendHealth]) -> Iterator[Family]:
    def family(
        name: str, about: str, values: Mapping[str, float], *, is_counter: bool = False
    ) -> Family:
        samples = [Sample(value, {"backend": backend}) for backend, value in values.items()]
        return Family(name, about, "counter" if is_counter else "gauge", samples)

    yield family(
        "onemcp_backend_up",
        "1 if the backend is connected to.",
        {each.name: each.state in CONNECTED for each in backends},
    )
    yield _of_states(
        "onemcp_backend_state",
        "1 for the state that the backend is in.",
        BackendState,
        {each.name: each.state for each in backends},
    )
    yield _of_states(
        "onemcp_backend_breaker_state",
        "1 for the state that the circuit breaker of the backend is in.",
        BreakerState,
        {each.name: each.breaker for each in backends},
    )
    yield family(
        "onemcp_backend_required",
        "1 if onemcp is ready only while the backend is up.",
        {each.name: each.required for each in backends},
    )
    yield family(
        "onemcp_backend_requests_in_flight",
        "Calls that wait for an answer of the backend.",
        {each.name: each.in_flight for each in backends},
    )
    yield family(
        "onemcp_backend_requests_queued",
        "Calls that wait for an instance of the backend.",
        {each.name: each.waiting for each in backends},
    )
    yield _of_notifications(
        "onemcp_backend_notifications_dropped_total",
        "Notifications of the backend that were lost, for want of a reader or beyond its rate.",
        {each.name: each.dropped for each in backends},
    )
    yield _of_notifications(
        "onemcp_backend_notifications_coalesced_total",
        "Notifications of the backend that were replaced by later ones that say the same.",
        {each.name: each.coalesced for each in backends},
    )
    yield family(
        "onemcp_backend_instances",
        "Instances of the backend, with those that start or end.",
        {each.name: each.instances for each in backends},
    )
    yield family(
        "onemcp_backend_restarts_total",
        "Restarts of the backend, but for those that somebody has asked for.",
        {each.name: each.restarts for each in backends},
        is_counter=True,
    )
    yield family(
        "onemcp_backend_unapproved_definitions",
        "Tools and prompts of the backend that don't look as they did when they were approved.",
        {each.name: each.unapproved for each in backends},
    )
    yield family(
        "onemcp_backend_backoff_seconds",
        "How long until the backend is started again; 0 where that is not planned.",
        {each.name: 0.0 if each.state in CONNECTED else each.retry_in or 0.0 for each in backends},
    )


def _of_states(
    name: str, about: str, states: type[enum.StrEnum], present: Mapping[str, enum.StrEnum]
) -> Family:
    samples = [
        Sample(of_backend is state, {"backend": backend, "state": state.value})
        for backend, of_backend in present.items()
        for state in states
    ]
    return Family(name, about, "gauge", samples)


def _of_replicas(backends: Sequence[BackendHealth]) -> Iterator[Family]:
    def family(
        name: str, about: str, value: Callable[[BackendHealth], float], *, is_counter: bool = False
    ) -> Family:
        samples = [
            Sample(value(replica), {"backend": each.name, "replica": key})
            for each in backends
            for key, replica in each.replicas.items()
        ]
        return Family(name, about, "counter" if is_counter else "gauge", samples)

    yield family(
        "onemcp_backend_replica_up",
        "1 if the replica is connected to.",
        lambda each: each.state in CONNECTED,
    )
    yield family(
        "onemcp_backend_replica_breaker_open",
        "1 if the circuit breaker of the replica lets no call through, or just one.",
        lambda each: each.breaker is not BreakerState.CLOSED,
    )
    yield family(
        "onemcp_backend_replica_requests_in_flight",
        "Calls that wait for an answer of the replica.",
        lambda each: each.in_flight,
    )
    yield family(
        "onemcp_backend_replica_restarts_total",
        "Restarts of the replica, but for those that somebody has asked for.",
        lambda each: each.restarts,
        is_counter=True,
    )


def _of_notifications(name: str, about: str, counts: Mapping[str, Mapping[str, int]]) -> Family:
    samples = [
        Sample(count, {"backend": backend, "method": method})
        for backend, of_backend in counts.items()
        for method, count in of_backend.items()
    ]
    return Family(name, about, "counter", samples)


def _of_processes(resources: Resources) -> Iterator[Family]:
    used = resources.backends.items()
    yield Family(
        "onemcp_backend_cpu_seconds_total",
        "Processor time of the programs of the backend that are alive.",
        "counter",
        [Sample(usage.cpu_seconds, {"backend": name}) for name, usage in used],
    )
    yield Family(
        "onemcp_backend_resident_memory_bytes",
        "Memory of the programs of the backend.",
        "gauge",
        [Sample(usage.resident_bytes, {"backend": name}) for name, usage in used],
    )
    yield Family(
        "onemcp_backend_processes",
        "Processes of the backend.",
        "gauge",
        [Sample(usage.processes, {"backend": name}) for name, usage in used],
    )
    own = resources.own
    if own is None:
        return
    yield Family.single(
        "process_cpu_seconds_total",
        "Processor time of onemcp itself.",
        own.usage.cpu_seconds,
        "counter",
    )
    yield Family.single(
        "process_resident_memory_bytes", "Memory of onemcp itself.", own.usage.resident_bytes
    )
    yield Family.single("process_open_fds", "Open file descriptors.", own.open_files)
    yield Family.single("process_max_fds", "How many there may be.", own.most_files)
    yield Family.single("process_start_time_seconds", "Start, since the epoch.", own.started)
