"""What is wrong with this machine, and what helps: every engine is asked, and all that has gone wrong elsewhere.

A check is a function that returns a `Finding`; it raises nothing, and says nothing that a bug report should not hold.
"""

from mnist_edge.doctor.diagnosis import Diagnosis, diagnose
from mnist_edge.doctor.examine import examine, versions

__all__ = ["Diagnosis", "diagnose", "examine", "versions"]
