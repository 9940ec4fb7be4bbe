from __future__ import annotations

from tests.clusters.livy import livy as livy
from tests.clusters.livy import livy_on_yarn as livy_on_yarn
from tests.clusters.synapse import synapse as synapse
from tests.clusters.yarn import yarn as yarn
