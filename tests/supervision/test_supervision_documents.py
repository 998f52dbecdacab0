"""What the documentation says is so."""

from __future__ import annotations

import runpy
from pathlib import Path

import trio
import trio.testing

from onemcp import supervision
from onemcp.supervision._lifecycle import mermaid

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "explanation" / "supervision.md"
EXAMPLE = ROOT / "docs" / "examples" / "supervised_workers.py"


def test_the_diagram_is_the_table():
    assert mermaid() in PAGE.read_text()


def test_the_page_names_every_command_and_policy():
    text = PAGE.read_text()
    for name in ("ChildSpec", "DynamicSupervisor", "Escalate", "Pause", "Backoff", "Intensity"):
        assert name in text
    public = {name for name in dir(supervision.Supervisor) if not name.startswith("_")}
    for name in public - {"adopt", "name", "path", "policy", "running", "run"}:
        assert f"{name}(" in text, name


def test_everything_exported_exists_and_is_documented():
    for name in supervision.__all__:
        assert getattr(supervision, name).__doc__, name


def test_the_example_runs_and_stops_in_reverse_order(capsys):
    main = runpy.run_path(str(EXAMPLE))["main"]
    trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))
    lines = capsys.readouterr().out.splitlines()
    assert any("sensor" in line and "paused" in line for line in lines)
    assert lines[-3].startswith("the display showed")
    assert lines[-1].endswith("root/station #1 stopped")
