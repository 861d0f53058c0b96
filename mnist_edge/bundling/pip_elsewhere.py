"""pip, made to believe that it runs on another machine: ``python -m mnist_edge.bundling.pip_elsewhere JSON``.

``pip --platform`` and ``--python-version`` choose wheels by their tags and still judge environment markers by the
Python that runs, so that the requirements of an x86-64 machine would be fetched for an Arm board. pip has no option for
it, and its markers' environment is not public: this is the one place that replaces it.
"""

from __future__ import annotations

import json
import sys


def main() -> int:
    """Run pip with ``arguments`` and with ``markers`` in place of this machine's."""
    from pip._internal.cli.main import main as pip
    from pip._vendor.packaging import markers

    asked = json.loads(sys.argv[1])
    here = dict(markers.default_environment())
    markers.default_environment = lambda: {**here, **asked["markers"]}
    return int(pip(asked["arguments"]))


if __name__ == "__main__":
    sys.exit(main())
