"""``python -m mnist_edge`` is the ``mnist-edge`` command."""

import sys

from mnist_edge.cli import main

if __name__ == "__main__":
    sys.exit(main())
