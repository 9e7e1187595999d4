"""What a power cut can leave on the disk of a process, of which strace has recorded what it wrote and what it synced.

Of a file is there what was synced, and of what was written since, any part: in any order, and torn at sectors. That is more than most
disks do to it."""
from __future__ import annotations

import pathlib
import random
import re
from dataclasses import dataclass, field
from typing import Iterator

SECTOR = 512
CALLS = "pwrite64,ftruncate,fdatasync,fsync,unlink,rename,sendto,sendmsg,write,writev,pwritev,fallocate,copy_file_range"
HEX = re.compile(r"\\x([0-9a-f]{2})")
LINE = re.compile(r"^\d+ +(\w+)\((.*)\) += (-?\d+)")


def recording(log: pathlib.Path) -> list[str]:
    """The words to start a program behind, so that `log` has what it did."""
    return ["strace", "-f", "-qq", "-y", "-xx", "-s", "1000000", "-e", f"trace={CALLS}", "-e", "signal=none", "-o", str(log)]


def plain(text: str) -> bytes:
    return bytes(int(digits, 16) for digits in HEX.findall(text))


@dataclass
class Event:
    """A file was written, cut or synced; or something was said, by whatever socket."""
    call: str
    path: str = ""
    at: int = 0                # of a write; the new size of a file that is cut
    data: bytes = b""          # written, or said


def events(log: pathlib.Path) -> Iterator[Event]:
    for line in log.read_text(errors="replace").splitlines():
        if not (found := LINE.match(line)) or int(found[3]) < 0:
            continue
        call, words, done = found[1], found[2], int(found[3])
        target = re.match(r"\d+<([^>]*)>(?:\([^)]*\))?(?:, )?", words)
        path = plain(target[1]).decode(errors="replace") if target else ""
        rest = words[target.end():] if target else words
        if call == "pwrite64":
            text, _, place = rest.rpartition('", ')
            yield Event(call, path, int(place.split(", ")[1]), plain(text)[:done])
        elif call == "ftruncate":
            yield Event(call, path, int(rest))
        elif call in ("fdatasync", "fsync"):
            yield Event(call, path)
        elif call in ("sendto", "sendmsg"):
            yield Event("said", data=plain(rest))
        elif path.startswith("/") and call != "write":       # something that disks() knows nothing of
            yield Event(call, path)


@dataclass
class Disk:
    """One moment: of each file what is synced, what is not yet, and how many answers have left."""
    synced: dict[str, bytearray]
    since: list[Event] = field(default_factory=list)
    answers: int = 0

    def image(self, chance: random.Random) -> dict[str, bytes]:
        """What a cut at this moment may leave."""
        out = {path: bytearray(held) for path, held in self.synced.items()}
        kept = [e for e in self.since if chance.random() < 0.5]
        if chance.random() < 0.5:
            chance.shuffle(kept)
        for event in kept:
            apply(out[event.path], event, chance if chance.random() < 0.3 else None)
        return {path: bytes(held) for path, held in out.items()}


def apply(held: bytearray, event: Event, torn: random.Random | None = None) -> None:
    if event.call == "ftruncate":
        held[event.at:] = bytes(max(0, event.at - len(held)))
        return
    for start in range(0, len(event.data), SECTOR):
        if torn and torn.random() < 0.5:
            continue
        part, at = event.data[start:start + SECTOR], event.at + start
        held.extend(bytes(max(0, at - len(held))))
        held[at:at + len(part)] = part


def disks(log: pathlib.Path, before: dict[str, bytes], answer: bytes, syncs: bool = True) -> Iterator[Disk]:
    """The disk after every event: one and the same object. `before`: the files that count, as they were at the start, those that are
    to come among them. `answer`: how what is counted begins. Without `syncs` the disk is one that does nothing when it is told to."""
    disk = Disk({path: bytearray(held) for path, held in before.items()})
    for event in events(log):
        if event.call == "said":
            disk.answers += answer in event.data[:200]
        elif event.path in before and event.call in ("fdatasync", "fsync"):
            if not syncs:
                continue
            for one in [e for e in disk.since if e.path == event.path]:
                apply(disk.synced[event.path], one)
            disk.since = [e for e in disk.since if e.path != event.path]
        elif event.path in before:
            assert event.call in ("pwrite64", "ftruncate"), f"{event.call} of {event.path}: not known here"
            disk.since.append(event)
        else:
            continue
        yield disk
