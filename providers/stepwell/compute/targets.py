"""v1's names of compute targets and linked services, in one place; importing it makes all classes known."""

from __future__ import annotations

from stepwell.compute.aml_compute import AmlCompute as AmlCompute
from stepwell.compute.aml_compute import AmlComputeStatus as AmlComputeStatus
from stepwell.compute.base import ComputeTarget as ComputeTarget
from stepwell.compute.base import LocalTarget as LocalTarget
from stepwell.compute.cluster_compute import HDInsightCompute as HDInsightCompute
from stepwell.compute.docker_compute import DockerCompute as DockerCompute
from stepwell.compute.linked_service import LinkedService as LinkedService
from stepwell.compute.linked_service import (
    SynapseWorkspaceLinkedServiceConfiguration as SynapseWorkspaceLinkedServiceConfiguration,
)
from stepwell.compute.livy_compute import LivyCompute as LivyCompute
from stepwell.compute.remote_compute import DsvmCompute as DsvmCompute
from stepwell.compute.remote_compute import RemoteCompute as RemoteCompute
from stepwell.compute.remote_compute import RemoteDockerCompute as RemoteDockerCompute
from stepwell.compute.spark_compute import SparkCompute as SparkCompute
from stepwell.compute.spark_compute import SynapseCompute as SynapseCompute
