"""Every mistake has one line on stderr that says what and what to do, and its exit status."""
from __future__ import annotations

import base64
import hashlib
import os
import pathlib
import time

import pytest
from support.lab import CONTROLLER
from support.netns import Result, kill_and_wait, wait_for
from support.tg import PEOPLE, Tg, resource

FAILED, USAGE, UNREACHABLE, LOGIN, DENIED, CONFLICT = 1, 2, 3, 4, 5, 6


def one_line(result: Result, code: int | tuple[int, ...], *words: str) -> None:
    assert result.code in (code if isinstance(code, tuple) else (code,)), result
    assert result.err.startswith("tg: ") and result.err.count("\n") == 1, result
    assert all(w.lower() in result.err.lower() for w in words), f"{words} is not in: {result.err}"


@pytest.fixture(autouse=True)
def nobody_stays_on_the_nas(cold_tg: Tg):                            # type: ignore[no-untyped-def]
    yield
    kill_and_wait(cold_tg.lab.nas.pids(cold_tg.binary))


def stranger(tg: Tg, role: str, token: str, *more: str) -> Result:
    """A machine that has never been seen tries its luck with a token. It is the NAS, so that the laptop stays as it is."""
    command = {"client": "client up", "connector": "connector run"}[role]
    fresh = f"stranger-{os.urandom(4).hex()}"
    return tg.run(tg.lab.nas, command, "--token", token, "--timeout", "5", *more, state=fresh, timeout=20)


def opened(token: str) -> bytearray:
    """The body of a token: role, expiry, id, secret, pin, address, without the checksum behind it."""
    text = token.removeprefix("tg1_")
    return bytearray(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))[:-4])


def sealed(body: bytes) -> str:
    return "tg1_" + base64.urlsafe_b64encode(body + hashlib.sha256(body).digest()[:4]).decode().rstrip("=")


def with_bytes(token: str, at: int, new: bytes) -> str:
    """The token with some of its bytes replaced."""
    body = opened(token)
    body[at:at + len(new)] = new
    return sealed(bytes(body))


@pytest.mark.parametrize("role,name", [("client", "alice@example.com"), ("connector", "home-1")])
def test_a_token_with_a_wrong_secret_is_denied(tg: Tg, role: str, name: str) -> None:
    token = tg.token({"client": "device", "connector": "connector"}[role], name)
    one_line(stranger(tg, role, with_bytes(token, 1 + 4 + 16, b"\0" * 8)), (LOGIN, DENIED), "token")


def test_a_used_token_lets_nobody_in_again(tg: Tg) -> None:
    token = tg.token("connector", "spare")
    process = tg.lab.nas.start([*tg.words("connector run", "second"), "--token", token], "tg-second", env=tg.env())
    wait_for("the second connector is enrolled", lambda: tg.run(tg.lab.nas, "connector health", state="second").code == 0, 15,
             explain=process.text)
    process.stop()
    one_line(stranger(tg, "connector", token), (LOGIN, DENIED), "token", "used")


def test_an_expired_token_says_so(tg: Tg) -> None:
    """It was made when tg was started, good for a minute."""
    made, token = tg.early_token
    wait_for("a minute is over", lambda: time.monotonic() > made + 61, 65, 0.2)
    one_line(stranger(tg, "client", token), LOGIN, "expired", "token")


def test_a_token_may_name_its_controller_and_a_name_that_nobody_knows_is_said(tg: Tg) -> None:
    """Behind role, expiry, id, secret and pin comes the address."""
    def at(address: str) -> str:
        return sealed(bytes(opened(tg.token("device", "alice@example.com"))[:1 + 4 + 16 + 32 + 32]) + address.encode())
    assert stranger(tg, "client", at("controller.example.org:8443")).code == 0
    kill_and_wait(tg.lab.nas.pids(tg.binary))
    one_line(stranger(tg, "client", at("nowhere.example.org:8443")), UNREACHABLE, "nowhere.example.org")


@pytest.mark.parametrize("token", ["nonsense", "tg1_", "tg1_AAAA", "tg2_AAAA"])
def test_what_is_no_token_is_said_to_be_none(tg: Tg, token: str) -> None:
    one_line(stranger(tg, "client", token), USAGE, "--token", "'tg controller device token USER'")
    one_line(stranger(tg, "connector", token), USAGE, "--token", "'tg controller connector token NAME'")


def test_a_token_cut_short_is_said_to_be(tg: Tg) -> None:
    one_line(stranger(tg, "client", tg.token("device", "alice@example.com")[:-9]), USAGE, "token")


def test_a_token_for_the_other_role_says_so(tg: Tg) -> None:
    one_line(stranger(tg, "connector", tg.token("device", "alice@example.com")), (FAILED, USAGE, DENIED), "device")


def test_tokens_for_nobody(tg: Tg) -> None:
    one_line(tg.admin("device token", "nobody@example.com"), (FAILED, USAGE), "nobody@example.com")
    one_line(tg.admin("connector token", "nothing"), (FAILED, USAGE), "nothing")


def test_no_token_at_all(tg: Tg) -> None:
    one_line(tg.run(tg.lab.nas, "client up", state="never"), LOGIN, "--token")
    one_line(tg.run(tg.lab.nas, "connector run", state="never"), LOGIN, "--token")


@pytest.mark.parametrize("address,why", [("203.0.113.10:1", "refused"), ("10.0.2.1:8443", "")])
def test_a_controller_that_cannot_be_reached(tg: Tg, address: str, why: str) -> None:
    token = tg.token("device", "alice@example.com")
    body = bytes(opened(token))
    at = body.find(b"203.0.113.10:8443")
    assert at > 0
    other = sealed(body[:at] + address.encode())
    one_line(stranger(tg, "client", other), UNREACHABLE, address, why)


def test_a_controller_with_another_ca(tg: Tg) -> None:
    token = tg.token("device", "alice@example.com")
    at = 1 + 4 + 16 + 32
    one_line(stranger(tg, "client", with_bytes(token, at, b"\1" * 32)), (FAILED, UNREACHABLE, DENIED), "CA")


def test_no_right_to_make_a_tun(tg: Tg) -> None:
    token = tg.token("device", "alice@example.com")
    result = tg.lab.nas.run(["setpriv", "--bounding-set=-net_admin", "--inh-caps=-net_admin", *tg.words("client up", "powerless"),
                             "--token", token, "--timeout", "5"], env=tg.env())
    one_line(result, (FAILED, DENIED), "sudo")


def test_a_port_in_use(tg: Tg) -> None:
    result = tg.run(tg.lab.internet, "controller serve", "--listen", f"{CONTROLLER}:8443", "--relay-listen", f"{CONTROLLER}:9444",
                    state="second-controller")
    one_line(result, CONFLICT, "8443", "use")


def test_a_state_directory_in_use(tg: Tg) -> None:
    one_line(tg.admin("serve", "--listen", f"{CONTROLLER}:9443", "--relay-listen", f"{CONTROLLER}:9444"), CONFLICT)
    one_line(tg.run(tg.lab.connector, "connector run"), CONFLICT)


def test_an_address_that_is_not_ours(tg: Tg) -> None:
    result = tg.run(tg.lab.internet, "controller serve", "--listen", "203.0.113.99:8443", state="second-controller")
    one_line(result, (FAILED, USAGE), "203.0.113.99")


def policy_error(tg: Tg, text: str) -> Result:
    path = tg.lab.root / "wrong.toml"
    path.write_text(text)
    return tg.run(tg.lab.internet, "controller apply", str(path))


@pytest.mark.parametrize("text,line,words", [
    (PEOPLE + resource("X", "x.home.int", 'adress = "y"'), "adress", ["adress", "address"]),
    (PEOPLE + resource("X", "10.0.5.7/24"), "10.0.5.7/24", ["10.0.5.0/24"]),
    (PEOPLE + resource("X", "https://x.home.int/"), "https", ["address"]),
    (PEOPLE + resource("X", "x.home.int", 'alias = "short"'), "alias", ["alias"]),
    (PEOPLE + resource("X", "x.home.int", groups='["nobody"]'), 'groups = ["nobody"]', ["nobody"]),
    (PEOPLE + resource("X", "x.home.int", 'protocols = { tcp = ["80-70"] }'), "80-70", ["80-70"]),
    (PEOPLE + "[[gruop]]\nname = 'x'\n", "gruop", ["gruop", "group"]),
    (PEOPLE + "name = \n", "name = \n", []),
], ids=["unknown key", "host bits", "a URL", "alias without a dot", "unknown group", "ports", "unknown table", "no TOML"])
def test_a_wrong_desired_state_names_file_line_and_key(tg: Tg, text: str, line: str, words: list[str]) -> None:
    result = policy_error(tg, text)
    assert result.code == USAGE, result
    where = [i + 1 for i, content in enumerate((text + "\n").splitlines(True)) if line in content][-1]
    assert any(f"wrong.toml:{n}" in result.err for n in (where, where - 1, where + 1)), result
    assert all(w in result.err for w in words), result
    assert tg.run(tg.lab.internet, "controller apply", str(tg.lab.root / "home.toml"), "--dry-run").code == 0, "nothing changed"


def test_a_file_that_is_not_there(tg: Tg) -> None:
    one_line(tg.run(tg.lab.internet, "controller apply", "/nowhere/home.toml"), (FAILED, USAGE), "/nowhere/home.toml")


def test_an_unknown_key_in_an_agents_own_file(tg: Tg) -> None:
    path = tg.lab.root / "agent.toml"
    path.write_text('dns = ["192.168.1.1"]\nlissten = "1.2.3.4:5"\n')
    one_line(tg.run(tg.lab.nas, "connector run", "--config", str(path), state="never"), USAGE, "agent.toml:2", "lissten")


@pytest.mark.parametrize("words", [["client", "upp"], ["clientt"], ["client", "up", "--tokken", "x"], ["controller", "apply"],
                                   ["connector", "run", "--listen", "nonsense"], ["client", "explain"]])
def test_usage_errors(tg: Tg, words: list[str]) -> None:
    one_line(tg.lab.nas.run([tg.binary, *words], env=tg.env()), USAGE)


def test_agents_that_do_not_run(cold_tg: Tg) -> None:
    for command in ("client status", "client down", "connector health", "connector status", "controller status"):
        result = cold_tg.run(cold_tg.lab.nas, command, state="never")
        if command == "client down":
            assert result.code == 0, result          # down twice is no mistake
        else:
            assert result.code in (FAILED, UNREACHABLE, LOGIN) and result.err.count("\n") <= 1, result


def test_help_is_there_for_every_command(cold_tg: Tg) -> None:
    import re
    def commands(words: list[str]) -> None:
        out = cold_tg.lab.nas.run([cold_tg.binary, *words, "--help"], env=cold_tg.env()).ok().out
        assert "Usage" in out or "usage" in out, words
        below = out.split("Subcommands:")[1] if "Subcommands:" in out else ""
        for name in re.findall(r"^  ([a-z]+) ", below, re.M):
            commands([*words, name])
    commands([])


def test_the_controller_wants_to_be_reached_by_its_owner_only(tg: Tg) -> None:
    result = tg.lab.internet.run(["setpriv", "--reuid=65534", "--clear-groups", *tg.words("controller status")], env=tg.env())
    assert result.code in (UNREACHABLE, DENIED), result
    for path in [tg.state("controller"), tg.state("connector"), tg.state("client")]:
        assert path.stat().st_mode & 0o077 == 0, path
        for file in pathlib.Path(path).rglob("*"):
            assert file.stat().st_mode & 0o077 == 0 or file.is_symlink(), file
