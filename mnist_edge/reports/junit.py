"""JUnit XML for CI systems, with one test case per file and engine."""

from __future__ import annotations

from xml.etree import ElementTree

from mnist_edge.results import ParityReport
from mnist_edge.results.verdicts import Check, Verdicts


def render(verdicts: Verdicts) -> str:
    """Render verdicts as one test suite.

    A check that did not pass becomes a failure; its type is the gate's rule, or the check's outcome. ``time`` is the
    duration of the check in seconds. Properties whose names end with ``_before`` are those of the baseline. If the run
    ended before there was a verdict, the suite holds an error.
    """
    failed = sum(not check.passed for check in verdicts.checks)
    ended = verdicts.error is not None
    counts = {
        "tests": str(len(verdicts.checks) + ended), "failures": str(failed), "errors": str(int(ended)), "skipped": "0",
        "time": _seconds(sum(report.seconds or 0.0 for report in verdicts.reports)),
    }  # fmt: skip
    root = ElementTree.Element("testsuites", counts)
    suite = ElementTree.SubElement(root, "testsuite", {"name": "mnist-edge verify", **counts})
    for check in verdicts.checks:
        seconds = (check.now.seconds if check.now is not None else None) or 0.0
        names = {"classname": f"mnist-edge.{check.engine}", "name": check.file, "time": _seconds(seconds)}
        case = ElementTree.SubElement(suite, "testcase", names)
        _add_properties(case, check)
        if not check.passed:
            failure = ElementTree.SubElement(case, "failure", {"type": check.rule, "message": check.reason})
            failure.text = "\n".join(dict.fromkeys(filter(None, (check.reason, check.regression))))
    if verdicts.error is not None:
        case = ElementTree.SubElement(suite, "testcase", {"classname": "mnist-edge", "name": "verify", "time": "0"})
        facts = {"type": verdicts.error.kind, "message": verdicts.error.cause}
        ElementTree.SubElement(case, "error", facts).text = f"{verdicts.error.cause}\n{verdicts.error.remedy}"
    if verdicts.notes:
        ElementTree.SubElement(suite, "system-out").text = "\n".join(verdicts.notes)
    ElementTree.indent(root)
    return ElementTree.tostring(root, encoding="unicode", xml_declaration=True) + "\n"


def _add_properties(case: ElementTree.Element, check: Check) -> None:
    found = {**_values(check.now, ""), **_values(check.before, "_before")}
    if found:
        properties = ElementTree.SubElement(case, "properties")
        for name, value in found.items():
            ElementTree.SubElement(properties, "property", {"name": name, "value": value})


def _values(report: ParityReport | None, suffix: str) -> dict[str, str]:
    if report is None:
        return {}
    values = {
        "accuracy": report.accuracy,
        "drop_pp": report.drop_pp,
        "brier_increase": report.brier_increase,
        "distance": report.probability_distance,
        "size_bytes": report.size_bytes,
        "image_us": report.image_us,
    }
    shown = {name: f"{value:.6f}" if isinstance(value, float) else str(value) for name, value in values.items()}
    return {f"{name}{suffix}": shown[name] for name, value in values.items() if value is not None}


def _seconds(value: float) -> str:
    return f"{value:.3f}"
