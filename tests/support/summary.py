"""Adds up the JUnit files of a test run: summary.py FOLDER. The last line is "N passed, N failed".

FOLDER holds for each run RUN a RUN.ctest.xml and RUN.ctest.status (of ctest), RUN.gtest/NAME.xml (of the
GoogleTest programs that ctest ran) and RUN.pytest.xml, and STEP.failed, a line of text, for each step that did not even
get that far.

What was not run has not passed. For root, that may make network namespaces, only the tests of MAY_SKIP may be skipped.
"""
from __future__ import annotations

import os
import pathlib
import re
import sys
import xml.etree.ElementTree as xml
from dataclasses import dataclass, field


# Tests of ctest that are no GoogleTest program: their exit status says all.
NO_GOOGLETEST = re.compile(r"layers|replay_\w+")

# What root may skip, and why.
MAY_SKIP = {
    "HugePages.are_asked_for_where_a_table_is_large": "a kernel without transparent huge pages",
    "TimeAsleep.is_what_the_boot_clock_is_ahead_of_the_timers": "a kernel or container without time namespaces",
    "tests.e2e.test_demo.test_the_release_runs_where_there_is_nothing_else": "TG_BINARY is another than the release build",
    "tests.e2e.test_rights.test_no_role_starts_programs_or_looks_into_others":
        "sanitizers' reports need what is given up otherwise",
}


@dataclass
class Count:
    passed: int = 0
    skipped: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)

    def add(self, other: Count) -> None:
        self.passed += other.passed
        self.skipped += other.skipped
        self.failed += other.failed


def of_junit(path: pathlib.Path) -> dict[str, Count]:
    """Counts by test suite, of GoogleTest's or pytest's file."""
    suites: dict[str, Count] = {}
    for case in xml.parse(path).iter("testcase"):
        suite = case.get("classname") or ""
        count = suites.setdefault(suite, Count())
        states = {child.tag for child in case}
        name = f"{suite}.{case.get('name')}".strip(".")
        if states & {"failure", "error"}:
            count.failed.append(name)
        elif "skipped" in states or case.get("status") == "notrun":
            count.skipped.append(name)
        else:
            count.passed += 1
    return suites


def total(suites: dict[str, Count]) -> Count:
    out = Count()
    for count in suites.values():
        out.add(count)
    return out


def of_program(name: str, status: str, path: pathlib.Path) -> Count:
    """A test of ctest: a GoogleTest program counts with each of its tests, and with one failure more when it ended badly
    without one that failed (it crashed), or well without having run any."""
    if NO_GOOGLETEST.fullmatch(name):
        return Count(passed=1) if status == "run" else Count(failed=[f"{name}: {status}"])
    try:
        count = total(of_junit(path))
    except (OSError, xml.ParseError) as e:
        return Count(failed=[f"{name}: {status}, and it has left no result: {e}"])
    if status != "run" and not count.failed:
        count.failed.append(f"{name}: {status}, and none of its tests has failed")
    elif not (count.passed or count.failed):
        count.failed.append(f"{name}: it has run no test")
    return count


def of_ctest(path: pathlib.Path, programs: pathlib.Path) -> Count:
    """Everything that ctest was to run. What it says itself counts when there is nothing to show for it."""
    out, tests = Count(), list(xml.parse(path).iter("testcase"))
    for test in tests:
        name = test.get("name", "")
        status = "fail" if test.find("failure") is not None else test.get("status", "unknown")
        out.add(of_program(name, status, programs / f"{name}.xml"))
    told = path.with_suffix(".status")
    status = told.read_text().strip() if told.exists() else "no exit status"
    if status != "0" and not out.failed:
        out.failed.append(f"ctest ended with {status}, and none of its {len(tests)} tests has failed")
    return out


def forbid_skips(count: Count, allowed: set[str]) -> None:
    """Makes failures of the tests that were skipped and must not be."""
    for name in count.skipped:
        if name.split("[")[0] not in allowed:
            count.failed.append(f"{name}: skipped; see MAY_SKIP in tests/support/summary.py")


def main(folder: pathlib.Path) -> int:
    everything = Count()
    rows: list[tuple[str, Count]] = []
    for path in sorted(folder.glob("*.ctest.xml")):
        run = path.name.removesuffix(".ctest.xml")
        rows.append((f"{run}: unit", of_ctest(path, folder / f"{run}.gtest")))
    for path in sorted(folder.glob("*.pytest.xml")):
        rows.append((f"{path.name.removesuffix('.pytest.xml')}: end to end", total(of_junit(path))))
    for path in sorted(folder.glob("*.passed")):
        rows.append((path.name.removesuffix(".passed"), Count(passed=1)))
    for path in sorted(folder.glob("*.failed")):
        rows.append((path.name.removesuffix(".failed"), Count(failed=[path.read_text().strip()])))
    for name, count in rows:
        if os.geteuid() == 0:
            forbid_skips(count, set(MAY_SKIP))
        skipped = f", {len(count.skipped)} skipped: {', '.join(count.skipped)}" if count.skipped else ""
        print(f"{name:24} {count.passed} passed, {len(count.failed)} failed{skipped}")
        for failed in count.failed:
            print(f"  FAILED {failed}")
        everything.add(count)
    print(f"{everything.passed} passed, {len(everything.failed)} failed")
    return 1 if everything.failed or not everything.passed else 0


if __name__ == "__main__":
    sys.exit(main(pathlib.Path(sys.argv[1])))
