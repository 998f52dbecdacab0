"""From the text of the file to a `Configuration`, or to everything that is wrong with it.

Theory of operation. The text is read into nodes that know their offsets; references to variables
are resolved; the schema looks at the plain values; what it lets pass is structured, section by
section and backend by backend, where the model has the last word. Every stage adds to one list of
problems, and a later stage looks only at what the earlier ones let pass, so that one mistake is
told once.
"""

import os
from collections.abc import Mapping
from pathlib import Path as FilePath

from onemcp.config._json import EmptyDocumentError, Json, JsonSyntaxError, Lines, Node, read
from onemcp.config._model import Configuration
from onemcp.config._otel import VariableFault, with_environment
from onemcp.config._passing import passes
from onemcp.config._problems import ConfigurationError, Path, Problem, render_path
from onemcp.config._schema import schema
from onemcp.config._structure import structure
from onemcp.config._variables import VariableError, expand
from onemcp.config._words import ONE_SERVER, type_of

LARGEST_FILE = 8 * 1024 * 1024
START = f"Start with {{{ONE_SERVER}}}"


def load(
    path: str | os.PathLike[str], *, environ: Mapping[str, str] | None = None
) -> Configuration:
    """Read the configuration file at `path`.

    Args:
        path: The file.
        environ: Where variables come from; the process' own environment by default.

    Raises:
        ConfigurationError: It cannot be read or used; says everything that is wrong.
    """
    return parse(read_file(path), source=os.fspath(path), environ=environ)


def read_file(path: str | os.PathLike[str]) -> bytes:
    """Return the bytes of the configuration file at `path`.

    Raises:
        ConfigurationError: It cannot be read, or is larger than 8 MiB.
    """
    try:
        with FilePath(path).open("rb") as file:
            content = file.read(LARGEST_FILE + 1)
    except OSError as error:
        reason = (error.strerror or type(error).__name__).lower()
        problem = Problem(
            file=os.fspath(path),
            message=f"cannot be read: {reason}",
            remedy="Name an existing, readable file",
        )
        raise ConfigurationError([problem]) from error
    _refuse_large(len(content), os.fspath(path))
    return content


def parse(
    text: str | bytes, *, source: str, environ: Mapping[str, str] | None = None
) -> Configuration:
    """Make a `Configuration` of the text of a configuration file.

    Args:
        text: JSON with comments and trailing commas; bytes are UTF-8.
        source: What to call the file in messages.
        environ: Where variables come from; the process' own environment by default.

    Raises:
        ConfigurationError: It cannot be used; says everything that is wrong.
    """
    decoded = _decode(text, source)
    document = _Document(decoded, source, os.environ if environ is None else environ)
    values = document.with_environment(document.resolve())
    if not passes(values, schema()):
        _refuse(document, values)
    configuration, refusals = structure(values, spoilt=document.spoilt)
    for refusal in refusals:
        document.refuse(refusal.path, refusal.message, refusal.remedy)
    if configuration is None or document.problems:
        raise ConfigurationError(document.problems)
    return configuration


def _refuse(document: "_Document", values: object) -> None:
    from onemcp.config._validation import validate  # noqa: PLC0415 - jsonschema

    for finding in validate(values):
        document.refuse(finding.path, finding.message, finding.remedy, at_key=finding.at_key)


def _refuse_large(size: int, source: str) -> None:
    if size > LARGEST_FILE:
        message = f"is larger than {LARGEST_FILE // 1024**2} MiB"
        raise ConfigurationError(
            [Problem(file=source, message=message, remedy="Is this the right file?")]
        )


def _decode(text: str | bytes, source: str) -> str:
    """Return the text, without its byte order mark."""
    _refuse_large(len(text), source)
    if isinstance(text, bytes):
        try:
            return text.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            before = text[: error.start].decode("utf-8")
            line, column = Lines(before).locate(len(before))
            problem = Problem(
                file=source,
                line=line,
                column=column,
                message="is not UTF-8",
                remedy="Save the file as UTF-8",
            )
            raise ConfigurationError([problem]) from None
    return text.removeprefix("\ufeff")


class _Document:
    """One text, its nodes, and what is wrong with it so far."""

    def __init__(self, text: str, source: str, environ: Mapping[str, str]) -> None:
        self.problems: list[Problem] = []
        self.spoilt: set[Path] = set()
        self._unresolved: set[Path] = set()
        self._source = source
        self._environ = environ
        self._lines = Lines(text)
        self._root = self._read(text)

    def _read(self, text: str) -> Node:
        try:
            root, duplicates = read(text)
        except EmptyDocumentError:
            problem = Problem(file=self._source, message="is empty", remedy=START)
            raise ConfigurationError([problem]) from None
        except JsonSyntaxError as error:
            problem = self._problem(error.offset, (), str(error), error.remedy)
            raise ConfigurationError([problem]) from None
        if not isinstance(root.value, dict):
            message = f"must be an object, not {type_of(root.plain())}"
            raise ConfigurationError([self._problem(root.offset, (), message, START)])
        for duplicate in duplicates:
            line, _ = self._lines.locate(duplicate.first)
            message = f"appears twice; it is already on line {line}"
            remedy = "Rename or remove one of the two"
            self.problems.append(self._problem(duplicate.second, duplicate.path, message, remedy))
        return root

    def resolve(self) -> Mapping[str, Json]:
        """Return the plain values, references resolved; note those that cannot be."""
        values = self._resolve(self._root, ())
        if not isinstance(values, dict):  # pragma: no cover  (for mypy: _read has seen to it)
            raise TypeError
        return values

    def _resolve(self, node: Node, path: Path) -> Json:
        if isinstance(node.value, dict):
            return {
                key: self._resolve(member.value, (*path, key)) for key, member in node.value.items()
            }
        if isinstance(node.value, list):
            return [self._resolve(item, (*path, index)) for index, item in enumerate(node.value)]
        if isinstance(node.value, str) and path != ("$schema",):
            try:
                return expand(node.value, self._environ)
            except VariableError as error:
                self.refuse(path, str(error), error.remedy)
                self._unresolved.add(path)
        return node.value

    def with_environment(self, values: Mapping[str, Json]) -> Mapping[str, Json]:
        """Return the values with what the environment says of OTLP, where that is asked for."""
        telemetry = values.get("telemetry")
        otlp = telemetry.get("otlp") if isinstance(telemetry, dict) else None
        if not isinstance(telemetry, dict) or not isinstance(otlp, dict):
            return values
        try:
            whole = with_environment(otlp, self._environ)
        except VariableFault as fault:
            self.refuse(("telemetry", "otlp"), str(fault), fault.remedy)
            return values
        kept = {name: value for name, value in telemetry.items() if name != "otlp"}
        return {**values, "telemetry": kept if whole is None else {**kept, "otlp": {**whole}}}

    def refuse(self, path: Path, message: str, remedy: str, *, at_key: bool = False) -> None:
        """Note a problem, unless the value at `path` is not known anyway."""
        if path not in self._unresolved:
            self.spoilt.add(path)
            offset = self._offset(path, at_key=at_key)
            self.problems.append(self._problem(offset, path, message, remedy))

    def _offset(self, path: Path, *, at_key: bool) -> int:
        """Return where the value at `path`, or its key, starts; or the nearest value around it."""
        node, offset = self._root, self._root.offset
        for depth, part in enumerate(path, start=1):
            if isinstance(node.value, dict) and part in node.value:
                member = node.value[str(part)]
                node = member.value
                offset = member.key_offset if at_key and depth == len(path) else node.offset
            elif isinstance(node.value, list) and isinstance(part, int):
                node = node.value[part]
                offset = node.offset
            else:
                break
        return offset

    def _problem(self, offset: int, path: Path, message: str, remedy: str) -> Problem:
        line, column = self._lines.locate(offset)
        return Problem(
            file=self._source,
            line=line,
            column=column,
            path=render_path(path),
            message=message,
            remedy=remedy,
        )
