"""Triton's protocol extensions that its clients use: model configuration, repository index and statistics.

Written from Triton's public description of them.
"""

from __future__ import annotations

from typing import Any

from mnist_edge.serving.metrics import Metrics
from mnist_edge.serving.models import LoadedModel, Models
from mnist_edge.serving.v2 import IMAGE, OUTPUT, PICTURE

# Members of ``inference_stats`` that clients expect; these stages are not measured here, so that all are 0.
_NOT_MEASURED = ("queue", "compute_input", "compute_output", "cache_hit", "cache_miss")


def config(loaded: LoadedModel) -> dict[str, Any]:
    """The configuration of a model."""
    grid = loaded.grid
    return {
        "name": loaded.name,
        "platform": f"mnist-edge_{loaded.engine}",
        "max_batch_size": grid.images,
        "input": [
            {"name": IMAGE, "data_type": "TYPE_UINT8", "dims": [grid.height, grid.width, grid.channels]},
            {"name": PICTURE, "data_type": "TYPE_STRING", "dims": [1]},
        ],
        "output": [{"name": OUTPUT, "data_type": "TYPE_FP32", "dims": [loaded.classes]}],
    }


def repository_index(models: Models) -> list[dict[str, str]]:
    """The models with their versions and states; ``reason`` says why a model's newest file was not accepted."""
    return [
        {
            "name": loaded.name,
            "version": str(loaded.version),
            "state": "READY",
            "reason": models.problems.get(loaded.name, ""),
        }
        for loaded in models.all()
    ]


def statistics(models: list[LoadedModel], metrics: Metrics) -> dict[str, Any]:
    """Statistics of this server process since its start; times are in nanoseconds."""
    rows = []
    for loaded in models:
        counted = metrics.statistics[loaded.name]
        rows.append(
            {
                "name": loaded.name,
                "version": str(loaded.version),
                "last_inference": counted.last_success_ms,
                "inference_count": counted.images,
                "execution_count": counted.batches,
                "inference_stats": {
                    "success": {"count": counted.successes, "ns": counted.success_ns},
                    "fail": {"count": counted.failures, "ns": counted.failure_ns},
                    "compute_infer": {"count": counted.batches, "ns": counted.engine_ns},
                    **{name: {"count": 0, "ns": 0} for name in _NOT_MEASURED},
                },
                "batch_stats": [],
            }
        )
    return {"model_stats": rows}
