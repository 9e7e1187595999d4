"""Machines without people: service accounts, and the keys that let in as many machines as come."""
from __future__ import annotations

import contextlib
import json
import os
import re
import time
from typing import Iterator

import pytest
from support.flows import flow
from support.lab import NAS_PAGE, Lab
from support.many_flows import ends, within
from support.netns import Host, wait_for
from support.tg import PEOPLE, Tg, resource

NAS_ONLY = resource("NAS", "nas.home.int", groups='["builders"]')
POLICY = PEOPLE + '[[service]]\nname = "ci"\n[[group]]\nname = "builders"\nmembers = ["ci"]\n' + NAS_ONLY + """
[[test]]
user = "ci"
can = ["nas.home.int:22"]
[[test]]
user = "alice@example.com"
cannot = ["nas.home.int:22"]
"""
RUNNERS = {"runner-1": "198.18.0.1", "runner-2": "198.18.0.3", "runner-3": "198.18.0.5"}


@pytest.fixture
def site(cold_tg: Tg) -> Iterator[Tg]:
    """A controller with a service account, a connector, and a laptop that was never enrolled."""
    cold_tg.stop()
    cold_tg.start_controller()
    cold_tg.apply(POLICY).ok()
    cold_tg.start_connector(cold_tg.token("connector", "home-1"))
    yield cold_tg
    cold_tg.stop()
    cold_tg.policy = ""


def new_key(tg: Tg, *more: str) -> str:
    """A key in a file, by its path."""
    made = tg.admin("key create", "ci", *more).ok()
    assert re.fullmatch(r"tg1_\S+\n", made.out) and made.err == "", made
    path = tg.lab.root / "ci.key"
    path.write_text(made.out)
    return str(path)


def keys(tg: Tg) -> list[dict[str, object]]:
    found: list[dict[str, object]] = json.loads(tg.admin("key list", "--json").ok().out)["keys"]
    return found


def devices(tg: Tg) -> list[dict[str, object]]:
    found: list[dict[str, object]] = json.loads(tg.admin("device list", "--json").ok().out)["devices"]
    return found


def up(tg: Tg, key: str) -> None:
    tg.client("up", "--key", key, timeout=30).ok()
    tg.wait_works(10, "up --key")


# -- the way that it is meant ---------------------------------------------------------------------------------------------------

def test_a_machine_comes_in_by_a_key_and_says_so(site: Tg) -> None:
    up(site, new_key(site, "--name", "runners", "--expires", "90d"))
    status = site.status()
    (key,) = keys(site)
    assert status["user"] == "ci" and status["key"] == {"id": key["id"], "until": key["expires"]}, status
    assert status["warnings"] == []
    assert 89 * 86400 < int(str(key["expires"])) - time.time() <= 90 * 86400
    assert (key["service"], key["name"], key["state"], key["devices"]) == ("ci", "runners", "active", 1), key
    shown = site.client("status").ok().out
    assert re.search(r"^service    ci\nkey        " + str(key["id"]) + r", until \d{4}-\d\d-\d\d \d\d:\d\d UTC$", shown, re.M), shown
    assert site.lab.laptop.run(["curl", "-sS", "http://nas.home.int/"]).ok().out == NAS_PAGE
    (device,) = devices(site)
    assert device["user"] == "ci" and (device["state"], device["access"]) == ("pending", "let in"), device


@contextlib.contextmanager
def runners(tg: Tg, lab: Lab, key: str) -> Iterator[list[Host]]:
    """Three machines at once, each given the key in another way."""
    text = open(key).read()
    hosts = [lab.internet_host(name, address) for name, address in RUNNERS.items()]
    ways: list[tuple[list[str], str | None, dict[str, str]]] = [
        (["--key", "-"], text, {}), ([], None, {"TG_KEY": text}), ([], None, {"TG_KEY": key})]
    try:
        for host, (more, words, env) in zip(hosts, ways):
            host.run([*tg.words("client up", host.name), *more], 30, words, {**tg.env(), **env}).ok()
        yield hosts
    finally:
        for host in hosts:
            host.run(tg.words("client down", host.name), 20, env=tg.env())


def test_any_number_of_machines_come_in_by_one_key_at_once(site: Tg, lab: Lab) -> None:
    key = new_key(site)
    with runners(site, lab, key) as hosts:
        for host in hosts:
            assert host.run(["curl", "-sS", "http://nas.home.int/"]).ok().out == NAS_PAGE
        found = devices(site)
        assert len(found) == 3 and all(d["online"] and d["user"] == "ci" for d in found), found
        assert keys(site)[0]["devices"] == 3
        site.admin("key delete", str(keys(site)[0]["id"])).ok()
        for host in hosts:
            def out() -> bool:
                return host.run(["curl", "-sS", "-m", "2", "http://nas.home.int/"]).code != 0
            wait_for(f"{host.name} is out", out, 5)
        assert devices(site) == []


def test_the_same_machine_again_is_the_same_device(site: Tg) -> None:
    key = new_key(site)
    up(site, key)
    (before,) = devices(site)
    site.client("down").ok()
    up(site, key)
    site.client("down").ok()
    site.client_up().ok()                                     # and without the key: it has an identity
    (after,) = devices(site)
    assert after["id"] == before["id"]
    site.client("down").ok()
    site.admin("device delete", str(before["id"])).ok()
    up(site, key)                                             # who was removed comes in anew
    (other,) = devices(site)
    assert other["id"] != before["id"]
    site.admin("device update", str(other["id"]), "--to", "blocked").ok()
    site.client("down").ok()
    blocked = site.client("up", "--key", key)                 # who is blocked does not
    assert blocked.code == 5 and "this device is blocked" in blocked.err and blocked.err.count("\n") == 1, blocked
    assert [d["id"] for d in devices(site)] == [other["id"]]
    site.admin("device delete", str(other["id"])).ok()
    up(site, new_key(site))                                   # another key makes it another one
    assert site.status()["device"] == devices(site)[0]["id"] and len(devices(site)) == 1


def test_a_service_manager_brings_back_who_was_removed(site: Tg) -> None:
    key = new_key(site)
    words = [*site.words("client up"), "--foreground", "--key", key]
    first = site.lab.laptop.start(words, "tg-client-service", env=site.env())
    site.wait_works(10, "it was started")
    site.admin("device delete", str(devices(site)[0]["id"])).ok()
    assert first.wait(10) == 5
    assert first.text().splitlines()[-1].startswith("tg: this device has been removed"), first.text()
    second = site.lab.laptop.start(words, "tg-client-again", env=site.env())
    site.wait_works(10, "it was started again")
    assert len(devices(site)) == 1
    assert second.stop() == 0


def test_a_key_does_not_take_a_persons_device(site: Tg) -> None:
    site.client_up(site.token("device", "alice@example.com")).ok()
    site.client("down").ok()
    said = site.client("up", "--key", new_key(site))
    assert said.code == 6 and "the device of a person" in said.err and "tg client logout" in said.err, said
    assert [d["user"] for d in devices(site)] == ["alice@example.com"]
    site.client("logout", "--yes").ok()
    up(site, new_key(site))


def test_a_file_of_settings_may_name_the_key(site: Tg) -> None:
    config = site.lab.root / "client.toml"
    config.write_text(f'key = "{new_key(site, "--expires", "6d")}"\n')
    site.client("up", "--config", str(config), timeout=30).ok()
    status = site.status()
    assert status["user"] == "ci"
    (said,) = status["warnings"]                                          # type: ignore[misc]
    assert "tg controller key create ci" in said


# -- what takes it away ---------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("change", ["key", "service", "block"])
def test_what_is_taken_from_a_service_ends_its_flows(site: Tg, port: int, change: str) -> None:
    up(site, new_key(site))
    with flow(site, port) as pair:
        since = time.monotonic()
        match change:
            case "key": site.admin("key delete", str(keys(site)[0]["id"])).ok()
            case "service": site.admin("service delete", "ci").ok()
            case "block": site.admin("service update", "ci", "--to", "blocked").ok()
        within(ends([pair], since), change)
    wait_for("the client says so", lambda: site.client("status").code == 3, 5, explain=site.explain)
    said = site.client("status", "--json")
    problem = json.loads(said.out)["problem"]
    assert ("ci is blocked" if change == "block" else "this device has been removed") in problem, problem


def test_a_key_that_expires_ends_what_came_in_by_it(site: Tg, port: int) -> None:
    key = new_key(site, "--expires", "6s")
    up(site, key)
    with flow(site, port) as pair:
        within(ends([pair], time.monotonic() + 6), "expired")
    assert [k["state"] for k in keys(site)] == ["expired"] and devices(site) == []
    site.client("down").ok()
    site.client("logout", "--yes").ok()
    refused = site.client("up", "--key", key)
    assert refused.code == 4 and "the key expired at" in refused.err and refused.err.count("\n") == 1, refused


# -- what is wrong ----------------------------------------------------------------------------------------------------------------

def test_a_key_that_is_none_is_told_in_one_line(site: Tg) -> None:
    key, empty, garbage = new_key(site), site.lab.root / "empty", site.lab.root / "garbage"
    empty.write_text("\n")
    garbage.write_text("tg1_AAAA\n")
    text = open(key).read().strip()
    token = site.token("device", "alice@example.com")
    pipe, token_file = site.lab.root / "pipe", site.lab.root / "token"
    token_file.write_text(token)
    os.mkfifo(pipe)
    for arguments, code, words in [
            (["--key", "/nowhere/ci.key"], 1, ["--key", "/nowhere/ci.key"]),
            (["--key", str(empty)], 2, ["--key", str(empty), "is no key", "tg controller key create"]),
            (["--key", str(garbage)], 2, ["--key", "a part of one is missing"]),
            (["--key", text[:-5]], 2, ["--key", "TG_KEY"]),
            (["--key", text], 2, ["--key", "TG_KEY", "everybody sees it"]),
            (["--key", "/dev/zero"], 1, ["--key", "longer than 4096 bytes"]),
            (["--key", str(pipe), "--timeout", "1"], 3, ["--key", "nothing more came from", str(pipe)]),
            (["--key", str(token_file)], 2, ["--key", str(token_file), "is a token for a device"]),
            (["--key", key, "--token", token], 2, ["--token is for a person's device", "give one"]),
            (["--token", text], 2, ["--token", "key of a service", "--key FILE"])]:
        said = site.client("up", *arguments)
        assert said.code == code and said.out == "" and said.err.count("\n") == 1, said
        assert all(w in said.err for w in words), said
        assert text[10:60] not in said.err, "a secret is printed"
    cut = site.lab.laptop.run(site.words("client up"), 20, env={**site.env(), "TG_KEY": text[:-5] + "\n"})
    assert cut.code == 2 and "TG_KEY is no key, or a part of one is missing" in cut.err and text[10:60] not in cut.err, cut
    assert devices(site) == []
    connector = site.run(site.lab.connector, "connector run", "--token", text, state="other")
    assert connector.code == 2 and "for a service, not for a connector" in connector.err, connector


def test_administration_of_services_and_keys(site: Tg) -> None:
    def refused(command: str, *more: str) -> str:
        said = site.admin(command, *more)
        assert said.code in (1, 2, 6) and said.err.count("\n") == 1, said
        return said.err
    assert "+ service backup" in site.admin("service create", "backup").ok().out
    assert 'service "backup" exists already' in refused("service create", "backup")
    assert 'must not contain "@"' in refused("service create", "a@b.c")
    assert 'there is no service "nobody"' in refused("key create", "nobody")
    assert "--expires" in refused("key create", "ci", "--expires", "soon")
    assert "--expires" in refused("key create", "ci", "--expires", "0")
    made = json.loads(site.admin("key create", "ci", "--name", "one", "--json").ok().out)
    assert set(made) == {"key", "id", "expires", "schema_version"}, made
    assert 'has a key "one" already' in refused("key create", "ci", "--name", "one")
    site.admin("key update", "one", "--rename", "two").ok()
    assert json.loads(site.admin("key show", "two", "--json").ok().out)["id"] == made["id"]
    assert made["key"] not in site.admin("key list").ok().out + site.admin("audit", "--json").ok().out
    assert f"- key {made['id']}" in site.admin("key delete", "two").ok().out
    assert "there is no key" in refused("key delete", "two")
    assert "there is no key" in refused("key show", made["id"])
    assert refused("key update", "two", "--rename", "x/y")
    exported = site.admin("export").ok().out
    assert '[[service]]\nname = "backup"' in exported and site.apply(exported, "--dry-run", "--prune").code == 0
    assert "- service backup" in site.admin("service delete", "backup").ok().out


def test_a_test_in_the_file_counts_for_services(site: Tg) -> None:
    wrong = POLICY.replace('can = ["nas.home.int:22"]', 'can = ["other.home.int:22"]', 1)
    said = site.apply(wrong)
    assert said.code != 0 and "test of ci" in said.err, said
