"""`free_batch`: a TFLite file takes any number of images if this changes no answer; otherwise it is not changed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from mnist_edge.conversion.tflite_edit import free_batch
from mnist_edge.formats import tflite
from mnist_edge.models.backend import import_tensorflow

pytestmark = pytest.mark.slow
REVERSE = 105
SHAPE = (1, 4, 4, 1)
WEIGHTS = np.random.default_rng(0).normal(size=(16, 3)).astype(np.float32)


def ordinary(tf: Any, image: Any) -> Any:
    return tf.matmul(tf.reshape(tf.nn.relu(image), (1, 16)), tf.constant(WEIGHTS))


def rows_in_the_batch(tf: Any, image: Any) -> Any:
    """A Reshape makes the rows of the image the first dimension, which should be the batch."""
    return tf.reshape(tf.matmul(tf.reshape(image, (4, 4)), tf.constant(WEIGHTS[:4])), (1, 12))


def pooled(tf: Any, image: Any) -> Any:
    sums = tf.nn.conv2d(image, tf.constant(WEIGHTS.reshape(4, 4, 1, 3)), 1, "SAME")
    return tf.reduce_mean(tf.nn.relu(sums), axis=[1, 2])


def mirrored(tf: Any, image: Any) -> Any:
    """Adds the image upside down. The net needs no Reshape. `across_images` edits its file."""
    pixels = image + 0.5 * tf.reverse(image, axis=[1])
    sums = tf.nn.conv2d(pixels, tf.constant(WEIGHTS.reshape(4, 4, 1, 3)), 1, "VALID")
    return tf.reduce_mean(sums, axis=[1, 2])


def transposed(tf: Any, image: Any) -> Any:
    """A transposed convolution: a constant of the file holds its output's shape, batch included."""
    kernel = tf.constant(WEIGHTS[:9].reshape(3, 3, 3, 1))
    wide = tf.nn.conv2d_transpose(image, kernel, (1, 8, 8, 3), 2, "SAME")
    return tf.reduce_mean(wide, axis=[1, 2])


def converted(net: Callable[[Any, Any], Any], int8: bool) -> bytes:
    tf = import_tensorflow()
    function = tf.function(lambda image: net(tf, image), input_signature=[tf.TensorSpec(SHAPE, tf.float32)])
    converter = tf.lite.TFLiteConverter.from_concrete_functions([function.get_concrete_function()], tf.Module())
    if int8:
        draw = np.random.default_rng(1)
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.representative_dataset = lambda: ([draw.random(SHAPE, np.float32)] for _ in range(20))
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        converter.inference_input_type, converter.inference_output_type = tf.uint8, tf.int8
    return bytes(converter.convert())


def across_images(content: bytes) -> bytes:
    """The file of `mirrored`, edited to reverse the batch: one image does not change, but several exchange pixels."""
    from tensorflow.lite.tools import flatbuffer_utils

    model = flatbuffer_utils.read_model_from_bytearray(bytearray(content))
    graph = model.subgraphs[0]
    codes = [max(code.builtinCode, code.deprecatedBuiltinCode) for code in model.operatorCodes]
    (op,) = (op for op in graph.operators if codes[op.opcodeIndex] == REVERSE)
    model.buffers[graph.tensors[op.inputs[1]].buffer].data = np.zeros(4, np.uint8)
    return bytes(flatbuffer_utils.convert_object_to_bytearray(model))


def run(content: bytes, images: np.ndarray) -> np.ndarray:
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_content=content, num_threads=1)
    index = interpreter.get_input_details()[0]["index"]
    interpreter.resize_tensor_input(index, images.shape)
    interpreter.allocate_tensors()
    interpreter.set_tensor(index, images)
    interpreter.invoke()
    return np.array(interpreter.get_tensor(interpreter.get_output_details()[0]["index"]))


def some_images(int8: bool) -> np.ndarray:
    draw = np.random.default_rng(2)
    shape = (5, *SHAPE[1:])
    return draw.integers(0, 256, shape, np.uint8) if int8 else draw.random(shape, np.float32)


@pytest.mark.parametrize("int8", [False, True], ids=["float32", "int8"])
@pytest.mark.parametrize("net", [ordinary, pooled])
def test_a_file_with_a_free_batch_gives_the_answers_of_the_original_to_each_image(net: Any, int8: bool) -> None:
    plain = converted(net, int8)
    freed = free_batch(plain)
    assert tflite.read(plain).inputs[0].shape == SHAPE
    file = tflite.read(freed)
    assert (file.inputs[0].shape[0], file.outputs[0].shape[0]) == (-1, -1)
    images = some_images(int8)
    one_by_one = np.concatenate([run(plain, image[np.newaxis]) for image in images])
    assert len(np.unique(one_by_one, axis=0)) == len(images)
    assert np.allclose(run(freed, images), one_by_one, atol=1e-5)


@pytest.mark.parametrize("int8", [False, True], ids=["float32", "int8"])
def test_a_file_whose_reshape_fixes_the_batch_is_not_changed(int8: bool) -> None:
    plain = converted(rows_in_the_batch, int8)
    assert free_batch(plain) == plain


@pytest.mark.parametrize("int8", [False, True], ids=["float32", "int8"])
def test_a_file_that_would_mix_images_without_an_error_is_not_changed(int8: bool) -> None:
    plain = across_images(converted(mirrored, int8))
    images = some_images(int8)
    mixed, one_by_one = run(plain, images), np.concatenate([run(plain, image[np.newaxis]) for image in images])
    assert mixed.shape == one_by_one.shape
    assert not np.allclose(mixed, one_by_one, atol=1e-5)
    assert free_batch(plain) == plain


@pytest.mark.parametrize("int8", [False, True], ids=["float32", "int8"])
def test_a_file_with_a_transposed_convolution_is_not_changed(int8: bool) -> None:
    """With a free batch LiteRT's delegate is right, but tflite-runtime reads outside of its buffers."""
    plain = converted(transposed, int8)
    assert "TRANSPOSE_CONV" in [op.kind for op in tflite.read(plain).ops]
    assert free_batch(plain) == plain
