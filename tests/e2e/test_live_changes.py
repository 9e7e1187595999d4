"""What an administrator changes takes effect on running clients within 2 s."""
from __future__ import annotations

import errno
import json
import time
from typing import Iterator

import pytest
from support.dnswire import NXDOMAIN, ask
from support.flows import flow
from support.lab import NAS_PAGE
from support.netns import Host, wait_for
from support.tg import PEOPLE, RESOURCES, STUB, Tg, resource

SOON = 2.0


@pytest.fixture
def changing(tg: Tg) -> Iterator[Tg]:
    """tg whose policy is put back afterwards."""
    yield tg
    if not tg.policy:
        return                                     # the next test starts anew
    tg.apply(PEOPLE + RESOURCES, "--prune").ok()
    wait_for("the policy is as it was", tg.works, 5)


def exists(laptop: Host, name: str) -> bool:
    return bool(ask(laptop, STUB, name).answer)


def page(laptop: Host, url: str) -> bool:
    return laptop.run(["curl", "-sS", "--max-time", "2", url]).out == NAS_PAGE


def test_a_name_added_and_removed(changing: Tg, laptop: Host, port: int) -> None:
    assert not exists(laptop, "new.home.int")
    changing.lab.home_dns.stop()
    changing.lab.start_home_dns(["host-record=new.home.int,192.168.1.50"])
    changing.apply(PEOPLE + RESOURCES + resource("New", "new.home.int")).ok()
    wait_for("the new Resource has an address", lambda: exists(laptop, "new.home.int"), SOON, explain=changing.explain)
    wait_for("it works", lambda: page(laptop, "http://new.home.int/"), SOON, explain=changing.explain)
    changing.apply(PEOPLE + RESOURCES, "--prune").ok()
    wait_for("the Resource is gone", lambda: ask(laptop, STUB, "new.home.int").rcode == NXDOMAIN, SOON)
    changing.lab.home_dns.stop()
    changing.lab.start_home_dns()


def test_a_network_added_and_removed_has_a_route_meanwhile(changing: Tg, laptop: Host) -> None:
    def routed() -> bool:
        return "dev tg" in laptop.run("ip route get 10.0.5.7").out
    def gone() -> bool:
        return not routed()
    assert routed()
    without = RESOURCES.replace(resource("Boxes", "10.0.5.0/24"), "")
    changing.apply(PEOPLE + without, "--prune").ok()
    wait_for("the route is gone", gone, SOON, explain=changing.explain)
    changing.apply(PEOPLE + RESOURCES).ok()
    wait_for("the route is there", routed, SOON, explain=changing.explain)
    wait_for("it works", lambda: page(laptop, "http://10.0.5.7/"), SOON, explain=changing.explain)


def test_a_live_flow_ends_when_its_resource_is_removed(changing: Tg, port: int) -> None:
    with flow(changing, port) as (near, far):
        near.sendall(b"x")
        assert far.recv(1) == b"x"
        changing.admin("resource delete", "NAS").ok()
        near.settimeout(5)
        try:
            assert near.recv(1) == b""
        except ConnectionResetError:
            pass


def test_a_port_taken_away_is_refused_and_given_back_works(changing: Tg) -> None:
    address = changing.lookup("web.home.int")
    def code() -> int:
        with changing.lab.laptop.socket(timeout=3) as s:
            return s.connect_ex((address, 80))
    assert code() == 0
    changing.apply(PEOPLE + RESOURCES.replace('tcp = ["80", "8000-8100"]', 'tcp = ["8000-8100"]')).ok()
    wait_for("port 80 is prohibited", lambda: code() == errno.EHOSTUNREACH, SOON, explain=changing.explain)
    changing.apply(PEOPLE + RESOURCES).ok()
    wait_for("port 80 works", lambda: code() == 0, SOON, explain=changing.explain)


def test_a_member_removed_from_the_group_loses_everything(changing: Tg, laptop: Host) -> None:
    changing.apply((PEOPLE + RESOURCES).replace('members = ["alice@example.com"]', 'members = ["bob@example.com"]')).ok()
    wait_for("alice has no Resource", lambda: not exists(laptop, "nas.home.int"), SOON, explain=changing.explain)
    changing.apply(PEOPLE + RESOURCES).ok()
    wait_for("alice has them again", changing.works, SOON + 1, explain=changing.explain)


def test_a_blocked_device_is_cut_off_within_five_seconds(changing: Tg, port: int) -> None:
    listed = json.loads(changing.admin("device list", "--json").ok().out)
    name = next(d["id"] for d in listed["devices"] if d["online"])
    with flow(changing, port) as (near, far):
        near.sendall(b"x")
        assert far.recv(1) == b"x"
        started = time.monotonic()
        changing.run(changing.lab.internet, "controller device update", name, "--to", "blocked").ok()
        near.settimeout(5)
        try:
            assert near.recv(1) == b""
        except ConnectionResetError:
            pass
        assert time.monotonic() - started < 5
    wait_for("no new flow works", lambda: not changing.works(1.0), 5)
    changing.policy = ""                           # a blocked device starts anew for the next test


def test_apply_is_idempotent_and_the_plan_says_so(changing: Tg) -> None:
    path = str(changing.lab.root / "home.toml")
    assert changing.run(changing.lab.internet, "controller apply", path, "--dry-run").code == 0
    assert changing.apply().code == 0
    (changing.lab.root / "more.toml").write_text(changing.policy + resource("More", "more.home.int"))
    plan = changing.run(changing.lab.internet, "controller apply", str(changing.lab.root / "more.toml"), "--dry-run")
    assert plan.code == 2 and "more.home.int" in plan.out
    assert not exists(changing.lab.laptop, "more.home.int"), "--dry-run changes nothing"


def test_a_blocked_device_is_told_and_forgets_what_it_knew(changing: Tg, laptop: Host, port: int) -> None:
    device = str(changing.status()["device"])
    assert exists(laptop, "nas.home.int")
    with flow(changing, port) as (near, far):
        near.sendall(b"x")
        assert far.recv(1) == b"x"
        changing.admin("device update", device, "--to", "blocked").ok()
        near.settimeout(5)
        with pytest.raises(ConnectionResetError):
            near.recv(1)
    wait_for("the name is nobody's", lambda: not exists(laptop, "nas.home.int"), SOON, explain=changing.explain)
    assert "blocked" in changing.client("status").out
    changing.admin("device update", device, "--to", "pending").ok()
    wait_for("it works again", changing.works, 5, explain=changing.explain)


def test_a_connector_whose_place_was_taken_says_so_and_serves_nobody(changing: Tg) -> None:
    """Another machine was enrolled under its name: the first one must not go on with what it once knew."""
    token = changing.token("connector", "home-1")
    second = changing.lab.router.start([*changing.words("connector run", "second-home-1"), "--token", token], "tg-second-home-1",
                                    env=changing.env())
    try:
        wait_for("the first says why", lambda: "in its place" in changing.run(changing.lab.connector, "connector status").out, 5,
                 explain=changing.explain)
        assert changing.run(changing.lab.connector, "connector health").code == 1
        wait_for("the second serves", changing.works, 5, explain=changing.explain)
    finally:
        second.stop()
        changing.stop()
        changing.policy = ""                         # the next test starts anew
