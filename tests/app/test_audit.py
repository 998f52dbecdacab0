"""The audit log: what is written there, and what is not."""

import json

import pytest

from onemcp.app.audit import AuditLog
from onemcp.app.policy import check_policy, policy_of
from onemcp.auth.server import Audited, What
from onemcp.auth.server import _auditfile as audit
from onemcp.config import Auth, Configuration, ConfigurationError, OAuthClient, User
from onemcp.frontend import RequestDenied, RequestFailed


def lines(path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_one_line_for_each_event_that_belongs_there(tmp_path):
    path = tmp_path / "state" / "audit.log"
    log = AuditLog(path, lambda: 5.0)
    log(Audited(what=What.LOGIN, address="192.0.2.1", subject="ada\n", how="password"))
    log(RequestDenied("/mcp", 401, "expired", "192.0.2.2"))
    log(RequestDenied("/mcp/eyJhbGciOiJub25lIn0.e30.", 404, "no bearer token", "192.0.2.2"))
    log(RequestFailed("/mcp", ValueError()))
    assert lines(path) == [
        {
            "time": 5.0,
            "what": "login",
            "address": "192.0.2.1",
            "subject": "ada\\n",
            "how": "password",
        },
        {
            "time": 5.0,
            "what": "access refused",
            "address": "192.0.2.2",
            "resource": "/mcp",
            "reason": "expired",
        },
        {
            "time": 5.0,
            "what": "access refused",
            "address": "192.0.2.2",
            "resource": "/mcp/[redacted]",
            "reason": "no bearer token",
        },
    ]
    assert path.stat().st_mode & 0o777 == 0o600


def test_what_strangers_wrote_is_shortened_and_the_file_bounded(tmp_path, monkeypatch):
    path = tmp_path / "audit.log"
    log = AuditLog(path)
    monkeypatch.setattr(audit, "MAX_BYTES", 2000)
    for _ in range(10):
        log(Audited(what=What.REGISTRATION, client_name="x" * 10_000))
    assert all(len(line["client_name"]) == 512 for line in lines(tmp_path / "audit.log.1"))
    assert sum(each.stat().st_size for each in tmp_path.iterdir()) < 10_000


def test_a_log_that_cannot_be_written_stops_nobody(tmp_path):
    (tmp_path / "audit.log").mkdir()
    AuditLog(tmp_path / "audit.log")(Audited(what=What.LOGIN))


HASH = "$scrypt$ln=15,r=8,p=3$" + "A" * 22 + "$" + "A" * 43


@pytest.mark.parametrize(
    ("auth", "path"),
    [
        ({"users": {"ada": User(password="$scrypt$x")}}, "auth.users.ada.password"),
        ({"users": {"ada": User(password=HASH, scopes=["x"])}}, "auth.users.ada.scopes[0]"),
        (
            {"clients": {"a": OAuthClient(redirect_uris=["javascript:x"])}},
            "auth.clients.a.redirectUris[0]",
        ),
        (
            {"clients": {"a": OAuthClient(secret="s" * 24, scopes=["mcp", "y"])}},
            "auth.clients.a.scopes[1]",
        ),
    ],
)
def test_what_only_the_authorization_server_understands_is_checked(auth, path):
    with pytest.raises(ConfigurationError) as refused:
        check_policy(Configuration(auth=Auth(**auth)))
    assert [problem.path for problem in refused.value.problems] == [path]
    assert HASH not in str(refused.value)


def test_a_client_without_redirects_is_a_service():
    clients = {
        "robot": OAuthClient(secret="s" * 24, scopes=["backend:a"]),
        "app": OAuthClient(name="App", redirect_uris=["com.example.app:/cb"]),
    }
    configuration = Configuration(auth=Auth(clients=clients, users={"ada": User(password=HASH)}))
    check_policy(configuration)
    policy = policy_of(configuration)
    assert policy.clients["robot"].grant_types == ("client_credentials",)
    assert policy.clients["app"].name == "App"
    assert policy.clients["app"].scopes is None
    assert set(policy.people) == {"local", "ada"}
    assert HASH not in repr(configuration) + repr(policy)
    assert "s" * 24 not in repr(configuration)
