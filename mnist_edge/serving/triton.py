"""Triton's extensions of the protocol that its clients ask for: configuration, repository index, statistics.

Written from Triton's public description of them.
"""

from __future__ import annotations

from typing import Any

from mnist_edge.serving.metrics import Metrics
from mnist_edge.serving.models import Loaded, Models
from mnist_edge.serving.v2 import IMAGE, OUTPUT, PICTURE

# Members of ``inference_stats`` that clients expect, for stages that are not measured here.
_NOT_MEASURED = ("queue", "compute_input", "compute_output", "cache_hit", "cache_miss")


def config(loaded: Loaded) -> dict[str, Any]:
    """The configuration of a model."""
    return {
        "name": loaded.name,
        "platform": f"mnist-edge_{loaded.engine}",
        "max_batch_size": loaded.grid.images,
        "input": [
            {"name": IMAGE, "data_type": "TYPE_UINT8", "dims": [loaded.grid.height, loaded.grid.width, 1]},
            {"name": PICTURE, "data_type": "TYPE_STRING", "dims": [1]},
        ],
        "output": [{"name": OUTPUT, "data_type": "TYPE_FP32", "dims": [loaded.classes]}],
    }


def repository_index(models: Models) -> list[dict[str, str]]:
    """The models, their versions and states; a reason if the newest file of one was not accepted."""
    return [
        {
            "name": loaded.name,
            "version": str(loaded.version),
            "state": "READY",
            "reason": models.problems.get(loaded.name, ""),
        }
        for loaded in models.all()
    ]


def statistics(models: list[Loaded], metrics: Metrics) -> dict[str, Any]:
    """What this server process has done since it started; times are in nanoseconds."""
    found = []
    for loaded in models:
        counted = metrics.statistics[loaded.name]
        found.append(
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
    return {"model_stats": found}
