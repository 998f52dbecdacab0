"""Who has logged in with which browser, and for how long that counts."""

import pytest

from onemcp.web._logins import LOGIN_SECONDS, MAX_LOGINS, REQUEST_SECONDS, Logins

NOW = 1_800_000_000.0


def test_over_plain_http_a_login_counts_for_the_one_request():
    logins = Logins()
    browser = logins.log_in("ada", "a=1", NOW, secure=False)
    found = logins.find(browser, "a=1", NOW + REQUEST_SECONDS - 1)
    assert found is not None
    assert found.subject == "ada"
    assert logins.find(browser, "a=2", NOW) is None
    assert logins.find("", "a=1", NOW) is None
    assert logins.find(browser, "a=1", NOW + REQUEST_SECONDS) is None
    assert logins.find(browser, "a=1", NOW) is None, "what has ended does not come back"


def test_over_https_it_counts_for_others_for_a_while():
    logins = Logins()
    browser = logins.log_in("ada", "a=1", NOW, secure=True)
    assert logins.find(browser, "a=2", NOW + LOGIN_SECONDS - 1) is not None
    assert logins.find(browser, "a=2", NOW + LOGIN_SECONDS) is None


def test_who_logs_out_is_out():
    logins = Logins()
    browser = logins.log_in("ada", "", NOW, secure=True)
    logins.log_out(browser)
    logins.log_out(browser)
    assert logins.find(browser, "", NOW) is None


def test_each_login_has_an_id_of_its_own_and_their_number_is_bounded():
    logins = Logins()
    first = logins.log_in("ada", "", NOW, secure=True)
    others = {logins.log_in("ada", "", NOW, secure=True) for _ in range(MAX_LOGINS)}
    assert len(others) == MAX_LOGINS
    assert logins.find(first, "", NOW) is None
    assert repr(logins) == f"<{MAX_LOGINS} logins>"


@pytest.mark.requirement("basic/authorization/security-considerations#confused-deputy-problem-1")
def test_a_form_counts_only_for_its_browser_its_request_and_this_server():
    logins, browser = Logins(), "b" * 43
    token = logins.form_token(browser, "a=1")
    assert logins.is_form_token(token, browser, "a=1")
    assert not logins.is_form_token(token, browser, "a=2")
    assert not logins.is_form_token(token, "c" * 43, "a=1")
    assert not logins.is_form_token(logins.form_token("", "a=1"), "", "a=1")
    assert not logins.is_form_token("é", browser, "a=1")
    assert not Logins().is_form_token(token, browser, "a=1")
