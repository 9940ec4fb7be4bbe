from __future__ import annotations

from tests.clusters.hdfs import hdfs as hdfs
