"""People sign in at an OpenID provider, with a browser: a new device, a new session, and everything that can go wrong there."""
from __future__ import annotations

import contextlib
import errno
import json
import os
import re
import shutil
import signal
import time
from typing import Iterator

import pytest
from support.flows import flow
from support.lab import CONTROLLER, NAS, Lab
from support.many_flows import END, ends, many, within
from support.netns import freeze, wait_for
from support.oidc import ACCOUNTS, CLIENT, SECRET, SECRET_CLIENT, Provider
from support.sign_in import address, login
from support.tg import Tg, resource

POLICY = """
[[network]]
name = "home"
[[connector]]
name = "home-1"
network = "home"
[[identity-provider]]
name = "company"
issuer = "https://id.example.com"
client_id = "{client}"
scopes = ["openid", "email", "groups"]
groups_claim = "groups"
domains = ["example.com"]
session = "{session}"
[[group]]
name = "family"
claims = {{ company = ["family"] }}
""" + resource("NAS", "nas.home.int").replace("{", "{{").replace("}", "}}")


def policy(session: str = "8h", client: str = CLIENT) -> str:
    return POLICY.format(session=session, client=client)


@pytest.fixture(scope="module")
def running(lab: Lab) -> Iterator[Provider]:
    with Provider(lab) as made:
        yield made


@pytest.fixture
def provider(running: Provider) -> Iterator[Provider]:
    yield running
    if not running.process or not running.process.alive():
        running.start()
    running.lie(None)
    running.unavailable(False)
    for account, claims in ACCOUNTS.items():
        running.set_claims(account, **claims)


@pytest.fixture
def company(cold_tg: Tg, provider: Provider) -> Iterator[Tg]:
    """A controller that knows the provider, a connector, and a laptop that was never enrolled."""
    cold_tg.stop()
    cold_tg.controller_arguments = ["--ca-bundle", str(provider.ca_file)]
    cold_tg.start_controller()
    cold_tg.apply(policy()).ok()
    cold_tg.start_connector(cold_tg.token("connector", "home-1"))
    yield cold_tg
    cold_tg.stop()
    cold_tg.controller_arguments, cold_tg.policy = [], ""


def sign_in(tg: Tg, provider: Provider, account: str = "alice", *more: str) -> dict[str, object]:
    with login(tg, *(more or [address(tg)])) as at:
        provider.approve(at.url, account)
        found: dict[str, object] = at.result()
        return found


def online(tg: Tg, provider: Provider, account: str = "alice") -> None:
    sign_in(tg, provider, account)
    tg.client_up().ok()
    tg.wait_works(10, "signing in")


def refusal(tg: Tg, provider: Provider, account: str = "alice", code: int = 5) -> str:
    with login(tg, address(tg)) as at:
        provider.approve(at.url, account)
        said = str(at.result(code))
    assert said.startswith("tg: "), said
    assert not (tg.state("client") / "agent.json").exists(), "somebody who was refused has an identity"
    return said


# -- the way that it is meant ---------------------------------------------------------------------------------------------------

def test_a_person_signs_in_and_reaches_what_his_groups_reach(company: Tg, provider: Provider) -> None:
    began = time.time()
    with login(company, address(company)) as at:
        shown = at.waiting
        assert shown["provider"] == "company"
        assert re.fullmatch(r"[A-Z]{4}-[A-Z]{4}", shown["code"])
        assert shown["url"] == "https://id.example.com/device"
        provider.approve(shown["url"], "alice", code=shown["code"])       # in another browser, with the code typed
        result = at.result()
    assert result["user"] == "alice@example.com" and result["new_device"] is True
    assert 8 * 3600 - 5 <= result["until"] - began <= 8 * 3600 + 60
    company.client_up().ok()
    company.wait_works(10, "signing in")
    status = company.status()
    assert status["state"] == "online" and status["user"] == "alice@example.com"
    assert status["session"] == {"provider": "company", "until": result["until"]}
    (session,) = json.loads(company.admin("session list", "--json").ok().out)["sessions"]
    assert session["user"] == "alice@example.com" and session["methods"] == ["pwd"]
    (user,) = json.loads(company.admin("user list", "--json").ok().out)["users"]
    assert user == {"email": "alice@example.com", "groups": ["family"], "devices": 1, "accounts": ["company"], "made": "by sign-in",
                    "password": False, "totp": False, "state": "active", "role": "member"}
    entry = json.loads(company.admin("audit", "--json").ok().out.splitlines()[-1])
    assert "alice@example.com by company" in json.dumps(entry)


def test_words_are_for_people_and_name_the_page_and_the_code(company: Tg, provider: Provider) -> None:
    at = company.lab.laptop.start([*company.words("client login"), address(company)], "login", env=company.env())
    at.wait_text("Waiting until", 15)
    url = re.search(r"https://\S+user_code=([A-Z-]+)", at.text())
    assert url and f"\n    {url[1]}\n" in at.text(), at.text()
    assert "\x1b" not in at.text(), "colours where there is no terminal"
    provider.approve(url[0], "alice")
    assert at.wait() == 0
    assert "tg: signed in as alice@example.com until" in at.text()
    assert "tg: next: sudo tg client up" in at.text()


def test_a_provider_may_want_a_secret(company: Tg, provider: Provider) -> None:
    company.apply(policy(client=SECRET_CLIENT)).ok()
    with login(company, address(company)) as at:
        assert "client_id and its secret" in str(at.result(5))
    words = " ".join(company.words("controller identity-provider secret"))
    secret = company.lab.internet.run(["sh", "-c", f"echo '{SECRET}' | {words} company"])
    assert secret.ok().err == "the secret is kept\n"
    online(company, provider)
    shown = company.admin("identity-provider show", "company", "--json").ok().out
    assert json.loads(shown)["secret"] == "hidden" and SECRET not in shown
    for file in company.state("controller").iterdir():
        if file.is_file():
            assert SECRET.encode() not in file.read_bytes(), file


def test_a_rotated_key_is_a_key_like_any_other(company: Tg, provider: Provider) -> None:
    with login(company, address(company)) as at:
        url = at.url
        provider.rotate_key()
        provider.approve(url, "alice")
        assert at.result()["user"] == "alice@example.com"


# -- sessions -------------------------------------------------------------------------------------------------------------------

def test_access_ends_with_the_session_and_says_so_and_goes_on_with_the_next(company: Tg, provider: Provider, port: int) -> None:
    company.apply(policy("10s")).ok()
    online(company, provider)
    until = company.status()["session"]["until"]                      # type: ignore[index]
    with flow(company, port) as (near, far):
        ends([(near, far)], time.monotonic())
        late = time.time() - until
        assert 0 <= late < END, f"the flow ended {late:.2f} s after the session"
        with pytest.raises(ConnectionError):
            near.recv(1)
    wait_for("status says so", lambda: company.client("status").code == 4, 5)
    status = json.loads(company.client("status", "--json").out)
    assert status["state"] == "sign-in-needed"
    assert status["problem"] == "sign-in needed: run 'sudo tg client login'"
    (nas,) = json.loads(company.client("resources", "--json").ok().out)["resources"]
    assert nas["state"] == "sign-in needed"
    began = time.monotonic()
    with pytest.raises(OSError) as refused:
        company.connect("nas.home.int", 80).close()
    assert refused.value.errno in (errno.EHOSTUNREACH, errno.EACCES, errno.ECONNREFUSED), "an answer, and no hang"
    assert time.monotonic() - began < 2

    company.apply(policy("1h")).ok()
    result = sign_in(company, provider, "alice", "--provider", "company")    # the client runs, and needs no address
    assert result["new_device"] is False
    company.wait_works(5, "signing in again")
    assert company.client("status").code == 0


def test_access_ends_with_the_session_whatever_the_client_does(company: Tg, provider: Provider, port: int) -> None:
    """It is stopped, and neither ends a flow nor shows another grant: the connector does it."""
    company.apply(policy("10s")).ok()
    online(company, provider)
    until = company.status()["session"]["until"]                      # type: ignore[index]
    with flow(company, port) as pair:
        clients = company.client_pids()
        for pid in clients:
            freeze(pid)
        try:
            ends([pair], time.monotonic())
            late = time.time() - until
            assert 0 <= late < END, f"the flow ended {late:.2f} s after the session"
        finally:
            for pid in clients:
                os.kill(pid, signal.SIGCONT)


def test_up_says_that_a_sign_in_is_needed_and_runs_on(company: Tg, provider: Provider) -> None:
    sign_in(company, provider)
    (session,) = json.loads(company.admin("session list", "--json").ok().out)["sessions"]
    company.admin("session delete", session["id"]).ok()
    up = company.client_up()
    assert up.code == 4, up
    assert up.err == "tg: sign-in needed: run 'sudo tg client login'; the client runs, and comes online as soon as that is done\n"
    assert company.client("status").code == 4
    sign_in(company, provider)
    company.wait_works(5, "signing in")


def test_an_administrator_ends_a_session(company: Tg, provider: Provider, port: int) -> None:
    online(company, provider)
    (session,) = json.loads(company.admin("session list", "--json").ok().out)["sessions"]
    with flow(company, port) as pair:
        began = time.monotonic()
        company.admin("session delete", session["id"]).ok()
        within(ends([pair], began), "session ended")
    (device,) = json.loads(company.admin("device list", "--json").ok().out)["devices"]
    assert device["access"] == "signed out"
    assert company.admin("session delete", session["id"]).code == 1
    assert json.loads(company.admin("session list", "--json").ok().out)["sessions"] == []


def test_a_session_that_ends_takes_a_thousand_flows_with_it(company: Tg, provider: Provider, port: int) -> None:
    online(company, provider)
    (session,) = json.loads(company.admin("session list", "--json").ok().out)["sessions"]
    with contextlib.ExitStack() as stack:
        flows = many(stack, company, NAS, company.lookup("nas.home.int"), port, 1000)
        since = time.monotonic()
        company.admin("session delete", session["id"]).ok()
        within(ends(flows, since), "session ended")


def test_a_person_is_reminded_before_a_session_ends_and_goes_on_without_a_break(company: Tg, provider: Provider, port: int) -> None:
    company.apply(policy("14m")).ok()
    online(company, provider)
    (said,) = company.status()["warnings"]                                # type: ignore[misc]
    assert re.fullmatch(r"the session ends at \S+ \S+ UTC, and all flows with it; 'sudo tg client login' begins another now", said)
    assert f"warning    {said}" in company.client("status").ok().out.splitlines()
    company.apply(policy("8h")).ok()
    with flow(company, port) as (near, far):
        sign_in(company, provider)
        wait_for("no warning is left", lambda: company.status()["warnings"] == [], 5, explain=company.explain)
        near.sendall(b"x")
        assert far.recv(1) == b"x"


def test_a_group_that_the_provider_no_longer_tells_is_lost_at_the_next_sign_in(company: Tg, provider: Provider, port: int) -> None:
    online(company, provider)
    provider.set_claims("alice", email="alice@example.com", email_verified=True, groups=["engineering"])
    with flow(company, port) as pair:
        sign_in(company, provider)
        within(ends([pair], time.monotonic()), "signed in without the group")
    wait_for("the client knows no Resource", lambda: company.status()["resources"] == 0, 5)


def test_a_device_that_came_with_a_token_needs_no_session(company: Tg, provider: Provider) -> None:
    company.admin("user create", "alice@example.com").ok()
    company.admin("group update", "family", "--add", "alice@example.com").ok()
    company.client_up(company.token("device", "alice@example.com")).ok()
    company.wait_works(10, "a token")
    assert "session" not in company.status()
    sign_in(company, provider)
    wait_for("the session is shown", lambda: "session" in company.status(), 5)


# -- what is refused ------------------------------------------------------------------------------------------------------------

def test_who_refuses_at_the_provider_is_not_let_in(company: Tg, provider: Provider) -> None:
    for account in (None, "alice"):
        with login(company, address(company)) as at:
            provider.refuse(at.url, account)
            assert at.result(5) == "tg: the identity provider company: the sign-in was refused there"
    assert json.loads(company.admin("device list", "--json").ok().out)["devices"] == []


def test_whoever_is_no_user_here_is_not_let_in(company: Tg, provider: Provider) -> None:
    said = refusal(company, provider, "mallory")
    assert said == ("tg: mallory@elsewhere.example.net is no user here; an administrator adds one with: "
                    "tg controller user create mallory@elsewhere.example.net")
    company.admin("user create", "mallory@elsewhere.example.net").ok()
    assert "is of none of the domains that company vouches for here" in refusal(company, provider, "mallory")
    company.admin("identity-provider update", "company", "--domain", "example.com", "--domain", "elsewhere.example.net").ok()
    assert sign_in(company, provider, "mallory")["user"] == "mallory@elsewhere.example.net"


def test_a_blocked_person_loses_everything_and_cannot_sign_in(company: Tg, provider: Provider, port: int) -> None:
    online(company, provider)
    with flow(company, port) as pair:
        began = time.monotonic()
        company.admin("user update", "alice@example.com", "--to", "blocked").ok()
        within(ends([pair], began), "user blocked")
    with login(company) as at:
        assert at.result(5) == "tg: alice@example.com is blocked; ask an administrator"
    company.client("logout", "--yes").ok()
    assert "alice@example.com is blocked" in refusal(company, provider)
    company.admin("user update", "alice@example.com", "--to", "active").ok()
    online(company, provider)


def test_an_address_that_was_not_verified_is_nobodys(company: Tg, provider: Provider) -> None:
    for more in ({"email_verified": False}, {}):
        provider.set_claims("alice", email="alice@example.com", groups=["family"], **more)
        assert "does not say that alice@example.com was verified" in refusal(company, provider)


def test_another_account_with_the_same_address_is_somebody_else(company: Tg, provider: Provider) -> None:
    sign_in(company, provider)
    company.client("logout", "--yes").ok()
    provider.set_claims("eve", email="alice@example.com", email_verified=True, groups=["family"])
    assert "another account" in refusal(company, provider, "eve")
    company.admin("user update", "alice@example.com", "--forget-accounts").ok()
    assert sign_in(company, provider, "eve")["user"] == "alice@example.com"


def test_somebody_elses_device_is_not_taken_over(company: Tg, provider: Provider) -> None:
    sign_in(company, provider)
    with login(company) as at:
        provider.approve(at.url, "bob")
        assert "somebody else's" in str(at.result(5))


def test_silent_connections_do_not_drive_out_who_is_signing_in(company: Tg, provider: Provider) -> None:
    """Of one source the controller keeps 256 strangers, and one more ends the oldest: who signs in is none of them."""
    with login(company, address(company)) as at, contextlib.ExitStack() as stack:
        url = at.url
        for _ in range(300):
            stack.enter_context(company.lab.laptop.socket(timeout=5)).connect((CONTROLLER, 8443))
        provider.approve(url, "alice")
        assert at.result()["user"] == "alice@example.com"


def test_who_begins_too_often_is_told_to_wait(company: Tg, provider: Provider) -> None:
    at = address(company)
    waiting = [company.lab.laptop.start([*company.words("client login", f"client-{i}"), at, "--json"], f"login-{i}", env=company.env())
               for i in range(40)]
    try:
        def shown(text: str) -> int:
            return sum(text in p.text() for p in waiting)
        wait_for("each has a page or is refused", lambda: shown('"waiting"') + shown("too many sign-ins from here; try again in") == 40, 30)
        assert 20 <= shown('"waiting"') <= 35
    finally:
        for p in waiting:
            if p.alive():
                p.kill()
            else:
                p.wait()
        for i in range(40):
            shutil.rmtree(company.state(f"client-{i}"), ignore_errors=True)


def test_a_provider_that_is_changed_meanwhile_lets_nobody_in(company: Tg, provider: Provider) -> None:
    with login(company, address(company)) as at:
        url = at.url
        company.admin("identity-provider update", "company", "--trust-email", "true").ok()
        provider.approve(url, "alice")
        assert at.result(5) == "tg: the identity provider company was changed here meanwhile; sign in again"


def test_a_blocked_device_cannot_sign_in(company: Tg, provider: Provider) -> None:
    sign_in(company, provider)
    (device,) = json.loads(company.admin("device list", "--json").ok().out)["devices"]
    company.admin("device update", device["id"], "--to", "blocked").ok()
    with login(company) as at:
        assert at.result(5) == "tg: this device is blocked; ask an administrator"


@pytest.mark.parametrize("lie", ["aud", "auds", "iss", "expired", "future", "nosub", "noexp", "none", "signature", "key", "kid",
                                 "hs256", "no_id_token", "garbage", "userinfo_sub"])
def test_a_token_that_is_not_right_lets_nobody_in(lied_to: tuple[Tg, Provider], lie: str) -> None:
    tg, provider = lied_to
    provider.lie(lie)
    with login(tg, address(tg)) as at:
        provider.approve(at.url, "alice")
        code = at.process.wait(20)
        said = at.process.text().splitlines()[-1]
    assert code in (1, 5), said
    assert said.startswith("tg: the identity provider company: "), said
    assert json.loads(tg.admin("device list", "--json").ok().out)["devices"] == []
    assert json.loads(tg.admin("user list", "--json").ok().out)["users"] == []


@pytest.fixture(scope="module")
def lied_to(session_tg: Tg, running: Provider) -> Iterator[tuple[Tg, Provider]]:
    """One controller for all the lies: nobody gets in."""
    session_tg.stop()
    session_tg.controller_arguments = ["--ca-bundle", str(running.ca_file)]
    session_tg.start_controller()
    session_tg.apply(policy()).ok()
    yield session_tg, running
    running.lie(None)
    session_tg.stop()
    session_tg.controller_arguments, session_tg.policy = [], ""


# -- a provider that does not work ----------------------------------------------------------------------------------------------

def test_a_provider_that_is_down_is_named(company: Tg, provider: Provider) -> None:
    provider.stop()
    with login(company, address(company)) as at:
        said = str(at.result(3))
    assert said.startswith("tg: the identity provider company: id.example.com"), said
    assert "refused" in said, said


def test_a_provider_that_answers_503_is_named_and_one_that_does_so_for_a_while_is_waited_for(company: Tg, provider: Provider) -> None:
    provider.unavailable()
    with login(company, address(company)) as at:
        assert at.result(3) == "tg: the identity provider company: it answers with status 503"
    provider.unavailable(False)
    with login(company, address(company)) as at:
        url = at.url
        provider.unavailable()
        polls = provider.requests("/token")
        wait_for("a poll has failed", lambda: provider.requests("/token") > polls, 10)
        provider.unavailable(False)
        provider.approve(url, "alice")
        assert at.result()["user"] == "alice@example.com"


def test_a_provider_with_a_certificate_of_an_unknown_ca_is_not_believed(company: Tg, provider: Provider) -> None:
    company.controller_arguments = []
    assert company.controller
    company.controller.stop()
    company.start_controller()
    with login(company, address(company)) as at:
        said = str(at.process.wait(20)) + at.process.text()
    assert "the identity provider company: " in said and "CA" in said, said


def test_a_code_that_nobody_uses_expires(company: Tg, running: Provider, lab: Lab) -> None:
    running.stop()
    with Provider(lab, DeviceCode=4) as hasty:
        assert company.controller
        company.controller.stop()
        company.controller_arguments = ["--ca-bundle", str(hasty.ca_file)]
        company.start_controller()
        began = time.monotonic()
        with login(company, address(company)) as at:
            said = str(at.result(4))
        assert said == "tg: the identity provider company: nobody signed in there in time"
        assert 3 < time.monotonic() - began < 15
    running.start()


# -- what is typed --------------------------------------------------------------------------------------------------------------

def test_what_is_missing_or_wrong_is_said_in_one_line(company: Tg, provider: Provider) -> None:
    def said(code: int, *words: str) -> str:
        result = company.client("login", *words)
        assert result.code == code, result
        assert result.err.count("\n") == 1 and result.out == "", result
        return result.err
    assert "say at which controller: tg client login HOST:PORT#PIN" in said(2)
    assert "is no HOST:PORT#PIN" in said(2, "203.0.113.10:8443")
    assert "mistyped behind the #" in said(2, address(company)[:-2])
    other = address(company).split("#")[0] + "#" + "A" * 43
    assert "is not the controller that the address is for" in said(5, other)
    assert "cannot be reached" in said(3, address(company).replace("8443", "8449"))
    assert 'there is no identity provider "firm" here, only company' in said(1, address(company), "--provider", "firm")
    company.apply(policy().replace('[[identity-provider]]', '[[identity-provider]]\nname = "firm"\nissuer = "https://firm.example.com"\n'
                                   'client_id = "tg"\n[[identity-provider]]')).ok()
    assert "--provider with one of company, firm" in said(2, address(company))
    sign_in(company, provider, "alice", address(company), "--provider", "company")
    assert "belongs to the controller at 203.0.113.10:8443" in said(6, "203.0.113.11:8443#" + "A" * 43)


def test_without_a_provider_people_are_told_of_tokens(tg: Tg) -> None:
    result = tg.run(tg.lab.nas, "client login", address(tg), state="other")
    assert result.code == 1 and "tg controller device token USER" in result.err and "--user EMAIL" in result.err, result


def test_the_file_comes_back_as_it_was_and_prune_leaves_people_alone(company: Tg, provider: Provider) -> None:
    sign_in(company, provider)
    exported = company.admin("export").ok().out
    assert 'claims = { "company" = ["family"] }' in exported and "alice" not in exported
    (company.lab.root / "exported.toml").write_text(exported)
    again = company.run(company.lab.internet, "controller apply", str(company.lab.root / "exported.toml"), "--prune", "--dry-run")
    assert again.code == 0 and again.err == "nothing to change\n", again


@pytest.mark.parametrize("proof, enough", [({}, False), ({"amr": ["pwd", "otp"]}, True), ({"amr": ["mfa"]}, True),
                                           ({"amr": [], "acr": "urn:example:phr"}, True)], ids=["pwd", "pwd and otp", "mfa", "acr"])
def test_a_policy_takes_the_providers_word_for_a_second_factor(company: Tg, provider: Provider, proof: dict[str, object],
                                                               enough: bool) -> None:
    text = policy().replace('session = "8h"', 'session = "8h"\nmfa_contexts = ["urn:example:phr"]').replace(
        'address = "nas.home.int"', 'address = "nas.home.int"\npolicy = "strong"') + '[[policy]]\nname = "strong"\nmfa = true\n'
    company.apply(text).ok()
    provider.set_claims("alice", **ACCOUNTS["alice"], proof=proof)
    sign_in(company, provider)
    company.client_up().ok()
    (row,) = json.loads(company.client("resources", "--json").ok().out)["resources"]
    if enough:
        assert row["need"] == "ready"
        company.wait_works(10, "signing in")
    else:
        assert row["need"] == "second-factor" and not company.works()
        assert "needs a sign-in with a second factor" in company.client("status").ok().out
