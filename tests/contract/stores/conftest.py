from __future__ import annotations

from tests.clusters.hdfs import hdfs as hdfs
from tests.clusters.hdfs import mortal_hdfs as mortal_hdfs
