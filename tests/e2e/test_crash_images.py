"""The controller's state through power cuts: what was acknowledged is on every disk that one could have left.

TG_IMAGES=10000 looks at that many; otherwise at some hundred."""
from __future__ import annotations

import collections
import contextlib
import os
import pathlib
import random
import signal
import sqlite3
from typing import Iterator

from support.crash_images import Disk, disks, events, recording
from support.tg import binary
from test_store import Serving, serving      # noqa: F401

IMAGES = int(os.environ.get("TG_IMAGES", "400"))
CHANGES = 150                          # some of them behind a checkpoint
FILES = ("controller.db", "controller.db-wal")


class Recorded:
    """What a controller did while groups were made and deleted, and what the groups were after each of these."""

    def __init__(self, serving: Serving, chance: random.Random) -> None:
        serving.start()
        serving.wait().socket.close()
        serving.stop()
        self.state, self.log = serving.state, serving.folder / "recorded"
        self.before = {str(self.state / name): (self.state / name).read_bytes() if (self.state / name).exists() else b"" for name in FILES}
        self.groups: list[set[str]] = [set()]
        serving.start(recording(self.log))
        assert serving.process
        serving.process.may_be_killed()
        with serving.wait() as asking:
            for number in range(CHANGES):
                there = self.groups[-1]
                gone = chance.choice(sorted(there)) if there and chance.random() < 0.3 else None
                answer = asking.group("delete", gone) if gone else asking.group("create", f"g{number}")
                assert answer["type"] == "ok", answer
                self.groups.append(there - {gone} if gone else there | {f"g{number}"})
        (controller,) = serving.host.pids(binary())
        os.kill(controller, signal.SIGKILL)
        serving.process.wait(20)

    def images(self, count: int, chance: random.Random, syncs: bool = True) -> Iterator[tuple[dict[str, bytes], int]]:
        """Of random moments, and how many changes had been acknowledged by then."""
        def all_of_them() -> Iterator[Disk]:
            return disks(self.log, self.before, b"HTTP/1.1 20", syncs)
        moments = collections.Counter(chance.choices(range(sum(1 for _ in all_of_them())), k=count))
        for number, disk in enumerate(all_of_them()):
            for _ in range(moments[number]):
                yield disk.image(chance), disk.answers


def trouble(folder: pathlib.Path, image: dict[str, bytes], may_be: list[set[str]]) -> str:
    """What is wrong with the database of an image; "" for nothing."""
    for path, held in image.items():
        (folder / pathlib.Path(path).name).write_bytes(held)
    (folder / "controller.db-shm").unlink(missing_ok=True)
    try:
        with contextlib.closing(sqlite3.connect(folder / "controller.db")) as db:
            groups = {name for (name,) in db.execute('SELECT name FROM "group"')}
            (whole,) = db.execute("PRAGMA integrity_check").fetchone()
    except sqlite3.DatabaseError as e:
        return str(e)
    if whole != "ok":
        return str(whole)
    return "" if groups in may_be else f"{sorted(groups)}, and not one of {[sorted(one) for one in may_be]}"


# Row 31 of the threats: power cuts.
def test_what_was_acknowledged_outlives_every_power_cut(serving: Serving, tmp_path: pathlib.Path) -> None:      # noqa: F811
    chance = random.Random(31)
    recorded = Recorded(serving, chance)
    moments = set()
    for number, (image, acknowledged) in enumerate(recorded.images(IMAGES, chance)):
        wrong = trouble(tmp_path, image, recorded.groups[acknowledged:acknowledged + 2])
        assert not wrong, f"image {number}, {acknowledged} changes acknowledged: {wrong}"
        moments.add(acknowledged)
        if number % (IMAGES // 4) == 1:        # some are looked at by the controller itself
            for path, held in image.items():
                pathlib.Path(path).write_bytes(held)
            pathlib.Path(recorded.state / "controller.db-shm").unlink(missing_ok=True)
            serving.start()
            with serving.wait() as asking:
                assert asking.groups() in recorded.groups[acknowledged:acknowledged + 2]
                assert asking.ask("GET", "/audit/verification")["problem"] == ""
            serving.kill()
    assert len(moments) > min(IMAGES, CHANGES) // 2, "cuts are at many moments"
    written = {e.path for e in events(recorded.log) if e.call == "pwrite64"}
    assert set(recorded.before) <= written, "there was no checkpoint"
    print(f"{IMAGES} images of {len(moments)} moments")


def test_a_disk_that_does_not_sync_would_lose_something(serving: Serving, tmp_path: pathlib.Path) -> None:      # noqa: F811
    """That is: the test above can fail."""
    chance = random.Random(32)
    recorded = Recorded(serving, chance)
    found = [trouble(tmp_path, image, recorded.groups[acknowledged:acknowledged + 2])
             for image, acknowledged in recorded.images(20, chance, syncs=False)]
    assert sum(1 for one in found if one) > 10, found
