"""The one configuration file: what it may say, how it is read, and how changes to it are seen."""

from onemcp.config._auth import Auth, AuthMode, Issuer, OAuthClient, User
from onemcp.config._backend import Backend, Backoff, Instances, Protocol, Restart, Timeouts
from onemcp.config._differences import differences
from onemcp.config._editing import NotAnObject, insert_member, remove_member
from onemcp.config._files import (
    FILE_NAME,
    SOCKET_SUFFIX,
    configuration_directory,
    find,
    runtime_directories,
    runtime_directory,
    socket_name,
    state_directory,
)
from onemcp.config._json import plain_json
from onemcp.config._limits import BackendLimits, Limits, Paging
from onemcp.config._load import load, parse
from onemcp.config._log import Log, LogFormat, LogLevel
from onemcp.config._login import (
    AuthorizationCodeLogin,
    BearerLogin,
    ClientCredentialsLogin,
    Login,
    SigningAlgorithm,
)
from onemcp.config._model import Configuration, Control, Naming
from onemcp.config._problems import ConfigurationError, Problem
from onemcp.config._recovery import Breaker, Repeatable, Retry
from onemcp.config._reload import (
    ConfigurationEvent,
    ConfigurationRejected,
    ConfigurationRepaired,
    Reloaded,
    Reloader,
    ReloadResumed,
    ReloadSuspended,
)
from onemcp.config._rules import InvalidOption, origin_of
from onemcp.config._schema import schema
from onemcp.config._server import Server
from onemcp.config._telemetry import Otlp, Readers, Signal, Telemetry
from onemcp.config._transport import HttpTransport, HttpType, StdioTransport, Tls, Transport
from onemcp.config._views import Patterns, View, WordedPatterns, Wording
from onemcp.config._watch import watch

__all__ = [
    "FILE_NAME",
    "SOCKET_SUFFIX",
    "Auth",
    "AuthMode",
    "AuthorizationCodeLogin",
    "Backend",
    "BackendLimits",
    "Backoff",
    "BearerLogin",
    "Breaker",
    "ClientCredentialsLogin",
    "Configuration",
    "ConfigurationError",
    "ConfigurationEvent",
    "ConfigurationRejected",
    "ConfigurationRepaired",
    "Control",
    "HttpTransport",
    "HttpType",
    "Instances",
    "InvalidOption",
    "Issuer",
    "Limits",
    "Log",
    "LogFormat",
    "LogLevel",
    "Login",
    "Naming",
    "NotAnObject",
    "OAuthClient",
    "Otlp",
    "Paging",
    "Patterns",
    "Problem",
    "Protocol",
    "Readers",
    "ReloadResumed",
    "ReloadSuspended",
    "Reloaded",
    "Reloader",
    "Repeatable",
    "Restart",
    "Retry",
    "Server",
    "Signal",
    "SigningAlgorithm",
    "StdioTransport",
    "Telemetry",
    "Timeouts",
    "Tls",
    "Transport",
    "User",
    "View",
    "WordedPatterns",
    "Wording",
    "configuration_directory",
    "differences",
    "find",
    "insert_member",
    "load",
    "origin_of",
    "parse",
    "plain_json",
    "remove_member",
    "runtime_directories",
    "runtime_directory",
    "schema",
    "socket_name",
    "state_directory",
    "watch",
]
