"""One lab and one tg for the whole session; each test gets them whole, however the test before left them."""
from __future__ import annotations

import collections
import itertools
import os
import pathlib
import resource
import sys
from typing import Iterator

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from support.lab import Lab      # noqa: E402
from support.netns import Failed, Host, adopt_orphans      # noqa: E402
from support.tg import PEOPLE, RESOURCES, Tg      # noqa: E402

collect_ignore = ["test_demo.py"]      # unless it is named: it is of the release build
_ports = itertools.count(20000)
_given_up: list[str] = []


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The files with most tests first: a long one that begins last would keep the other labs waiting."""
    tests = collections.Counter(item.path for item in items)
    items.sort(key=lambda item: (-tests[item.path], item.path))


@pytest.fixture(scope="session")
def lab() -> Iterator[Lab]:
    if os.geteuid() != 0:
        pytest.exit("making network namespaces takes root", 2)
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 20000), hard))
    with Lab(keep=bool(os.environ.get("TG_KEEP_LAB"))) as made:
        yield made


@pytest.fixture(scope="session")
def session_tg(lab: Lab) -> Iterator[Tg]:
    adopt_orphans()
    tg = Tg(lab)
    yield tg
    tg.stop()
    nothing_found(tg, "since the last test, or when everything was stopped")


def nothing_found(tg: Tg, when: str) -> None:
    """No process of tg has ended as nobody meant it to, hung, broken an invariant or displeased a sanitizer."""
    if found := tg.findings():
        pytest.fail(f"{when}:\n" + "\n".join(found), pytrace=False)


@pytest.fixture
def cold_tg(session_tg: Tg) -> Iterator[Tg]:
    """tg as the test before left it; what goes wrong with its processes meanwhile fails the test."""
    nothing_found(session_tg, "since the test before")
    yield session_tg
    nothing_found(session_tg, "during this test")


@pytest.fixture
def tg(cold_tg: Tg) -> Tg:
    """A controller, a connector and a client that is online, with the standard Resources. What the test before changed
    or stopped is started again; what it only used works."""
    if len(_given_up) >= 3:
        pytest.fail(f"tg did not come up three times; the first time:\n{_given_up[0]}", pytrace=False)
    try:
        if cold_tg.changed(PEOPLE + RESOURCES):
            cold_tg.stop()
            nothing_found(cold_tg, "when what the test before left was stopped")
            cold_tg.start(PEOPLE + RESOURCES)
            cold_tg.wait_works(10, "everything was started")
        else:
            cold_tg.wait_works(10, "the test before, which has stopped nothing")
    except Failed as e:
        _given_up.append(f"{e}\n{cold_tg.lab.log_tails()}")
        cold_tg.stop()
        raise
    _given_up.clear()
    return cold_tg


@pytest.fixture
def laptop(lab: Lab) -> Host:
    return lab.laptop


@pytest.fixture
def nas(lab: Lab) -> Host:
    return lab.nas


@pytest.fixture
def port() -> int:
    """A port that no other test of this session uses."""
    return next(_ports)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    report = (yield).get_result()                      # type: ignore[func-returns-value]
    made = getattr(item, "funcargs", {}).get("session_tg")
    if report.failed and made is not None:
        report.sections.append(("what tg said last", made.lab.log_tails(only="tg-") + made.lab.log_tails(only="client")))
