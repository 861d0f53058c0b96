"""A microcontroller at a serial line that runs a net for this machine: the harness in ``mnist_edge/firmware``."""
