"""`tg client login` as a person uses it: started, read while it waits, and waited for."""
from __future__ import annotations

import base64
import contextlib
import hashlib
import hmac
import json
import struct
import time
import urllib.parse
from typing import Any, Iterator

from support.netns import Failed, Process, wait_for
from support.tg import Tg


class Login:
    """One `tg client login --json`. `waiting` is what it shows at first, and result() what came of it."""

    def __init__(self, tg: Tg, *more: str) -> None:
        self.tg = tg
        self.process: Process = tg.lab.laptop.start([*tg.words("client login"), *more, "--json"], "login", env=tg.env())

    def line(self, state: str) -> dict[str, Any] | None:
        for line in self.process.text().splitlines():
            if line.startswith("{") and line.endswith("}"):
                found: dict[str, Any] = json.loads(line)
                if found["state"] == state:
                    return found
        return None

    @property
    def waiting(self) -> dict[str, Any]:
        def shown() -> bool:
            if not self.process.alive() and not self.line("waiting"):
                raise Failed(f"login ended with {self.process.wait()}:\n{self.process.text()}")
            return self.line("waiting") is not None
        wait_for("login shows where to sign in", shown, 15, explain=self.process.text)
        found = self.line("waiting")
        assert found
        return found

    @property
    def url(self) -> str:
        return str(self.waiting["complete_url"])

    def result(self, code: int = 0, deadline: float = 20.0) -> Any:
        """The second line of one that ends well, what it said of one that does not."""
        ended = self.process.wait(deadline)
        if ended != code:
            raise Failed(f"login ended with {ended}, not {code}:\n{self.process.text()}")
        return self.line("signed-in") if code == 0 else self.process.text().splitlines()[-1]


@contextlib.contextmanager
def login(tg: Tg, *more: str) -> Iterator[Login]:
    made = Login(tg, *more)
    try:
        yield made
    finally:
        if made.process.alive():
            made.process.kill()


def address(tg: Tg) -> str:
    """What people are told to sign in at."""
    return str(json.loads(tg.admin("status", "--json").ok().out)["address"])


def code_of(uri: str, at: float | None = None) -> str:
    """What an authenticator app shows that has read an otpauth:// URI: RFC 6238, by another implementation."""
    secret = base64.b32decode(urllib.parse.parse_qs(urllib.parse.urlparse(uri).query)["secret"][0])
    step = int(time.time() if at is None else at) // 30
    digest = hmac.new(secret, struct.pack(">Q", step), hashlib.sha1).digest()
    start = digest[19] & 15
    return f"{(struct.unpack('>I', digest[start:start + 4])[0] & 0x7fffffff) % 1_000_000:06d}"
