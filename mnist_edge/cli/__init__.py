"""The command line: parse, call, print. One file a command; nothing else in the project prints."""

from mnist_edge.cli.app import main

__all__ = ["main"]
