"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mnist_edge.store.workspace import DEFAULT_WORKSPACE

# Help texts for the argument that names a model; all commands use the same ones.
MODEL_WORDS = "a name (cnn), a model's folder, a file or a workspace"
MODELS_WORDS = "names (cnn), models' folders, files or workspaces"
Models = Annotated[
    list[str] | None, typer.Argument(metavar="[MODEL]...", help=f"Models: {MODELS_WORDS}. Default: the workspace.")
]
OneModel = Annotated[str, typer.Option("--model", help=f"The model: {MODEL_WORDS}.")]
Trainable = Annotated[
    str,
    typer.Option("--model", help=f"What to train: {MODEL_WORDS}. A .keras file in any of them is trained further."),
]
OnlyModel = Annotated[str | None, typer.Option("--model", help="Only the model of this name.")]
Workspace = Annotated[
    Path, typer.Option("--output-dir", "-o", help="The workspace: the folder that holds models' folders.")
]
Data = Annotated[
    Path | None,
    typer.Option(
        "--data",
        help="A folder of pictures or of IDX files, an .npz file, or a name: fashion-mnist, kmnist, cifar10. Default: "
        "MNIST_EDGE_DATA, or MNIST, fetched once.",
    ),
]
Engine = Annotated[
    str, typer.Option("--engine", help="The engine: auto, litert, tflite-runtime, onnxruntime or wasmtime.")
]
Threads = Annotated[int, typer.Option("--threads", min=1, max=256, help="Threads that the engine may use.")]
Recipe = Annotated[str, typer.Option("--recipe", help="How the model is trained: quick, best or tutorial.")]
Epochs = Annotated[int | None, typer.Option("--epochs", help="Passes over the training images. Default: the recipe's.")]
BatchSize = Annotated[int | None, typer.Option("--batch-size", help="Images per step. Default: the recipe's.")]
Optimizer = Annotated[
    str | None, typer.Option("--optimizer", help="sgd, adam, adamw, nadam or rmsprop. Default: the recipe's.")
]
LearningRate = Annotated[
    float | None, typer.Option("--learning-rate", help="Step size of the optimizer. Default: the recipe's.")
]
AugmentationStrength = Annotated[
    float | None, typer.Option("--augmentation", help="Factor for the recipe's augmentation; 0 for none.")
]
Seed = Annotated[int, typer.Option("--seed", min=0, help="Seed of the training.")]
Shipped = Annotated[
    bool, typer.Option("--shipped", help="Take the models in this package that an engine installed here runs.")
]
Trust = Annotated[bool, typer.Option("--trust", help="Accept a file that differs from its manifest.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print exactly one JSON object on stdout.")]
Debug = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")]
MaxDrop = Annotated[float, typer.Option("--max-drop-pp", help="Accuracy that may be lost, in percentage points.")]
MinAgreement = Annotated[
    float | None,
    typer.Option(
        "--min-agreement",
        min=0,
        max=1,
        help="Share of answers that must be the same or corrected: a hard bound. Default: 0.995, or less if the "
        "float model's margins are so small that quantization changes more.",
    ),
]
MaxClassDrop = Annotated[
    float,
    typer.Option(
        "--max-class-drop-pp",
        help="Recall that a class may lose, in percentage points, in addition to what chance and the float model's "
        "margins explain: not a hard bound.",
    ),
]
MaxBrierIncrease = Annotated[
    float, typer.Option("--max-brier-increase", help="Largest rise of the Brier score of the probabilities.")
]
MaxProbabilityDistance = Annotated[
    float,
    typer.Option(
        "--max-probability-distance",
        help="Largest distance from the float probabilities, as a share of their uncertainty.",
    ),
]


def of_workspace(workspace: Path) -> list[str]:
    """The ``-o`` arguments of a suggested command; empty for the default workspace."""
    return [] if workspace == DEFAULT_WORKSPACE else ["-o", str(workspace)]


def of_data(data: Path | None) -> list[str]:
    """The ``--data`` arguments of a suggested command; empty if the user named no data."""
    return [] if data is None else ["--data", str(data)]


Token = Annotated[
    str | None,
    typer.Option(
        "--token",
        envvar="MNIST_EDGE_TOKEN",
        help="Token that clients must send. Default: a new one if other machines can connect.",
    ),
]
