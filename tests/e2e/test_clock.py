"""A clock that is far off is said in one line, with what to do about it and an exit status. See support/other_time.py."""
from __future__ import annotations

import json
import os
import pathlib
import re
import sys
from typing import Iterator

import pytest
from support import other_time
from support.lab import CONTROLLER, Lab
from support.netns import Process, kill_and_wait
from support.tg import Tg

UNREACHABLE = 3
AT = f"{CONTROLLER}:9443"
HOURS, MINUTES = 5.5 * 3600, 5.5 * 60
SCRIPT = pathlib.Path(other_time.__file__)


class Other:
    def __init__(self, lab: Lab, ahead: float) -> None:
        self.folder = lab.root / f"other-time-{os.urandom(4).hex()}"
        other_time.make(self.folder, ahead)
        self.process: Process = lab.internet.start([sys.executable, SCRIPT, self.folder, AT, ahead], "other-time", ready="ready")

    def token(self, role: str) -> str:
        return other_time.token(self.folder, role, AT)


@pytest.fixture
def other(cold_tg: Tg, request: pytest.FixtureRequest) -> Iterator[Other]:
    made = Other(cold_tg.lab, request.param)
    yield made
    kill_and_wait(cold_tg.lab.nas.pids(cold_tg.binary))
    made.process.kill()


@pytest.mark.parametrize("role,command", [("device", "client up"), ("connector", "connector run"), ("relay", "relay run")])
@pytest.mark.parametrize("other,words", [(HOURS, "5 hours behind"), (-30.5 * 3600, "30 hours ahead of")], indirect=["other"])
def test_the_first_contact_says_that_the_clock_is_hours_off(cold_tg: Tg, other: Other, role: str, command: str, words: str) -> None:
    fresh = f"clock-{os.urandom(4).hex()}"
    result = cold_tg.run(cold_tg.lab.nas, command, "--token", other.token(role), "--timeout", "5", state=fresh)
    assert (result.code, result.out) == (UNREACHABLE, ""), result
    assert result.err == (f"tg: this machine's clock is {words} the controller's; set it (timedatectl set-ntp true), and start "
                          "again; until then no certificate is valid here\n"), result


@pytest.mark.parametrize("other", [HOURS], indirect=True)
def test_later_contacts_say_so_too(cold_tg: Tg, other: Other) -> None:
    tg, fresh = cold_tg, f"clock-{os.urandom(4).hex()}"
    tg.run(tg.lab.nas, "client up", "--token", other.token("device"), state=fresh)
    again = tg.run(tg.lab.nas, "client up", "--timeout", "2", state=fresh)
    assert again.code == UNREACHABLE and re.fullmatch(
        r"tg: not online after 2 s: controller 203\.0\.113\.10:9443: the peer's certificate is valid only from "
        r"20\d\d-\d\d-\d\d \d\d:\d\d UTC on: this machine's clock is behind; set it \(timedatectl set-ntp true\)\n", again.err), again
    check = tg.run(tg.lab.nas, "client netcheck", "--json", "--timeout", "2", state=fresh)
    clock = next(c for c in json.loads(check.out)["checks"] if c["check"] == "clock")
    assert (check.code, clock["state"]) == (UNREACHABLE, "failed") and "timedatectl" in clock["text"], check


@pytest.mark.parametrize("other", [MINUTES], indirect=True)
def test_minutes_that_certificates_forgive_are_a_warning(cold_tg: Tg, other: Other) -> None:
    tg, fresh = cold_tg, f"clock-{os.urandom(4).hex()}"
    says = "this machine's clock is 5 minutes behind the controller's; set it (timedatectl set-ntp true)"
    result = tg.run(tg.lab.nas, "client up", "--token", other.token("device"), state=fresh)
    try:
        assert result.code == 0 and result.err == f"tg: warning: {says}\ntg: online as alice@example.com, 0 Resources\n", result
        assert f"clock      {says}\n" in tg.run(tg.lab.nas, "client status", state=fresh).ok().out
    finally:
        tg.run(tg.lab.nas, "client down", state=fresh).ok()
    connector = tg.lab.nas.start([*tg.words("connector run", f"{fresh}-c"), "--token", other.token("connector")], "clock-connector",
                                 env=tg.env())
    connector.wait_text(f"warning {says}")
    assert json.loads(tg.run(tg.lab.nas, "connector status", "--json", state=f"{fresh}-c").ok().out)["clock"] == says
    connector.stop()
