"""Certificates that live for seconds in place of a day, and a CA that lives for less than a minute in place of a year: everything is
renewed several times over, and no flow notices."""
from __future__ import annotations

import datetime
import pathlib
import subprocess
import time
from typing import Iterator

import pytest
from support.flows import flow
from support.netns import wait_for
from support.tg import PEOPLE, PUBLIC_WEB, RELAY_LISTEN, Tg, resource

LEAF, CA = 20, 40
POLICY = PEOPLE + f'[[relay]]\nname = "relay-1"\naddress = "{PUBLIC_WEB}:8444"\n' + resource("NAS", "nas.home.int")
ROLES = ("client", "connector", "relay")


@pytest.fixture
def hasty(cold_tg: Tg) -> Iterator[Tg]:
    """A relay of its own, so that flows do not depend on the controller's process."""
    tg = cold_tg
    tg.stop()
    tg.controller_arguments = ["--certificate-lifetime", f"{LEAF}s", "--ca-lifetime", f"{CA}s"]
    try:
        tg.start_with_relay(POLICY)
        yield tg
    finally:
        tg.stop()
        tg.relay_listen = RELAY_LISTEN
        tg.controller_arguments, tg.policy = [], ""


def certificates(path: pathlib.Path) -> list[dict[str, str]]:
    """Serial, end and issuer's key of the leaf and of the CA that signed it, by openssl."""
    out = []
    for pem in path.read_text().split("-----BEGIN CERTIFICATE-----")[1:]:
        shown = subprocess.run(["openssl", "x509", "-noout", "-serial", "-enddate", "-pubkey"], check=True, capture_output=True, text=True,
                               input="-----BEGIN CERTIFICATE-----" + pem).stdout
        lines = shown.split("\n", 2)
        out.append({"serial": lines[0], "end": lines[1].removeprefix("notAfter="), "key": lines[2]})
    return out


def ends(certificate: dict[str, str]) -> float:
    when = datetime.datetime.strptime(certificate["end"], "%b %d %H:%M:%S %Y GMT")
    return when.replace(tzinfo=datetime.timezone.utc).timestamp()


# Row 29 of the threats.
def test_everything_is_renewed_and_no_flow_notices(hasty: Tg) -> None:
    leaves: dict[str, set[str]] = {role: set() for role in ROLES}
    issuers: dict[str, set[str]] = {role: set() for role in ROLES}
    began = time.monotonic()

    def look() -> bool:
        """At every moment each agent's chain is valid, and a new flow works."""
        for role in ROLES:
            leaf, issuing = certificates(hasty.state(role) / "chain.pem")
            assert ends(leaf) > time.time() and ends(issuing) > time.time(), f"{role}: {leaf}, {issuing}"
            assert ends(leaf) <= ends(issuing)
            leaves[role].add(leaf["serial"])
            issuers[role].add(issuing["key"])
        assert hasty.works(2.0), hasty.explain()
        return all(len(leaves[r]) >= 4 and len(issuers[r]) >= 3 for r in ROLES)

    with flow(hasty, 5000) as (near, far):
        wait_for("four leaves and three CAs each", look, 4 * CA, 0.5, lambda: f"{leaves} {issuers} {hasty.explain()}")
        assert time.monotonic() - began > LEAF, "longer than the first certificates lived"
        near.sendall(b"?")
        assert far.recv(1) == b"?"
        far.sendall(b"!")
        assert near.recv(1) == b"!"
    # What they have now is good for new connections, to everybody.
    hasty.client("down").ok()
    assert hasty.connector and hasty.controller
    for process in (hasty.connector, hasty.controller):
        process.stop(10)
    hasty.start_controller()
    hasty.start_connector()
    hasty.client_up().ok()
    hasty.wait_works(10, "everything but the relay was started again")


def test_lifetimes_that_make_no_sense_are_refused(cold_tg: Tg) -> None:
    def said(*more: str) -> tuple[int, str]:
        result = cold_tg.lab.internet.run([str(cold_tg.binary), "controller", "serve", "--state", str(cold_tg.state("other")), "--listen",
                                           "127.0.0.1:0", "--relay-listen", "none", *more], env=cold_tg.env())
        return result.code, result.err
    assert said("--certificate-lifetime", "5s") == (2, "tg: --certificate-lifetime 5s: is too short: 10s is the least\n")
    assert said("--certificate-lifetime", "a day")[0] == 2
    assert said("--certificate-lifetime", "30d", "--ca-lifetime", "40d") == (
        2, "tg: --ca-lifetime must be at least twice --certificate-lifetime, 60d\n")
    assert said("--certificate-lifetime", "1h", "--grace", "40m") == (
        2, "tg: --grace 40m: at most 30m, since without the controller agents' certificates may end then\n")
