"""JUnit XML: a test case a file and engine, which CI systems show as they show tests."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

from mnist_edge.parity.reports import Verdicts


def render(verdicts: Verdicts) -> str:
    """One test suite. A failed verdict becomes a failure; its type is the gate's rule."""
    failed = sum(not report.passed for report in verdicts.reports)
    counts = {"tests": str(len(verdicts.reports)), "failures": str(failed), "errors": "0", "skipped": "0"}
    suite = ElementTree.Element("testsuite", {"name": "mnist-edge verify", **counts})
    for report in verdicts.reports:
        names = {"classname": f"mnist-edge.{report.engine}", "name": Path(report.path).name, "time": "0"}
        case = ElementTree.SubElement(suite, "testcase", names)
        if report.brier_increase is not None and report.probability_distance is not None:
            properties = ElementTree.SubElement(case, "properties")
            for name, value in (("brier_increase", report.brier_increase), ("distance", report.probability_distance)):
                ElementTree.SubElement(properties, "property", {"name": name, "value": f"{value:.6f}"})
        if not report.passed:
            failure = ElementTree.SubElement(case, "failure", {"type": report.rule, "message": report.verdict})
            failure.text = report.verdict
    root = ElementTree.Element("testsuites", counts)
    root.append(suite)
    ElementTree.indent(root)
    return ElementTree.tostring(root, encoding="unicode", xml_declaration=True) + "\n"
