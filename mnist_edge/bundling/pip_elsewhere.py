"""Run pip with the environment markers of another machine: ``python -m mnist_edge.bundling.pip_elsewhere JSON``.

``pip --platform`` and ``--python-version`` choose wheels by their tags, but evaluate environment markers for the Python
that runs pip, so that for an Arm board the requirements of an x86-64 machine would be downloaded. pip has no option for
markers and no public interface to them, so this module replaces a private function of pip.
"""

from __future__ import annotations

import json
import sys


def main() -> int:
    """Run pip with the ``arguments`` and the environment ``markers`` of the JSON object in the first argument."""
    from pip._internal.cli.main import main as pip
    from pip._vendor.packaging import markers

    request = json.loads(sys.argv[1])
    own_markers = dict(markers.default_environment())
    markers.default_environment = lambda: {**own_markers, **request["markers"]}
    return int(pip(request["arguments"]))


if __name__ == "__main__":
    sys.exit(main())
