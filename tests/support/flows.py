"""Both ends of a flow in one place: the far end on the NAS, the near end on the laptop, through tg."""
from __future__ import annotations

import contextlib
import hashlib
import socket
import struct
import threading
from typing import Callable, Iterator

from support.lab import NAS
from support.netns import Failed, Host
from support.tg import Tg

IP_RECVERR = 11


@contextlib.contextmanager
def flow(tg: Tg, port: int, name: str = "nas.home.int") -> Iterator[tuple[socket.socket, socket.socket]]:
    """A TCP connection: (near, far)."""
    with tg.lab.nas.listen(NAS, port) as listener, tg.connect(name, port) as near:
        far, _ = listener.accept()
        far.settimeout(10)
        with far:
            yield near, far


@contextlib.contextmanager
def server(host: Host, port: int, serve: Callable[[socket.socket], None], address: str = NAS) -> Iterator[None]:
    """Calls `serve` in a thread with each connection; what it raises fails the test."""
    errors: list[BaseException] = []
    threads: list[threading.Thread] = []

    def one(connection: socket.socket) -> None:
        try:
            with connection:
                serve(connection)
        except BaseException as e:
            errors.append(e)

    def accept() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            connection.settimeout(60)
            threads.append(threading.Thread(target=one, args=(connection,), daemon=True))
            threads[-1].start()

    with host.listen(address, port, 4096) as listener:
        listener.settimeout(None)
        accepting = threading.Thread(target=accept, daemon=True)
        accepting.start()
        yield
        listener.shutdown(socket.SHUT_RDWR)
        accepting.join(10)               # which is about to start the last of the others, maybe
    for thread in threads:
        thread.join(10)
        if thread.is_alive():
            raise Failed("the far server has not ended 10 s after the test")
    if errors:
        raise Failed(f"the far server: {errors[0]!r}") from errors[0]


def read_to_end(s: socket.socket) -> bytes:
    parts = []
    while part := s.recv(1 << 16):
        parts.append(part)
    return b"".join(parts)


def hash_to_end(s: socket.socket) -> tuple[str, int]:
    """The SHA-256 and the number of the bytes up to the end."""
    digest, size, room = hashlib.sha256(), 0, memoryview(bytearray(1 << 20))
    while got := s.recv_into(room):
        digest.update(room[:got])
        size += got
    return digest.hexdigest(), size


def reset(s: socket.socket) -> None:
    """Closes with RST."""
    s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    s.close()


def icmp_error(s: socket.socket) -> tuple[int, int]:
    """The (type, code) of the ICMP message that ended what `s` did. It needs IP_RECVERR set before."""
    _, ancillary, _, _ = s.recvmsg(512, 512, socket.MSG_ERRQUEUE)
    for level, kind, data in ancillary:
        if (level, kind) == (socket.IPPROTO_IP, IP_RECVERR):
            _, origin, type_, code = struct.unpack_from("IBBB", data)
            if origin == 2:                      # SO_EE_ORIGIN_ICMP
                return type_, code
    raise Failed(f"no ICMP message in the error queue: {ancillary}")


class Drop:
    """While it stands, the host drops TCP SYNs to `port`; `seen()` says how many there were."""

    def __init__(self, host: Host, port: int) -> None:
        self.host, self.port, self.table = host, port, f"drop_{port}"

    def __enter__(self) -> Drop:
        self.host.nft(f"table ip {self.table} {{\n chain input {{\n type filter hook input priority filter\n"
                      f" tcp dport {self.port} counter drop\n }}\n}}")
        self.on = True
        return self

    def seen(self) -> int:
        words = self.host.run(["nft", "list", "table", "ip", self.table]).ok().out.split()
        return int(words[words.index("packets") + 1])

    def lift(self) -> None:
        if self.on:
            self.host.nft(f"delete table ip {self.table}")
            self.on = False

    def __exit__(self, *_: object) -> None:
        self.lift()
