"""The administrator's file: what must hold of it, what is said of it, and the way back from the controller into a file."""
from __future__ import annotations

import pathlib
from collections.abc import Iterator

import pytest
from support.netns import Result
from support.tg import PEOPLE, RESOURCES, Tg, resource

FAILED, CHANGES, CONFLICT = 1, 2, 6
ALICE = '[[test]]\nuser = "alice@example.com"\n'


@pytest.fixture(autouse=True)
def as_before(tg: Tg) -> Iterator[None]:
    yield
    tg.apply(PEOPLE + RESOURCES, "--prune").ok()


def apply(tg: Tg, text: str, *more: str) -> tuple[Result, pathlib.Path]:
    path = tg.lab.root / "policy.toml"
    path.write_text(text)
    return tg.admin("apply", str(path), *more), path


def test_tests_that_hold_let_a_change_through(tg: Tg) -> None:
    tests = ALICE + 'can = ["nas.home.int:22", "nas.home.int/icmp", "10.0.9.9:53/udp"]\ncannot = ["nas2.home.int:22"]\n'
    text = PEOPLE + resource("NAS", "nas.home.int") + resource("Lamp", "10.0.9.9") + tests
    assert apply(tg, text, "--dry-run")[0].code == CHANGES
    apply(tg, text)[0].ok()
    assert "Lamp" in tg.admin("resource list").ok().out


@pytest.mark.parametrize("dry", [(), ("--dry-run",)])
def test_a_test_that_does_not_hold_changes_nothing(tg: Tg, dry: tuple[str, ...]) -> None:
    before = tg.admin("export").ok().out
    text = PEOPLE + resource("NAS", "nas.home.int") + resource("Lamp", "10.0.9.9") + ALICE + 'can = ["10.0.9.9:22", "10.7.7.7:22"]\n'
    result, path = apply(tg, text, *dry)
    line = text[:text.index("[[test]]")].count("\n") + 1
    assert result.code == FAILED and not result.out, result
    assert result.err == (f"tg: {path}:{line}: test of alice@example.com: can: cannot reach 10.7.7.7:22: no resource has this host\n"
                          "tg: one of its tests would not hold, so nothing was changed\n"), result
    assert tg.admin("export").ok().out == before


def test_overlaps_with_what_is_there_are_told_on_the_line_of_the_file(tg: Tg) -> None:
    text = PEOPLE + resource("NAS", "nas.home.int") + resource("All", "*.home.int")
    result, path = apply(tg, text)
    line = next(i for i, l in enumerate(text.splitlines(), 1) if '"*.home.int"' in l)
    warning = (f'tg: warning: {path}:{line}: resource "All": address: *.home.int of resource All shares hosts with '
               "nas.home.int of resource NAS; they belong to NAS, the more exact one")
    assert warning in result.ok().err.splitlines(), result
    again, _ = apply(tg, text)
    assert "warning" not in again.ok().err, "what was there already is not told again"
    created = tg.admin("resource create", "Lamp", "--network", "home", "--address", "lamp.home.int")
    assert "tg: warning: resource Lamp: address: lamp.home.int of resource Lamp shares hosts with" in created.ok().err, created


def test_a_conflict_with_what_is_there_is_told_on_the_line_of_the_file(tg: Tg) -> None:
    tg.admin("resource create", "Lamp", "--network", "home", "--address", "lamp.home.int", "--alias", "lamp.tg").ok()
    text = PEOPLE + resource("NAS", "nas.home.int") + resource("Other", "other.home.int", 'alias = "lamp.tg"')
    result, path = apply(tg, text)
    line = next(i for i, l in enumerate(text.splitlines(), 1) if "lamp.tg" in l)
    assert result.code == CONFLICT and f"{path}:{line}: " in result.err and "lamp.tg" in result.err, result
    assert "Other" not in tg.admin("resource list").ok().out


def test_what_is_exported_changes_nothing_when_it_is_applied(tg: Tg) -> None:
    tg.admin("resource create", 'A "quoted" one', "--network", "home", "--address", "*.odd.int", "--group", "family",
             "--tcp", "22,8000-8100", "--udp", "none", "--icmp", "false").ok()
    text = tg.admin("export").ok().out
    result, _ = apply(tg, text, "--prune", "--dry-run")
    assert result.code == 0 and not result.out and result.err == "nothing to change\n", result
    applied, _ = apply(tg, text, "--prune")
    assert applied.code == 0 and not applied.out, applied
    assert tg.admin("export").ok().out == text
