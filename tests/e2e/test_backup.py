"""A backup is made while the controller runs; agents find the restored controller and come back by themselves."""
from __future__ import annotations

import json
import shutil

from support.netns import Result
from support.tg import Tg

FAILED, USAGE, DENIED, CONFLICT = 1, 2, 5, 6


def one_line(result: Result, code: int, *words: str) -> None:
    assert result.code == code and not result.out, result
    assert result.err.startswith("tg: ") and result.err.count("\n") == 1 and all(w in result.err for w in words), result


def test_everybody_comes_back_to_a_restored_controller(tg: Tg) -> None:
    folder = tg.lab.root / "backups"
    folder.mkdir()
    (folder / "passphrase").write_text("correct horse battery staple\n")
    sealed = ["--passphrase-file", str(folder / "passphrase")]
    said = tg.admin("backup", str(folder / "tg.db"), *sealed).ok()
    assert not said.out and "it takes its passphrase" in said.err, said
    one_line(tg.admin("backup", str(folder / "tg.db"), *sealed), CONFLICT, "exists already")
    made = json.loads(tg.admin("backup", str(folder / "plain.db"), "--json").ok().out)
    assert made["has_key"] is False and made["schema_version"] == 1, made
    one_line(tg.admin("restore", str(folder / "tg.db"), *sealed), CONFLICT, "stop it first")

    tg.admin("group create", "later").ok()
    assert tg.controller and tg.controller.stop() == 0
    state = tg.state("controller")
    shutil.move(state, folder / "lost")
    one_line(tg.admin("restore", str(folder / "plain.db")), DENIED, "--master-key")
    (folder / "wrong").write_text("correct horse battery stable\n")
    one_line(tg.admin("restore", str(folder / "tg.db"), "--passphrase-file", str(folder / "wrong")), DENIED, "passphrase")
    restored = tg.admin("restore", str(folder / "tg.db"), *sealed).ok()
    assert not restored.out and "as it was on" in restored.err, restored
    tg.start_controller()
    tg.wait_connector()
    tg.wait_works(15, "the controller was restored")
    assert "later" not in tg.admin("group list").ok().out
    tg.admin("audit verify").ok()
    shutil.rmtree(folder)
