"""Adds up the JUnit files of a test run: summary.py FOLDER. The last line is "N passed, N failed".

FOLDER holds for each run RUN a RUN.ctest.xml (of ctest), RUN.gtest/NAME.xml (of the GoogleTest programs that ctest ran) and
RUN.pytest.xml, and STEP.failed, a line of text, for each step that did not even get that far.
"""
from __future__ import annotations

import pathlib
import sys
import xml.etree.ElementTree as xml
from dataclasses import dataclass, field


@dataclass
class Count:
    passed: int = 0
    skipped: int = 0
    failed: list[str] = field(default_factory=list)

    def add(self, other: Count) -> None:
        self.passed += other.passed
        self.skipped += other.skipped
        self.failed += other.failed


def of_junit(path: pathlib.Path) -> dict[str, Count]:
    """Counts by test suite, of GoogleTest's, pytest's or ctest's file."""
    suites: dict[str, Count] = {}
    for case in xml.parse(path).iter("testcase"):
        suite = case.get("classname") or ""
        count = suites.setdefault(suite, Count())
        states = {child.tag for child in case}
        if states & {"failure", "error"} or case.get("status") == "fail":
            count.failed.append(f"{suite}.{case.get('name')}".strip("."))
        elif "skipped" in states or case.get("status") in ("notrun", "disabled"):
            count.skipped += 1
        else:
            count.passed += 1
    return suites


def total(suites: dict[str, Count]) -> Count:
    out = Count()
    for count in suites.values():
        out.add(count)
    return out


def of_ctest(path: pathlib.Path, programs: pathlib.Path) -> Count:
    """A GoogleTest program counts with each of its tests; one that failed without a failed test (it crashed) as one failure."""
    out = Count()
    for suite in xml.parse(path).iter("testcase"):
        name, failed = suite.get("name", ""), suite.get("status") == "fail" or suite.find("failure") is not None
        of_program = programs / f"{name}_tests.xml"
        count = total(of_junit(of_program)) if of_program.exists() else Count()
        if failed and not count.failed:
            count.failed.append(f"{name}: the program ended badly")
        elif not of_program.exists() and not failed:
            count.passed += 1
        out.add(count)
    return out


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
        skipped = f", {count.skipped} skipped" if count.skipped else ""
        print(f"{name:24} {count.passed} passed, {len(count.failed)} failed{skipped}")
        for failed in count.failed:
            print(f"  FAILED {failed}")
        everything.add(count)
    print(f"{everything.passed} passed, {len(everything.failed)} failed")
    return 1 if everything.failed or not everything.passed else 0


if __name__ == "__main__":
    sys.exit(main(pathlib.Path(sys.argv[1])))
