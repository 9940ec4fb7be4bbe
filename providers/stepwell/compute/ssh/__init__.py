"""Machines over SSH: who and where, one shared connection, and the ports over it."""

from __future__ import annotations

from stepwell.compute.ssh.address import Address
from stepwell.compute.ssh.connection import Connection, Lost, connection
from stepwell.compute.ssh.files import SshFiles
from stepwell.compute.ssh.processes import SshExec, SshRunner

__all__ = ["Address", "Connection", "Lost", "SshExec", "SshFiles", "SshRunner", "connection"]
