"""Policies: what they keep shut says so at once and says what is missing, opens when that is there, and ends when it is gone."""
from __future__ import annotations

import contextlib
import errno
import json
import os
import re
import signal
import socket
import time
from typing import Any, Callable, Iterator

import pytest
from support.flows import IP_RECVERR, flow, icmp_error
from support.lab import NAS, NAS_PAGE
from support.many_flows import Pair, ends, many, use, within
from support.netns import Result, freeze, wait_for
from support.sign_in import code_of
from support.tg import PEOPLE, Tg, resource

ALICE = "alice@example.com"
BOX = "10.0.1.25"                                   # the NAS, too; without a policy
PASSWORD = "correct horse battery staple"
PROHIBITED = (3, 13)


def policy(demands: str) -> str:
    return (f'[[policy]]\nname = "sensitive"\n{demands}\n' + PEOPLE + resource("NAS", "nas.home.int", 'policy = "sensitive"')
            + resource("Box", BOX))


def moment(seconds: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + seconds))


@pytest.fixture
def home(cold_tg: Tg) -> Iterator[Tg]:
    """A controller, a connector and alice's client, which came by a token; the policy demands nothing yet."""
    cold_tg.stop()
    cold_tg.start(policy(""))
    cold_tg.wait_works(10, "everything was started")
    yield cold_tg
    cold_tg.stop()
    cold_tg.controller_arguments = []
    cold_tg.policy = ""


def demand(tg: Tg, demands: str, need: str) -> None:
    """The policy demands this from now on, and the client knows."""
    tg.apply(policy(demands)).ok()
    wait_for(f"the client knows: {need}", lambda: nas(tg)["need"] == need, 5, explain=tg.explain)


def nas(tg: Tg) -> dict[str, Any]:
    (found,) = [r for r in json.loads(tg.client("resources", "--json").ok().out)["resources"] if r["name"] == "NAS"]
    return dict(found)


def refused_at_once(tg: Tg) -> None:
    """An application learns it: with an ICMP answer, not with a hang. What has no policy goes on."""
    began = time.monotonic()
    with tg.lab.laptop.socket(timeout=5) as s:
        s.setsockopt(socket.IPPROTO_IP, IP_RECVERR, 1)
        with pytest.raises(OSError) as e:
            s.connect((tg.lookup("nas.home.int"), 80))
        assert e.value.errno == errno.EHOSTUNREACH, e.value
        assert icmp_error(s) == PROHIBITED
    with tg.lab.laptop.socket(kind=socket.SOCK_DGRAM, timeout=5) as s:
        s.setsockopt(socket.IPPROTO_IP, IP_RECVERR, 1)
        s.connect((tg.lookup("nas.home.int"), 7))
        s.send(b"?")
        with pytest.raises(OSError) as e:
            s.recv(1)
        assert e.value.errno == errno.EHOSTUNREACH and icmp_error(s) == PROHIBITED
    assert time.monotonic() - began < 2
    assert tg.lab.laptop.run(["curl", "-sS", "-m", "5", f"http://{BOX}/"]).ok().out == NAS_PAGE


def warned(tg: Tg) -> list[str]:
    return [str(w) for w in json.loads(tg.client("status", "--json").out)["warnings"]]


def login(tg: Tg, *codes: str) -> Result:
    words = " ".join([*tg.words("client login"), "--user", ALICE])
    lines = r"\n".join([PASSWORD, *codes, ""])
    return tg.lab.laptop.run(["sh", "-c", f"printf '%b' '{lines}' | {words}"], 30, env=tg.env())


def set_password(tg: Tg) -> None:
    words = " ".join([*tg.words("controller user password"), ALICE])
    tg.lab.internet.run(["sh", "-c", f"printf '{PASSWORD}' | {words}"], 30, env=tg.env()).ok()


def opens(tg: Tg, since: str) -> None:
    tg.wait_works(5, since)
    assert nas(tg)["state"].startswith("ready")


def ended(far: socket.socket, within_s: float) -> None:
    """The server sees the end of its flow within so many seconds."""
    far.settimeout(within_s)
    with contextlib.suppress(ConnectionResetError):
        assert far.recv(1) == b""


# -- what is missing, and how it is said ----------------------------------------------------------------------------------------

def test_a_second_factor_is_wanted_said_and_enough(home: Tg) -> None:
    demand(home, "mfa = true", "second-factor")
    refused_at_once(home)
    text = "a sign-in with a second factor (policy sensitive): run 'sudo tg client login'"
    assert warned(home) == [f"NAS was used, and needs {text}"]
    shown = home.client("status").ok().out                               # the client is online all the same
    assert "resources  2, 1 of them not ready: see tg client resources\n" in shown
    assert f"warning    NAS was used, and needs {text}\n" in shown
    listed = home.client("resources").ok()
    assert re.search(r"^NAS +nas\.home\.int .* second factor needed ", listed.out, re.M) and listed.err == f"tg: NAS needs {text}\n"
    assert f"state      second factor needed\nneeds      {text}\n" in home.client("explain", "nas.home.int").ok().out
    ping = home.client("ping", "nas.home.int", "--count", "1")
    assert ping.code == 4 and f"NAS needs {text}" in ping.out + ping.err, ping
    assert nas(home) == {**nas(home), "need": "second-factor", "policy": "sensitive", "missing": text}

    set_password(home)
    login(home).ok()                                                     # a password alone
    wait_for("the session is there", lambda: "session" in home.status(), 5)
    refused_at_once(home)
    uri = home.admin("user totp", ALICE).ok().out.strip()
    login(home, code_of(uri)).ok()
    opens(home, "a sign-in with a code")
    assert warned(home) == [] and "1 of them" not in home.client("status").ok().out
    with flow(home, 5000) as (_, far):
        home.admin("session delete", str(home.status()["device"])).ok()
        ended(far, 5)
    wait_for("it is shut again", lambda: nas(home)["need"] == "second-factor", 5)
    refused_at_once(home)


def test_a_sign_in_gets_too_old(home: Tg) -> None:
    set_password(home)
    demand(home, 'session = "10s"', "sign-in")
    refused_at_once(home)
    assert warned(home) == ["NAS was used, and needs a new sign-in (policy sensitive): run 'sudo tg client login'"]
    began = time.time()
    login(home).ok()
    signed_in = time.time()
    opens(home, "a sign-in")
    until = int(nas(home)["changes"])
    assert began + 9 <= until <= signed_in + 11
    assert len(warned(home)) == 1 and re.fullmatch(r"NAS is reached until \d{4}-\d\d-\d\d \d\d:\d\d UTC, and its flows end then", warned(home)[0])
    with flow(home, 5000) as (near, far):
        near.sendall(b"?")
        assert far.recv(1) == b"?"
        ended(far, until + 5 - time.time())
        assert time.time() >= until - 1
    assert home.status()["state"] == "online"                            # the session itself goes on
    refused_at_once(home)


def test_a_device_is_trusted_by_an_administrator(home: Tg) -> None:
    demand(home, "trusted_device = true", "untrusted")
    refused_at_once(home)
    assert warned(home) == ["NAS was used, and needs a trusted device (policy sensitive): ask an administrator to trust this one"]
    device = str(home.status()["device"])
    assert home.admin("device update", device, "--to", "trusted").ok().out.endswith("state pending -> trusted\n")
    opens(home, "trusting the device")
    (row,) = json.loads(home.admin("device list", "--json").ok().out)["devices"]
    assert (row["state"], row["access"]) == ("trusted", "let in")
    home.admin("device update", device, "--to", "pending").ok()
    wait_for("it is shut again", lambda: nas(home)["need"] == "untrusted", 5)
    refused_at_once(home)


def test_days_on_which_it_is_shut(home: Tg) -> None:
    today = time.strftime("%a", time.gmtime()).lower()
    other = [d for d in ("mon", "tue", "wed", "thu", "fri", "sat", "sun") if d != today and
             d != time.strftime("%a", time.gmtime(time.time() + 3600)).lower()]
    demand(home, f"days = {json.dumps(other)}", "hours")
    refused_at_once(home)
    row = nas(home)
    assert re.fullmatch(r"closed until \d{4}-\d\d-\d\d 00:00 UTC", row["state"]) and row["changes"] % 86400 == 0
    (warning,) = warned(home)
    assert warning.startswith("NAS was used, and needs another time (policy sensitive): it opens at ")
    demand(home, f'days = ["{today}"]\nhours = "00:00-24:00"\ntime_zone = "Etc/UTC"', "ready")
    opens(home, "the day is right")
    assert re.fullmatch(r"ready until \d{4}-\d\d-\d\d 00:00 UTC", nas(home)["state"])


@contextlib.contextmanager
def stopped(pids: list[int]) -> Iterator[None]:
    for pid in pids:
        freeze(pid)
    try:
        yield
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)


@pytest.mark.parametrize("away", ["nobody", "the client", "the controller"])
def test_access_that_ends_at_a_moment(home: Tg, away: str) -> None:
    """The flow ends then, at the connector, whoever else is there; and what has no policy does not notice."""
    end = time.time() + 6
    demand(home, f'until = "{moment(6)}"', "ready")
    wait_for("the client knows the end", lambda: "until" in nas(home)["state"], 5)
    opens(home, "the policy")
    assert home.controller
    pids = {"nobody": [], "the client": home.client_pids(), "the controller": [home.controller.pid]}[away]
    with flow(home, 5000) as (_, far), home.connect(BOX, 80) as kept:
        with stopped(pids):                                              # with the controller, its relay
            ended(far, end + 5 - time.time())
            assert time.time() >= end - 1.5
        kept.sendall(b"GET / HTTP/1.0\r\n\r\n")
        assert kept.recv(64).startswith(b"HTTP/1.1 200")
    wait_for("it is over", lambda: nas(home)["need"] == "over", 5)
    assert nas(home)["state"] == "over"
    refused_at_once(home)


def test_hours_that_open_and_close(home: Tg) -> None:
    """By the clock alone: the policy is written before they begin. A change in them takes away what they gave."""
    soon = int(time.time()) // 60 * 60 + 60                              # hours are whole minutes
    if soon - time.time() < 5:
        soon += 60
    hours = f'hours = "{time.strftime("%H:%M", time.gmtime(soon))}-{time.strftime("%H:%M", time.gmtime(soon + 60))}"'
    demand(home, hours, "hours")
    refused_at_once(home)
    wait_for("it opens", home.works, soon + 5 - time.time(), explain=home.explain)
    assert time.time() >= soon - 1.5
    with flow(home, 5000) as (_, far), stopped(home.client_pids()):
        home.apply(policy(hours + "\nmfa = true")).ok()
        ended(far, 5)
    demand(home, hours, "ready")
    opens(home, "one demand less")
    with flow(home, 5000) as (_, far), stopped(home.client_pids()):
        ended(far, soon + 65 - time.time())
        assert time.time() >= soon + 58.5


def test_what_is_shut_is_not_reached_as_a_part_of_something_wider(home: Tg) -> None:
    wider = resource("LAN", "10.0.1.0/24") + resource("All", "*.home.int")
    shut = policy("mfa = true").replace(f'address = "{BOX}"', f'address = "{BOX}"\npolicy = "sensitive"')
    home.apply(shut + wider).ok()
    wait_for("both are shut", lambda: len([r for r in json.loads(home.client("resources", "--json").ok().out)["resources"]
                                          if r["need"] == "second-factor"]) == 2, 5)
    for target in (BOX, home.lookup("nas.home.int")):
        with home.lab.laptop.socket(timeout=5) as s:
            assert s.connect_ex((target, 80)) == errno.EHOSTUNREACH
    home.apply(policy("") + wider).ok()
    opens(home, "no demand")


# -- asking ---------------------------------------------------------------------------------------------------------------------

def requests(tg: Tg) -> list[dict[str, Any]]:
    return list(json.loads(tg.admin("request list", "--json").ok().out)["requests"])


def test_a_person_asks_an_administrator_approves_and_it_ends(home: Tg) -> None:
    demand(home, 'approval = "2h"', "approval")
    refused_at_once(home)
    assert warned(home) == ["NAS was used, and needs approval (policy sensitive): run 'tg client request \"NAS\"'"]
    too_long = home.client("request", "NAS", "--for", "3h")
    assert too_long.code == 2 and too_long.err == "tg: NAS is approved for 2h at most; ask for less with --for\n"
    long = home.client("request", "NAS", "--reason", "two\nlines")
    assert (long.code, long.err) == (2, "tg: --reason: one line of 256 bytes at most\n")
    asked = home.client("request", "nas.home.int", "--for", "1h", "--reason", "the disk is full").ok()
    number = asked.out.strip()
    assert re.fullmatch("[0-9a-f]{8}", number) and f"tg controller request approve {number}" in asked.err
    (row,) = requests(home)
    assert (row["id"], row["user"], row["resource"], row["state"], row["wanted"], row["reason"]) == \
        (number, ALICE, "NAS", "open", "1h", "the disk is full")
    assert number in home.admin("request show", number).ok().out
    wait_for("the client knows that it was asked for", lambda: nas(home)["state"] == "requested", 5)
    again = home.client("request", "NAS")
    assert again.code == 6 and "was asked for at" in again.err, again
    refused_at_once(home)                                                # asking opens nothing

    began = time.time()
    assert home.admin("request approve", number, "--for", "12s").ok().out == f"~ request {number}: approved\n"
    opens(home, "the approval")
    until = int(nas(home)["changes"])
    assert 11 <= until - began <= 14
    nothing = home.client("request", "NAS")
    assert nothing.code == 6 and nothing.err == "tg: NAS is ready: there is nothing to ask for\n"
    with flow(home, 5000) as (_, far):
        ended(far, until + 5 - time.time())
        assert time.time() >= until - 1
    wait_for("it has to be asked for again", lambda: nas(home)["need"] == "approval", 5)
    assert [r["state"] for r in requests(home)] == ["over"]

    other = json.loads(home.client("request", "NAS", "--json").ok().out)
    assert other["state"] == "open" and other["resource"] == "NAS"
    home.admin("request deny", other["id"]).ok()
    wait_for("denied", lambda: nas(home)["state"] == "request possible", 5)
    assert [r["state"] for r in requests(home)] == ["over", "denied"]


def test_what_cannot_be_asked_for_says_why(home: Tg) -> None:
    def said(*more: str) -> tuple[int, str]:
        result = home.client("request", *more)
        assert result.out == ""
        return result.code, result.err
    assert said("Box") == (6, "tg: Box is ready: there is nothing to ask for\n")
    assert said("Nothing") == (1, 'tg: there is no Resource "Nothing" here; see: tg client resources\n')
    assert said("NAS", "--for", "long") == (2, 'tg: --for: "long" is no length of time such as 90s, 15m, 8h or 2d\n')
    demand(home, "trusted_device = true", "untrusted")
    assert said("NAS") == (1, "tg: NAS is not reached by asking: its policy wants no approval\n")
    demand(home, "mfa = true", "second-factor")
    assert said("NAS") == (4, "tg: NAS needs a sign-in first: sudo tg client login\n")
    missing = home.admin("request approve", "00000000")
    assert (missing.code, missing.err) == (1, "tg: there is no request 00000000; see: tg controller request list\n")
    demand(home, 'approval = "2h"', "approval")
    assert home.controller
    home.controller.stop(5)
    wait_for("the client knows", lambda: home.client("status").code == 3, 10)
    assert said("NAS") == (3, "tg: the controller is away; see: tg client status\n")


# -- what is taken away ends, whatever the client does --------------------------------------------------------------------------

def demand_more(tg: Tg) -> None:
    tg.apply(policy("mfa = true")).ok()


def trust_less(tg: Tg) -> None:
    tg.admin("device update", tg.device, "--to", "pending").ok()         # type: ignore[attr-defined]


def approve_no_more(tg: Tg) -> None:
    tg.admin("request deny", requests(tg)[0]["id"]).ok()


@pytest.mark.parametrize("client_lies", [False, True], ids=["honest", "lying"])
@pytest.mark.parametrize("before, change", [("", demand_more), ("trusted_device = true", trust_less), ('approval = "2h"', approve_no_more)],
                         ids=["demand more", "trust less", "approve no more"])
def test_what_a_policy_takes_away_ends_and_the_rest_goes_on(home: Tg, port: int, before: str, change: Callable[[Tg], None],
                                                            client_lies: bool) -> None:
    home.device = str(home.status()["device"])                           # type: ignore[attr-defined]
    home.apply(policy(before)).ok()
    if "trusted" in before:
        home.admin("device update", home.device, "--to", "trusted").ok()  # type: ignore[attr-defined]
    if "approval" in before:
        wait_for("approval is wanted", lambda: nas(home)["need"] == "approval", 5)
        home.admin("request approve", home.client("request", "NAS").ok().out.strip()).ok()
    opens(home, "all is there")
    with contextlib.ExitStack() as stack:
        lost: list[Pair] = many(stack, home, NAS, home.lookup("nas.home.int"), port, 100)
        kept: list[Pair] = many(stack, home, BOX, BOX, port, 100)
        with stopped(home.client_pids() if client_lies else []):         # it shows no better grant, and says nothing
            since = time.monotonic()
            change(home)
            within(ends(lost, since), change.__name__)
        if not client_lies:                                              # a grant that is void covers nothing
            use(kept)


# -- numbers, services, files ---------------------------------------------------------------------------------------------------

def test_a_person_has_so_many_devices(cold_tg: Tg) -> None:
    tg = cold_tg
    tg.stop()
    try:
        tg.controller_arguments = ["--max-devices", "1"]
        tg.start(policy(""))
        host = tg.lab.internet_host("second", "198.18.0.1")
        token = tg.token("device", ALICE)
        more = host.run([*tg.words("client up", "second"), "--token", token], 30, env=tg.env())
        assert more.code == 1 and more.err.startswith(f"tg: {ALICE} has 1 devices, and no more may be; an administrator removes one"), more
        tg.admin("device delete", str(tg.status()["device"])).ok()
        host.run([*tg.words("client up", "second"), "--token", token], 30, env=tg.env()).ok()
        host.run(tg.words("client down", "second"), 20, env=tg.env()).ok()
        bad = tg.lab.internet.run([str(tg.binary), "controller", "serve", "--state", str(tg.state("other")), "--max-devices", "0"],
                                  env=tg.env())
        assert bad.code == 2 and "1 is the least" in bad.err, bad
    finally:
        tg.stop()
        tg.controller_arguments = []
        tg.policy = ""


def test_a_token_may_say_that_its_device_is_trusted(cold_tg: Tg) -> None:
    tg = cold_tg
    tg.stop()
    try:
        tg.start_controller()
        tg.apply(policy("trusted_device = true")).ok()
        tg.start_connector(tg.token("connector", "home-1"))
        tg.client_up(tg.token("device", ALICE, "--trusted")).ok()
        tg.started = True
        opens(tg, "the token said so")
    finally:
        tg.stop()
        tg.policy = ""


def test_a_file_with_policies_is_checked_and_written_again(home: Tg) -> None:
    demands = 'session = "8h"\nmfa = true\ntrusted_device = true\ndays = ["mon-fri"]\nhours = "08:00-18:00"\n' \
              'time_zone = "Europe/Berlin"\nuntil = "2099-12-31T18:00:00Z"\napproval = "4h"'
    home.apply(policy(demands)).ok()
    exported = home.admin("export").ok().out
    assert f'[[policy]]\nname = "sensitive"\n{demands}\n' in exported
    path = home.lab.root / "again.toml"
    path.write_text(exported)
    assert home.run(home.lab.internet, "controller apply", str(path), "--dry-run", "--prune").code == 0
    (row,) = json.loads(home.admin("policy list", "--json").ok().out)["policies"]
    assert row["resources"] == ["NAS"] and row["demands"] == (
        "a sign-in of the last 8h, a second factor, a trusted device, approval for up to 4h, mon-fri 08:00-18:00 Europe/Berlin, "
        "until 2099-12-31 18:00 UTC")
    nowhere = home.apply(policy('days = ["mon"]\ntime_zone = "Mars/Olympus"'))
    assert nowhere.code == 6 and re.search(r'home\.toml:\d+: policy "sensitive": time_zone: this controller\'s machine does not know '
                                           r'"Mars/Olympus"', nowhere.err), nowhere
    in_use = home.admin("policy delete", "sensitive")
    assert in_use.code == 6 and in_use.err.count("\n") == 1 and 'is that of the resource "NAS"' in in_use.err, in_use
    home.admin("policy update", "sensitive", "--session", "", "--hours", "", "--until", "", "--approval", "", "--mfa", "false").ok()
    (row,) = json.loads(home.admin("policy list", "--json").ok().out)["policies"]
    assert row["demands"] == "a trusted device, mon-fri Europe/Berlin"
    wrong = home.admin("policy update", "sensitive", "--until", "tomorrow")
    assert (wrong.code, wrong.err) == (2, 'tg: --until: "tomorrow" is no moment such as 2026-12-31T18:00Z, in UTC\n')


def test_what_a_service_can_never_give_fails_its_test(home: Tg) -> None:
    service = '[[service]]\nname = "ci"\n'
    test = '[[test]]\nuser = "ci"\ncan = ["nas.home.int:22"]\n'
    family = 'members = ["alice@example.com", "ci"]'
    text = policy("mfa = true").replace('members = ["alice@example.com"]', family) + service + test
    refused = home.apply(text)
    assert refused.code == 1 and "cannot reach nas.home.int:22: a policy of resource NAS, or of its groups, wants a sign-in, and a " \
        "service has none" in refused.err, refused
    home.apply(text.replace("mfa = true", "trusted_device = true")).ok()
