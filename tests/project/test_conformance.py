"""Tests that every architecture and every format must pass; new ones are found in their registries."""

from __future__ import annotations

from pathlib import Path
from statistics import NormalDist

import numpy as np
import pytest
from numpy.typing import NDArray

from mnist_edge import conversion, data, models, runtime, training
from mnist_edge.errors import StageError
from mnist_edge.formats.float_answers import FloatAnswers
from mnist_edge.parity.answers import answers
from mnist_edge.results import Artifact
from mnist_edge.results.precision import Precision
from mnist_edge.runtime.exported import EXPORT_OPTIONS, HAVE_FLOAT16
from mnist_edge.workflows.export import ExportOptions, export

CASES = [
    (model, name, quantization)
    for model in models.names()
    for name, converter in conversion.CONVERTERS.items()
    for quantization in converter.precisions
]


# Smallest expected signal-to-noise ratio of the logits, in dB. Rounding to b bits adds noise 6.02 b + 10.8 dB below the
# squared range; for a tensor whose range is 8 times its RMS value the ratio is 18 dB less: 41 dB with 8 bits. float16
# and float32 round every value relatively, to 11 and 24 bits: 71 and 149 dB. The deepest built-in net rounds about
# eight tensors (weights and results of four layers), which costs another 9 dB. The rest is a reserve for sums of up to
# 3,136 terms. Weights of 4 bits, of which two layers are rounded, have a range of about 4 times their RMS value: 12 dB
# less than 6.02 b + 10.8 dB leave 23 dB, and two layers cost 3 dB.
SQNR_DB = {"int8": 30.0, "int4": 15.0, "float16": 55.0, "float32": 100.0}


def expected_changes(probabilities: NDArray[np.float32], sqnr_db: float) -> tuple[float, float]:
    """Largest number of changed answers and largest mean change of a probability, with this much noise in the logits.

    The logits are the logarithms of the probabilities, and each has independent normal noise e. An answer changes if
    the difference of two such noises exceeds the difference of the two best logits. The number of such images has a
    Poisson distribution, of which four standard deviations are allowed. To first order, noise changes the probability
    of class k by p_k (e_k - sum over j of p_j e_j).

    Args:
        probabilities: of the float model, (n, classes).
        sqnr_db: signal-to-noise ratio of the logits, in dB.
    """
    p = np.maximum(probabilities.astype(np.float64), 1e-30)
    logits = np.log(p) - np.log(p).mean(axis=1, keepdims=True)
    noise = np.sqrt((logits**2).mean()) * 10 ** (-sqnr_db / 20)
    best = np.sort(logits, axis=1)
    changing = sum(NormalDist(0, np.sqrt(2) * noise).cdf(low - high) for high, low in best[:, :-3:-1])
    squares = (p**2).sum(axis=1, keepdims=True) - p**2
    mean = np.sqrt(2 / np.pi) * noise * (p * np.sqrt((1 - p) ** 2 + squares)).mean()
    return changing + 4 * np.sqrt(changing), mean


def test_remedies_know_the_export_options_and_the_float16_files_of_every_converter() -> None:
    of_converters = {item.suffix: ("--format", name) for name, item in conversion.CONVERTERS.items()}
    # A shared object is no format of its own: it is compiled from the C file.
    assert {**of_converters, ".so": (*of_converters[".c"], "--build")} == EXPORT_OPTIONS
    float16 = {item.suffix for item in conversion.CONVERTERS.values() if Precision.FLOAT16 in item.precisions}
    assert float16 == HAVE_FLOAT16


@pytest.fixture(scope="module")
def splits(slice_npz: Path) -> data.Splits:
    return data.load(slice_npz)


@pytest.fixture(scope="module")
def trained(splits: data.Splits, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("conformance")
    for model in models.names():
        training.train(
            training.configure(model, "tutorial", epochs=6, optimizer="adam", learning_rate=2e-3),
            splits,
            folder / model,
        )
    return folder


@pytest.mark.parametrize("model", models.names())
def test_an_architecture_returns_a_probability_for_each_class(model: str) -> None:
    built = models.build(model, (28, 28, 1), 7)
    probabilities = models.outputs(built, np.zeros((3, 28, 28, 1), np.uint8))
    assert probabilities.shape == (3, 7)
    assert probabilities.sum(axis=1) == pytest.approx(1, abs=1e-5)


def exported(folder: Path, config: conversion.ExportConfig, splits: data.Splits) -> Artifact:
    """Export a file. A format that is made only on demand may refuse an op, which skips the test; others may not.

    So does a net without a layer for weights of 4 bits.
    """
    try:
        return conversion.export(folder, config, splits)
    except StageError as error:
        refuses_four_bits = config.quantization == Precision.INT4 and error.cause.startswith("No layer")
        refuses_op = config.format not in conversion.formats(every=False) and "has no integer kernel" in error.cause
        if not (refuses_four_bits or refuses_op):
            raise
        pytest.skip(error.cause)


@pytest.mark.parametrize(("model", "format_", "quantization"), CASES)
def test_a_file_gives_the_answers_of_the_float_model(
    trained: Path, splits: data.Splits, model: str, format_: str, quantization: str
) -> None:
    folder = trained / model
    config = conversion.ExportConfig(format_, quantization)
    artifact = exported(folder, config, splits)
    path = Path(artifact.path)
    engines = runtime.engine_names(path.suffix)
    assert engines, f"no engine runs {path.suffix}"
    reference = FloatAnswers.from_bytes((folder / "reference.npz").read_bytes())
    for engine in engines:
        session = runtime.open_session(path, engine)
        assert session.verified
        assert session.contract.class_names == splits.class_names
        assert session.contract.quantization == quantization
        found = session.predict(splits.test.images)
        changed = int((answers(found) != answers(reference.probabilities)).sum())
        most_changed, largest_mean = expected_changes(reference.probabilities, SQNR_DB[quantization])
        assert changed <= most_changed, engine
        assert np.abs(found - reference.probabilities).mean() <= largest_mean, engine
        single = np.concatenate([session.predict(image[np.newaxis]) for image in splits.test.images[:20]])
        assert np.abs(single - found[:20]).max() < 1e-4, engine


@pytest.mark.parametrize(("model", "format_", "quantization"), CASES)
def test_a_file_is_exported_once_and_always_with_the_same_bytes(
    trained: Path, splits: data.Splits, model: str, format_: str, quantization: str
) -> None:
    folder = trained / model
    config = conversion.ExportConfig(format_, quantization)
    first = exported(folder, config, splits)
    assert not conversion.export(folder, config, splits).fresh
    (folder / conversion.file_name(model, config)).unlink()
    again = conversion.export(folder, config, splits)
    assert again.fresh
    assert again.sha256 == first.sha256


def test_export_makes_every_format_of_every_model(trained: Path, splits: data.Splits) -> None:
    for model in models.names():
        options = ExportOptions(model=model, workspace=trained, formats=tuple(conversion.formats()), data=splits)
        result = export(options)
        assert result.failures == ()
        assert result.trained is None
        assert {item.format for item in result.artifacts} == set(conversion.formats())
        assert all(item.parity for item in result.artifacts)
