from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from mnist_edge.parity.statistics import wilson
from mnist_edge.parity.verdict import judge
from mnist_edge.results.verdicts import Verdicts
from mnist_edge.workflows.verdict_reports import html_page
from tests.parity.test_gate import judged, sample, softmax


def test_files_of_one_name_in_two_folders_have_their_own_accuracy_intervals() -> None:
    logits, labels = sample(500)
    report = judged(softmax(logits), softmax(logits), labels)
    reports = [replace(report, path=f"{folder}/net-int8.tflite", accuracy=accuracy, changes=None, twin=None)
               for folder, accuracy in (("a", 0.9), ("b", 0.8))]  # fmt: skip
    page = html_page(
        Verdicts(judge(reports)), np.zeros((500, 8, 8, 1), np.uint8), [Path(item.path) for item in reports]
    )
    for accuracy in (0.9, 0.8):
        low, high = wilson(round(500 * accuracy), 500)
        assert f"{accuracy:.2%} ({low:.2%} to {high:.2%})" in page.decode()
