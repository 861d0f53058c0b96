"""External compilers and boards: the size and speed of generated C on them, and facts about this machine."""
