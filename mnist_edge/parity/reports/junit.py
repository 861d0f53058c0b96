"""JUnit XML: a test case a file and engine, which CI systems show as they show tests."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

from mnist_edge.parity.reports import Verdicts


def render(verdicts: Verdicts) -> str:
    """One test suite; a verdict that is no is a failure of the type of its rule."""
    failed = sum(not report.passed for report in verdicts.reports)
    counts = {"tests": str(len(verdicts.reports)), "failures": str(failed), "errors": "0", "skipped": "0"}
    suite = ElementTree.Element("testsuite", {"name": "mnist-edge verify", **counts})
    for report in verdicts.reports:
        names = {"classname": f"mnist-edge.{report.engine}", "name": Path(report.path).name, "time": "0"}
        case = ElementTree.SubElement(suite, "testcase", names)
        if not report.passed:
            failure = ElementTree.SubElement(case, "failure", {"type": report.rule, "message": report.verdict})
            failure.text = report.verdict
    root = ElementTree.Element("testsuites", counts)
    root.append(suite)
    ElementTree.indent(root)
    return ElementTree.tostring(root, encoding="unicode", xml_declaration=True) + "\n"
