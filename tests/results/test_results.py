"""Conversion of results to JSON and back."""

from __future__ import annotations

import dataclasses
import json

from hypothesis import given
from hypothesis import strategies as st

from mnist_edge import results
from mnist_edge.results import serialization

numbers = st.floats(allow_nan=False, allow_infinity=False)
flips = st.builds(results.Flips, st.integers(), st.integers())
float_export_reports = st.builds(results.TwinReport, path=st.text(), drop_pp=numbers, agreement=numbers, flips=flips)
matrices = st.lists(st.lists(st.integers(), max_size=3).map(tuple), max_size=3).map(tuple)
changed = st.builds(
    results.Changes,
    flips=st.lists(st.builds(results.Flip, *[st.integers()] * 4, numbers, numbers),
                   max_size=2).map(tuple),
    classes=st.lists(st.builds(results.ClassChange, st.text(), st.integers(), st.none() | numbers, numbers),
                     max_size=2).map(tuple),
    confusion_before=matrices, confusion_after=matrices, max_abs_difference=numbers, mean_abs_difference=numbers,
    mean_js_divergence_bits=numbers, calibration_error_before=numbers, calibration_error_after=numbers,
    ties_before=st.integers(), ties_after=st.integers(),
)  # fmt: skip
parities = st.builds(
    results.ParityReport,
    path=st.text(), engine=st.text(), passed=st.booleans(), rule=st.text(), verdict=st.text(), n=st.integers(),
    accuracy=numbers, reference_accuracy=numbers, drop_pp=numbers, drop_ci95_pp=st.tuples(numbers, numbers),
    drop_upper95_pp=numbers, mcnemar_p=numbers, agreement=numbers, flips=flips,
    detectable_drop_pp=numbers, verified_hash=st.booleans(), changes=st.none() | changed,
    twin=st.none() | float_export_reports,
    brier=st.none() | numbers, reference_brier=st.none() | numbers, brier_increase=st.none() | numbers,
    brier_increase_upper95=st.none() | numbers, probability_distance=st.none() | numbers,
    probability_distance_upper95=st.none() | numbers, images_needed=st.none() | st.integers(),
)  # fmt: skip
any_result = st.one_of(
    parities,
    st.builds(
        results.KernelReport,
        path=st.text(), engine=st.text(), other=st.text(), n=st.integers(),
        differing=st.lists(st.integers()).map(tuple), max_abs_difference=numbers, max_lsb=st.none() | numbers,
    ),
    st.builds(
        results.SelfTest,
        path=st.text(), engine=st.text(), passed=st.booleans(), n=st.integers(),
        differing=st.lists(st.integers()).map(tuple), max_abs_difference=numbers, tolerance=numbers,
    ),
    st.builds(
        results.Artifact,
        path=st.text(), format=st.text(), model=st.text(), quantization=st.text(), sha256=st.text(),
        size_bytes=st.integers(), fresh=st.booleans(), parity=st.lists(parities, max_size=2).map(tuple),
    ),
    st.builds(
        results.Prediction,
        path=st.text(), label=st.none() | st.integers(), name=st.none() | st.text(), confidence=st.none() | numbers,
        probabilities=st.none() | st.lists(numbers).map(tuple), error=st.none() | st.text(),
    ),
    st.builds(
        results.Evaluation,
        path=st.text(), engine=st.text(), n=st.integers(), correct=st.integers(), accuracy=numbers,
        accuracy_ci95=st.tuples(numbers, numbers),
    ),
)  # fmt: skip


@given(any_result)
def test_a_result_is_the_same_after_conversion_to_json_and_back(result: object) -> None:
    assert dataclasses.is_dataclass(result)
    text = json.dumps(serialization.to_json(result), allow_nan=False)
    assert serialization.from_json(type(result), json.loads(text)) == result
