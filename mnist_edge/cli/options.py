"""The options that several commands share, each written once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mnist_edge.store.workspace import DEFAULT_WORKSPACE

# Help texts for the argument that names a model; all commands use the same ones.
MODEL_WORDS = "a name (cnn), a model's folder, a file or a workspace"
MODELS_WORDS = "names (cnn), models' folders, files or workspaces"
Models = Annotated[
    list[str] | None, typer.Argument(metavar="[MODEL]...", help=f"Models: {MODELS_WORDS}. Else the workspace.")
]
OneModel = Annotated[str, typer.Option("--model", help=f"The model: {MODEL_WORDS}.")]
Trainable = Annotated[
    str,
    typer.Option("--model", help=f"What to train: {MODEL_WORDS}. A .keras file in any of them is trained further."),
]
OnlyModel = Annotated[str | None, typer.Option("--model", help="Only this model: its name.")]
Workspace = Annotated[Path, typer.Option("--output-dir", "-o", help="The workspace: one folder a model.")]
Data = Annotated[
    Path | None,
    typer.Option(
        "--data", help="A folder of IDX files, or an .npz file. Else MNIST_EDGE_DATA, else MNIST, fetched once."
    ),
]
Engine = Annotated[str, typer.Option("--engine", help="auto, litert, tflite-runtime or onnxruntime.")]
Threads = Annotated[int, typer.Option("--threads", min=1, max=256, help="Threads that the engine may use.")]
Recipe = Annotated[str, typer.Option("--recipe", help="quick, best or tutorial: how it is trained.")]
Epochs = Annotated[int | None, typer.Option("--epochs")]
BatchSize = Annotated[int | None, typer.Option("--batch-size")]
Optimizer = Annotated[str | None, typer.Option("--optimizer", help="sgd, adam, adamw, nadam or rmsprop.")]
LearningRate = Annotated[float | None, typer.Option("--learning-rate")]
AugmentationStrength = Annotated[
    float | None, typer.Option("--augmentation", help="The recipe's augmentation times this; 0 for none.")
]
Seed = Annotated[int, typer.Option("--seed", min=0)]
Shipped = Annotated[
    bool, typer.Option("--shipped", help="The models that came with this package, as far as an engine here runs them.")
]
Trust = Annotated[bool, typer.Option("--trust", help="Go on with a file that is not what its manifest says.")]
AsJson = Annotated[bool, typer.Option("--json", help="Exactly one JSON object on stdout.")]
Debug = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")]
MaxDrop = Annotated[float, typer.Option("--max-drop-pp", help="Accuracy that may be lost, in percentage points.")]
MinAgreement = Annotated[
    float | None,
    typer.Option(
        "--min-agreement",
        min=0,
        max=1,
        help="Share of answers that must be the same or corrected: a hard bound. Else 0.995, or less if the float "
        "model's margins are so small that quantization changes more.",
    ),
]
MaxClassDrop = Annotated[
    float,
    typer.Option(
        "--max-class-drop-pp",
        help="Recall that a class may lose, in percentage points, besides what chance and the float model's margins "
        "explain: no hard bound.",
    ),
]
MaxBrierIncrease = Annotated[
    float, typer.Option("--max-brier-increase", help="By how much the Brier score of the probabilities may rise.")
]
MaxProbabilityDistance = Annotated[
    float,
    typer.Option(
        "--max-probability-distance", help="Distance from the float probabilities, as a share of their uncertainty."
    ),
]


def of_workspace(workspace: Path) -> list[str]:
    """The words that name a workspace in a suggested command; none for the default one."""
    return [] if workspace == DEFAULT_WORKSPACE else ["-o", str(workspace)]


def of_verify(reference: Path | None, engine: str, trust: bool) -> list[str]:
    """Arguments that a suggested `verify` of the same file repeats: float answers, engine, trust."""
    words = [] if reference is None else ["--reference", str(reference)]
    words += [] if engine == "auto" else ["--engine", engine]
    return [*words, "--trust"] if trust else words


def of_data(data: Path | None) -> list[str]:
    """The ``--data`` arguments of a suggested command; empty if the user named no data."""
    return [] if data is None else ["--data", str(data)]
