"""The file of exceptions is about what runs, and nothing else."""

from __future__ import annotations

import pytest

from tests.conformance.exceptions import Where, load

ONE = """
[[exception]]
reference = "2025-only"
versions = ["2026-07-28"]
scenarios = ["caching"]
reason = "why"
"""


def read(tmp_path, text: str) -> dict[Where, str]:
    path = tmp_path / "exceptions.toml"
    path.write_text(text)
    return load(path)


def test_exception_is_about_both_transports_unless_it_names_one(tmp_path):
    both = {Where("2025-only", each, "2026-07-28", "caching"): "why" for each in ("stdio", "http")}
    assert read(tmp_path, ONE) == both
    one = read(tmp_path, ONE + 'transports = ["http"]')
    assert {where.transport for where in one} == {"http"}


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(ONE.replace("caching", "cashing"), id="no such scenario"),
        pytest.param(ONE.replace("2026-07-28", "2026-07-29"), id="no such version"),
        pytest.param(ONE.replace("2025-only", "2024-only"), id="no such reference"),
        pytest.param(ONE + 'transports = ["pigeon"]', id="no such transport"),
        pytest.param(ONE.replace("why", " "), id="no reason"),
        pytest.param(ONE + ONE, id="twice"),
    ],
)
def test_exception_that_is_about_nothing_is_refused(tmp_path, text):
    with pytest.raises(ValueError, match="without a reason"):
        read(tmp_path, text)
