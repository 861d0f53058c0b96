"""What every architecture and every format must do. The lists are found: a newcomer is tested with no edit here."""

from __future__ import annotations

from pathlib import Path
from statistics import NormalDist

import numpy as np
import pytest
from numpy.typing import NDArray

from mnist_edge import conversion, data, models, runtime, training
from mnist_edge.errors import StageError
from mnist_edge.formats.reference import Reference
from mnist_edge.parity.answers import answers
from mnist_edge.results import Artifact
from mnist_edge.workflows.export import ExportOptions, export

CASES = [
    (model, name, quantization)
    for model in models.names()
    for name, converter in conversion.CONVERTERS.items()
    for quantization in converter.precisions
]


# Ratio of signal to noise at the logits, at least, in dB. Rounding to b bits adds noise 6.02 b + 10.8 dB below the
# squared range; a tensor whose range is 8 times its RMS value has 18 dB less: 41 dB with 8 bits. float16 and float32
# round every value relatively, to 11 and 24 bits: 71 and 149 dB. The deepest built-in net rounds some eight tensors
# (weights and results of four layers), which costs another 9 dB. What is left is for sums of up to 3,136 terms.
SQNR_DB = {"int8": 30.0, "float16": 55.0, "float32": 100.0}


def expected_changes(probabilities: NDArray[np.float32], sqnr_db: float) -> tuple[float, float]:
    """Most answers that may change, and the largest mean change of a probability, with this much noise at the logits.

    The logits are the logarithms of the probabilities. An answer changes if noise of `sqrt(2)` times a logit's exceeds
    the distance of the two best; the count of such images has a Poisson distribution, of which four standard deviations
    are allowed. A probability changes to first order by p_k (e_k - sum of p_j e_j).
    """
    p = np.maximum(probabilities.astype(np.float64), 1e-30)
    logits = np.log(p) - np.log(p).mean(axis=1, keepdims=True)
    noise = np.sqrt((logits**2).mean()) * 10 ** (-sqnr_db / 20)
    best = np.sort(logits, axis=1)
    changing = sum(NormalDist(0, np.sqrt(2) * noise).cdf(low - high) for high, low in best[:, :-3:-1])
    squares = (p**2).sum(axis=1, keepdims=True) - p**2
    mean = np.sqrt(2 / np.pi) * noise * (p * np.sqrt((1 - p) ** 2 + squares)).mean()
    return changing + 4 * np.sqrt(changing), mean


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
def test_an_architecture_answers_with_probabilities(model: str) -> None:
    built = models.build(model, (28, 28, 1), 7)
    answer = models.outputs(built, np.zeros((3, 28, 28, 1), np.uint8))
    assert answer.shape == (3, 7)
    assert answer.sum(axis=1) == pytest.approx(1, abs=1e-5)


def exported(folder: Path, config: conversion.ExportConfig, splits: data.Splits) -> Artifact:
    """An artifact. A format that is made on demand may name an op that it does not know; others know them all."""
    try:
        return conversion.export(folder, config, splits)
    except StageError as error:
        if config.format in conversion.formats(every=False) or "has no integer kernel" not in error.cause:
            raise
        pytest.skip(error.cause)


@pytest.mark.parametrize(("model", "format_", "quantization"), CASES)
def test_a_format_answers_as_the_model_does(
    trained: Path, splits: data.Splits, model: str, format_: str, quantization: str
) -> None:
    folder = trained / model
    config = conversion.ExportConfig(format_, quantization)
    artifact = exported(folder, config, splits)
    path = Path(artifact.path)
    engines = runtime.engine_names(path.suffix)
    assert engines, f"no engine runs {path.suffix}"
    reference = Reference.from_bytes((folder / "reference.npz").read_bytes())
    for engine in engines:
        session = runtime.open_session(path, engine)
        assert session.verified
        assert session.contract.class_names == splits.class_names
        assert session.contract.quantization == quantization
        found = session.predict(splits.test.images)
        changed = int((answers(found) != answers(reference.probabilities)).sum())
        most, mean = expected_changes(reference.probabilities, SQNR_DB[quantization])
        assert changed <= most, engine
        assert np.abs(found - reference.probabilities).mean() <= mean, engine
        single = np.concatenate([session.predict(image[np.newaxis]) for image in splits.test.images[:20]])
        assert np.abs(single - found[:20]).max() < 1e-4, engine


@pytest.mark.parametrize(("model", "format_", "quantization"), CASES)
def test_the_same_inputs_give_the_same_bytes(
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


def test_the_pipeline_makes_every_format_of_every_model(trained: Path, splits: data.Splits) -> None:
    for model in models.names():
        options = ExportOptions(model=model, workspace=trained, formats=tuple(conversion.formats()), data=splits)
        result = export(options)
        assert result.failures == ()
        assert result.trained is None
        assert {item.format for item in result.artifacts} == set(conversion.formats())
        assert all(item.parity for item in result.artifacts)
