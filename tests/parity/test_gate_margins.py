"""The rule for changed labels, which allows as many as noise explains; and the remedy of each rule."""

from __future__ import annotations

import math
import re
import shlex
import shutil
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer
from hypothesis import example, given
from hypothesis import strategies as st
from scipy import stats as scipy_stats

from mnist_edge.cli.app import app
from mnist_edge.errors import ContentError, UsageError
from mnist_edge.formats.float_answers import FloatAnswers
from mnist_edge.parity import statistics
from mnist_edge.parity.compare import compare
from mnist_edge.parity.counts import AnswerCounts, ClassCounts
from mnist_edge.parity.gate import (
    CHANGES_ALPHA,
    MOST_NOISE,
    Gate,
    allowed_changes,
    class_failure,
    decide,
)
from mnist_edge.parity.label_noise import LabelNoise, change_probabilities, label_noise
from mnist_edge.parity.remedies import COMMANDS, REASONS, remedy
from mnist_edge.parity.verdict import judge
from mnist_edge.results import ParityReport
from mnist_edge.store.manifest import Manifest
from mnist_edge.store.workspace import SHIPPED
from mnist_edge.workflows.verify import VerifyOptions, gate_error, repeated_options
from tests.conftest import Run
from tests.parity.test_gate import judged, on_grid, sample, softmax

# Margins so wide that only the changed labels decide.
LABELS_ONLY = Gate(
    max_drop_pp=50, max_class_drop_pp=100, max_brier_increase=2, max_probability_distance=100, min_agreement=None
)
# The same, with --min-agreement as a hard bound.
HARD = replace(LABELS_ONLY, min_agreement=0.995)


def noisy(logits: np.ndarray, sqnr_db: float) -> np.ndarray:
    """The logits with independent normal noise at this signal-to-noise ratio."""
    deviation = math.sqrt(logits.var(axis=1).mean() * 10 ** (-sqnr_db / 10))
    return np.asarray(logits + np.random.default_rng(2).normal(0, deviation, logits.shape))


# --- how many labels may change --------------------------------------------------------------------------------------


@given(st.lists(st.floats(0, 0.5), min_size=5, max_size=60))
@example([0.0] * 4 + [0.0508])  # Hoeffding's theorem holds only for counts of at least the mean plus one
def test_noise_as_assumed_changes_more_labels_than_allowed_in_at_most_5_per_cent_of_test_sets(
    odds: list[float],
) -> None:
    """The distribution of the number of changes is computed exactly, image by image."""
    odds = odds + [0.0] * math.ceil(max(0.0, math.fsum(odds) / MOST_NOISE - len(odds)))  # noise explains no more
    counts = np.array([1.0])
    for odd in odds:
        counts = np.convolve(counts, [1 - odd, odd])
    allowed = allowed_changes(Gate(), len(odds), math.fsum(odds))
    assert counts[allowed + 1 :].sum() <= CHANGES_ALPHA + 1e-9


@given(st.integers(1, 20_000).flatmap(lambda n: st.tuples(st.just(n), st.floats(0, n / 2), st.floats(0, n / 2))))
def test_more_changes_are_allowed_if_more_are_expected_and_never_fewer_than_half_a_per_cent(
    case: tuple[int, float, float],
) -> None:
    n, *expected = case
    fewer, more = (allowed_changes(Gate(), n, value) for value in sorted(expected))
    assert math.floor(n * 0.005) <= fewer <= more <= n
    if n * 0.005 < more < n:  # the next count is rejected, this one is not
        share = min(MOST_NOISE, max(expected) / n)
        assert statistics.binomial_upper_tail(more + 1, n, share) <= CHANGES_ALPHA
        if more >= n * share + 1:
            assert statistics.binomial_upper_tail(more, n, share) > CHANGES_ALPHA


@given(
    st.integers(1, 5000).flatmap(
        lambda n: st.tuples(st.just(n), st.integers(0, n), st.floats(0, n / 2), st.integers(0, n))
    ),
    st.floats(0.5, 1),
)
def test_min_agreement_is_a_hard_bound(case: tuple[int, int, float, int], share: float) -> None:
    """Neither the float model's margins nor ties raise it."""
    n, changed, expected, tied = case
    gate = replace(LABELS_ONLY, min_agreement=share)
    found = decide(gate, AnswerCounts(n, 0, 0, n - changed), None, LabelNoise(expected, min(tied, changed)))
    if changed > n * (1 - share) + 1e-6:
        assert found.rule in ("agreement", "undecidable")
    elif changed < n * (1 - share):
        assert found.rule != "agreement"


@pytest.mark.parametrize("sqnr_db", [10, 20, 30])
@pytest.mark.parametrize("spread", [0.3, 4.0])
def test_noise_changes_as_many_labels_as_are_expected_at_its_signal_to_noise_ratio(
    spread: float, sqnr_db: float
) -> None:
    for classes, least in ((2, 0.93), (10, 0.7)):  # with more than two classes it is a lower estimate
        logits, _ = sample(30_000, classes, spread)
        changed = (noisy(logits, sqnr_db).argmax(axis=1) != logits.argmax(axis=1)).sum()
        assert least * changed <= change_probabilities(softmax(logits), sqnr_db).sum() <= 1.07 * changed, classes


def test_probabilities_of_zero_and_uniform_ones_have_a_finite_estimate() -> None:
    assert change_probabilities(np.eye(10, dtype=np.float32)).sum() == 0
    assert change_probabilities(np.full((5, 4), 0.25, np.float32)).sum() == 0
    # Variances of log(p) over the classes that are not zero: 0, 0 and that of 0.6, 0.3 and 0.1.
    odds = change_probabilities(np.array([[0, 0, 1], [0.5, 0.5, 0], [0.6, 0.3, 0.1]], np.float32), 10)
    noise = np.log([0.6, 0.3, 0.1]).var() / 3 / 10
    assert odds == pytest.approx([0, 0.5, scipy_stats.norm.sf(np.log(2), scale=np.sqrt(2 * noise))], rel=1e-5)


@pytest.mark.parametrize("spread", [0.5, 4.0])
@pytest.mark.parametrize("dead", [0, 1e-12, 1e-5])
@pytest.mark.parametrize("count", [1, 10])
def test_classes_that_never_occur_explain_no_changes(count: int, dead: float, spread: float) -> None:
    logits, labels = sample(5000, spread=spread)
    before, after = softmax(logits), softmax(noisy(logits, 18))
    unused = np.full((5000, count), dead, np.float32)
    padded = [np.concatenate([p, unused], axis=1) for p in (before, after)]
    found, more = judged(before, after, labels, LABELS_ONLY), judged(*padded, labels, LABELS_ONLY)
    assert (more.rule, more.allowed_changes) == ("agreement", found.allowed_changes)
    broken = label_noise(before, after, labels).expected_broken
    assert label_noise(*padded, labels).expected_broken == pytest.approx([*broken, *[0] * count])


def test_a_class_that_is_probable_in_one_image_hardly_raises_the_allowance() -> None:
    logits, labels = sample(5000)
    before = softmax(logits)
    padded = np.concatenate([before, np.full((5000, 10), 1e-12, np.float32)], axis=1)
    padded[0, 10:] = 0.1
    alone, more = (label_noise(p, p, labels).expected for p in (before, padded))
    assert more == pytest.approx(alone, rel=0.01)


def test_noise_explains_at_most_a_tenth_of_the_labels() -> None:
    most = allowed_changes(Gate(), 10_000, 1000)
    assert 1000 < most < 1060
    for expected in (1001, 5000, 10_000, math.inf):
        assert allowed_changes(Gate(), 10_000, expected) == most
    for changed, rule in ((most, "non-inferior"), (most + 1, "agreement")):
        counts = AnswerCounts(10_000, 0, 0, 10_000 - changed)
        assert decide(LABELS_ONLY, counts, None, LabelNoise(5000)).rule == rule


# --- healthy files with small margins, and faulty ones ---------------------------------------------------------------


def test_a_healthy_file_of_a_model_with_small_margins_passes_unless_min_agreement_is_given() -> None:
    logits, labels = sample(10_000, spread=0.5)
    before, after = softmax(logits), softmax(noisy(logits, 33))
    found = judged(before, after, labels, Gate(max_drop_pp=1, max_class_drop_pp=2))
    assert found.agreement < 0.985
    assert found.rule == "non-inferior", found.verdict
    assert found.allowed_changes is not None
    assert found.allowed_changes > 150
    hard = judged(before, after, labels, Gate(1, 0.99, 2))
    assert (hard.rule, hard.allowed_changes) == ("agreement", 100)


@pytest.mark.parametrize(("classes", "spread"), [(2, 2.0), (10, 0.5), (10, 4.0), (100, 1.0)])
def test_noise_that_quantization_does_not_explain_fails(classes: int, spread: float) -> None:
    logits, labels = sample(5000, classes, spread)
    found = judged(softmax(logits), softmax(noisy(logits, 18)), labels, LABELS_ONLY)
    assert found.rule == "agreement", found.verdict
    assert found.allowed_changes is not None
    assert f"allowed are {found.allowed_changes:,}" in found.verdict


def test_ties_on_the_output_grid_count_as_changed_labels_only_if_min_agreement_is_given() -> None:
    logits, labels = sample(5000, 100, 0.5)
    before, after = softmax(logits), on_grid(softmax(logits))
    found = judged(before, after, labels, LABELS_ONLY)
    assert found.agreement < 0.85
    assert found.rule == "non-inferior", found.verdict
    assert found.tied_changes is not None
    assert found.tied_changes > 800
    assert judged(before, after, labels, HARD).rule == "agreement"


def test_only_ties_between_the_float_models_label_and_a_wrong_new_label_are_counted() -> None:
    before = np.array([[0.398, 0.2, 0.402]] * 3, np.float32)
    after = np.array([[0.4, 0.2, 0.4], [0.4, 0.4, 0.2], [0.4, 0.2, 0.4]], np.float32)
    assert label_noise(before, after, np.array([1, 1, 0])).tied == 1


@pytest.mark.parametrize(("difference", "tied"), [(1.9 / 256, 1), (2.1 / 256, 0)])
def test_rounding_explains_a_tie_only_if_the_float_probabilities_differ_by_at_most_two_steps(
    difference: float, tied: int
) -> None:
    before = np.array([[0.4 - difference / 2, 0.2, 0.4 + difference / 2]], np.float32)
    assert label_noise(before, np.array([[0.4, 0.2, 0.4]], np.float32), np.array([1])).tied == tied


@pytest.mark.parametrize("classes", [10, 100])
def test_ties_of_saturated_logits_count_as_changed_labels(classes: int) -> None:
    """Four fifths of the largest logits exceed the range, are clipped, and so become equal."""
    logits, labels = sample(5000, classes)
    saturated = np.minimum(logits, np.quantile(logits.max(axis=1), 0.2))
    found = judged(softmax(logits), on_grid(softmax(saturated)), labels, LABELS_ONLY)
    assert found.agreement < 0.8
    assert found.rule == "agreement", found.verdict


def test_exchanged_labels_are_not_ties() -> None:
    logits, labels = sample(10_000)
    swapped = softmax(logits)[:, [0, 8, 2, 3, 4, 5, 6, 7, 1, 9]]
    found = judged(softmax(logits), swapped, labels, LABELS_ONLY)
    assert (found.rule, found.tied_changes) == ("agreement", 0)


@pytest.mark.parametrize(("broken", "expected", "fails"), [(40, 0, True), (40, 35, False), (80, 35, True)])
def test_a_class_may_lose_only_as_many_answers_as_noise_explains(broken: int, expected: float, fails: bool) -> None:
    counts = ClassCounts("shirt", 1000, broken, 2, expected)
    assert (class_failure(Gate(), counts, 10, 10_000, broken) is not None) is fails


def test_noise_breaks_only_right_answers_of_a_class() -> None:
    before = np.array([[0.5, 0.499, 0.001], [0.5, 0.499, 0.001], [0.01, 0.98, 0.01]], np.float32)
    noise = label_noise(before, before, np.array([0, 1, 1]))
    assert noise.expected_broken[0] == pytest.approx(noise.expected / 2, rel=1e-3)
    assert noise.expected_broken[1] < 1e-9
    assert len(noise.expected_broken) == 3


def test_a_class_with_small_margins_passes_in_the_verdict() -> None:
    """Class 0 is hardly more probable than class 1 in its images, and noise at 32 dB breaks its answers alone."""
    logits, labels = sample(10_000, spread=6.0)
    rows = labels == 0
    logits[rows] = -5
    logits[rows, :2] = np.random.default_rng(3).uniform(0, 0.5, (rows.sum(), 1)) * [1, 0]
    gate = Gate(max_drop_pp=50, max_brier_increase=2)
    found = judged(softmax(logits), softmax(noisy(logits, 32)), labels, gate)
    assert found.flips.broken > 100
    assert found.rule == "non-inferior", found.verdict


# --- remedies --------------------------------------------------------------------------------------------------------


def failed(rule: str, path: Path) -> ParityReport:
    logits, labels = sample(50)
    found = judged(softmax(logits), softmax(logits), labels)
    return replace(found, rule=rule, passed=False, path=str(path), images_needed=4321)


@pytest.fixture
def exported(tmp_path: Path) -> Path:
    """A folder that looks like one after ``export``, with a blank in its name."""
    folder = tmp_path / "a workspace" / "net"
    folder.mkdir(parents=True)
    names = (
        "model.keras",
        "reference.npz",
        *(f"net-{kind}{end}" for kind in ("int8", "float32") for end in (".tflite", ".onnx")),
    )
    for name in names[:2]:
        (folder / name).touch()
    enter(folder, *names[2:], "net-int8.c", "net-int8.so")
    return folder


def enter(folder: Path, *names: str) -> None:
    """Write empty exported files and enter them in the manifest as ``export`` does."""
    facts = {
        name: {"format": "any", "model": "net", "quantization": name.split("-")[1].split(".")[0]} for name in names
    }
    Manifest.load(folder).commit({name: (b"", entry) for name, entry in facts.items()})


def commands_in(text: str) -> list[str]:
    return re.findall(r"mnist-edge .*?(?=; or mnist-edge|$)", text)


def assert_valid(command: str) -> None:
    """Assert that the program parses a command, and that the paths in it exist."""
    _, name, *words = shlex.split(command)
    group: Any = typer.main.get_command(app)
    found = group.commands[name]
    context = found.make_context(name, list(words))
    assert all(Path(path).exists() for path in context.params.get("paths") or context.params.get("models") or [])


@pytest.mark.parametrize("suffix", [".tflite", ".onnx", ".c", ".so"])
@pytest.mark.parametrize("rule", COMMANDS)
def test_every_rule_has_a_reason_and_commands_that_the_program_parses(rule: str, suffix: str, exported: Path) -> None:
    path = exported / f"net-int8{suffix}"
    text = remedy(failed(rule, path), Path("my data"))
    assert text.startswith(REASONS[rule])
    for command in commands_in(text):
        assert_valid(command)
        assert command == "mnist-edge doctor" or "--data 'my data'" in command
    assert commands_in(text) or rule in ("drop-bound", "board") or suffix in (".c", ".so")


def test_the_reasons_differ_from_rule_to_rule() -> None:
    assert len(set(REASONS.values())) == len(REASONS)
    assert set(REASONS) == set(COMMANDS)


@pytest.mark.parametrize(
    ("rule", "wanted"),
    [
        ("agreement", ("--layers", "--calibration-study", "--quantize float16")),
        ("drop", ("--layers", "--calibration-study", "--quantize float16")),
        ("drop-bound", ("about 4,321 images", "--data", "--quantize float16")),
        ("class-drop", ("--calibration-images 2048", "--layers", "--quantize float16")),
        ("brier", ("--layers", "--quantize float16")),
        ("probabilities", ("--layers", "--quantize float16")),
        ("nan", ("mnist-edge export --model net",)),
        ("shape", ("mnist-edge export --model net",)),
        ("refused", ("mnist-edge doctor",)),
        ("leakage", ("mnist-edge export --model net",)),
        ("undecidable", ("about 4,321 images", "--data")),
    ],
)
def test_each_rule_has_its_own_remedy(rule: str, wanted: tuple[str, ...], exported: Path) -> None:
    text = remedy(failed(rule, exported / "net-int8.tflite"))
    for part in wanted:
        assert part in text


def test_a_remedy_offers_only_commands_that_work_for_the_file(exported: Path) -> None:
    path = exported / "net-int8.tflite"
    (exported / "net-float32.tflite").unlink()
    assert "--layers" not in remedy(failed("drop", path))
    assert "--calibration-study" in remedy(failed("drop", exported / "net-int8.c"))
    assert "float16" not in remedy(failed("drop", exported / "net-int8.c"))
    (exported / "model.keras").unlink()
    assert commands_in(remedy(failed("drop", path))) == []
    assert "no number of images" in remedy(replace(failed("undecidable", path), images_needed=None)).lower()


def test_the_remedy_of_a_float16_file_has_no_commands_for_int8_files(exported: Path) -> None:
    path = exported / "net-float16.tflite"
    enter(exported, path.name)
    text = remedy(failed("drop", path)) + remedy(failed("nan", path))
    assert "--calibration" not in text
    assert "--layers" not in text
    assert "--quantize float16" in text  # the command that exports the file again


def test_the_error_of_a_run_has_the_remedy_of_a_failed_rule_rather_than_of_an_undecidable_one(exported: Path) -> None:
    undecidable, lost = (failed(rule, exported / "net-int8.onnx") for rule in ("undecidable", "drop"))
    error = gate_error(judge([undecidable, lost]), Path("d"))
    assert error is not None
    assert error.remedy == remedy(lost, Path("d"))


def test_inside_a_model_folder_the_remedy_exports_that_model(exported: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(exported)
    for path in (Path("net-int8.tflite"), Path("../net/net-int8.tflite"), exported / "net-int8.tflite"):
        (command,) = commands_in(remedy(failed("nan", path)).partition("; or ")[0])
        words = shlex.split(command)
        assert words[words.index("--model") + 1] == "net"
        assert Path(words[words.index("-o") + 1]).resolve() == exported.parent.resolve()


def test_the_command_that_compares_layers_repeats_the_options_of_verify(exported: Path) -> None:
    lost = failed("drop", exported / "net-int8.tflite")
    words = repeated_options(VerifyOptions(reference=Path("my answers.npz"), engine="litert", trust=True))
    command = commands_in(remedy(lost, Path("d"), words))[0]
    assert command.endswith(" --layers --reference 'my answers.npz' --engine litert --trust --data d")
    assert_valid(command)
    error = gate_error(judge([lost]), Path("d"), words)
    assert error is not None
    assert command in error.remedy
    (exported / "reference.npz").unlink()
    assert "--layers" in remedy(lost, None, words)
    assert "--layers" not in remedy(lost, None, repeated_options(VerifyOptions()))


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("margin", [field.name for field in fields(Gate)])
def test_a_margin_that_is_not_finite_is_a_usage_error(margin: str, value: float) -> None:
    with pytest.raises(UsageError, match=f"--{margin.replace('_', '-')} is {value}"):
        Gate(**{margin: value})


@pytest.mark.parametrize("share", [-1, -0.001, 1.001, 1.5, 99.5])
def test_an_agreement_outside_of_0_to_1_is_a_usage_error(share: float) -> None:
    with pytest.raises(UsageError, match="--min-agreement") as caught:
        Gate(min_agreement=share)
    assert "0.995" in caught.value.remedy
    assert (Gate(min_agreement=0).min_agreement, Gate(min_agreement=1).min_agreement) == (0, 1)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--min-agreement", "nan"], "finite"),
        (["--min-agreement", "99.5"], "0<=x<=1"),
        (["--max-drop-pp", "inf"], "finite"),
        (["--baseline", "baseline.json", "--max-regression-pp", "nan"], "finite"),
    ],
)
def test_the_command_line_refuses_margins_that_are_not_finite_or_not_shares(
    words: list[str], message: str, cli: Callable[..., Run]
) -> None:
    done = cli("verify", SHIPPED / "dense", "--json", *words)
    assert done.code == 2
    assert done.json["error"]["kind"] == "usage"
    assert message in done.json["error"]["message"] + done.json["error"]["remedy"]


@pytest.mark.parametrize("damaged", ["probabilities", "golden_probabilities"])
@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_float_answers_that_are_not_finite_are_refused_when_they_are_read(damaged: str, value: float) -> None:
    good = FloatAnswers.from_bytes((SHIPPED / "dense" / "reference.npz").read_bytes())
    answers = getattr(good, damaged).copy()
    answers[1, 2] = value
    with pytest.raises(ContentError, match="NaN or infinity") as caught:
        FloatAnswers.from_bytes(replace(good, **{damaged: answers}).to_bytes())
    assert "Export the model again" in caught.value.remedy
    if damaged == "probabilities":
        session: Any = None
        with pytest.raises(ValueError, match="not finite"):
            compare(replace(good, probabilities=answers), session, good.golden_images, np.zeros(len(answers), np.int64))


def test_verify_refuses_float_answers_with_nan(tmp_path: Path, mnist: object, cli: Callable[..., Run]) -> None:
    good = FloatAnswers.from_bytes((SHIPPED / "dense" / "reference.npz").read_bytes())
    answers = good.probabilities.copy()
    answers[7] = np.nan
    (tmp_path / "nan.npz").write_bytes(replace(good, probabilities=answers).to_bytes())
    file = SHIPPED / "dense" / "dense-int8.tflite"
    done = cli("verify", file, "--engine", "litert", "--reference", tmp_path / "nan.npz", "--json")
    assert done.code == 4
    assert "NaN or infinity" in done.json["error"]["message"]


def test_min_agreement_is_passed_on_by_the_command_line(tmp_path: Path, mnist: object, cli: Callable[..., Run]) -> None:
    """The int8 file of the wheel changes a few labels of 10,000: allowed without the option, not with it."""
    shutil.copytree(SHIPPED / "dense", tmp_path / "dense")
    path = tmp_path / "dense" / "dense-int8.tflite"
    default, hard = (
        cli("verify", path, "--engine", "litert", "--json", *named) for named in ([], ["--min-agreement", 1])
    )
    assert default.code == 0
    (result,) = default.json["results"]
    assert result["allowed_changes"] >= 50
    assert hard.code == 1
    assert hard.json["results"][0]["rule"] == "agreement"
    assert hard.json["results"][0]["allowed_changes"] == 0
    assert hard.json["error"]["remedy"].startswith(REASONS["agreement"])
    assert "a hard bound" in " ".join(re.sub("[│|]", " ", cli("verify", "--help").out).split())
