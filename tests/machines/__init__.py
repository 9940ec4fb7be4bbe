"""Machines that tests start: a Docker daemon, a VM."""
