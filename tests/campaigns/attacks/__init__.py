"""Attacks on a service that runs on this machine: every function here makes one bounded attempt on loopback."""
