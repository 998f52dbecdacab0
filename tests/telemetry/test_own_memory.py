"""What this process holds, and may hold."""

from __future__ import annotations

from pathlib import Path

import pytest

from onemcp.telemetry import memory_limit, own_usage, resident_bytes


def test_what_this_process_holds_is_what_the_metrics_say():
    resident, own = resident_bytes(), own_usage()
    assert resident is not None
    assert own is not None
    assert resident == pytest.approx(own.usage.resident_bytes, rel=0.2)


def test_nothing_is_known_without_proc(tmp_path: Path):
    assert resident_bytes(tmp_path) is None
    assert memory_limit(tmp_path, tmp_path) is None


@pytest.mark.parametrize(
    ("own", "limits", "limit"),
    [
        ("0::/a/b\n", {"a/b": "max", "a": "max"}, None),
        ("0::/a/b\n", {"a/b": "3000", "a": "max"}, 3000),
        ("0::/a/b\n", {"a/b": "3000", "a": "2000"}, 2000),
        ("4:memory:/x\n0::/a\n", {"a": "1000\n"}, 1000),
        ("0::/\n", {"": "4000"}, 4000),
        ("0::/../other\n", {"": "4000"}, None),
        ("4:memory:/a\n", {"a": "1000"}, None),
    ],
)
def test_the_lowest_limit_of_the_control_groups_counts(
    tmp_path: Path, own: str, limits: dict[str, str], limit: int | None
):
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "proc/self/cgroup").write_text(own)
    for group, content in limits.items():
        folder = tmp_path / "groups" / group
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "memory.max").write_text(content)
    assert memory_limit(tmp_path / "proc", tmp_path / "groups") == limit
