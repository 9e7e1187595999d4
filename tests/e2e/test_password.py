"""People sign in with a password of tg's own, and a code: who has no identity provider. With limits on guessing."""
from __future__ import annotations

import json
import re
import time
from typing import Iterator

import pytest
from support.netns import Result, wait_for
from support.sign_in import address, code_of
from support.terminal import talk
from support.tg import PEOPLE, Tg, resource

PASSWORD = "correct horse battery staple"
POLICY = PEOPLE + resource("NAS", "nas.home.int")
ALICE = "alice@example.com"


@pytest.fixture
def home(cold_tg: Tg) -> Iterator[Tg]:
    """A controller and a connector; alice has a password, and the laptop was never enrolled."""
    cold_tg.stop()
    cold_tg.start_controller()
    cold_tg.apply(POLICY).ok()
    cold_tg.start_connector(cold_tg.token("connector", "home-1"))
    assert set_password(cold_tg, ALICE).ok().err == "the password is set\n"
    yield cold_tg
    cold_tg.stop()
    cold_tg.policy = ""


def typed(tg: Tg, host: str, command: str, lines: str, *more: str) -> Result:
    """A command with standard input that is no terminal."""
    words = " ".join([*tg.words(command), *more])
    return getattr(tg.lab, host).run(["sh", "-c", f"printf '%b' '{lines}' | {words}"], 30, env=tg.env())


def set_password(tg: Tg, user: str, password: str = PASSWORD) -> Result:
    return typed(tg, "internet", "controller user password", password + r"\n", user)


def login(tg: Tg, password: str = PASSWORD, code: str = "", user: str = ALICE, host: str = "laptop") -> Result:
    where = "" if (tg.state("client") / "agent.json").exists() else f"'{address(tg)}'"
    return typed(tg, host, "client login", password + r"\n" + (code + r"\n" if code else ""), where, "--user", user, "--json")


def test_a_person_signs_in_with_a_password_and_reaches_what_he_may(home: Tg) -> None:
    began = time.time()
    result = json.loads(login(home).ok().out)
    assert result["state"] == "signed-in" and result["user"] == ALICE and result["new_device"] is True
    assert 12 * 3600 - 5 <= result["until"] - began <= 12 * 3600 + 60
    home.client_up().ok()
    home.wait_works(10, "signing in")
    assert home.status()["session"] == {"provider": "password", "until": result["until"]}
    (user,) = [u for u in json.loads(home.admin("user list", "--json").ok().out)["users"] if u["email"] == ALICE]
    assert user["password"] is True and user["totp"] is False
    home.admin("user password", ALICE, "--remove").ok()
    wait_for("the session ends with the password", lambda: home.client("status").code == 4, 5)
    assert "the e-mail address or the password is wrong" in login(home).err


def test_the_password_is_nowhere(home: Tg) -> None:
    login(home).ok()
    for role in ("controller", "client"):
        for file in home.state(role).iterdir():
            if file.is_file():
                assert PASSWORD.encode() not in file.read_bytes(), file
    assert PASSWORD not in home.lab.log_tails() and PASSWORD not in home.admin("audit", "--json").ok().out


def test_a_wrong_password_and_a_user_who_is_none_are_told_the_same(home: Tg) -> None:
    said = "tg: the e-mail address or the password is wrong\n"
    for result in (login(home, "wrong horse battery"), login(home, user="nobody@example.com"), login(home, user="bob@example.com")):
        assert (result.code, result.err) == (5, said), result
    assert not (home.state("client") / "agent.json").exists()


def test_a_second_factor_is_asked_for_and_each_code_is_good_for_once(home: Tg) -> None:
    uri = home.admin("user totp", ALICE).ok().out.strip()
    assert re.fullmatch(r"otpauth://totp/tg%20tg-[0-9a-f]{8}:alice%40example\.com\?secret=[A-Z2-7]{32}&issuer=tg%20tg-[0-9a-f]{8}", uri)
    assert "there is no Code on standard input" in login(home).err
    assert "the code is wrong" in login(home, code="000000" if code_of(uri) != "000000" else "000001").err
    code = code_of(uri)
    login(home, code=code).ok()
    assert "was used already" in login(home, code=code).err
    (session,) = json.loads(home.admin("session list", "--json").ok().out)["sessions"]
    assert session["methods"] == ["pwd", "otp"]
    login(home, code=code_of(uri, time.time() + 30)).ok()            # the phone's clock is ahead by as much as is forgiven
    home.admin("user totp", ALICE, "--remove").ok()
    login(home).ok()


def test_a_password_that_is_changed_before_the_code_is_typed_is_none(home: Tg) -> None:
    uri = home.admin("user totp", ALICE).ok().out.strip()
    def change_first() -> str:
        set_password(home, ALICE, "another horse").ok()
        return code_of(uri)
    code, shown = talk(home.lab.laptop, [*home.words("client login"), address(home), "--user", ALICE], home.env(),
                       [("Password of alice@example.com: ", PASSWORD), ("Code: ", change_first)])
    assert code == 5 and "the password was changed meanwhile; sign in again" in shown


# Row 26 of the threats.
def test_guessing_ends_after_ten_tries(home: Tg) -> None:
    """Each try costs the guesser a scrypt, and the eleventh is not looked at, not even a right one."""
    for _ in range(10):
        assert "is wrong" in login(home, "wrong horse battery").err
    result = login(home)
    assert result.code == 1 and re.search(r"^tg: too many wrong tries; the next one is possible in [56] minutes$", result.err, re.M), result
    # Another place is not shut out by it.
    login(home, host="nas").ok()


def test_at_a_terminal_the_password_is_asked_for_and_not_shown(home: Tg) -> None:
    code, shown = talk(home.lab.laptop, [*home.words("client login"), address(home), "--user", ALICE], home.env(),
                       [("Password of alice@example.com: ", PASSWORD)])
    assert code == 0, shown
    assert "signed in as alice@example.com until" in shown
    assert PASSWORD not in shown


def test_a_new_password_is_asked_for_twice_at_a_terminal(home: Tg) -> None:
    words = [*home.words("controller user password"), ALICE]
    code, shown = talk(home.lab.internet, words, home.env(), [("New password: ", "another horse"), ("Once more: ", "another house")])
    assert code == 2 and "the two are not the same; nothing was changed" in shown
    login(home).ok()
    code, shown = talk(home.lab.internet, words, home.env(), [("New password: ", "another horse"), ("Once more: ", "another horse")])
    assert code == 0 and "the password is set" in shown and "horse" not in shown
    login(home, "another horse").ok()


def test_passwords_that_nobody_should_have_are_refused(home: Tg) -> None:
    for bad, why in (("short", "too short"), ("x" * 20, "one character only"), ("", "too short")):
        result = set_password(home, ALICE, bad)
        assert result.code == 2 and why in result.err and result.err.count("\n") == 1, result
    assert set_password(home, "nobody@example.com").code == 1
    login(home).ok()
