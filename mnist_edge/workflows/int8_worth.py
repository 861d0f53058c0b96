"""Whether int8 is worth it on this machine: a model's fastest int8 file against its fastest float export."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from mnist_edge.errors import RefusedError
from mnist_edge.measure.latency import op_samples
from mnist_edge.parity.stored import stored_verdict
from mnist_edge.results import Int8Worth, Latency, OpTime
from mnist_edge.results.precision import Precision
from mnist_edge.runtime import Session, open_session
from mnist_edge.runtime.engines import ENGINES
from mnist_edge.store.manifest import Manifest


def int8_worth(reports: Sequence[Latency]) -> tuple[Int8Worth, ...]:
    """Compare int8 with float for every model whose files of both precisions were measured.

    The comparison is that of one image on one thread if these were measured, else of the first configuration.

    Args:
        reports: of one run.
    """
    found = []
    for folder in dict.fromkeys(Path(item.path).parent for item in reports):
        files = Manifest.load(folder).files
        of_model = [item for item in reports if Path(item.path).parent == folder]
        configurations = dict.fromkeys((item.threads, item.batch) for item in of_model)
        chosen = (1, 1) if (1, 1) in configurations else next(iter(configurations))
        fastest = {
            precision: min(
                (
                    item
                    for item in of_model
                    if (item.threads, item.batch) == chosen
                    and files.get(Path(item.path).name, {}).get("quantization") == precision
                ),
                key=lambda item: item.p50_us,
                default=None,
            )
            for precision in (Precision.INT8, Precision.FLOAT32)
        }
        int8, float32 = fastest[Precision.INT8], fastest[Precision.FLOAT32]
        if int8 is not None and float32 is not None:
            found.append(_compared(folder, int8, float32))
    return tuple(found)


def _compared(folder: Path, int8: Latency, float32: Latency) -> Int8Worth:
    speed, stored = float32.p50_us / int8.p50_us, _stored_bytes(int8)
    size = None if stored is None else stored / float32.size_bytes
    change = _accuracy_change_pp(int8)
    accuracy = "accuracy not verified" if change is None else f"accuracy {change:+.2f} pp"
    how = f"{speed:.1f} x as fast as" if speed >= 1 else f"{1 / speed:.1f} x as slow as"
    share = "" if size is None else f"{size:.0%} of its size, "
    sentence = f"{folder.name}: int8 is {how} float here, {share}{accuracy}."
    made = Int8Worth(
        int8.path, float32.path, int8.engine, float32.engine, int8.threads, int8.batch, int8.p50_us, float32.p50_us,
        speed, size, change, sentence,
    )  # fmt: skip
    return made if speed >= 1 else _explained(made, int8)


def _stored_bytes(int8: Latency) -> int | None:
    """The size of an int8 file; of C, whose text is no measure, that of the TFLite file next to it, None without it."""
    path = Path(int8.path)
    if path.suffix not in (".c", ".so"):
        return int8.size_bytes
    tflite = path.with_suffix(".tflite")
    return tflite.stat().st_size if tflite.is_file() else None


def _accuracy_change_pp(int8: Latency) -> float | None:
    path = Path(int8.path)
    stored = stored_verdict(path, Manifest.load(path.parent).files[path.name])
    reports = stored.reports if stored is not None else ()
    chosen = next((item for item in reports if item.engine == int8.engine), next(iter(reports), None))
    return None if chosen is None else 100 * (chosen.accuracy - chosen.reference_accuracy)


def _explained(made: Int8Worth, int8: Latency) -> Int8Worth:
    """The comparison with the reason why int8 is slower: the kernels, and the times of the ops if engines tell."""
    times = [ENGINES[engine].op_times for engine in (made.engine, made.float_engine)]
    runs = f"{made.engine} ran the int8 file by: {int8.delegate}."
    if times[0] is None or times[1] is None:
        silent = made.engine if times[0] is None else made.float_engine
        return replace(made, why=f"{runs} {silent} does not tell the times of ops here.")
    try:  # the files were opened before, with the user's own choice of trust
        ops, float_ops = (
            _longest_first(open_session(Path(path), engine, made.threads, trust=True), made.threads)
            for path, engine in ((made.path, made.engine), (made.float_path, made.float_engine))
        )
    except RefusedError as error:
        return replace(made, why=f"{runs} {error.cause}")
    return replace(made, why=runs, ops=ops, float_ops=float_ops)


def _longest_first(session: Session, threads: int) -> tuple[OpTime, ...]:
    return tuple(sorted(op_samples(session, threads).times(), key=lambda item: -item.us))
