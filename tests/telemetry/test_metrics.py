"""The text format, as the parser of Prometheus reads it."""

from __future__ import annotations

import math

from prometheus_client.parser import text_string_to_metric_families

from onemcp.telemetry import Family, Histogram, Sample, expose


def parsed(*families: Family) -> dict[str, dict[tuple[tuple[str, str], ...], float]]:
    found: dict[str, dict[tuple[tuple[str, str], ...], float]] = {}
    for family in text_string_to_metric_families(expose(families).decode()):
        for sample in family.samples:
            labels = tuple(sorted(sample.labels.items()))
            found.setdefault(sample.name, {})[labels] = sample.value
    return found


def test_values_and_labels_come_through_whatever_they_hold():
    nasty = 'a "quoted"\nline\\'
    samples = [Sample(1.5, {"x": nasty, "y": ""}), Sample(math.inf, {"x": "é", "y": "b"})]
    family = Family("g", "What\nit \\ is.", "gauge", samples)
    [found] = text_string_to_metric_families(expose([family]).decode())
    assert (found.documentation, found.type) == ("What\nit \\ is.", "gauge")
    assert parsed(family)["g"] == {
        (("x", nasty), ("y", "")): 1.5,
        (("x", "é"), ("y", "b")): math.inf,
    }
    assert parsed(Family.single("c_total", "C.", 2**53, "counter")) == {"c_total": {(): 2.0**53}}


def test_buckets_are_cumulative_and_include_their_bound():
    histogram = Histogram((0.1, 1.0))
    for value in (0.1, 0.5, 0.5, 7.0):
        histogram.observe(value)
    found = parsed(Family("h", "H.", "histogram", [Sample(histogram, {"m": "x"})]))
    assert found["h_bucket"] == {
        (("le", "0.1"), ("m", "x")): 1.0,
        (("le", "1"), ("m", "x")): 3.0,
        (("le", "+Inf"), ("m", "x")): 4.0,
    }
    assert found["h_count"] == {(("m", "x"),): 4.0}
    assert found["h_sum"] == {(("m", "x"),): 8.1}
    bare = parsed(Family("h", "H.", "histogram", [Sample(Histogram((1.0,)))]))
    assert bare["h_count"] == {(): 0.0}
