"""The program: its commands, imported only when they are run, and its exit code."""

from __future__ import annotations

import errno
import gc
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from difflib import get_close_matches
from importlib import import_module
from types import MappingProxyType
from typing import Any, Final, NamedTuple

import click

from onemcp.cli.failures import ExitCode
from onemcp.cli.streams import fill_standard_streams


class Entry(NamedTuple):
    """A command.

    Attributes:
        summary: What it does.
        module: The module of this package that it is in.
        attribute: What it is called there.
        serves: Whether it becomes a server, which is to start fast and stay small.
    """

    summary: str
    module: str
    attribute: str = "command"
    serves: bool = False


COMMANDS: Final[Mapping[str, Entry]] = MappingProxyType(
    {
        "run": Entry("Serve; without a configuration file, a demo.", "run", serves=True),
        "stdio": Entry(
            "Serve on stdin and stdout, for clients that launch it.", "stdio", serves=True
        ),
        "check": Entry("Check a configuration file.", "check"),
        "schema": Entry("Print the JSON Schema of the configuration.", "schema"),
        "status": Entry("Show the state of a running onemcp.", "status"),
        "page": Entry("Print a link to the status page of a running onemcp.", "page"),
        "top": Entry("Show a running onemcp on the whole screen, live.", "top"),
        "logs": Entry("Show what a server has written and what became of it.", "logs"),
        "restart": Entry("Restart a server of a running onemcp.", "acting", "restart"),
        "stop": Entry("Stop a server of a running onemcp.", "acting", "stop"),
        "start": Entry("Start a server of a running onemcp.", "acting", "start"),
        "reset": Entry("Let calls to a server through again.", "acting", "reset"),
        "approve": Entry("Approve tools of a server that have changed.", "approving"),
        "reload": Entry("Let a running onemcp read its configuration.", "acting", "reload"),
        "doctor": Entry("Find out why a server does not start.", "doctor"),
        "tools": Entry("List the tools of a running onemcp.", "using", "tools"),
        "call": Entry("Call a tool of a running onemcp.", "using", "call"),
        "read": Entry("Read a resource of a running onemcp.", "using", "read"),
        "prompt": Entry("Get a prompt of a running onemcp.", "using", "prompt"),
        "import": Entry("Take over the servers of other MCP clients.", "importing"),
        "install": Entry("Write onemcp into the configuration of a client.", "installing"),
        "login": Entry("Log in at a server behind onemcp, with a browser.", "login"),
        "token": Entry("Issue, list and revoke access tokens.", "token"),
        "auth": Entry("Show who was let in, and revoke it.", "auth"),
        "user": Entry("Make the hash of a password.", "user"),
        "install-service": Entry("Make a service of onemcp under systemd.", "install_service"),
    }
)
"""The commands."""

OWN_PROCESS: Final = "own process"
"""Marks a command line that is the process's own, rather than one of some program's making."""

GARBAGE_THRESHOLD: Final = 10_000
"""How many objects more than before make the garbage collector look at the new ones of a server;
Python's own threshold is 700, which some calls in flight reach all the time."""

EXIT_CODES: Final = """\b
Exit codes:
   0  it went well
   1  it failed, or `check` found problems
   2  the command line is wrong, or names a server that there is not
  69  the address cannot be listened on, onemcp runs already, or there
      is none that runs to be asked
  73  the state directory, its keys or the control socket cannot be used
  74  the output cannot be written
  78  the configuration cannot be used
 130  interrupted
"""


class _PipeClosed(Exception):
    """Nobody reads any more what is printed. Of the error itself click would make exit code 1.

    Attributes:
        error: The error.
    """

    def __init__(self, error: BrokenPipeError) -> None:
        super().__init__(str(error))
        self.error = error


@contextmanager
def _past_click() -> Iterator[None]:
    try:
        yield
    except BrokenPipeError as error:
        raise _PipeClosed(error) from error


class _Commands(click.Group):
    """Commands that are imported when they are asked for, so that the others start fast."""

    def make_context(self, *args: Any, **options: Any) -> click.Context:
        """Read the command line; some options print something."""
        with _past_click():
            return super().make_context(*args, **options)

    def invoke(self, ctx: click.Context) -> object:
        """Run the command."""
        with _past_click():
            result: object = super().invoke(ctx)
        return result

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002  (click's)
        return list(COMMANDS)

    def get_command(self, ctx: click.Context | None, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        entry = COMMANDS[cmd_name]
        if ctx is not None and ctx.obj is OWN_PROCESS and entry.serves:
            _make_start_quick()
        command = getattr(import_module(f"onemcp.cli.{entry.module}"), entry.attribute)
        assert isinstance(command, click.Command)  # noqa: S101  (for mypy)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command, or fail and name the nearest."""
        if args[0] not in COMMANDS:
            near = get_close_matches(args[0], COMMANDS, 1)
            ctx.fail(
                f"No such command {args[0]!r}." + "".join(f" Did you mean {n!r}?" for n in near)
            )
        return super().resolve_command(ctx, args)

    def format_commands(
        self,
        ctx: click.Context,  # noqa: ARG002  (click's)
        formatter: click.HelpFormatter,
    ) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, entry.summary) for name, entry in COMMANDS.items()])


@click.group(
    cls=_Commands, epilog=EXIT_CODES, context_settings={"help_option_names": ["-h", "--help"]}
)
@click.version_option(
    None, "-V", "--version", package_name="onemcp", message="%(package)s %(version)s"
)
def program() -> None:
    """Put many MCP servers behind one endpoint."""


def _make_start_quick() -> None:
    """Spare what costs a server time, in this process, which is nobody else's and draws nothing.

    Libraries find no rich: structlog imports it for tracebacks, and httpx for a command line,
    neither of which a server has them show. That is a seventh of what it takes to start, and 10 MB.

    And the collector of garbage looks seldom: importing makes hardly any, and to look again and
    again at all that was imported is another seventh.
    """
    for name in ("rich", "pygments"):
        sys.modules.setdefault(name, None)  # type: ignore[arg-type]  # makes importing it fail
    gc.set_threshold(GARBAGE_THRESHOLD)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        arguments: What follows the program's name; by default those of the process.

    Returns:
        The exit code.
    """
    fill_standard_streams()
    try:
        code = program.main(
            arguments,
            prog_name="onemcp",
            standalone_mode=False,
            obj=OWN_PROCESS if arguments is None else None,
        )
        sys.stdout.flush()
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        return ExitCode.INTERRUPTED
    except BaseExceptionGroup as group:
        if group.split(KeyboardInterrupt)[1] is not None:
            raise
        return ExitCode.INTERRUPTED
    except OSError as error:
        return _output_failed(error)
    except _PipeClosed as closed:
        return _output_failed(closed.error)
    return code if isinstance(code, int) else ExitCode.OK


def _output_failed(error: OSError) -> int:
    # Commands map the errors of what they do, which leaves those of printing.
    sys.stdout = None  # or the interpreter would try once more
    if error.errno != errno.EPIPE:
        click.echo(f"Error: the output cannot be written: {error.strerror}", err=True)
    return ExitCode.IO_ERROR
