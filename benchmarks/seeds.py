"""Accuracy of a recipe over several seeds: each is trained, exported and evaluated once on the 10,000 test images.

    python benchmarks/seeds.py --model dense --recipe best --seeds 5 -o runs --json benchmarks/results/best-dense.json

Prints mean and standard deviation. A run that was stopped is resumed. With --only SEED, several processes can work at
once, on a core each.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from pathlib import Path

from mnist_edge import data, training
from mnist_edge.store.manifest import KERAS_NAME, Manifest
from mnist_edge.workflows.export import ExportOptions, export


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True)
    parser.add_argument("--recipe", default="best")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--only", type=int, nargs="*", help="run only these seeds")
    parser.add_argument("--time-budget", type=float, help="minutes per seed")
    parser.add_argument("-o", "--output-dir", type=Path, default=Path("runs"))
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    splits = data.load()
    rows = []
    for seed in arguments.only if arguments.only else range(arguments.seeds):
        workspace = arguments.output_dir / f"{arguments.recipe}-seed{seed}"
        config = training.configure(arguments.model, arguments.recipe, seed=seed, time_budget=arguments.time_budget)
        started = time.monotonic()
        trained = training.train(config, splits, workspace / arguments.model)
        wall = time.monotonic() - started
        options = ExportOptions(model=arguments.model, workspace=workspace, formats=("tflite",), data=splits)
        made = export(options).artifacts
        entry = Manifest.load(workspace / arguments.model).files[KERAS_NAME]
        verdicts = next(item for item in made if item.quantization == "int8").parity
        rows.append(
            {
                "seed": seed,
                "epochs": trained.epochs,
                "seconds": trained.seconds,
                "wall_seconds": round(wall, 1) if trained.fresh else None,
                "precision": entry["made_by"]["precision"],
                "float": trained.test_accuracy,
                "int8": {verdict.engine: verdict.accuracy for verdict in verdicts},
                "passed": all(verdict.passed for verdict in verdicts),
            }
        )
        print(json.dumps(rows[-1]), flush=True)
    if len(rows) < 2:
        return
    table = {"float": [row["float"] for row in rows]}
    for engine in rows[0]["int8"]:
        table[f"int8 on {engine}"] = [row["int8"][engine] for row in rows]
    for name, values in table.items():
        print(f"{name:24} {100 * statistics.fmean(values):.3f} +/- {100 * statistics.stdev(values):.3f} %")
    if arguments.json:
        facts = {"model": arguments.model, "recipe": arguments.recipe, "time_budget_minutes": arguments.time_budget}
        arguments.json.write_text(json.dumps({**facts, "runs": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
