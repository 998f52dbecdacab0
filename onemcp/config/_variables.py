"""`${NAME}`, `${NAME:-default}` and `${credential:NAME}` in the strings of a configuration."""

import re
from collections.abc import Mapping
from pathlib import Path

REFERENCE = re.compile(r"\$\$\{|\$\{([^}]*)(\}?)")
EXPRESSION = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)(?::-(.*))?", re.DOTALL)
CREDENTIAL = re.compile(r"credential:([A-Za-z0-9_][A-Za-z0-9_.-]{0,254})")
MOST_BYTES = 1024 * 1024
"""How large a credential may be, as systemd.exec(5) has it, in bytes."""

EDITOR_STYLE = re.compile(r"(?:env|input):([A-Za-z_][A-Za-z0-9_]*)")


class VariableError(ValueError):
    """A reference that cannot be resolved.

    Attributes:
        remedy: What to do about it.
    """

    def __init__(self, message: str, remedy: str) -> None:
        super().__init__(message)
        self.remedy = remedy


def expand(text: str, environ: Mapping[str, str]) -> str:
    """Replace every reference in `text` by what it stands for.

    `$${` stands for a literal `${`. As in a shell, `:-` gives what to use when the variable is
    unset or empty. What a variable or a credential holds is not expanded again.

    Raises:
        VariableError: A variable is not set and has no default, a credential can't be read, or a
            reference is malformed.
    """
    return REFERENCE.sub(lambda match: _resolve(match, environ), text)


def _resolve(match: re.Match[str], environ: Mapping[str, str]) -> str:
    if match.group() == "$${":
        return "${"
    if not match.group(2):
        raise VariableError("a ${ is never closed", "Close it with }, or write $${ for a plain ${")
    credential = CREDENTIAL.fullmatch(match.group(1))
    if credential is not None:
        return _credential(credential.group(1), environ)
    expression = EXPRESSION.fullmatch(match.group(1))
    if expression is None:
        raise _malformed(match.group(1))
    name, default = expression.groups()
    value = environ.get(name)
    if default is not None:
        return value or default
    if value is None:
        raise VariableError(
            f"the environment variable {name} is not set",
            f"Set it where onemcp is started, or give a default: ${{{name}:-default}}",
        )
    return value


def _credential(name: str, environ: Mapping[str, str]) -> str:
    """Return what a credential holds, without the end of its last line (systemd.exec(5))."""
    directory = environ.get("CREDENTIALS_DIRECTORY")
    if not directory:
        raise VariableError(
            f"the credential {name} is asked for, but no service manager hands over any",
            f"Give the unit LoadCredential={name}:FILE, or use an environment variable",
        )
    try:
        with (Path(directory) / name).open("rb") as file:
            content = file.read(MOST_BYTES + 1)
        if len(content) > MOST_BYTES:
            raise VariableError(f"the credential {name} is too large", "Name a smaller file")
        return content.decode().removesuffix("\n").removesuffix("\r")
    except OSError as error:
        raise VariableError(
            f"the credential {name} can't be read: {error.strerror}",
            f"Give the unit LoadCredential={name}:FILE",
        ) from error
    except UnicodeDecodeError as error:
        raise VariableError(
            f"the credential {name} is not text in UTF-8", "Write it as text"
        ) from error


def _malformed(inner: str) -> VariableError:
    message = "a ${ is not followed by the name of an environment variable"
    editor_style = EDITOR_STYLE.fullmatch(inner)
    if editor_style:
        return VariableError(message, f"Write ${{{editor_style.group(1)}}}")
    return VariableError(message, "Write ${NAME}, or $${ for a plain ${")
