"""Machines over SSH: who and where, one shared connection, and the ports over it."""
