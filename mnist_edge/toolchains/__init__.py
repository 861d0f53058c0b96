"""External compilers and boards: what they make of generated C, and what the system says of this machine."""
