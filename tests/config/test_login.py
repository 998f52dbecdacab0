"""What the configuration may say about a login at a backend."""

from __future__ import annotations

import json

import pytest

from onemcp.config import (
    AuthorizationCodeLogin,
    BearerLogin,
    ClientCredentialsLogin,
    ConfigurationError,
    HttpTransport,
    InvalidOption,
    parse,
)


def parsed(auth: object, **more: object):
    server = {"url": "https://mcp.example.com/mcp", "auth": auth, **more}
    configuration = parse(json.dumps({"mcpServers": {"b": server}}), source="f", environ={})
    transport = configuration.backends[0].transport
    assert isinstance(transport, HttpTransport)
    return transport.auth


@pytest.mark.parametrize(
    ("auth", "login"),
    [
        ({"type": "bearer", "tokenVariable": "T"}, BearerLogin(token_variable="T")),
        ({"type": "authorization_code"}, AuthorizationCodeLogin()),
        (
            {"type": "authorization_code", "clientId": "me", "callbackPort": 4711, "scopes": ["a"]},
            AuthorizationCodeLogin(client_id="me", callback_port=4711, scopes=("a",)),
        ),
        (
            {"type": "client_credentials", "clientId": "me", "clientSecret": "s"},
            ClientCredentialsLogin(client_id="me", client_secret="s"),
        ),
    ],
)
def test_each_kind_is_read(auth, login):
    assert parsed(auth) == login


@pytest.mark.parametrize(
    ("auth", "message"),
    [
        ({}, "type"),
        ({"type": "magic"}, "type"),
        ({"type": "bearer"}, "tokenVariable"),
        ({"type": "bearer", "tokenVariable": "T", "tokenFile": "f"}, "tokenVariable"),
        ({"type": "bearer", "tokenVariable": "T", "clientId": "me"}, "clientId"),
        ({"type": "client_credentials", "clientId": "me"}, "clientSecret"),
        ({"type": "client_credentials", "clientSecret": "hidden"}, "clientId"),
        ({"type": "authorization_code", "clientSecret": "hidden"}, "clientId"),
        ({"type": "authorization_code", "issuer": "http://id.example.com"}, "issuer"),
        ({"type": "authorization_code", "unknown": 1}, "unknown"),
    ],
)
def test_each_mistake_is_named_and_no_secret(auth, message):
    with pytest.raises(ConfigurationError) as error:
        parsed(auth)
    assert message in str(error.value)
    assert "hidden" not in str(error.value)


def test_a_header_and_a_login_contradict_each_other():
    with pytest.raises(ConfigurationError, match="Authorization header"):
        parsed({"type": "authorization_code"}, headers={"authorization": "Bearer x"})


@pytest.mark.requirement("basic/authorization/client-registration#implementation-requirements-3")
@pytest.mark.parametrize(
    "url", ["http://a.example/x", "https://a.example", "https://u@a.example/x"]
)
def test_a_metadata_document_has_an_https_address_with_a_path(url):
    with pytest.raises(InvalidOption):
        AuthorizationCodeLogin(client_metadata_url=url)


def test_secrets_are_not_printed():
    shown = [
        AuthorizationCodeLogin(client_id="me", client_secret="hidden"),
        ClientCredentialsLogin(client_id="me", client_secret="hidden"),
    ]
    assert "hidden" not in repr(shown)


def test_everybodys_login_may_be_at_several_addresses():
    urls = ["https://one.example.com/mcp", "https://two.example.com/mcp"]
    assert parsed({"type": "authorization_code"}, url=urls) == AuthorizationCodeLogin()


def test_a_login_for_each_user_needs_no_more_than_that():
    login = parsed({"per": "user"})
    assert isinstance(login, AuthorizationCodeLogin)
    assert (login.per, login.max_users, login.user_idle) == ("user", 256, 600.0)


@pytest.mark.parametrize("mode", ["none", "external"])
def test_a_login_for_each_user_takes_users(mode):
    issuers = [{"issuer": "https://id.example.com", "jwks": "keys.json"}]
    auth = {"mode": mode, **({"issuers": issuers} if mode == "external" else {})}
    server = {"url": "https://mcp.example.com/mcp", "auth": {"per": "user"}}
    document = {"mcpServers": {"b": server}, "auth": auth}
    with pytest.raises(ConfigurationError, match="has a login for each user"):
        parse(json.dumps(document), source="f", environ={})


@pytest.mark.parametrize(
    ("url", "auth"),
    [
        ("https://me:secret@mcp.example.com/mcp", {"per": "user"}),
        ("https://mcp.example.com/mcp", {"type": "bearer", "tokenVariable": "T", "per": "user"}),
        ("https://mcp.example.com/mcp", {"per": "group"}),
        ("https://mcp.example.com/mcp", {"per": "user", "maxUsers": 0}),
        ("https://mcp.example.com/mcp", {"per": "user", "userIdle": 0}),
    ],
)
def test_what_contradicts_a_login_for_each_user_is_refused(url, auth):
    document = {"mcpServers": {"b": {"url": url, "auth": auth}}}
    with pytest.raises(ConfigurationError) as caught:
        parse(json.dumps(document), source="f", environ={})
    assert "secret" not in str(caught.value)
