"""Relays of their own: more of them beside the controller's, or in its place."""
from __future__ import annotations

import json
import os
import re
import signal
import time
from typing import Iterator

import pytest
from support.flows import flow
from support.lab import PUBLIC_WEB, Lab
from support.netns import wait_for
from support.tg import PEOPLE, RELAY_LISTEN, RESOURCES, Tg

SOON = 5.0
RULES = r"^rules      what the controller said until \d{4}-\d\d-\d\d \d\d:\d\d UTC$"
RELAY = f'[[relay]]\nname = "relay-1"\naddress = "{PUBLIC_WEB}"\n'     # and the usual port
POLICY = PEOPLE + RESOURCES + RELAY


def at_both(tg: Tg) -> bool:
    out = json.loads(tg.run(tg.lab.connector, "connector status", "--json").ok().out)
    return [r["connected"] for r in out["relays"]] == [True, True]


def test_with_two_relays_one_may_fail(tg: Tg, lab: Lab, port: int) -> None:
    tg.apply(POLICY).ok()
    try:
        tg.start_relay(tg.token("relay", "relay-1"))
        wait_for("the connector waits at both relays", lambda: at_both(tg), SOON, explain=tg.explain)
        # The embedded relay refuses, as if it had ended; the controller stays.
        lab.internet.nft("table ip wall {\n chain input {\n type filter hook input priority filter\n"
                         " tcp dport 8444 ip daddr 203.0.113.10 reject with tcp reset\n }\n}")
        try:
            tg.wait_works(SOON, "one relay failed")
            assert PUBLIC_WEB in json.dumps(tg.status()["tunnels"]), tg.status()["tunnels"]
        finally:
            lab.internet.run("nft delete table ip wall")
        assert tg.relay
        with flow(tg, port) as (near, far):
            # It swallows: the kernel still takes what is sent to it.
            tg.relay.signal(signal.SIGSTOP)
            near.sendall(b"held back")
            took = tg.wait_works(SOON, "the other relay froze")
            print(f"{took:.1f} s until a new flow worked")
            now = next(t for t in tg.status()["tunnels"] if t["connector"] == "home-1")      # type: ignore[attr-defined]
            assert PUBLIC_WEB not in now["address"] and now["others"][0]["state"] == "silent", now
            tg.relay.signal(signal.SIGCONT)
            assert far.recv(100) == b"held back"
        tg.relay.kill()
        tg.wait_works(SOON, "the other relay failed")
    finally:
        if tg.relay:
            tg.relay.signal(signal.SIGCONT)
        tg.stop()
        tg.policy = ""


# Drops what goes between the controller and a relay on the same machine, which then hears nothing of what is decided.
CUT_OFF = ("table ip cut {\n chain input {\n type filter hook input priority filter\n"
           " iif lo tcp dport 8443 drop\n iif lo tcp sport 8443 drop\n }\n}")
EMBEDDED_REFUSES = ("table ip wall {\n chain input {\n type filter hook input priority filter\n"
                    " tcp dport 8444 ip daddr 203.0.113.10 reject with tcp reset\n }\n}")


@pytest.mark.parametrize("end", ["deleted", "replaced"])
def test_a_relay_that_is_out_of_service_and_cannot_hear_it_is_left(tg: Tg, lab: Lab, port: int, end: str) -> None:
    def home() -> dict[str, object]:
        return next(t for t in tg.status()["tunnels"] if t["connector"] == "home-1")      # type: ignore[attr-defined]
    def way() -> object:
        return home().get("address")
    successor, old = None, f"{PUBLIC_WEB}:8444"
    tg.apply(POLICY).ok()
    try:
        tg.start_relay(tg.token("relay", "relay-1"))
        wait_for("the connector waits at both relays", lambda: at_both(tg), SOON, explain=tg.explain)
        lab.internet.nft(EMBEDDED_REFUSES)
        wait_for("the tunnel is by the relay", lambda: tg.works(0.5) and way() == old, SOON, explain=tg.explain)
        lab.internet.run("nft delete table ip wall").ok()
        tg.wait_works(SOON, "both relays serve")
        assert way() == old
        with flow(tg, port) as (near, far):
            lab.internet.nft(CUT_OFF)
            if end == "deleted":
                tg.apply(PEOPLE + RESOURCES, "--prune").ok()
            else:                                            # another machine, which serves elsewhere, takes its place
                token = tg.token("relay", "relay-1")
                words = [*tg.words("relay run", "successor"), "--listen", "0.0.0.0:9444", "--token", token]
                successor = lab.connector.start(words, "tg-successor", env=tg.env())
            wait_for("new flows go by the other relay", lambda: way() not in (None, old) and tg.works(1.0), SOON, 0.05, tg.explain)
            near.sendall(b"last words")
            assert far.recv(100) == b"last words"
            near.settimeout(8)
            with pytest.raises(ConnectionResetError):
                near.recv(1)
        assert tg.relay and tg.relay.alive()
        assert "others" not in home()
    finally:
        lab.internet.run("nft delete table ip wall; nft delete table ip cut")
        if successor:
            successor.kill()
        tg.stop()
        tg.policy = ""


@pytest.fixture(scope="module")
def without_embedded(session_tg: Tg) -> Iterator[Tg]:
    """The only relay is one of its own."""
    tg = session_tg
    tg.stop()
    try:
        tg.start_with_relay(POLICY)
        yield tg
    finally:
        tg.stop()
        tg.relay_listen, tg.policy = RELAY_LISTEN, ""


@pytest.fixture
def own(without_embedded: Tg, cold_tg: Tg) -> Tg:
    return without_embedded


def relay_status(tg: Tg) -> dict[str, object]:
    return json.loads(tg.run(tg.lab.internet, "relay status", "--json").ok().out)


def test_it_serves_alone(own: Tg) -> None:
    assert own.works()
    tunnels = own.status()["tunnels"]
    assert isinstance(tunnels, list) and PUBLIC_WEB in json.dumps(tunnels), tunnels
    status = relay_status(own)
    assert (status["name"], status["state"], status["connectors"]) == ("relay-1", "online", 1), status
    assert status["address"] == f"{PUBLIC_WEB}:8444" and isinstance(status["joined"], int) and status["joined"] >= 1, status
    assert own.run(own.lab.internet, "relay health").code == 0
    assert "relay       none embedded" in own.admin("status").ok().out
    listed = json.loads(own.admin("relay list", "--json").ok().out)["relays"]
    assert [(r["name"], r["online"], r["enrolled"]) for r in listed] == [("relay-1", True, True)]


def test_it_goes_on_without_the_controller(own: Tg) -> None:
    assert own.controller
    own.controller.kill()
    try:
        assert own.works()
    finally:
        own.start_controller()


def connector_status(tg: Tg) -> dict[str, object]:
    return json.loads(tg.run(tg.lab.connector, "connector status", "--json").ok().out)


def test_relay_and_connector_start_again_while_the_controller_is_away(own: Tg) -> None:
    """They go by what they were told last."""
    assert own.controller and own.connector and own.relay
    for role in "connector", "relay":
        wait_for("a change of a moment ago is kept", (own.state(role) / "view.json").exists, SOON)
    for process in own.controller, own.relay, own.connector:
        process.kill()
    try:
        own.start_relay()
        since = own.start_connector(ready=False).since
        took = own.wait_works(SOON, "relay and connector came back", since)
        print(f"{took:.2f} s after the connector came back")
        as_of = connector_status(own)["rules_as_of"]
        assert isinstance(as_of, int) and 0 <= time.time() - as_of < 120, as_of
        for host, role in ((own.lab.connector, "connector"), (own.lab.internet, "relay")):
            text = own.run(host, f"{role} status").ok().out
            assert re.search(RULES, text, re.M), text
    finally:
        own.start_controller()
    wait_for("the connector hears the controller", lambda: "rules_as_of" not in connector_status(own), SOON, explain=own.explain)
    assert own.works()


def test_a_client_is_started_while_the_controller_is_away(own: Tg, port: int) -> None:
    """It goes by what it was told last, and says so."""
    assert own.controller
    wait_for("it is kept", (own.state("client") / "view.json").exists, SOON)
    own.controller.kill()
    try:
        own.client("down").ok()
        up = own.client_up().ok()
        assert up.err.count("\n") == 1 and "going by what the controller said until" in up.err, up
        assert "as alice@example.com, " in up.err and "could not connect" in up.err, up
        with flow(own, port) as (near, far):
            near.sendall(b"x")
            assert far.recv(1) == b"x"
        said = own.client("status")
        assert said.code == 3 and said.out.startswith("client     offline: controller ") and re.search(RULES, said.out, re.M), said
        as_of = json.loads(own.client("status", "--json").out)["rules_as_of"]
        assert isinstance(as_of, int) and 0 <= time.time() - as_of < 120, as_of
    finally:
        own.start_controller()
    wait_for("the client hears the controller", lambda: own.client("status").code == 0, 10, explain=own.explain)
    assert "rules_as_of" not in own.status() and own.works()


def test_what_a_client_was_told_is_not_for_ever_and_not_for_others(own: Tg) -> None:
    assert own.controller
    kept = own.state("client") / "view.json"
    own.client("down").ok()
    own.controller.kill()
    try:
        old = time.time() - 25 * 3600
        os.utime(kept, (old, old))
        refused = own.client("up", "--timeout", "5")
        assert refused.code == 3 and refused.err.startswith("tg: not online after 5 s: "), refused
        os.utime(kept)
        kept.write_text("{")
        assert own.client("up", "--timeout", "5").code == 3
    finally:
        own.start_controller()
    own.client_up().ok()
    own.wait_works(SOON, "the controller came back")
    device = str(own.status()["device"])
    own.admin("device update", device, "--to", "blocked").ok()
    wait_for("who is out keeps nothing", lambda: not kept.exists(), SOON)
    own.admin("device update", device, "--to", "pending").ok()
    own.client("down").ok()
    own.client_up().ok()
    own.wait_works(SOON, "the device was let in again")


def test_a_connector_does_not_go_by_rules_that_are_older_than_a_grant_may_be(own: Tg) -> None:
    assert own.controller and own.connector
    kept = own.state("connector") / "view.json"
    wait_for("a change of a moment ago is kept", kept.exists, SOON)
    for process in own.controller, own.connector:
        process.kill()
    try:
        old = time.time() - 3700
        os.utime(kept, (old, old))
        again = own.start_connector(ready=False)
        wait_for("it says so", lambda: "is too old to go by" in again.text(), SOON, explain=again.text)
        assert not own.works(1.0)
    finally:
        own.start_controller()
    own.wait_works(SOON, "the controller came back")


def test_killed_it_comes_back_by_itself(own: Tg) -> None:
    assert own.relay
    own.relay.kill()
    wait_for("the tunnel is gone", lambda: not own.works(0.5), 10)
    own.start_relay()
    own.wait_works(SOON, "the relay came back")


def test_stopped_it_says_goodbye_and_ends_well(own: Tg) -> None:
    assert own.relay and own.connector
    connector = own.connector
    before = len(connector.text())
    def said() -> list[str]:
        return [line.split(" ", 1)[1] for line in connector.text()[before:].splitlines()]
    own.relay.signal(signal.SIGTERM)
    wait_for("the connector has left", lambda: said(), 1, explain=own.explain)
    assert said()[0] == f"warning relay {PUBLIC_WEB}:8444: it says goodbye"
    assert own.relay.wait() == 0
    status = json.loads(own.run(own.lab.connector, "connector status", "--json").ok().out)
    assert [r["connected"] for r in status["relays"]] == [False] and status["state"] == "unreachable", status
    result = own.run(own.lab.internet, "relay health")
    assert result.code == 1 and result.err.count("\n") == 1, result
    own.start_relay()
    own.wait_works(SOON, "the relay was started again")
    assert len(said()) <= 4 and "error" not in " ".join(said()) and said()[-1].endswith(": connected"), said()


def test_a_relay_that_is_removed_serves_nobody_and_says_why(own: Tg, port: int) -> None:
    with flow(own, port) as (near, far):
        near.sendall(b"x")
        assert far.recv(1) == b"x"
        own.apply(PEOPLE + RESOURCES, "--prune").ok()
        near.settimeout(5)
        with pytest.raises(ConnectionResetError):
            near.recv(1)
    wait_for("the relay is out of service", lambda: own.run(own.lab.internet, "relay health").code == 1, SOON)
    assert "removed" in own.run(own.lab.internet, "relay status").ok().out
    own.apply(POLICY).ok()
    assert own.relay
    own.relay.stop()
    own.start_relay(own.token("relay", "relay-1"))            # a new token in the same state directory
    own.wait_works(SOON, "the relay was let in again")


def test_tokens_are_for_one_role(own: Tg) -> None:
    wrong = own.run(own.lab.internet, "relay run", "--token", own.token("connector", "spare"), state="other-relay")
    assert wrong.code == 2 and "for a connector, not for a relay" in wrong.err, wrong
    unknown = own.admin("relay token", "relay-9")
    assert unknown.code == 1 and 'no relay "relay-9"' in unknown.err, unknown
