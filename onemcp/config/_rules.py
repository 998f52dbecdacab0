"""The rules the model is built on, and what it shows of values that may be secret.

A rule is an attrs validator. Its message never holds the value, which may be a secret.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from ipaddress import ip_network
from types import MappingProxyType
from typing import Any, TypeAlias
from urllib.parse import urlsplit

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
PREFIX = re.compile(r"[A-Za-z0-9_.-]{0,64}")
SEPARATOR = re.compile(r"[A-Za-z0-9_.-]{1,8}")
HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
HEADER_VALUE = re.compile(r"[\t\x20-\x7e]*")
VARIABLE_NAME = re.compile(r"[^=\x00]+")
WEB_ORIGIN = re.compile(
    r"(?!http://.*:80$|https://.*:443$)https?://(\[[0-9a-f:.]+\]|[a-z0-9._-]+)(:[0-9]{1,5})?"
)
SCOPE = re.compile(r"[\x21\x23-\x5b\x5d-\x7e]{1,256}")
UNFIT_FOR_URLS = re.compile(r"[\x00-\x20\x7f]")
HIGHEST_PORT = 65_535
URL_REMEDY = "Write an absolute URL such as https://mcp.example.com/mcp"

Rule: TypeAlias = Callable[[Any, Any, Any], None]


class InvalidOption(ValueError):
    """A value that the model refuses.

    Attributes:
        option: The attribute at fault, in the model's own spelling.
        remedy: What to do about it.
    """

    def __init__(self, option: str, message: str, remedy: str = "") -> None:
        super().__init__(message)
        self.option = option
        self.remedy = remedy


def matches(pattern: re.Pattern[str]) -> Rule:
    """Require that the whole value matches `pattern`."""

    def rule(_instance: object, attribute: Any, value: str) -> None:
        if not pattern.fullmatch(value):
            raise InvalidOption(attribute.name, f"must match {pattern.pattern}")

    return rule


def one_of(known: tuple[str, ...]) -> Rule:
    """Require one of the `known` words."""

    def rule(_instance: object, attribute: Any, value: object) -> None:
        if value not in known:
            raise InvalidOption(attribute.name, f"must be one of {', '.join(known)}")

    return rule


def at_least(least: float) -> Rule:
    """Require a number that is not less than `least`."""

    def rule(_instance: object, attribute: Any, value: float) -> None:
        if not value >= least:  # so that NaN fails too
            raise InvalidOption(attribute.name, f"must be at least {least}")

    return rule


def part(_instance: object, attribute: Any, value: float) -> None:
    """Require a number from 0 to 1."""
    if not 0 <= value <= 1:
        raise InvalidOption(attribute.name, "must be a number from 0 to 1")


def positive(_instance: object, attribute: Any, value: float) -> None:
    """Require a number above zero."""
    if not value > 0:
        raise InvalidOption(attribute.name, "must be greater than 0")


def port(_instance: object, attribute: Any, value: int) -> None:
    """Require a TCP port, or 0."""
    if not 0 <= value <= HIGHEST_PORT:
        raise InvalidOption(attribute.name, f"must be between 0 and {HIGHEST_PORT}")


def not_blank(_instance: object, attribute: Any, value: str) -> None:
    """Require some text, without NUL characters."""
    if not value.strip() or "\0" in value:
        raise InvalidOption(attribute.name, "must not be empty or contain a NUL character")


def none_blank(_instance: object, attribute: Any, values: tuple[str, ...]) -> None:
    """Require texts of which none is empty."""
    if not all(value.strip() for value in values):
        raise InvalidOption(attribute.name, "must not hold an empty text")


def without_nul(_instance: object, attribute: Any, value: object) -> None:
    """Require text, or texts, that can be handed to the operating system."""
    texts = value if isinstance(value, tuple) else (value,)
    if any("\0" in str(text) for text in texts):
        raise InvalidOption(attribute.name, "contains a NUL character", "Remove it")


def variables(_instance: object, attribute: Any, values: Mapping[str, str]) -> None:
    """Require names and values that an environment can hold."""
    for name, value in values.items():
        if not VARIABLE_NAME.fullmatch(name):
            raise InvalidOption(attribute.name, f"{name!r} is not the name of a variable")
        if "\0" in value:
            raise InvalidOption(attribute.name, f"the value of {name} contains a NUL character")


def headers(_instance: object, attribute: Any, values: Mapping[str, str]) -> None:
    """Require names and values that an HTTP message can hold (RFC 9110, section 5)."""
    for name, value in values.items():
        if not HEADER_NAME.fullmatch(name):
            raise InvalidOption(attribute.name, f"{name!r} is not the name of an HTTP header")
        if not HEADER_VALUE.fullmatch(value):
            raise InvalidOption(attribute.name, f"the value of {name} is not printable ASCII")


def url(_instance: object, attribute: Any, value: str) -> None:
    """Require an absolute HTTP URL (RFC 9110, section 4.2)."""
    fault = _fault_of(value)
    if fault:
        raise InvalidOption(attribute.name, fault, URL_REMEDY)


def urls(_instance: object, attribute: Any, values: tuple[str, ...]) -> None:
    """Require absolute HTTP URLs."""
    for value in values:
        url(_instance, attribute, value)


def origin(_instance: object, attribute: Any, value: str) -> None:
    """Require the scheme, host and port of a URL, as clients write them (RFC 6454)."""
    url(_instance, attribute, value)
    if value != origin_of(value) or value != value.lower() or not WEB_ORIGIN.fullmatch(value):
        raise InvalidOption(
            attribute.name,
            "must be a scheme, a host in lower case and a port if it is not the usual one",
            "Write it like https://mcp.example.com, without a path or a slash at the end",
        )


def networks(_instance: object, attribute: Any, values: tuple[str, ...]) -> None:
    """Require IP addresses or networks."""
    for value in values:
        try:
            ip_network(value)
        except ValueError:
            raise InvalidOption(
                attribute.name,
                f"{value!r} is no address or network",
                "Write one such as 127.0.0.1 or 10.0.0.0/8, without bits after the prefix",
            ) from None


def scopes(_instance: object, attribute: Any, values: tuple[str, ...]) -> None:
    """Require words that a scope can be made of (RFC 6749, section 3.3)."""
    if not all(SCOPE.fullmatch(value) for value in values):
        raise InvalidOption(attribute.name, "holds what is no scope", "Write words such as mcp")


def _fault_of(value: str) -> str | None:
    try:
        parts = urlsplit(value)
        _ = parts.port  # raises when it is none
    except ValueError:
        return "is not a valid URL"
    if parts.scheme not in {"http", "https"}:
        return "must be an http:// or https:// URL"
    if not parts.hostname:
        return "names no host"
    if parts.fragment:
        return "must not have a #fragment"
    if UNFIT_FOR_URLS.search(value):
        return "contains white space or a control character"
    return None


def origin_of(url: str) -> str:
    """Return the scheme, host and port of `url`: the part that is safe to show."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"


def show_origin(url: str) -> str:
    """Show no user, path or query: each is where some service wants its key."""
    origin = origin_of(url)
    return repr(origin if url == origin else f"{origin}/…")


def show_any_origin(url: str | None) -> str:
    """Show as little of a URL that need not be there."""
    return "None" if url is None else show_origin(url)


def show_keys(values: Mapping[str, str]) -> str:
    """Show the keys alone."""
    return "{" + ", ".join(f"{key!r}: ***" for key in values) + "}"


def show_count(values: tuple[str, ...]) -> str:
    """Show how many there are."""
    return f"<{len(values)} hidden>"


def read_only(values: Mapping[str, str]) -> Mapping[str, str]:
    """Return a copy of `values` that cannot be changed."""
    return MappingProxyType(dict(values))


def strings(values: Iterable[str]) -> tuple[str, ...]:
    """Return `values` as a tuple."""
    return tuple(values)
