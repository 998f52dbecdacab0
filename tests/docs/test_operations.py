"""What operators may come across is explained to them."""

import re
from pathlib import Path

import structlog

from onemcp.cli.events import new_log
from onemcp.cli.failures import ExitCode
from onemcp.telemetry._events import OF_CHILDREN, _snake_case

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
UNSURE = {"interactive_found", "conflicts_changed", "shedding_changed"}
"""What is a warning only sometimes."""


def explained(heading: str) -> set[str]:
    """Return the words in code in the first column of the table below a heading."""
    _, _, below = PAGE.partition(f"# {heading}\n")
    rows = re.findall(r"^\| (.+?) \|", below.partition("\n#")[0], re.MULTILINE)
    return {word for row in rows for word in re.findall(r"`(\w+)`", row) or [row]}


def test_every_warning_and_error_in_the_log_is_explained():
    rules = new_log(structlog.get_logger())._rules.items()
    wanted = set(UNSURE)
    for kind, rule in rules:
        name = _snake_case(kind.__name__)
        if name not in UNSURE and rule.level(None) in {"warning", "error"}:
            wanted.add(name)
    wanted |= {
        f"child_{what.value}"
        for what, level in OF_CHILDREN.items()
        if level in {"warning", "error"}
    }
    assert wanted - explained("Log lines") == set()


def test_every_alert_is_explained():
    rules = (ROOT / "configs" / "monitoring" / "alerts.yml").read_text(encoding="utf-8")
    assert set(re.findall(r"alert: (\w+)", rules)) - explained("Alerts") == set()


def test_every_exit_code_is_explained():
    assert {str(code.value) for code in ExitCode} - explained("Exit codes") == set()
