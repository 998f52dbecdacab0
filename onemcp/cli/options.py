"""Options that commands have in common, and that cost nothing to import."""

from __future__ import annotations

import click

as_json_option = click.option("--json", "as_json", is_flag=True, help="Print it as JSON.")
