"""What is refused, and in which words."""

import pytest

from onemcp.config import ConfigurationError, parse

ENVIRON = {"TOKEN": "s3cret"}


def one(entry: str) -> str:
    return '{"mcpServers": {"a": ' + entry + "}}"


def problems_of(text: str | bytes) -> list[str]:
    with pytest.raises(ConfigurationError) as caught:
        parse(text, source="f", environ=ENVIRON)
    assert str(caught.value) == "\n".join(map(str, caught.value.problems))
    return [str(problem) for problem in caught.value.problems]


START = 'Start with {"mcpServers": {"time": {"command": "uvx", "args": ["mcp-server-time"]}}}'
ADD_ONE = 'Add one: "mcpServers": {"time": {"command": "uvx", "args": ["mcp-server-time"]}}'
TWO_KINDS = '"command" for a program to start, or "url" for a server that runs elsewhere'
NAME_RULE = (
    "must be 1 to 64 letters, digits, dots, dashes and underscores, "
    "and start with a letter or digit"
)
URL_REMEDY = "Write an absolute URL such as https://mcp.example.com/mcp"

BAD = [
    # the file as a whole
    ("", f"f: is empty. {START}"),
    (" // nothing\n/* here */", f"f: is empty. {START}"),
    (b"\xef\xbb\xbf", f"f: is empty. {START}"),
    (b'{"a":\n "\xff"}', "f:2:3: is not UTF-8. Save the file as UTF-8"),
    ("[]", f"f:1:1: must be an object, not a list. {START}"),
    ("// hm\n  true", f"f:2:3: must be an object, not a boolean. {START}"),
    ('"x"', f"f:1:1: must be an object, not a string. {START}"),
    ("1.5", f"f:1:1: must be an object, not a number. {START}"),
    ("null", f"f:1:1: must be an object, not null. {START}"),
    # syntax
    ('{"a": 1,\n "b" 2}', 'f:2:6: expected ":" after the key, found 2.'),
    ('{"a": }', "f:1:7: expected a value, found }."),
    ('{"a": 1 "b": 2}', 'f:1:9: expected "," or "}", found ".'),
    ("{a: 1}", 'f:1:2: expected a key in double quotes, or "}", found a.'),
    ("{'a': 1}", "f:1:2: strings are written in double quotes. Replace ' by \""),
    ("{,}", 'f:1:2: expected a key in double quotes, or "}", found ,.'),
    ('{"a": \x07}', "f:1:7: expected a value, found U+0007."),
    (
        '{"a": 1,',
        (
            'f:1:9: the file ends where a key in double quotes, or "}" should follow. '
            "Close what is open"
        ),
    ),
    ('{\n "a": [1, 2', 'f:2:7: this "[" is never closed. Add "]"'),
    ('{"a": "b', 'f:1:7: this string is not closed on its line. Close it with "'),
    ('{"a": "b\n"}', 'f:1:7: this string is not closed on its line. Close it with "'),
    ('{"a": "\t"}', "f:1:8: control character in a string. Write it as \\u0009"),
    ('{"a": "\\x"}', "f:1:8: unknown escape in a string. Write a backslash as \\\\"),
    ('{"a": "\\u12"}', "f:1:8: \\u takes four hexadecimal digits."),
    ('{"a": "\\ud800"}', "f:1:7: half of a surrogate pair is no character."),
    ('{"a": yes}', "f:1:7: yes is no JSON value. Write texts in double quotes"),
    ('{"a": NaN}', "f:1:7: NaN is no JSON value. Write texts in double quotes"),
    ('{"a": 01}', "f:1:7: this is no JSON number."),
    ('{"a": -}', "f:1:7: this is no JSON number."),
    ('{"a": 1e999}', "f:1:7: this number is too large."),
    (
        '{"a": ' + "1" * 5000 + "}",
        "f:1:7: numbers of more than 400 characters are refused.",
    ),
    ('{"a": 1 /* b }', "f:1:9: this comment never ends. Close it with */"),
    (
        "{} {}",
        (
            "f:1:4: unexpected text after the end of the document. "
            "Remove it, or look for a bracket closed too early above"
        ),
    ),
    ("[" * 100_000, "f:1:66: nested more than 64 levels deep."),
    ('{"a":' * 100_000, "f:1:326: nested more than 64 levels deep."),
    # the document
    (
        "{}",
        (
            'f:1:1: "mcpServers" is missing. '
            'Add "mcpServers": {"time": {"command": "uvx", "args": ["mcp-server-time"]}}'
        ),
    ),
    ('{"mcpServers": {}}', f"f:1:16: mcpServers: names no MCP server. {ADD_ONE}"),
    ('{"mcpServers": []}', "f:1:16: mcpServers: must be an object, not a list."),
    (one("null"), "f:1:22: mcpServers.a: must be an object, not null."),
    (one("{}"), f'f:1:22: mcpServers.a: has neither "command" nor "url". Add {TWO_KINDS}'),
    (
        one('{"command": "x", "url": "https://x"}'),
        f'f:1:22: mcpServers.a: has both "command" and "url". Keep {TWO_KINDS}',
    ),
    (
        '{"mcpServers": {"a": {"command": "x"},\n  "a": {"command": "y"}}}',
        (
            "f:2:3: mcpServers.a: appears twice; it is already on line 1. "
            "Rename or remove one of the two"
        ),
    ),
    (
        '{"mcpServers": {"a b": {"command": "x"}}}',
        f'f:1:17: mcpServers["a b"]: the name {NAME_RULE}.',
    ),
    (
        '{"mcpServers": {"a\\n": {"command": "x"}}}',
        f'f:1:17: mcpServers["a\\n"]: the name {NAME_RULE}.',
    ),
    (
        '{"mcpServers": {"": {"command": "x"}}}',
        f'f:1:17: mcpServers[""]: the name {NAME_RULE}.',
    ),
    # unknown options
    (
        one('{"command": "x", "agrs": []}'),
        'f:1:39: mcpServers.a.agrs: unknown option. Did you mean "args"?',
    ),
    (
        one('{"command": "x", "environment": {}}'),
        'f:1:39: mcpServers.a.environment: unknown option. Did you mean "env"?',
    ),
    (
        one('{"url": "https://x", "limits": {"in_flight": 1}}'),
        'f:1:54: mcpServers.a.limits.in_flight: unknown option. Did you mean "inFlight"?',
    ),
    (
        one('{"command": "x"}')[:-1] + ', "auth": {"quux": 1}}',
        (
            "f:1:50: auth.quux: unknown option. Known here: mode, issuers, users, clients, "
            "registration, documents, registrations, accessTokenLifetime, "
            "refreshTokenLifetime, consentLifetime, keyFile, keyLifetime"
        ),
    ),
    # within lists and objects of the section on authorization
    (
        one('{"command": "x"}')[:-1] + ', "auth": {"clients": {"my_app": {"secret": "s3cret"}}}}',
        (
            "f:1:83: auth.clients.my_app.secret: has less than 24 characters. "
            "Make a longer one at random"
        ),
    ),
    (
        one('{"command": "x"}')[:-1]
        + ', "auth": {"mode": "external", "issuers": [{"issuer": "https://id.example"}]}}',
        (
            'f:1:82: auth.issuers[0].jwks: needs either "jwks" or "jwksUrl". '
            "Name a file with its public keys, or the address to fetch them from"
        ),
    ),
    (
        one('{"command": "x"}')[:-1] + ', "server": {"trustedProxies": ["10.0.0.1/8"]}}',
        (
            "f:1:70: server.trustedProxies: '10.0.0.1/8' is no address or network. Write one such "
            "as 127.0.0.1 or 10.0.0.0/8, without bits after the prefix"
        ),
    ),
    # types and values
    (
        one('{"command": "x", "args": "-y"}'),
        "f:1:47: mcpServers.a.args: must be a list, not a string. Put it in brackets",
    ),
    (
        one('{"command": "x", "args": ["-n", 3]}'),
        "f:1:54: mcpServers.a.args[1]: must be a string, not a number. Put it in double quotes",
    ),
    (
        one('{"command": "x", "enabled": "yes"}'),
        (
            "f:1:50: mcpServers.a.enabled: must be true or false, not a string. "
            "Write true or false without quotes"
        ),
    ),
    (
        one('{"command": "x", "limits": {"inFlight": 1.5}}'),
        "f:1:62: mcpServers.a.limits.inFlight: must be a whole number, not a fraction.",
    ),
    (
        one('{"command": "x", "limits": {"inFlight": true}}'),
        "f:1:62: mcpServers.a.limits.inFlight: must be a whole number, not a boolean.",
    ),
    (
        one('{"command": "x", "timeouts": {"call": 0}}'),
        "f:1:60: mcpServers.a.timeouts.call: must be greater than 0.",
    ),
    (
        one('{"command": "x", "protocol": "mordern"}'),
        (
            'f:1:51: mcpServers.a.protocol: must be one of "auto", "modern", "legacy", '
            '"2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25", "2026-07-28". '
            'Did you mean "modern"?'
        ),
    ),
    (
        one('{"command": "x", "protocol": 2026}'),
        (
            'f:1:51: mcpServers.a.protocol: must be one of "auto", "modern", "legacy", '
            '"2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25", "2026-07-28".'
        ),
    ),
    (
        one('{"command": "x", "inherit": ["T", "T"]}'),
        "f:1:50: mcpServers.a.inherit: lists the same thing twice. Remove one",
    ),
    (one('{"command": " "}'), "f:1:34: mcpServers.a.command: must name a program."),
    (
        one('{"command": "x", "args": ["\\u0000"]}'),
        "f:1:48: mcpServers.a.args[0]: contains a NUL character.",
    ),
    (
        one('{"command": "x", "env": {"A=B": "c"}}'),
        'f:1:47: mcpServers.a.env["A=B"]: the name is not the name of an environment variable.',
    ),
    (
        one('{"command": "x", "prefix": "a b"}'),
        (
            "f:1:49: mcpServers.a.prefix: "
            "must be at most 64 letters, digits, dots, dashes and underscores."
        ),
    ),
    (
        one('{"command": "x", "type": "http"}'),
        'f:1:47: mcpServers.a.type: "http" does not go with "command". Remove "type"',
    ),
    (
        one('{"url": "https://x", "type": "stdio"}'),
        'f:1:51: mcpServers.a.type: "stdio" does not go with "url". Remove "type"',
    ),
    (
        one('{"url": "https://x", "env": {}}'),
        'f:1:43: mcpServers.a.env: goes with "command", but this server has "url". Remove "env"',
    ),
    (
        one('{"command": "x", "headers": {}}'),
        (
            'f:1:39: mcpServers.a.headers: goes with "url", but this server has "command". '
            'Remove "headers"'
        ),
    ),
    (
        one('{"command": "x", "enabled": true, "disabled": true}'),
        'f:1:68: mcpServers.a.disabled: contradicts "enabled". Keep one of the two',
    ),
    (
        one('{"url": "https://x", "type": "sse", "protocol": "modern"}'),
        (
            "f:1:70: mcpServers.a.protocol: the modern protocol does not run over HTTP+SSE. "
            'Set "type" to "http", or leave "protocol" out'
        ),
    ),
    (
        one('{"url": "https://x", "restart": {"backoff": {"initial": 31}}}'),
        (
            "f:1:78: mcpServers.a.restart.backoff.initial: must not be greater than maximum. "
            "Lower initial or raise maximum"
        ),
    ),
    # addresses and headers
    (
        one('{"url": "ftp://x"}'),
        "f:1:30: mcpServers.a.url: must be an http:// or https:// URL.",
    ),
    (one('{"url": "https:///x"}'), f"f:1:30: mcpServers.a.url: names no host. {URL_REMEDY}"),
    (
        one('{"url": "https://x:99999"}'),
        f"f:1:30: mcpServers.a.url: is not a valid URL. {URL_REMEDY}",
    ),
    (
        one('{"url": "https://x/#y"}'),
        f"f:1:30: mcpServers.a.url: must not have a #fragment. {URL_REMEDY}",
    ),
    (
        one('{"url": "https://x/a b"}'),
        f"f:1:30: mcpServers.a.url: contains white space or a control character. {URL_REMEDY}",
    ),
    (
        one('{"url": "https://x", "headers": {"X Y": "z"}}'),
        'f:1:55: mcpServers.a.headers["X Y"]: the name is not the name of an HTTP header.',
    ),
    (
        one('{"url": "https://x", "headers": {"X": "${TOKEN}\\r\\nY: z"}}'),
        "f:1:60: mcpServers.a.headers.X: must be printable ASCII, as HTTP headers are.",
    ),
    (
        one('{"url": "http://x", "tls": {"caFile": "y"}}'),
        (
            'f:1:49: mcpServers.a.tls: needs an "https://" URL, for others have no certificate. '
            "Use https"
        ),
    ),
    (
        one('{"url": "https://x", "tls": {"caFile": ""}}'),
        "f:1:61: mcpServers.a.tls.caFile: must name a file.",
    ),
    (
        one('{"command": "x", "tls": {}}'),
        ('f:1:39: mcpServers.a.tls: goes with "url", but this server has "command". Remove "tls"'),
    ),
    # replicas
    (
        one('{"command": "x", "replicas": 65}'),
        "f:1:51: mcpServers.a.replicas: must be at most 64.",
    ),
    (
        one('{"url": "http://x", "replicas": 2}'),
        (
            "f:1:54: mcpServers.a.replicas: is for programs that onemcp starts, and this server "
            'runs elsewhere. Give "url" a list of the addresses of its replicas'
        ),
    ),
    (
        one('{"url": []}'),
        "f:1:30: mcpServers.a.url: must not be empty.",
    ),
    (
        one('{"url": 1}'),
        "f:1:30: mcpServers.a.url: must be a string or a list, not a number.",
    ),
    (
        one('{"url": ["http://x", "y"]}'),
        "f:1:43: mcpServers.a.url[1]: must be an http:// or https:// URL.",
    ),
    (
        one('{"url": ["http://x", "http://x"]}'),
        "f:1:30: mcpServers.a.url: lists the same thing twice. Remove one",
    ),
    (
        one('{"url": ["https://x", "https://y"], "auth": {"per": "user"}}'),
        (
            "f:1:66: mcpServers.a.auth: one login of a user does not serve several addresses. "
            'Keep one address in "url", or have one login for everybody at each'
        ),
    ),
    # the other sections
    (
        one('{"command": "x"}')[:-1] + ', "server": {"port": 65536}}',
        "f:1:60: server.port: must be at most 65535.",
    ),
    (
        one('{"command": "x"}')[:-1] + ', "server": {"port": "80"}}',
        "f:1:60: server.port: must be a whole number, not a string. Remove the quotes",
    ),
    (
        one('{"command": "x"}')[:-1] + ', "server": {"host": ""}}',
        "f:1:60: server.host: must not be empty.",
    ),
    (
        one('{"command": "x"}')[:-1] + ', "limits": {"sessions": 0}}',
        "f:1:64: limits.sessions: must be at least 1.",
    ),
    (
        one('{"url": "http://x/", "limits": {"memory": 2000000}}'),
        (
            "f:1:53: mcpServers.a.limits: memory is for programs that onemcp starts, and this "
            "server runs elsewhere. Leave it out, and limit the server where it runs"
        ),
    ),
    (
        one('{"command": "x", "limits": {"openFiles": 3}}'),
        "f:1:63: mcpServers.a.limits.openFiles: must be at least 16.",
    ),
    # variables
    (
        one('{"command": "x", "args": ["-y", "${NOPE}"]}'),
        (
            "f:1:54: mcpServers.a.args[1]: the environment variable NOPE is not set. "
            "Set it where onemcp is started, or give a default: ${NOPE:-default}"
        ),
    ),
    (
        one('{"command": "x", "cwd": "${HOME"}'),
        (
            "f:1:46: mcpServers.a.cwd: a ${ is never closed. "
            "Close it with }, or write $${ for a plain ${"
        ),
    ),
    (
        one('{"command": "x", "cwd": "${env:HOME}"}'),
        (
            "f:1:46: mcpServers.a.cwd: "
            "a ${ is not followed by the name of an environment variable. Write ${HOME}"
        ),
    ),
    (
        one('{"command": "x", "cwd": "${}"}'),
        (
            "f:1:46: mcpServers.a.cwd: "
            "a ${ is not followed by the name of an environment variable. "
            "Write ${NAME}, or $${ for a plain ${"
        ),
    ),
    (
        one('{"url": "${NOPE}/mcp"}'),  # one problem, though what is left is no URL either
        (
            "f:1:30: mcpServers.a.url: the environment variable NOPE is not set. "
            "Set it where onemcp is started, or give a default: ${NOPE:-default}"
        ),
    ),
]


@pytest.mark.parametrize(("text", "problem"), BAD, ids=range(len(BAD)))
def test_a_mistake_is_told_with_its_place_and_remedy(text, problem):
    assert problems_of(text) == [problem]


def test_all_mistakes_are_told_at_once_in_the_order_of_the_file():
    text = """{
      "mcpServers": {
        "a": {"command": "x", "nope": 1, "cwd": "${NOPE}"},
        "b": {"url": "https://"},
        "c": {"url": "https://x", "restart": {"backoff": {"initial": 2, "maximum": 1}}},
        "d": {"command": "x", "timeouts": {"start": -1, "stop": "5"}},
      },
      "log": {"level": "loud"},
    }"""
    with pytest.raises(ConfigurationError) as caught:
        parse(text, source="f", environ=ENVIRON)
    assert [(problem.line, problem.path) for problem in caught.value.problems] == [
        (3, "mcpServers.a.nope"),
        (3, "mcpServers.a.cwd"),
        (4, "mcpServers.b.url"),
        (5, "mcpServers.c.restart.backoff.initial"),
        (6, "mcpServers.d.timeouts.start"),
        (6, "mcpServers.d.timeouts.stop"),
        (8, "log.level"),
    ]


def test_no_message_holds_what_a_variable_holds():
    text = one(
        '{"url": "https://${TOKEN}:x@${TOKEN}:${TOKEN}/#${TOKEN}", "type": "${TOKEN}",'
        ' "headers": {"A": "${TOKEN}\\n"},'
        ' "prefix": "${TOKEN}/", "protocol": "${TOKEN}"}'
    )
    assert "s3cret" not in "\n".join(problems_of(text))


def test_a_service_is_not_taken_for_a_user():
    service = '"ada": {"secret": "%s", "scopes": ["mcp"]}' % ("s" * 24)
    user = '"ada": {"password": "$scrypt$x"}'
    auth = f'"auth": {{"users": {{{user}}}, "clients": {{{service}}}}}'
    [problem] = problems_of(one('{"command": "x"}')[:-1] + f", {auth}}}")
    assert "'ada' is the name of a user, too" in problem
    assert "Rename one" in problem


def test_an_app_for_people_may_have_the_name_of_one():
    app = '"ada": {"redirectUris": ["https://ada.example/"]}'
    user = '"ada": {"password": "$scrypt$x"}'
    auth = f'"auth": {{"users": {{{user}}}, "clients": {{{app}}}}}'
    parse(one('{"command": "x"}')[:-1] + f", {auth}}}", source="f")
