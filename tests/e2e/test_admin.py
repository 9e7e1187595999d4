"""The administrator's commands: every verb of every kind, its exit status, its JSON; and an identity that was copied."""
from __future__ import annotations

import json
import shutil

import pytest
from support.lab import Lab
from support.netns import Result, kill_and_wait, wait_for
from support.tg import Tg

FAILED, USAGE, CONFLICT = 1, 2, 6
VERBS = ("list", "show", "create", "update", "delete")
KINDS = ("network", "connector", "relay", "identity-provider", "policy", "user", "service", "key", "api-token", "group", "resource",
         "device")


def verbs(kind: str) -> tuple[str, ...]:
    return tuple(v for v in VERBS if (kind, v) != ("api-token", "update"))     # it is what it is until it is deleted


def plural(kind: str) -> str:
    return "policies" if kind == "policy" else f"{kind}s".replace("-", "_")


def one_line(result: Result, code: int, *words: str) -> None:
    assert result.code == code, result
    assert result.err.startswith("tg: ") and result.err.count("\n") == 1 and not result.out, result
    assert all(w in result.err for w in words), f"{words} is not in: {result.err}"


def data(result: Result) -> dict[str, object]:
    out = json.loads(result.ok().out)
    assert out["schema_version"] == 1, out
    return out


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_has_every_verb_with_help(tg: Tg, kind: str) -> None:
    for verb in verbs(kind):
        out = tg.lab.nas.run([tg.binary, "controller", kind, verb, "--help"], env=tg.env()).ok().out
        assert "--json" in out and "--state" in out and "--timeout" in out, out
        assert (verb == "list") != any(what in out for what in ("NAME", "EMAIL", "DEVICE", "USER", "KEY ", "TOKEN ")), out


@pytest.mark.parametrize("kind", ["posture", "nonsense"])
def test_what_is_not_there_is_said_not_to_be_and_not_promised(tg: Tg, kind: str) -> None:
    for verb in ("list", "create"):
        one_line(tg.lab.nas.run([tg.binary, "controller", kind, verb], env=tg.env()), USAGE,
                 f'there is no command "controller {kind}"', "tg controller --help")
    assert kind not in tg.lab.nas.run([tg.binary, "controller", "--help"], env=tg.env()).ok().out


def test_an_entry_is_made_shown_changed_and_deleted(tg: Tg) -> None:
    made = data(tg.admin("network create", "office", "--json"))
    assert made["applied"] is True and made["changes"][0]["verb"] == "create", made     # type: ignore[index]
    try:
        one_line(tg.admin("network create", "office"), CONFLICT, "office", "exists already")
        data(tg.admin("resource create", "Wiki", "--network", "office", "--address", "wiki.int", "--json"))
        one_line(tg.admin("resource create", "Wiki2", "--network", "office", "--address", "10.0.5.7/24"), USAGE, "10.0.5.0/24")
        one_line(tg.admin("network delete", "office"), CONFLICT, "Wiki")
        data(tg.admin("resource update", "Wiki", "--rename", "Book", "--json"))
        data(tg.admin("network update", "office", "--rename", "bureau", "--json"))
        one_line(tg.admin("network update", "bureau"), USAGE, "nothing to change")
        one_line(tg.admin("network update", "bureau", "--rename", "home"), CONFLICT, "home")
        book = data(tg.admin("resource show", "Book", "--json"))
        assert book["network"] == "bureau" and book["address"] == "wiki.int", book
        assert "Book" in tg.admin("resource show", "Book").ok().out
        names = [r["name"] for r in data(tg.admin("resource list", "--json"))["resources"]]      # type: ignore[attr-defined]
        assert "Book" in names and "Wiki" not in names
    finally:
        for name in ("Book", "Wiki"):
            tg.admin("resource delete", name)
        for name in ("bureau", "office"):
            tg.admin("network delete", name)
    for kind in KINDS:
        change = {"device": ["--to", "pending"], "user": ["--rename", "x@y.z"]}.get(kind, ["--rename", "other"])
        for verb, more in (("show", []), ("delete", []), ("update", change)):
            if verb not in verbs(kind):
                continue
            one_line(tg.admin(f"{kind} {verb}", "nobody", *more), FAILED, "there is no", "nobody", f"tg controller {kind} list")
        assert isinstance(data(tg.admin(f"{kind} list", "--json"))[plural(kind)], list)


def test_a_device_is_made_by_a_token(tg: Tg) -> None:
    assert tg.admin("device create", "alice@example.com").ok().out.startswith("tg1_")
    one_line(tg.admin("device create", "nobody@example.com"), FAILED, "nobody@example.com")


def test_an_api_token_is_printed_once_and_lets_no_machine_in(tg: Tg) -> None:
    try:
        scopes = ["--scope", "users:read", "--scope", "*:read"]
        token = tg.admin("api-token create", "alice@example.com", *scopes, "--name", "laptop").ok()
        assert token.out.startswith("tg1_") and token.out.count("\n") == 1 and not token.err, token
        one_line(tg.admin("api-token create", "alice@example.com", "--scope", "*:read", "--name", "laptop"), CONFLICT, "laptop")
        one_line(tg.admin("api-token create", "alice@example.com", "--scope", "planets:read"), USAGE, "--scope", "planets:read")
        one_line(tg.admin("api-token create", "nobody@example.com", "--scope", "*:read"), FAILED, "nobody@example.com")
        assert tg.admin("api-token create", "alice@example.com").code == USAGE, "without a scope"
        listed = data(tg.admin("api-token list", "--json"))["api_tokens"]
        assert [(t["user"], t["name"], t["scopes"], t["state"]) for t in listed] == [           # type: ignore[attr-defined]
            ("alice@example.com", "laptop", ["*:read"], "active")], listed
        table = tg.admin("api-token list").ok().out
        assert "SCOPES" in table and "*:read" in table and "never" in table and token.out.strip() not in table, table
        text = token.out.strip()
        one_line(tg.run(tg.lab.laptop, "client up", "--token", text, state="no-client"), USAGE, "API token", "lets no machine in")
        path = tg.lab.root / "api.token"
        path.write_text(text)
        one_line(tg.run(tg.lab.laptop, "client up", "--key", str(path), state="no-client"), USAGE, "is an API token")
    finally:
        tg.admin("api-token delete", "laptop")
    assert data(tg.admin("api-token list", "--json"))["api_tokens"] == []


def test_people_and_services_have_roles(tg: Tg) -> None:
    try:
        tg.admin("user create", "rita@example.com", "--role", "auditor").ok()
        tg.admin("service create", "deploy").ok()
        changed = data(tg.admin("service update", "deploy", "--role", "admin", "--json"))["changes"]
        assert changed[0]["detail"] == "role member -> admin", changed                          # type: ignore[index]
        assert data(tg.admin("user show", "rita@example.com", "--json"))["role"] == "auditor"
        assert "ROLE" in tg.admin("user list").ok().out and "admin" in tg.admin("service list").ok().out
        exported = tg.admin("export").ok().out
        assert 'email = "rita@example.com"\nrole = "auditor"\n' in exported, exported
        assert 'name = "deploy"\nrole = "admin"\n' in exported, exported
        refused = tg.admin("user update", "rita@example.com", "--role", "root")
        assert refused.code == USAGE and "--role" in refused.err, refused
    finally:
        tg.admin("user delete", "rita@example.com")
        tg.admin("service delete", "deploy")


def test_a_state_that_is_too_big_is_refused_and_changes_nothing(tg: Tg) -> None:
    path = tg.lab.root / "big.toml"
    head = '[[network]]\nname = "big"\n[[user]]\nemail = "alice@example.com"\n[[group]]\nname = "family"\nmembers = ["alice@example.com"]\n'
    path.write_text(head + "".join(f'[[resource]]\nname = "R{i}"\nnetwork = "big"\naddress = "r{i}.big.int"\n'
                                   'groups = ["family"]\n' for i in range(20001)))
    one_line(tg.run(tg.lab.internet, "controller apply", str(path), timeout=60), FAILED, "20001", "20000 is the most")
    assert "big" not in tg.admin("network list").ok().out
    assert tg.works()


def test_grace_is_a_length_of_time(tg: Tg) -> None:
    for grace in ("soon", "13h"):
        one_line(tg.run(tg.lab.nas, "controller serve", "--grace", grace, "--listen", "127.0.0.1:0",
                        "--relay-listen", "127.0.0.1:0", state="graceful"), USAGE, "--grace")


def test_a_copied_connector_does_not_fight_with_the_true_one(tg: Tg, lab: Lab) -> None:
    """The copy takes the place, says nothing bad; the true one is told, and takes the place back when the copy ends."""
    copy = tg.state("copy")
    shutil.copytree(tg.state("connector"), copy, ignore=shutil.ignore_patterns("*.sock", "lock"))
    process = lab.nas.start([*tg.words("connector run", "copy"), "--dns", "192.168.1.1"], "tg-copy", env=tg.env())
    try:
        def told() -> bool:
            out = json.loads(tg.run(lab.connector, "connector status", "--json").ok().out)
            return "another tg process uses the identity" in out["controller"]["problem"]
        wait_for("the true connector says why", told, 10, explain=lab.log_tails)
        assert tg.run(lab.connector, "connector health").code == 1
        assert tg.controller and tg.connector
        controller, connector = tg.controller, tg.connector
        wait_for("the controller's log says so", lambda: "is used by two processes at once" in controller.text(), 15,
                 explain=controller.text)
        assert connector.text().count("another tg process uses the identity") == 1, connector.text()
        process.stop()
        # Its next attempt comes by itself, after a minute at most; a change of its network has it ask at once.
        lab.connector.run("ip addr add 192.0.2.200/32 dev lo").ok()
        lab.connector.run("ip addr del 192.0.2.200/32 dev lo").ok()
        tg.wait_connector(20)
        tg.wait_works(10, "the copy ended")
    finally:
        kill_and_wait(lab.nas.pids(tg.binary))
        shutil.rmtree(copy, ignore_errors=True)
