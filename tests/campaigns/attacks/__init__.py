"""Attacks on a service on loopback. Each attack is a function that makes one bounded attempt; the rest measures."""
