"""The command line. One module per command: it parses options, calls a workflow and prints the result."""

from mnist_edge.cli.app import main

__all__ = ["main"]
