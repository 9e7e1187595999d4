"""What is offered to a stranger's TLS: 1.3 with X25519, and nothing that could be resumed or sent early."""
from __future__ import annotations

from typing import Iterator

import pytest
from support.lab import CONNECTOR, CONTROLLER
from support.netns import Host, Result
from support.tg import PEOPLE, RESOURCES, Tg

PORT = 8445


@pytest.fixture(scope="module")
def listening(session_tg: Tg) -> Iterator[Tg]:
    """The connector listens, too."""
    tg = session_tg
    if not tg.whole(PEOPLE + RESOURCES):
        tg.stop()
        tg.start(PEOPLE + RESOURCES)
    assert tg.connector
    tg.connector.stop()
    tg.connector_arguments = ["--listen", f"{CONNECTOR}:{PORT}"]
    tg.start_connector()
    yield tg
    tg.connector_arguments = []
    tg.connector.stop()
    tg.start_connector()


@pytest.fixture(params=["controller", "relay", "connector"])
def server(listening: Tg, cold_tg: Tg, request: pytest.FixtureRequest) -> tuple[Tg, Host, list[str]]:
    """Somebody who can reach it, and what openssl is to be told: with a certificate, since relay and connector want one."""
    tg = listening
    host, at, alpn, role = {"controller": (tg.lab.laptop, f"{CONTROLLER}:8443", "tg-control/1", "client"),
                            "relay": (tg.lab.laptop, f"{CONTROLLER}:8444", "tg-relay/1", "connector"),
                            "connector": (tg.lab.nas, f"{CONNECTOR}:{PORT}", "tg/1", "client")}[request.param]
    own = tg.state(role)
    return tg, host, ["-connect", at, "-alpn", alpn, "-cert", f"{own}/chain.pem", "-key", f"{own}/key.pem", "-cert_chain",
                      f"{own}/chain.pem", "-CAfile", f"{own}/root.pem"]


def openssl(host: Host, *options: str) -> Result:
    """It shakes hands, says what nobody understands, and reads on until the server has had enough."""
    return host.run(["openssl", "s_client", "-ign_eof", *options], input=b"\xff" * 64)


def test_tls_1_2_is_refused(server: tuple[Tg, Host, list[str]]) -> None:
    _, host, options = server
    result = openssl(host, *options, "-tls1_2")
    assert result.code == 1 and "alert protocol version" in result.err and "Cipher is (NONE)" in result.out, result


def test_other_groups_than_x25519_are_refused(server: tuple[Tg, Host, list[str]]) -> None:
    _, host, options = server
    result = openssl(host, *options, "-tls1_3", "-groups", "P-256:P-384")
    assert result.code == 1 and "handshake failure" in result.err and "Cipher is (NONE)" in result.out, result


def test_tls_1_3_with_x25519_and_nothing_to_resume_or_to_send_early(server: tuple[Tg, Host, list[str]]) -> None:
    tg, host, options = server
    session = tg.lab.root / "tls-session"
    result = openssl(host, *options, "-tls1_3", "-sess_out", str(session))
    assert "New, TLSv1.3, Cipher is TLS_" in result.out and "Server Temp Key: X25519, 253 bits" in result.out, result
    assert "Verify return code: 0 (ok)" in result.out and "ALPN protocol: tg" in result.out, result
    # Early data takes a ticket of an earlier connection (RFC 8446 section 4.2.10). The server has said what it had to say
    # before it ended the connection, and there was none.
    assert "Session Ticket" not in result.out and not session.exists(), result
