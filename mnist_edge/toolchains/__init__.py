"""External compilers and boards, and what they say of a file or of this machine."""
