"""A controller whose clock is wrong, or right on a machine whose clock is wrong: it cannot be told which.

    other_time.py FOLDER ADDRESS:PORT SECONDS      serves with server.pem, server.key, ca.pem, ca.key of FOLDER

No process can be given a false CLOCK_REALTIME: time namespaces have only the monotonic clocks, and a preloaded library does
not reach a static program. So this stands in for the controller: certificates with other dates, made by openssl, and the few
messages that an agent needs to come online.
"""
from __future__ import annotations

import base64
import datetime
import hashlib
import json
import os
import pathlib
import socket
import ssl
import struct
import subprocess
import sys
import threading
import time

INSTANCE = "tg-othertime"
ROLES = {"device": 1, "connector": 2, "relay": 3}


def make(folder: pathlib.Path, ahead: float) -> None:
    """A CA of now, and the leaf of a controller that was made by a clock `ahead` seconds ahead: valid from an hour before."""
    def openssl(*words: object, input: bytes | None = None) -> bytes:
        return subprocess.run(["openssl", *map(str, words)], cwd=folder, check=True, capture_output=True, input=input).stdout
    folder.mkdir()
    for name in ("ca", "server"):
        openssl("ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", f"{name}.key")
    openssl("req", "-x509", "-new", "-key", "ca.key", "-subj", "/CN=other time", "-days", 3650, "-out", "ca.pem")
    openssl("req", "-new", "-key", "server.key", "-subj", "/CN=controller", "-out", "server.csr")
    (folder / "index").write_text("")
    (folder / "ca.cnf").write_text(
        "[ca]\ndefault_ca = own\n[own]\ndatabase = index\nnew_certs_dir = .\nrand_serial = yes\ndefault_md = sha256\npolicy = any\n"
        f"x509_extensions = ext\n[any]\ncommonName = supplied\n[ext]\nsubjectAltName = URI:tg://{INSTANCE}/controller/main\n")
    made = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=ahead)
    begin, end = ((made + datetime.timedelta(hours=h)).strftime("%Y%m%d%H%M%SZ") for h in (-1, 24))
    openssl("ca", "-batch", "-config", "ca.cnf", "-cert", "ca.pem", "-keyfile", "ca.key", "-in", "server.csr", "-notext",
            "-startdate", begin, "-enddate", end, "-out", "leaf.pem")
    (folder / "server.pem").write_text((folder / "leaf.pem").read_text() + (folder / "ca.pem").read_text())
    public = openssl("x509", "-in", "ca.pem", "-pubkey", "-noout")
    (folder / "pin").write_bytes(hashlib.sha256(openssl("pkey", "-pubin", "-outform", "DER", input=public)).digest())


def token(folder: pathlib.Path, role: str, at: str) -> str:
    body = (struct.pack("!BI", ROLES[role], int(time.time()) + 600) + os.urandom(16 + 32) + (folder / "pin").read_bytes()
            + at.encode())
    return "tg1_" + base64.urlsafe_b64encode(body + hashlib.sha256(body).digest()[:4]).decode().rstrip("=")


def issue(folder: pathlib.Path, role: str, csr: str) -> str:
    name = f"{role}-{os.urandom(4).hex()}"
    (folder / f"{name}.ext").write_text(f"subjectAltName=URI:tg://{INSTANCE}/{role}/{os.urandom(8).hex()}\n")
    done = subprocess.run(["openssl", "x509", "-req", "-CA", "ca.pem", "-CAkey", "ca.key", "-days", "1", "-extfile",
                           f"{name}.ext"], cwd=folder, input=csr.encode(), check=True, capture_output=True)
    return done.stdout.decode() + (folder / "ca.pem").read_text()


def answers(folder: pathlib.Path, message: dict[str, str]) -> dict[str, object] | None:
    if message["type"] == "enroll":
        return {"type": "enrolled", "chain": issue(folder, message["role"], message["csr"])}
    if message["type"] == "hello":
        return {"type": "snapshot", "revision": 1, "items": {"self": {"user": "alice@example.com", "device": "d", "name": "d"}}}
    return {"type": "pong"} if message["type"] == "ping" else None


def serve_one(folder: pathlib.Path, connection: socket.socket, context: ssl.SSLContext, ahead: float) -> None:
    try:
        with context.wrap_socket(connection, server_side=True) as tls:
            stream = tls.makefile("rb")
            while head := stream.read(4):
                answer = answers(folder, json.loads(stream.read(struct.unpack("!I", head)[0])))
                if answer:
                    text = json.dumps({**answer, "time": int(time.time() + ahead)}).encode()
                    tls.sendall(struct.pack("!I", len(text)) + text)
    except (OSError, struct.error) as e:
        print(e, flush=True)


def main() -> None:
    folder, at, ahead = pathlib.Path(sys.argv[1]), sys.argv[2], float(sys.argv[3])
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "server.pem", folder / "server.key")
    context.load_verify_locations(folder / "ca.pem")
    context.verify_mode = ssl.CERT_OPTIONAL
    context.set_alpn_protocols(["tg-control/1"])
    address, port = at.rsplit(":", 1)
    with socket.create_server((address, int(port))) as listener:
        print("ready", flush=True)
        while True:
            connection, _ = listener.accept()
            threading.Thread(target=serve_one, args=(folder, connection, context, ahead), daemon=True).start()


if __name__ == "__main__":
    main()
