"""What is logged, and how."""

from typing import Literal, TypeAlias, get_args

import attrs

from onemcp.config import _rules as rules
from onemcp.config._rules import InvalidOption

LogLevel: TypeAlias = Literal["debug", "info", "warning", "error"]
LogFormat: TypeAlias = Literal["auto", "human", "json"]


@attrs.frozen(kw_only=True)
class Log:
    """What is logged, and how; `auto` is human on a terminal and JSON elsewhere.

    Attributes:
        level: The least severe level that is logged.
        format: How lines are written.
        bodies: Whether parameters and results are logged too, without what looks secret.
        redact: Names of members whose values are secret, besides those that sound like it.
    """

    level: LogLevel = attrs.field(default="info", validator=rules.one_of(get_args(LogLevel)))
    format: LogFormat = attrs.field(default="auto", validator=rules.one_of(get_args(LogFormat)))
    bodies: bool = False
    redact: tuple[str, ...] = attrs.field(
        default=(), converter=rules.strings, validator=rules.none_blank
    )

    def __attrs_post_init__(self) -> None:
        if self.bodies and self.level != "debug":
            raise InvalidOption(
                "bodies",
                f'logs at the level debug, but "level" is "{self.level}"',
                'Set "level" to "debug", or leave "bodies" out',
            )
