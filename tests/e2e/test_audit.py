"""The record of what administrators changed: read, followed, checked, and found out when somebody alters it."""
from __future__ import annotations

import json
import re
import sqlite3

from support.netns import wait_for
from support.tg import Tg

FAILED, USAGE = 1, 2
ROOT = r"root(, by sudo of \S+)?"      # the tests may be run by sudo


def entries(tg: Tg, *more: str) -> list[dict[str, object]]:
    return json.loads(tg.admin("audit", "--json", *more).ok().out)["entries"]


def test_a_change_is_there_with_who_made_it_and_what_it_was_before(tg: Tg) -> None:
    tg.admin("resource create", "Lamp", "--network", "home", "--address", "lamp.home.int").ok()
    try:
        tg.admin("resource update", "Lamp", "--address", "10.0.9.9").ok()
        made, changed = entries(tg, "--newest", "2")
        assert made["action"] == "create" and made["kind"] == "resource" and made["name"] == "Lamp", made
        assert made["before"] is None and re.fullmatch(ROOT, str(made["who"])) and made["from"] == "socket", made
        assert changed["before"]["address"] == "lamp.home.int" and changed["after"]["address"] == "10.0.9.9", changed     # type: ignore[index]
        line = tg.admin("audit", "--newest", "1").ok().out
        assert re.fullmatch(r"\d+  \d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC  " + ROOT + r"  update resource Lamp: "
                            r"address lamp\.home\.int -> 10\.0\.9\.9\n", line), line
    finally:
        tg.admin("resource delete", "Lamp").ok()
    assert "remove resource Lamp" in tg.admin("audit", "--newest", "1").ok().out


def test_whom_sudo_speaks_for_is_named(tg: Tg) -> None:
    tg.lab.internet.run(["env", "SUDO_USER=carol", *tg.words("controller device token"), "alice@example.com"], env=tg.env()).ok()
    [entry] = entries(tg, "--newest", "1")
    assert entry["who"] == "root, by sudo of carol" and entry["action"] == "token", entry
    assert set(entry["after"]) == {"token", "expires"}, entry      # type: ignore[call-overload]


def test_enrolment_is_the_token_s_doing(tg: Tg) -> None:
    enrolled = [e for e in entries(tg, "--newest", "1000") if e["action"] == "enroll" and e["kind"] == "device"]
    assert enrolled and str(enrolled[-1]["who"]).startswith("token ") and enrolled[-1]["from"], enrolled


def test_it_can_be_followed(tg: Tg) -> None:
    follower = tg.lab.internet.start([*tg.words("controller audit"), "--follow", "--newest", "1", "--json"],
                                     "audit-follow", env=tg.env())
    try:
        wait_for("the newest entry is there", lambda: follower.text().count("\n") >= 1, 10, explain=follower.text)
        tg.admin("group create", "gardeners").ok()
        tg.admin("group delete", "gardeners").ok()
        wait_for("both changes are told", lambda: follower.text().count('"gardeners"') >= 2, 10, explain=follower.text)
        for line in follower.text().splitlines():
            json.loads(line)
    finally:
        follower.kill()


def test_it_is_whole_and_goes_through_an_end_that_was_noted(tg: Tg) -> None:
    head = tg.admin("audit verify").ok().out.strip()
    assert re.fullmatch(r"\d+:[0-9a-f]{64}", head), head
    tg.admin("group create", "gardeners").ok()
    tg.admin("group delete", "gardeners").ok()
    later = json.loads(tg.admin("audit verify", "--head", head, "--json").ok().out)
    assert later["whole"] is True and later["head"] != head and later["problem"] == "", later
    number, digest = head.split(":")
    forged = f"{number}:{'0' * 64 if digest[0] != '0' else '1' * 64}"
    result = tg.admin("audit verify", "--head", forged)
    assert result.code == FAILED and "written anew" in result.err and not result.out, result
    assert tg.admin("audit verify", "--head", "soon").code == USAGE


def test_an_entry_that_was_altered_is_found(tg: Tg) -> None:
    with sqlite3.connect(tg.state("controller") / "controller.db") as db:
        [(number, text)] = db.execute("SELECT number, text FROM audit ORDER BY number LIMIT 1").fetchall()
        db.execute("UPDATE audit SET text = replace(text, '\"action\":\"create\"', '\"action\":\"remove\"') WHERE number = ?", (number,))
    try:
        result = tg.admin("audit verify")
        assert result.code == FAILED, result
        assert result.err == f"tg: entry {number} of the audit log was altered, or what stands before it was\n", result
    finally:
        with sqlite3.connect(tg.state("controller") / "controller.db") as db:
            db.execute("UPDATE audit SET text = ? WHERE number = ?", (text, number))
    tg.admin("audit verify").ok()
