"""Triton's extensions of the protocol that its clients ask for: configuration, repository index, statistics.

Written from Triton's public description of them.
"""

from __future__ import annotations

from typing import Any

from mnist_edge.serving.metrics import Metrics
from mnist_edge.serving.models import Loaded, Models
from mnist_edge.serving.v2 import IMAGE, OUTPUT, PICTURE


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
        done = counted.requests - counted.failures
        found.append(
            {
                "name": loaded.name,
                "version": str(loaded.version),
                "inference_count": counted.images,
                "execution_count": counted.batches,
                "inference_stats": {
                    "success": {"count": done, "ns": counted.request_ns},
                    "fail": {"count": counted.failures, "ns": 0},
                    "compute_infer": {"count": counted.batches, "ns": counted.engine_ns},
                },
            }
        )
    return {"model_stats": found}
