"""Zoo of architectures that users may bring, trained for seconds on slices of MNIST and on data sets made of it.

`benchmarks/zoo.py` exports all of them in every format and compares each file with Keras; tests use a few of them.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mnist_edge import conversion, data, models
from mnist_edge.conversion import onnx, tflite
from mnist_edge.errors import MnistEdgeError
from mnist_edge.formats import Contract
from mnist_edge.formats.float_answers import FloatAnswers
from mnist_edge.int8.quantize import dequantize, pixel_lookup, softmax
from mnist_edge.models.backend import import_keras
from mnist_edge.parity.changes import calibration_error
from mnist_edge.runtime import interpreter, open_session
from mnist_edge.runtime.engines import litert, litert_reference
from mnist_edge.store.manifest import KERAS_NAME, REFERENCE_NAME
from mnist_edge.store.streams import quiet
from mnist_edge.workflows.export import ExportOptions, export

# Numbers of images to train and test on.
TRAIN, TEST = 5000, 3000
EPOCHS = 3


@dataclass(frozen=True)
class Specimen:
    """An architecture of the zoo.

    Attributes:
        build: makes the output of a Keras graph from the module ``keras.layers``, the input and the number of classes.
        data: key of the data set in `DATA`.
        refused: part of the cause with which `export` must refuse the model; empty if it must be accepted.
    """

    build: Callable[[Any, Any, int], Any]
    data: str = "digits"
    refused: str = ""


def _head(layers: Any, x: Any, classes: int) -> Any:
    return layers.Dense(classes, activation="softmax")(layers.Flatten()(x))


def _stem(layers: Any, image: Any, filters: int = 12) -> Any:
    """Two strided convolutions: from a 28 x 28 image to (7, 7, filters)."""
    x = layers.Conv2D(8, 3, strides=2, padding="same", activation="relu")(image)
    return layers.Conv2D(filters, 3, strides=2, padding="same", activation="relu")(x)


def conv_flatten_softmax(layers: Any, image: Any, classes: int) -> Any:
    x = _stem(layers, image)
    return layers.Softmax()(layers.Flatten()(layers.Conv2D(classes, x.shape[1:3])(x)))


def global_max_softmax(layers: Any, image: Any, classes: int) -> Any:
    return layers.Softmax()(layers.GlobalMaxPooling2D()(layers.Conv2D(classes, 3)(_stem(layers, image))))


def global_average_softmax(layers: Any, image: Any, classes: int) -> Any:
    return layers.Softmax()(layers.GlobalAveragePooling2D()(layers.Conv2D(classes, 3)(_stem(layers, image))))


def logits_also_read_by_relu6(layers: Any, image: Any, classes: int) -> Any:
    logits = layers.Dense(classes)(layers.Flatten()(_stem(layers, image)))
    other = layers.Dense(classes, activation="softmax")(layers.ReLU(6.0)(logits))
    return layers.Average()([layers.Softmax()(logits), other])


def attention(layers: Any, image: Any, classes: int) -> Any:
    x = _stem(layers, image, 16)
    tokens = layers.Reshape((x.shape[1] * x.shape[2], 16))(x)
    query, key, value = (layers.Dense(16)(tokens) for _ in range(3))
    weights = layers.Softmax()(layers.Dot(axes=(2, 2))([query, key]))
    mixed = layers.Dot(axes=(2, 1))([weights, value])
    return _head(layers, layers.GlobalAveragePooling1D()(mixed), classes)


def inner_softmax(layers: Any, image: Any, classes: int) -> Any:
    x = layers.Softmax()(layers.Conv2D(16, 1)(_stem(layers, image)))
    return _head(layers, x, classes)


def squeeze_excite(layers: Any, image: Any, classes: int) -> Any:
    x = _stem(layers, image)
    scale = layers.Dense(4, activation="relu")(layers.GlobalAveragePooling2D()(x))
    scale = layers.Reshape((1, 1, 12))(layers.Dense(12, activation="sigmoid")(scale))
    return _head(layers, layers.Multiply()([x, scale]), classes)


def separable(layers: Any, image: Any, classes: int) -> Any:
    x = layers.SeparableConv2D(16, 3, padding="same", activation="relu")(_stem(layers, image))
    return _head(layers, x, classes)


def depthwise_first(layers: Any, image: Any, classes: int) -> Any:
    x = layers.DepthwiseConv2D(3, depth_multiplier=6, strides=2, activation="relu")(image)
    return _head(layers, layers.Conv2D(12, 3, strides=2, activation="relu")(x), classes)


def residual(layers: Any, image: Any, classes: int) -> Any:
    x = _stem(layers, image)
    y = layers.Conv2D(12, 3, padding="same")(layers.Conv2D(12, 3, padding="same", activation="relu")(x))
    return _head(layers, layers.ReLU()(layers.Add()([x, y])), classes)


def dilated(layers: Any, image: Any, classes: int) -> Any:
    x = layers.Conv2D(8, 3, dilation_rate=2, activation="relu")(image)
    return _head(layers, layers.MaxPooling2D(4)(layers.Conv2D(8, 3, dilation_rate=3, activation="relu")(x)), classes)


def transposed(layers: Any, image: Any, classes: int) -> Any:
    x = layers.Conv2DTranspose(8, 3, strides=2, padding="same", activation="relu")(_stem(layers, image))
    return _head(layers, layers.AveragePooling2D(2)(x), classes)


def valid(layers: Any, image: Any, classes: int) -> Any:
    """Convolutions with Keras's default padding, as in most tutorials."""
    x = layers.MaxPooling2D()(layers.Conv2D(16, 3, activation="relu")(image))
    return _head(layers, layers.MaxPooling2D()(layers.Conv2D(16, 3, activation="relu")(x)), classes)


def norm_first(layers: Any, image: Any, classes: int) -> Any:
    return _head(layers, _stem(layers, layers.BatchNormalization()(image)), classes)


def norm_last(layers: Any, image: Any, classes: int) -> Any:
    x = layers.Dense(classes)(layers.Flatten()(_stem(layers, image)))
    return layers.Softmax()(layers.BatchNormalization()(x))


def layer_norm(layers: Any, image: Any, classes: int) -> Any:
    return _head(layers, layers.LayerNormalization()(_stem(layers, image)), classes)


def concatenated(layers: Any, image: Any, classes: int) -> Any:
    x = _stem(layers, image)
    branches = [layers.Conv2D(6, size, padding="same", activation="relu")(x) for size in (1, 3, 5)]
    return _head(layers, layers.Concatenate()(branches), classes)


def concatenated_with_the_image(layers: Any, image: Any, classes: int) -> Any:
    x = layers.Conv2D(7, 3, padding="same", activation="relu")(image)
    return _head(layers, layers.MaxPooling2D(4)(layers.Concatenate()([image, x])), classes)


def dense_on_rows(layers: Any, image: Any, classes: int) -> Any:
    x = layers.Dense(16, activation="relu")(layers.Reshape(image.shape[1:3])(image))
    return _head(layers, x, classes)


def one_layer(layers: Any, image: Any, classes: int) -> Any:
    return _head(layers, image, classes)


def logits(layers: Any, image: Any, classes: int) -> Any:
    return layers.Dense(classes)(layers.Flatten()(_stem(layers, image)))


def one_sigmoid(layers: Any, image: Any, classes: int) -> Any:
    return layers.Dense(1, activation="sigmoid")(layers.Flatten()(_stem(layers, image)))


def many_sigmoids(layers: Any, image: Any, classes: int) -> Any:
    return layers.Dense(classes, activation="sigmoid")(layers.Flatten()(_stem(layers, image)))


def two_outputs(layers: Any, image: Any, classes: int) -> Any:
    x = layers.Dense(classes)(layers.Flatten()(_stem(layers, image)))
    return [layers.Softmax()(x), layers.ReLU(6.0)(x)]


def rescaling(scale: float, offset: float) -> Callable[[Any, Any, int], Any]:
    return lambda layers, image, classes: _head(
        layers, _stem(layers, layers.Rescaling(scale, offset=offset)(image)), classes
    )


def normalization(layers: Any, image: Any, classes: int) -> Any:
    return _head(layers, _stem(layers, layers.Normalization(mean=0.13, variance=0.095)(image)), classes)


def activated(make: Callable[[Any], Any]) -> Callable[[Any, Any, int], Any]:
    def build(layers: Any, image: Any, classes: int) -> Any:
        x = make(layers)(layers.Conv2D(8, 3, strides=2, padding="same")(image))
        return _head(layers, make(layers)(layers.Conv2D(12, 3, strides=2, padding="same")(x)), classes)

    return build


def wide(layers: Any, image: Any, classes: int) -> Any:
    x = layers.MaxPooling2D()(layers.Conv2D(16, 3, activation="relu")(image))
    x = layers.MaxPooling2D()(layers.Conv2D(24, 3, activation="relu")(x))
    return _head(layers, x, classes)


def tiny(layers: Any, image: Any, classes: int) -> Any:
    x = layers.Conv2D(16, 3, padding="same", activation="relu")(image)
    return _head(layers, layers.Conv2D(16, 2, activation="relu")(x), classes)


def pixel(layers: Any, image: Any, classes: int) -> Any:
    return _head(layers, layers.Conv2D(16, 1, activation="relu")(image), classes)


ZOO: dict[str, Specimen] = {
    "conv, flatten, softmax": Specimen(conv_flatten_softmax),
    "global max pooling, softmax": Specimen(global_max_softmax),
    "global average pooling, softmax": Specimen(global_average_softmax),
    "logits also read by ReLU6": Specimen(logits_also_read_by_relu6),
    "two outputs": Specimen(two_outputs, refused="takes and returns"),
    "attention": Specimen(attention),
    "softmax inside": Specimen(inner_softmax),
    "squeeze and excite": Specimen(squeeze_excite),
    "separable": Specimen(separable),
    "depthwise first": Specimen(depthwise_first),
    "residual": Specimen(residual),
    "dilated": Specimen(dilated),
    "transposed convolution": Specimen(transposed),
    "valid convolutions": Specimen(valid),
    "batch norm first": Specimen(norm_first),
    "batch norm last": Specimen(norm_last),
    "layer norm": Specimen(layer_norm),
    "concatenation": Specimen(concatenated),
    "concatenation with the image": Specimen(concatenated_with_the_image),
    "dense on rows": Specimen(dense_on_rows),
    "one layer": Specimen(one_layer),
    "LeakyReLU": Specimen(activated(lambda layers: layers.LeakyReLU(0.1))),
    "PReLU": Specimen(activated(lambda layers: layers.PReLU(shared_axes=[1, 2]))),
    "swish": Specimen(activated(lambda layers: layers.Activation("silu"))),
    "hard swish": Specimen(activated(lambda layers: layers.Activation("hard_silu"))),
    "GELU": Specimen(activated(lambda layers: layers.Activation("gelu"))),
    "ELU": Specimen(activated(lambda layers: layers.ELU())),
    "tanh": Specimen(activated(lambda layers: layers.Activation("tanh"))),
    "Rescaling to 0 .. 1 first": Specimen(rescaling(1 / 255, 0.0)),
    "Rescaling to -1 .. 1 first": Specimen(rescaling(1 / 127.5, -1.0)),
    "Normalization first": Specimen(normalization),
    "logits": Specimen(logits),
    "one sigmoid": Specimen(one_sigmoid, "parity"),
    "ten sigmoids": Specimen(many_sigmoids, refused="do not sum to 1"),
    "2 classes": Specimen(valid, "parity"),
    "100 classes, 28 x 56": Specimen(wide, "pairs"),
    "1,000 classes, 28 x 84": Specimen(wide, "triples"),
    "1 x 1": Specimen(pixel, "pixels"),
    "5 x 7": Specimen(tiny, "small"),
    "64 x 64": Specimen(wide, "large"),
    "pixels of 20 to 200": Specimen(valid, "faint"),
}


# Parts of the causes with which generated C may refuse any specimen.
NO_INTEGER_KERNEL = ("has no integer kernel", "whose first dimension is no batch")
# Refusals that are expected for one format only: part of the cause, by specimen and format.
EXPECTED_REFUSALS: dict[tuple[str, str], str] = {
    ("layer norm", "tflite"): "stays float",
    ("ELU", "tflite"): "stays float",
    ("GELU", "onnx"): "failed",  # tf2onnx writes an Erfc that ONNX does not have
    ("Normalization first", "onnx"): "failed",  # tf2onnx loses the layer's constants
}


def _resized(images: NDArray[np.uint8], height: int, width: int) -> NDArray[np.uint8]:
    from PIL import Image

    return np.stack(
        [np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.BOX)) for image in images]
    )


def _side_by_side(images: NDArray[np.uint8], labels: NDArray[np.int64], count: int, draw: Any) -> tuple[Any, Any]:
    rows = draw.integers(0, len(images), (len(images), count))
    numbers = (labels[rows] * 10 ** np.arange(count)[::-1]).sum(axis=1)
    return np.concatenate([images[rows[:, at]] for at in range(count)], axis=2), numbers


DATA: dict[str, Callable[[NDArray[np.uint8], NDArray[np.int64], Any], tuple[Any, Any]]] = {
    "digits": lambda images, labels, _: (images, labels),
    "parity": lambda images, labels, _: (images, labels % 2),
    "pairs": lambda images, labels, draw: _side_by_side(images, labels, 2, draw),
    "triples": lambda images, labels, draw: _side_by_side(images, labels, 3, draw),
    # The only pixel is the mean of an image. It shows a little better than chance whether the digit is a one.
    "pixels": lambda images, labels, _: (_resized(images, 1, 1), (labels == 1).astype(np.int64)),
    "small": lambda images, labels, _: (_resized(images, 5, 7), labels),
    "large": lambda images, labels, _: (_resized(images, 64, 64), labels),
    "faint": lambda images, labels, _: ((20 + images * (180 / 255)).astype(np.uint8), labels),
}
CLASSES = {"parity": 2, "pixels": 2, "pairs": 100, "triples": 1000}


def splits(name: str, folder: Path) -> data.Splits:
    """A data set of `DATA`, made of training and validation images of MNIST, without its test images."""
    path = folder / f"{name}.npz"
    if not path.is_file():
        mnist, draw = data.load(), np.random.default_rng(0)
        parts = {}
        for part, split, count in (("train", mnist.train, TRAIN), ("test", mnist.validation, TEST)):
            images, labels = DATA[name](split.images[:count, ..., 0], split.labels[:count], draw)
            parts |= {f"x_{part}": images, f"y_{part}": labels.astype(np.int64)}
        folder.mkdir(parents=True, exist_ok=True)
        np.savez(path, **parts)
    return data.load(path)


def trained(name: str, source: data.Splits) -> Any:
    """A specimen, trained for a few epochs, so that its probabilities are not those of random weights."""
    keras = import_keras()
    keras.utils.set_random_seed(1)
    specimen = ZOO[name]
    classes = CLASSES.get(specimen.data, 10)
    image = keras.Input(source.image_shape)
    model = keras.Model(image, specimen.build(keras.layers, image, classes))
    if len(model.outputs) > 1:
        return model
    scale = 1 if "Rescaling" in name else 255
    loss: Any = "binary_crossentropy"
    if "sigmoid" not in name:
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=name == "logits")
    targets = source.train.labels
    if name == "ten sigmoids":
        targets = np.eye(classes)[targets]
    model.compile(keras.optimizers.Adam(3e-3), loss)
    model.fit(source.train.images / np.float32(scale), targets, batch_size=64, epochs=EPOCHS, verbose=0)
    return model


@dataclass(frozen=True)
class Row:
    """Comparison of one specimen in one format with Keras, and of the plain converter's file with Keras.

    The plain file is the output of the converter without this package's edits. ``refusal`` is cause and remedy if there
    is no file. Distances are mean absolute differences of probabilities, ``ece`` are calibration errors, both on the
    test images of the specimen's data.
    """

    name: str
    format: str
    refusal: str = ""
    rule: str = ""
    accuracy: float = 0.0
    classes: int = 10
    distance: float = 0.0
    plain_distance: float = 0.0
    ece_keras: float = 0.0
    ece: float = 0.0
    ece_plain: float = 0.0

    @property
    def sound(self) -> bool:
        """Whether the file is as close to Keras as the plain converter's file, or the refusal is an expected one."""
        if self.refusal:
            expected = ZOO[self.name].refused or EXPECTED_REFUSALS.get(
                (self.name, "tflite" if self.format == "c" else self.format)
            )
            kernels = NO_INTEGER_KERNEL if self.format == "c" else ()
            return any(part and part in self.refusal for part in (expected, *kernels))
        near = self.distance <= 1.05 * self.plain_distance + 2e-3 / self.classes
        calibrated = abs(self.ece - self.ece_keras) <= abs(self.ece_plain - self.ece_keras) + 0.005
        return near and calibrated


def examine(name: str, formats: tuple[str, ...], folder: Path) -> list[Row]:
    """Train a specimen, export it, and compare each file with Keras.

    Args:
        name: a key of `ZOO`.
        formats: formats to export.
        folder: where data sets and workspaces are made.
    """
    source = splits(ZOO[name].data, folder)
    path = folder / f"{name.replace(' ', '_').replace(',', '')}.keras"
    trained(name, source).save(path)
    rows = []
    for format_ in formats:
        options = ExportOptions(model=str(path), workspace=folder / "workspace", formats=(format_,), data=source)
        try:
            result = export(options)
            if result.failures:
                raise result.failures[0].error
            (made,) = (item for item in result.artifacts if item.quantization == "int8")
            rows.append(_row(name, format_, Path(made.path), made.parity[0].rule, source))
        except MnistEdgeError as error:
            rows.append(Row(name, format_, refusal=f"{error.cause} {error.remedy}".replace(f"{folder}/", "")))
    return rows


def _row(name: str, format_: str, path: Path, rule: str, source: data.Splits) -> Row:
    images, labels = source.test.images, source.test.labels
    model = models.load(path.parent / KERAS_NAME)
    session = open_session(path)
    expected = FloatAnswers.from_bytes((path.parent / REFERENCE_NAME).read_bytes()).probabilities
    found = session.predict(images)
    plain = _plain(model, format_, session.contract, source)
    return Row(
        name, format_, rule=rule, accuracy=float((found.argmax(axis=1) == labels).mean()), classes=found.shape[1],
        distance=float(np.abs(found - expected).mean()), plain_distance=float(np.abs(plain - expected).mean()),
        ece_keras=calibration_error(expected, labels), ece=calibration_error(found, labels),
        ece_plain=calibration_error(plain, labels),
    )  # fmt: skip


def _plain(model: Any, format_: str, contract: Contract, source: data.Splits) -> NDArray[np.float32]:
    """Probabilities of the file that the converter makes without this package's edits."""
    images = source.test.images
    with tempfile.TemporaryDirectory() as scratch:
        request = conversion.ConversionRequest("int8", source.calibration.images, contract, Path(scratch) / "log")
        with quiet():
            made = (onnx if format_ == "onnx" else tflite).unedited(model, request)
    if format_ != "onnx":
        # Generated C promises the results of the reference kernels, from which those of XNNPACK differ.
        exact = format_ == "c" and model.outputs[0].shape[-1] <= interpreter.REFERENCE_SOFTMAX_CLASSES
        program = (litert_reference if exact else litert).load(made, 1)
        lookup = pixel_lookup(program.input, contract.pixel_scale)
        inputs = images if lookup is None else lookup[images]
        answers = np.concatenate([program.run(image.reshape(1, *program.input.shape)) for image in inputs])
        assert program.output.scale is not None
        real = dequantize(answers, program.output.scale, program.output.zero_point)
    else:
        shape = tuple(model.inputs[0].shape)[1:]
        inputs = (images * np.float32(contract.pixel_scale)).reshape(-1, *shape)
        real = np.concatenate([onnx.answers_of(made, inputs[at : at + 100]) for at in range(0, len(inputs), 100)])
    if contract.output == "sigmoid":
        return np.concatenate([1 - real, real], axis=1)
    return softmax(real) if contract.output == "logits" else real
