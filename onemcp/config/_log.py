"""What is logged, and how."""

from typing import Literal, TypeAlias, get_args

import attrs

from onemcp.config import _rules as rules

LogLevel: TypeAlias = Literal["debug", "info", "warning", "error"]
LogFormat: TypeAlias = Literal["auto", "human", "json"]


@attrs.frozen(kw_only=True)
class Log:
    """What is logged, and how; `auto` is human on a terminal and JSON elsewhere."""

    level: LogLevel = attrs.field(default="info", validator=rules.one_of(get_args(LogLevel)))
    format: LogFormat = attrs.field(default="auto", validator=rules.one_of(get_args(LogFormat)))
