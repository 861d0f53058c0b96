"""Short attacks on the service, on loopback only, bounded in time and memory."""
