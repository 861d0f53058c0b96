"""How long a file takes on this machine, and in what state the machine is."""
