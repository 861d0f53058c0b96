"""Diagnosis of this machine: each check looks for one known cause of failure and names its remedy.

A check is a function without arguments that returns a `Finding` and raises nothing. Its texts contain no personal data,
so that they can be posted in a bug report.
"""

from mnist_edge.doctor.diagnosis import Diagnosis, diagnose
from mnist_edge.doctor.examine import examine, versions

__all__ = ["Diagnosis", "diagnose", "examine", "versions"]
