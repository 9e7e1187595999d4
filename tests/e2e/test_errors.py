"""Every mistake has one line on stderr that says what and what to do, and its exit status."""
from __future__ import annotations

import base64
import hashlib
import json
import os
import pathlib
import re
import shutil
import socket
import time
from typing import Iterator

import pytest
from support.lab import CONTROLLER, HOME_DNS, NAS
from support.netns import Result, kill_and_wait, wait_for
from support.tg import PEOPLE, Tg, resource

FAILED, USAGE, UNREACHABLE, LOGIN, DENIED, CONFLICT = 1, 2, 3, 4, 5, 6


def one_line(result: Result, code: int, *words: str) -> None:
    assert result.code == code, result
    assert result.err.startswith("tg: ") and result.err.count("\n") == 1, result
    assert all(w.lower() in result.err.lower() for w in words), f"{words} is not in: {result.err}"


@pytest.fixture(autouse=True)
def nobody_stays_on_the_nas(cold_tg: Tg):                            # type: ignore[no-untyped-def]
    yield
    kill_and_wait(cold_tg.lab.nas.pids(cold_tg.binary))
    cold_tg.lab.nas.resolv_conf.write_text(f"nameserver {HOME_DNS}\n")


def stranger(tg: Tg, role: str, token: str, *more: str, state: str = "") -> Result:
    """A machine that has never been seen tries its luck with a token. It is the NAS, so that the laptop stays as it is."""
    command = {"client": "client up", "connector": "connector run"}[role]
    fresh = state or f"stranger-{os.urandom(4).hex()}"
    return tg.run(tg.lab.nas, command, "--token", token, "--timeout", "5", *more, state=fresh, timeout=20)


def still_good(tg: Tg, token: str, state: str = "") -> None:
    """The token was not spent: it lets a client in, which goes again."""
    fresh = state or f"stranger-{os.urandom(4).hex()}"
    stranger(tg, "client", token, state=fresh).ok()
    tg.run(tg.lab.nas, "client down", state=fresh).ok()


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
    one_line(stranger(tg, role, with_bytes(token, 1 + 4 + 16, b"\0" * 8)), DENIED, "token")


def test_a_used_token_lets_nobody_in_again(tg: Tg) -> None:
    token = tg.token("connector", "spare")
    process = tg.lab.nas.start([*tg.words("connector run", "second"), "--token", token], "tg-second", env=tg.env())
    wait_for("the second connector is enrolled", lambda: tg.run(tg.lab.nas, "connector health", state="second").code == 0, 15,
             explain=process.text)
    process.stop()
    one_line(stranger(tg, "connector", token), DENIED, "token", "used", "ask for a new one")


def test_an_expired_token_says_so(tg: Tg) -> None:
    made, token = time.monotonic(), tg.token("device", "alice@example.com", "--expires", "2s")
    wait_for("its time is over", lambda: time.monotonic() > made + 3, 5)
    one_line(stranger(tg, "client", token), LOGIN, "expired", "token")


@pytest.mark.parametrize("expires,words", [("soon", "90s, 15m, 8h or 2d"), ("0", "1s to 7d"), ("8d", "1s to 7d"), ("", "expires")])
def test_how_long_a_token_is_good_for_is_a_length_of_time(tg: Tg, expires: str, words: str) -> None:
    one_line(tg.admin("device token", "alice@example.com", "--expires", expires), USAGE if expires else FAILED, words)
    made = json.loads(tg.admin("device token", "alice@example.com", "--expires", "90", "--json").ok().out)
    assert 89 * 60 < made["expires"] - time.time() <= 90 * 60 + 1, "a number alone is minutes"


def test_a_token_may_name_its_controller_and_a_name_that_nobody_knows_is_said(tg: Tg) -> None:
    """Behind role, expiry, id, secret and pin comes the address."""
    def at(address: str) -> str:
        return sealed(bytes(opened(tg.token("device", "alice@example.com"))[:1 + 4 + 16 + 32 + 32]) + address.encode())
    still_good(tg, at("controller.example.org:8443"))
    one_line(stranger(tg, "client", at("nowhere.example.org:8443")), UNREACHABLE, "nowhere.example.org", "--public")


@pytest.mark.parametrize("token", ["nonsense", "tg1_", "tg1_AAAA", "tg2_AAAA"])
def test_what_is_no_token_is_said_to_be_none(tg: Tg, token: str) -> None:
    one_line(stranger(tg, "client", token), USAGE, "--token", "'tg controller device token USER'")
    one_line(stranger(tg, "connector", token), USAGE, "--token", "'tg controller connector token NAME'")


def test_a_token_cut_short_is_said_to_be(tg: Tg) -> None:
    one_line(stranger(tg, "client", tg.token("device", "alice@example.com")[:-9]), USAGE, "token")


def test_a_token_for_the_other_role_says_so(tg: Tg) -> None:
    one_line(stranger(tg, "connector", tg.token("device", "alice@example.com")), USAGE, "device")


def test_tokens_for_nobody(tg: Tg) -> None:
    one_line(tg.admin("device token", "nobody@example.com"), FAILED, "nobody@example.com", "user list")
    one_line(tg.admin("connector token", "nothing"), FAILED, "nothing", "connector list")


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
    port = address.split(":")[1]
    one_line(stranger(tg, "client", other), UNREACHABLE, address, why, "see that it runs there", f"TCP port {port}")


@pytest.fixture
def swallowed(tg: Tg) -> Iterator[Tg]:
    """What the NAS sends to the controller gets lost on the way, without a word."""
    tg.lab.router.nft(f"""table inet lost {{
      chain way {{ type filter hook forward priority -10
        ip saddr {NAS} ip daddr {CONTROLLER} counter drop
      }}
    }}""")
    yield tg
    tg.lab.router.run("nft delete table inet lost")


@pytest.mark.parametrize("role,more", [("client", []), ("client", ["--foreground"]), ("connector", [])])
def test_a_controller_that_swallows_packets(swallowed: Tg, role: str, more: list[str]) -> None:
    tg = swallowed
    token = tg.token(*{"client": ("device", "alice@example.com"), "connector": ("connector", "spare")}[role])
    result = stranger(tg, role, token, *more)
    assert re.search(r"packets [1-9]", tg.lab.router.run("nft list table inet lost").out), "or this tests nothing"
    one_line(result, UNREACHABLE, f"the controller at {CONTROLLER}:8443 cannot be reached: ", "does not answer",
             "; see that it runs there, and that nothing on the way blocks TCP port 8443")
    if role == "client":
        tg.lab.router.run("nft delete table inet lost").ok()
        still_good(tg, token)


def test_a_controller_that_swallows_packets_of_a_client_that_it_knows(tg: Tg, request: pytest.FixtureRequest) -> None:
    state = f"stranger-{os.urandom(4).hex()}"
    still_good(tg, tg.token("device", "alice@example.com"), state)
    request.getfixturevalue("swallowed")
    one_line(tg.run(tg.lab.nas, "client up", "--timeout", "2", state=state), UNREACHABLE, "not online after 2 s",
             f"controller {CONTROLLER}:8443: ", "; 'sudo tg client netcheck'")


def test_a_device_that_is_refused_hears_so_at_once(tg: Tg) -> None:
    state = f"stranger-{os.urandom(4).hex()}"
    still_good(tg, tg.token("device", "alice@example.com"), state)
    uri = json.loads((tg.state(state) / "agent.json").read_text())["uri"]
    device = uri.rsplit("/", 1)[1]
    for command, more, words in (("device update", ["--to", "blocked"], "this device is blocked; ask an administrator"),
                                 ("device delete", [], "this device has been removed; ask an administrator for a new token")):
        tg.admin(command, device, *more).ok()
        result = tg.run(tg.lab.nas, "client up", state=state)
        one_line(result, DENIED, words)
        assert result.seconds < 5, result
        assert not tg.lab.nas.pids(tg.binary), "it does not stay"


ANOTHER_CA = "another CA than expected; if the controller was set up anew, start once with a new --token"


@pytest.mark.parametrize("role,name", [("client", "alice@example.com"), ("connector", "home-1")])
def test_a_controller_with_another_ca(tg: Tg, role: str, name: str) -> None:
    token = tg.token({"client": "device", "connector": "connector"}[role], name)
    at = 1 + 4 + 16 + 32
    wrong = with_bytes(token, at, b"\1" * 32)
    one_line(stranger(tg, role, wrong), DENIED, f"{CONTROLLER}:8443 is not the controller", ANOTHER_CA)


@pytest.fixture
def set_up_anew(tg: Tg) -> Iterator[str]:
    """A controller at another port that knows the same people and has a CA of its own; where agents reach it."""
    at, state = f"{CONTROLLER}:9443", f"anew-{os.urandom(4).hex()}"
    process = tg.lab.internet.start([*tg.words("controller serve", state), "--listen", at, "--public", at,
                                     "--relay-listen", "none"], "tg-anew", env=tg.env())
    tg.wait_listening(tg.lab.internet, process, 9443)
    (tg.lab.root / "anew.toml").write_text(PEOPLE)
    tg.run(tg.lab.internet, "controller apply", str(tg.lab.root / "anew.toml"), state=state).ok()
    yield state
    process.stop()


def moved(tg: Tg, state: str) -> None:
    """The controller of an enrolled agent has another port now, and so, for the agent, another CA."""
    about = tg.state(state) / "agent.json"
    text = about.read_text()
    assert f"{CONTROLLER}:8443" in text
    about.write_text(text.replace(f"{CONTROLLER}:8443", f"{CONTROLLER}:9443"))


def test_a_controller_with_another_ca_than_a_client_knows(tg: Tg, set_up_anew: str) -> None:
    """Also, what the line says to do is what helps."""
    state = f"stranger-{os.urandom(4).hex()}"
    still_good(tg, tg.token("device", "alice@example.com"), state)
    moved(tg, state)
    result = tg.run(tg.lab.nas, "client up", "--timeout", "2", state=state)
    one_line(result, UNREACHABLE, f"not online after 2 s: controller {CONTROLLER}:9443: ", ANOTHER_CA)
    fresh = tg.run(tg.lab.internet, "controller device token", "alice@example.com", state=set_up_anew).ok().out.strip()
    still_good(tg, fresh, state)


def test_a_controller_with_another_ca_than_a_connector_knows(tg: Tg, set_up_anew: str) -> None:
    state = f"stranger-{os.urandom(4).hex()}"
    token = tg.token("connector", "spare")
    known = tg.lab.nas.start([*tg.words("connector run", state), "--token", token], "tg-known", env=tg.env())
    known.wait_text("connected")
    known.stop()
    moved(tg, state)
    again = tg.lab.nas.start(tg.words("connector run", state), "tg-again", env=tg.env())
    again.wait_text(ANOTHER_CA)
    assert f"controller {CONTROLLER}:9443: " in again.text()
    status = tg.run(tg.lab.nas, "connector status", state=state)
    assert ANOTHER_CA in status.out, status
    again.stop()


def test_no_right_to_make_a_tun(tg: Tg) -> None:
    token = tg.token("device", "alice@example.com")
    for more in ([], ["--foreground"]):
        up = [*tg.words("client up", "powerless"), "--token", token, "--timeout", "5", *more]
        result = tg.lab.nas.run(["setpriv", "--bounding-set=-net_admin", "--inh-caps=-net_admin", *up], env=tg.env())
        one_line(result, DENIED, "could not make a TUN interface", "run with sudo")
    assert not tg.state("powerless").exists()
    still_good(tg, token)


@pytest.mark.parametrize("own_state", [False, True], ids=["the state of all", "a state of one's own"])
def test_an_ordinary_user(tg: Tg, own_state: bool) -> None:
    """Said first, wherever the state is, and no token is spent."""
    folder = tg.lab.root / f"ordinary-{os.urandom(4).hex()}"
    (folder / "state").mkdir(parents=True)
    program = shutil.copy(tg.binary, folder / "tg")                  # where every user may run it
    os.chown(folder / "state", 65534, 65534)
    token = tg.token("device", "alice@example.com")
    state = ["--state", str(folder / "state")] if own_state else []
    result = tg.lab.nas.run(["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", program, "client", "up",
                             *state, "--token", token, "--timeout", "5"], env=tg.env())
    one_line(result, DENIED, "could not make a TUN interface", "run with sudo")
    assert list((folder / "state").iterdir()) == []
    still_good(tg, token)


def test_a_state_directory_that_belongs_to_somebody_else(tg: Tg) -> None:
    program = shutil.copy(tg.binary, tg.lab.root / "tg-for-all")
    result = tg.lab.nas.run(["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", program, "connector", "run",
                             "--state", str(tg.lab.root / "not-mine"), "--token", "tg1_AAAA"], env=tg.env())
    one_line(result, DENIED, str(tg.lab.root / "not-mine"), "run with sudo", "--state")


@pytest.mark.parametrize("kind", [socket.SOCK_DGRAM, socket.SOCK_STREAM], ids=["UDP", "TCP"])
def test_a_dns_server_on_all_addresses_of_the_laptop(tg: Tg, kind: int) -> None:
    server = tg.lab.nas.socket(kind=kind)
    server.bind(("0.0.0.0", 53))
    if kind == socket.SOCK_STREAM:
        server.listen()
    state = f"stranger-{os.urandom(4).hex()}"
    one_line(stranger(tg, "client", tg.token("device", "alice@example.com"), state=state), CONFLICT, "100.95.0.251:53",
             "a DNS server on all addresses of this machine", "listen on its own only", "bind-interfaces")
    server.close()
    tg.run(tg.lab.nas, "client up", state=state).ok()                # what it says to do is what helps
    tg.run(tg.lab.nas, "client down", state=state).ok()


def test_a_port_in_use(tg: Tg) -> None:
    result = tg.run(tg.lab.internet, "controller serve", "--listen", f"{CONTROLLER}:8443", "--relay-listen", f"{CONTROLLER}:9444",
                    state="second-controller")
    one_line(result, CONFLICT, "8443", "use")


def test_a_state_directory_in_use(tg: Tg) -> None:
    one_line(tg.admin("serve", "--listen", f"{CONTROLLER}:9443", "--relay-listen", f"{CONTROLLER}:9444"), CONFLICT)
    one_line(tg.run(tg.lab.connector, "connector run"), CONFLICT)


def test_an_address_that_is_not_ours(tg: Tg) -> None:
    result = tg.run(tg.lab.internet, "controller serve", "--listen", "203.0.113.99:8443", state="second-controller")
    one_line(result, FAILED, "203.0.113.99")


def policy_error(tg: Tg, text: str, *more: str) -> Result:
    path = tg.lab.root / "wrong.toml"
    path.write_text(text)
    return tg.run(tg.lab.internet, "controller apply", str(path), *more)


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
    planned = policy_error(tg, text, "--dry-run")
    assert (planned.code, planned.out, planned.err) == (FAILED, result.out, result.err), "2 says that there are changes"
    assert tg.run(tg.lab.internet, "controller apply", str(tg.lab.root / "home.toml"), "--dry-run").code == 0, "nothing changed"


def test_a_file_that_is_not_there(tg: Tg) -> None:
    for more in ([], ["--dry-run"]):
        one_line(tg.run(tg.lab.internet, "controller apply", "/nowhere/home.toml", *more), FAILED, "/nowhere/home.toml")


def test_an_unknown_key_in_an_agents_own_file(tg: Tg) -> None:
    path = tg.lab.root / "agent.toml"
    path.write_text('dns = ["192.168.1.1"]\nlissten = "1.2.3.4:5"\n')
    one_line(tg.run(tg.lab.nas, "connector run", "--config", str(path), state="never"), USAGE, "agent.toml:2", "lissten")


@pytest.mark.parametrize("words", [["client", "upp"], ["clientt"], ["client", "up", "--tokken", "x"], ["controller", "apply"],
                                   ["connector", "run", "--listen", "nonsense"], ["client", "explain"]])
def test_usage_errors(tg: Tg, words: list[str]) -> None:
    one_line(tg.lab.nas.run([tg.binary, *words], env=tg.env()), USAGE)


def test_agents_that_do_not_run(cold_tg: Tg) -> None:
    for command, code in (("client status", UNREACHABLE), ("connector status", UNREACHABLE), ("relay status", UNREACHABLE),
                          ("controller status", UNREACHABLE), ("connector health", FAILED), ("relay health", FAILED)):
        one_line(cold_tg.run(cold_tg.lab.nas, command, state="never"), code, f"{command.split()[0]} is not running")
    cold_tg.run(cold_tg.lab.nas, "client down", state="never").ok()                # down twice is no mistake


def test_help_is_there_for_every_command(cold_tg: Tg) -> None:
    def commands(words: list[str]) -> None:
        out = cold_tg.lab.nas.run([cold_tg.binary, *words, "--help"], env=cold_tg.env()).ok().out
        assert "Usage" in out or "usage" in out, words
        below = out.split("Subcommands:")[1] if "Subcommands:" in out else ""
        for name in re.findall(r"^  ([a-z]+) ", below, re.M):
            commands([*words, name])
    commands([])


def test_the_controller_wants_to_be_reached_by_its_owner_only(tg: Tg) -> None:
    result = tg.lab.internet.run(["setpriv", "--reuid=65534", "--clear-groups", *tg.words("controller status")], env=tg.env())
    one_line(result, DENIED, "sudo")
    for path in [tg.state("controller"), tg.state("connector"), tg.state("client")]:
        assert path.stat().st_mode & 0o077 == 0, path
        for file in pathlib.Path(path).rglob("*"):
            assert file.stat().st_mode & 0o077 == 0 or file.is_symlink(), file
