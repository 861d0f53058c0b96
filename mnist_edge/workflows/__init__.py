"""What each command does from start to end. The command line and Python programs call the same functions."""
