"""Kinds of datastores: one file each behind :class:`stepwell.data.stores.base.Backend`, found through :data:`KINDS`."""

from __future__ import annotations

#: kind → "module:class". A new kind is one file that passes the contract tests, and one line here.
KINDS = {
    "local": "stepwell.data.stores.local:LocalBackend",
    "hdfs": "stepwell.data.stores.hdfs:HdfsBackend",
    "machine": "stepwell.data.stores.machine:MachineBackend",
    "web": "stepwell.data.stores.web:WebBackend",
}
