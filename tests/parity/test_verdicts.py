"""All outputs of ``verify`` agree: JSON, Markdown, step summary, JUnit, HTML, benchmark JSON and exit code."""

from __future__ import annotations

import json
import re
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from html import unescape
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from mnist_edge.cli import app as program
from mnist_edge.cli.output import Output
from mnist_edge.cli.verdict import verdict_lines
from mnist_edge.errors import InterruptError
from mnist_edge.parity.stored import recorded_verdicts
from mnist_edge.parity.verdict import Baseline, judge
from mnist_edge.results import ParityReport
from mnist_edge.results.serialization import from_json, to_json
from mnist_edge.results.verdicts import Outcome
from mnist_edge.store.manifest import KERAS_NAME, Manifest
from mnist_edge.store.workspace import SHIPPED
from tests.cli.test_exit_codes import interrupted
from tests.conftest import TFLITE_RUNTIME, Run, assert_two_lines

TFLITE, ONNX = "dense-int8.tflite", "dense-int8.onnx"
OPTIONS = {"--markdown": "v.md", "--junit": "v.xml", "--benchmark-json": "v.bench.json", "--report": "v.html"}
Key = tuple[str, str]


def stored_reports() -> list[ParityReport]:
    """Verdicts from the manifest of the shipped dense model, of the engines that are installed."""
    files = Manifest.load(SHIPPED / "dense").files
    rows = [from_json(ParityReport, row) for name in (TFLITE, ONNX) for row in files[name]["verdict"]["results"]]
    return [row for row in rows if TFLITE_RUNTIME or row.engine != "tflite-runtime"]


@pytest.fixture
def dense(tmp_path: Path) -> Path:
    """A copy of the wheel's dense model in a workspace."""
    shutil.copytree(SHIPPED / "dense", tmp_path / "artifacts" / "dense")
    return tmp_path / "artifacts" / "dense"


@dataclass(frozen=True)
class Reported:
    """The outcome of the run and of each check, as one output reports them; ``checks`` is None if it has none."""

    run: str
    checks: dict[Key, str] | None = None


def table_rows(lines: Sequence[str], first: str) -> list[list[str]]:
    """The cells of the Markdown table whose header row begins with these words."""
    start = next((at for at, line in enumerate(lines) if line.startswith(first)), None)
    rows = []
    for line in lines[start + 2 :] if start is not None else []:
        if not line.startswith("|"):
            break
        rows.append([cell.strip(" `") for cell in line.strip("|").split("|")])
    return rows


def reported_by_markdown(text: str) -> Reported:
    heading = re.match(r"### Quantized against float: (?:\*\*)?(\w+)", text)
    assert heading is not None
    lines = text.splitlines()
    verdicts = {(row[0], row[1]): row[-1] for row in table_rows(lines, "| file | engine | accuracy | float")}
    compared = {(row[0], row[1]): row[-1] for row in table_rows(lines, "| file | engine | accuracy before")}
    words = {key: re.sub(r"\W*\*\*|\(.*", "", cell).strip() for key, cell in {**verdicts, **compared}.items()}
    for key, cell in verdicts.items():  # both tables, if there are two, agree
        assert words[key] == re.sub(r"\W*\*\*|\(.*", "", cell).strip()
    return Reported(heading[1], words)


def reported_by_junit(text: str) -> Reported:
    suite = ElementTree.fromstring(text)
    checks = {}
    for case in suite.iter("testcase"):
        failure = case.find("failure")
        kind = "passed" if failure is None else str(failure.get("type"))
        if case.find("error") is None:
            engine = str(case.get("classname")).removeprefix("mnist-edge.")
            checks[str(case.get("name")), engine] = kind if kind in tuple(Outcome) else "failed"
    assert suite.get("tests") == str(len(list(suite.iter("testcase"))))
    assert suite.get("failures") == str(sum(word != "passed" for word in checks.values()))
    assert suite.get("errors") == str(len(list(suite.iter("error"))))
    if suite.get("errors") != "0":
        return Reported("error", checks)
    return Reported("passed" if suite.get("failures") == "0" else "not passed", checks)


def reported_by_html(text: str) -> Reported:
    heading = re.search(r"<h1>Quantized against float: <span class=\"(\w+)\">(\w+)</span></h1>", text)
    assert heading is not None
    assert (heading[1] == "good") == (heading[2] == "passed")
    assert f"<title>mnist-edge: {heading[2]}</title>" in text
    rows = re.findall(r'<tr><th scope="row">([^<]+) on ([^<]+)</th><td><span class="(\w+)">(\w+)', text)
    rows += re.findall(
        r'<tr><th scope="row">([^<]+)</th><td>([^<]+)</td>(?:<td>[^<]*</td>){8}<td><span class="(\w+)">(\w+)', text
    )
    assert all((colour == "good") == (word == "passed") for *_, colour, word in rows)
    return Reported(heading[2], {(unescape(file), unescape(engine)): word for file, engine, _, word in rows})


def reported_by_benchmark(text: str) -> Reported:
    first, *rows = json.loads(text)
    assert first["name"] == "verify: not passed"
    checks = {}
    for row in rows:
        name, _, what = row["name"].rpartition(": ")
        if what == "not passed":
            file, _, engine = name.rpartition(" on ")
            checks[file, engine] = "not passed" if row["value"] else "passed"
    failed = sum(word != "passed" for word in checks.values())
    assert first["value"] >= failed
    return Reported("passed" if first["value"] == 0 else "not passed", checks)


def reported_by_json(value: dict[str, Any]) -> Reported:
    if "checks" not in value:
        assert value["error"]["code"] != 1
        return Reported("error", {})
    checks = {(Path(row["path"]).name, row["engine"]): row["outcome"] for row in value["checks"]}
    assert value["passed"] == (value["outcome"] == "passed") == ("error" not in value)
    return Reported(value["outcome"], checks)


def verify_all_outputs(cli: Callable[..., Run], folder: Path, *words: object) -> Run:
    """Run ``verify`` with every output, and assert that all of them report the same outcomes as the JSON."""
    out = {option: folder / name for option, name in OPTIONS.items()}
    for path in out.values():
        path.write_text("an old report that says passed")
    summary = folder / "summary"
    summary.unlink(missing_ok=True)
    run = cli(
        "verify", *words, "--json", *(part for pair in out.items() for part in pair),
        env={"GITHUB_STEP_SUMMARY": str(summary)},
    )  # fmt: skip
    expected = reported_by_json(run.json)
    assert expected.checks is not None
    table = out["--markdown"].read_text()
    assert summary.read_text() == table
    binary = {key: "passed" if word == "passed" else "not passed" for key, word in expected.checks.items()}
    assert reported_by_markdown(table) == expected
    assert reported_by_html(out["--report"].read_text()) == expected
    junit = reported_by_junit(out["--junit"].read_text())
    assert junit.checks == expected.checks
    assert junit.run == (expected.run if expected.run in ("passed", "error") else "not passed")
    benchmark = reported_by_benchmark(out["--benchmark-json"].read_text())
    assert benchmark == Reported("passed" if expected.run == "passed" else "not passed", binary)
    codes = {"passed": {0}, "failed": {1}, "regression": {1}, "error": {2, 3, 4, 5, 130}}
    assert run.code in codes[expected.run]
    assert run.code == run.json.get("error", {"code": 0})["code"]
    return run


def store(path: Path, reports: Sequence[ParityReport]) -> Path:
    """Write a baseline as ``verify --json`` would."""
    path.write_text(json.dumps({"schema_version": 1, "command": "verify", "results": to_json(reports)}))
    return path


def test_a_pass_is_reported_by_every_output(
    dense: Path, tmp_path: Path, mnist: object, cli: Callable[..., Run]
) -> None:
    run = verify_all_outputs(cli, tmp_path, dense)
    assert (run.code, run.json["outcome"]) == (0, "passed")
    baseline = store(tmp_path / "baseline.json", [from_json(ParityReport, row) for row in run.json["results"]])
    again = verify_all_outputs(cli, tmp_path, dense, "--baseline", baseline)
    assert (again.code, again.json["outcome"], again.json["regressions"]) == (0, "passed", [])


def test_a_failed_gate_is_reported_by_every_output(
    dense: Path, tmp_path: Path, mnist: object, cli: Callable[..., Run]
) -> None:
    run = verify_all_outputs(cli, tmp_path, dense, "--max-brier-increase=-0.1")
    assert (run.code, run.json["outcome"]) == (1, "failed")
    assert {row["rule"] for row in run.json["checks"]} == {"brier"}


def test_a_regression_is_reported_by_every_output(
    dense: Path, tmp_path: Path, mnist: object, cli: Callable[..., Run]
) -> None:
    """One file lost accuracy since the baseline, although its gate passes; one file is no longer there."""
    before = [
        replace(item, path=f"old/{Path(item.path).name}", accuracy=item.accuracy + 0.003 * item.path.endswith(ONNX))
        for item in stored_reports()
    ]
    gone = replace(before[0], path="old/other-int8.tflite")
    baseline = store(tmp_path / "baseline.json", [*before, gone])
    run = verify_all_outputs(cli, tmp_path, dense, "--baseline", baseline)
    assert (run.code, run.json["outcome"]) == (1, "regression")
    found = {(Path(row["path"]).name, row["engine"]): row["outcome"] for row in run.json["checks"]}
    assert found.pop((ONNX, "onnxruntime")) == "regression"
    assert found.pop(("other-int8.tflite", gone.engine)) == "missing"
    assert set(found.values()) == {"passed"}
    assert len(run.json["regressions"]) == 2
    assert all(row["passed"] for row in run.json["results"])  # this key is the gate's decision alone
    shown = cli("verify", dense, "--baseline", baseline)
    assert shown.code == 1
    assert re.search(rf"{ONNX} +onnxruntime .* REGRESSION", shown.out)
    assert re.search(r"other-int8.tflite .* MISSING", shown.out)


@pytest.mark.parametrize(("damage", "code"), [("no folder", 2), ("a file is missing", 2), ("a file is damaged", 4)])
def test_an_incomplete_verification_is_reported_by_every_output(
    dense: Path, tmp_path: Path, mnist: object, cli: Callable[..., Run], damage: str, code: int
) -> None:
    if damage == "no folder":
        shutil.rmtree(dense)
    elif damage == "a file is missing":
        (dense / TFLITE).unlink()
    else:
        (dense / TFLITE).write_bytes((dense / TFLITE).read_bytes()[:-100])
    run = verify_all_outputs(cli, tmp_path, dense)
    assert run.code == code
    assert run.json["error"]["message"] in (tmp_path / "v.md").read_text()
    assert run.json["error"]["remedy"] in unescape((tmp_path / "v.html").read_text())
    error = ElementTree.parse(tmp_path / "v.xml").getroot().find(".//error")
    assert error is not None
    assert (error.get("type"), error.get("message")) == (run.json["error"]["kind"], run.json["error"]["message"])


def test_accuracy_size_and_time_are_shown_before_and_now(
    dense: Path, tmp_path: Path, mnist: object, cli: Callable[..., Run]
) -> None:
    before = [
        replace(item, accuracy=0.987, drop_pp=0.123, size_bytes=123_456, image_us=78.9) for item in stored_reports()
    ]
    baseline = store(tmp_path / "baseline.json", before)
    begun = time.monotonic()
    run = verify_all_outputs(cli, tmp_path, dense, "--baseline", baseline)
    took = time.monotonic() - begun
    rows = {
        (row[0], row[1]): row
        for row in table_rows((tmp_path / "v.md").read_text().splitlines(), "| file | engine | accuracy before")
    }
    cases = {
        (case.get("name"), str(case.get("classname")).removeprefix("mnist-edge.")): case
        for case in ElementTree.parse(tmp_path / "v.xml").getroot().iter("testcase")
    }
    page = (tmp_path / "v.html").read_text()
    for item in run.json["results"]:
        key = Path(item["path"]).name, item["engine"]
        size = Path(item["path"]).stat().st_size
        assert item["size_bytes"] == size
        assert rows[key][2:10] == [
            "98.70%", f"{item['accuracy']:.2%}", "+0.12", f"{item['drop_pp']:+.2f}", "123,456", f"{size:,}", "78.9",
            f"{item['image_us']:.1f}",
        ]  # fmt: skip
        assert "".join(f"<td>{cell}</td>" for cell in rows[key][1:10]) in page
        assert 0 < item["image_us"] * item["n"] / 1e6 <= item["seconds"]
        assert cases[key].get("time") == f"{item['seconds']:.3f}"
        values = {entry.get("name"): entry.get("value") for entry in cases[key].iter("property")}
        assert (values["size_bytes"], values["size_bytes_before"]) == (str(size), "123456")
        assert (values["accuracy_before"], values["drop_pp_before"]) == ("0.987000", "0.123000")
    assert 0 < sum(item["seconds"] for item in run.json["results"]) < took
    facts = {(Path(row["path"]).name, row["engine"]): row for row in run.json["checks"]}
    assert all(row["before"]["size_bytes"] == 123_456 and row["now"]["size_bytes"] for row in facts.values())


def test_a_file_that_changed_since_it_was_judged_has_no_verdict(dense: Path) -> None:
    manifest = Manifest.load(dense)
    manifest.files[KERAS_NAME] = {"sha256": manifest.files[TFLITE]["made_by"]["model_sha256"]}
    assert {path.name for path in recorded_verdicts(manifest).verdicts} >= {TFLITE, ONNX}
    (dense / TFLITE).write_bytes(b"another")
    recorded = recorded_verdicts(manifest)
    assert TFLITE in recorded.outdated
    assert ONNX in {path.name for path in recorded.verdicts}


def test_a_check_is_compared_with_the_same_file_of_the_same_model() -> None:
    """Two workspaces hold files of the same name: the counterpart is the one in folders of the same name."""
    report = next(item for item in stored_reports() if item.path.endswith(ONNX))
    good = replace(report, path=f"old/a/dense/{ONNX}")
    better = replace(report, path=f"old/b/dense/{ONNX}", accuracy=report.accuracy + 0.01)
    baseline = Baseline((good, better))
    now = [replace(report, path=f"new/b/dense/{ONNX}"), replace(report, path=f"new/a/dense/{ONNX}")]
    assert [check.outcome for check in judge(now, baseline)] == [Outcome.REGRESSION, Outcome.PASSED]
    assert [check.outcome for check in judge(now[1:], baseline)] == [Outcome.PASSED, Outcome.MISSING]
    failed = replace(now[1], passed=False, rule="drop", verdict="Failed (drop).")
    (check, _) = judge([failed], baseline)
    assert (check.outcome, check.rule, check.reason) == (Outcome.FAILED, "drop", "Failed (drop).")
    assert check.regression is not None
    assert "passed in the baseline" in check.regression


def test_only_among_several_files_is_one_called_the_worst() -> None:
    report = next(item for item in stored_reports() if item.path.endswith(TFLITE))
    name = f"{TFLITE} on {report.engine}"
    assert verdict_lines(judge([report])) == [f"{name}: {report.verdict}"]
    better = replace(report, path=ONNX, drop_upper95_pp=report.drop_upper95_pp - 0.1)
    assert verdict_lines(judge([better, report])) == [f"{name} is the worst of 2: {report.verdict}"]


@pytest.mark.parametrize("option", OPTIONS)
def test_an_output_in_a_missing_folder_is_refused_before_the_work(
    dense: Path, tmp_path: Path, cli: Callable[..., Run], option: str
) -> None:
    run = cli("verify", dense, option, tmp_path / "missing" / "report", "--data", tmp_path / "no-data")
    assert_two_lines(run, 2)
    assert f"there is no folder {tmp_path / 'missing'}" in run.err
    assert f"mkdir -p {tmp_path / 'missing'}" in run.err
    assert not (tmp_path / "missing").exists()
    assert_two_lines(cli("verify", dense, option, tmp_path), 2)
    assert_two_lines(cli("verify", dense, option, "/dev/null"), 2)


def test_reports_of_other_commands_in_a_missing_folder_are_refused_too(
    dense: Path, tmp_path: Path, cli: Callable[..., Run]
) -> None:
    target = tmp_path / "missing" / "report"
    for words in (("evaluate", dense / TFLITE, "--report", target), ("bench", dense / TFLITE, "--markdown", target)):
        run = cli(*words)
        assert_two_lines(run, 2)
        assert f"there is no folder {target.parent}" in run.err
        assert len(run.err.splitlines()) == 2  # no work has begun
    assert not target.parent.exists()


def test_a_self_test_refuses_outputs_that_it_would_not_write(
    dense: Path, tmp_path: Path, cli: Callable[..., Run]
) -> None:
    assert_two_lines(cli("verify", dense, "--selftest", "--junit", tmp_path / "v.xml"), 2)
    assert_two_lines(cli("verify", dense, "--selftest", "--baseline", tmp_path / "baseline.json"), 2)


def add_c(folder: Path) -> None:
    """Add a C file to the folder's manifest, as an export to C does."""
    manifest = Manifest.load(folder)
    facts = {"format": "c", "quantization": "int8", "model": "dense"}
    manifest.commit({"dense-int8.c": (b"int x;\n", facts)})


def test_files_of_a_folder_that_the_engine_does_not_run_are_left_out(
    dense: Path, tmp_path: Path, mnist: object, cli: Callable[..., Run]
) -> None:
    add_c(dense)
    for path in (dense, dense.parent):
        run = cli(
            "verify",
            path,
            "--engine",
            "litert",
            "--json",
            "--markdown",
            tmp_path / "v.md",
            "--junit",
            tmp_path / "v.xml",
        )
        assert run.code == 0, run.err
        assert [Path(row["path"]).name for row in run.json["results"]] == [TFLITE]
        note = f"Left out, the engine litert does not run them: dense-int8.c, {ONNX}."
        assert note in run.err
        assert run.json["notes"] == [note]
        assert note in (tmp_path / "v.md").read_text()
        assert note in (tmp_path / "v.xml").read_text()
    tested = cli("verify", dense, "--engine", "litert", "--selftest", "--json")
    assert [Path(row["path"]).name for row in tested.json["selftests"]] == [TFLITE]
    words = ("--seconds", 0, "--count", 1, "--processes", 1, "--json")
    measured = cli("bench", dense, "--engine", "litert", *words)
    assert [Path(row["path"]).name for row in measured.json["results"]] == [TFLITE]
    for named in (dense / ONNX, dense / "dense-int8.c"):
        assert_two_lines(cli("verify", dense / TFLITE, named, "--engine", "litert"), 2)
        assert_two_lines(cli("verify", dense / TFLITE, named, "--engine", "litert", "--selftest"), 2)


def test_an_engine_that_runs_no_file_of_a_folder_is_a_usage_error(dense: Path, cli: Callable[..., Run]) -> None:
    manifest = Manifest.load(dense)
    del manifest.files[TFLITE]
    manifest.save()
    run = cli("verify", dense, "--engine", "litert")
    assert_two_lines(run, 2)
    assert f"runs none of the files in {dense}, which are .onnx" in run.err
    assert_two_lines(cli("verify", dense, SHIPPED / "dense", "--engine", "litert"), 2)
    assert_two_lines(cli("verify", dense, "--engine", "litter"), 2)


def test_a_workspace_stands_for_the_files_of_all_its_models(
    dense: Path, tmp_path: Path, mnist: object, cli: Callable[..., Run]
) -> None:
    shutil.copytree(dense, dense.parent / "other")
    (dense.parent / "notes").mkdir()
    run = cli("verify", "artifacts", "--engine", "litert", "--json", cwd=tmp_path)
    assert run.code == 0, run.err
    assert [row["path"] for row in run.json["results"]] == [f"artifacts/{name}/{TFLITE}" for name in ("dense", "other")]
    here = cli("verify", ".", "--engine", "litert", "--json", cwd=dense.parent)
    assert [row["path"] for row in here.json["results"]] == [f"{name}/{TFLITE}" for name in ("dense", "other")]
    inside = cli("verify", ".", "--engine", "litert", "--json", cwd=dense)
    assert [row["path"] for row in inside.json["results"]] == [TFLITE]
    assert_two_lines(cli("verify", dense.parent / "notes"), 2)
    assert_two_lines(cli("verify", tmp_path / "nowhere"), 2)


@pytest.mark.parametrize("command", ["verify", "evaluate"])
def test_an_interrupt_prints_one_json_object(command: str, tmp_path: Path, mnist: object) -> None:
    out, _ = interrupted(command, "--json", *(["--junit", tmp_path / "v.xml"] if command == "verify" else []))
    value = json.loads(out)
    assert (value["schema_version"], value["command"]) == (1, command)
    assert (value["error"]["code"], value["error"]["kind"]) == (130, "interrupted")
    assert value["error"]["message"]
    assert value["error"]["remedy"]
    if command == "verify":
        assert reported_by_junit((tmp_path / "v.xml").read_text()).run == "error"


def test_an_interrupt_prints_one_json_object_for_every_command(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("mnist_edge.data.load", interrupted)
    for command in ("train", "export"):
        assert program.main([command, "--json"]) == 130
        value = json.loads(capsys.readouterr().out)
        assert (value["command"], value["error"]["code"]) == (command, 130)


def test_an_interrupt_after_the_result_adds_no_second_object(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(Output, "json_begun", False)
    assert Output("verify", as_json=True).result({"results": []}) == 0
    assert Output("verify", as_json=True).fail(InterruptError()) == 130
    assert json.loads(capsys.readouterr().out)["results"] == []
