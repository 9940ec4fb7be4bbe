"""Docker on this machine as a compute target."""

from __future__ import annotations

from typing import Any

from stepwell.compute.base import ComputeTarget, Configuration
from stepwell.compute.settings import Form, Setting

#: How containers are started; ``compute/docker/settings.py`` says what is right.
CONTAINER_SETTINGS: tuple[Setting, ...] = (
    Setting("base_image", "the image of steps whose environment names none",
            flags=("--base-image", "--base-docker-image")),
    Setting("memory", "the most that a container may use: 512m, 4g"),
    Setting("cpus", "how many processors a container gets, such as 1.5", "number"),
    Setting("gpus", "all, or how many"),
    Setting("shm_size", "the size of /dev/shm; default: 2g"),
    Setting("user", "uid or uid:gid in the container; default: those of who runs the worker"),
    Setting("network", "bridge, host, none, or the name of a network"),
    Setting("volumes", "a folder of the Docker host that each container sees: /data:/data:ro", "list",
            flags=("--volume",)),
)  # fmt: skip


class DockerCompute(ComputeTarget):
    """Docker on the worker's machine: a container per step."""

    _compute_type = "Docker"
    kind = "docker"
    form = Form(
        "Docker",
        "Docker on this machine: a container per step",
        (
            Setting("docker_host", "Docker's socket; default: DOCKER_HOST, or unix:///var/run/docker.sock"),
            *CONTAINER_SETTINGS,
        ),
    )

    @classmethod
    def attach_configuration(
        cls,
        base_image: str | None = None,
        *,
        tags: dict[str, str] | None = None,
        description: str | None = None,
        **settings: Any,
    ) -> Configuration:
        """Return what :meth:`ComputeTarget.attach` needs.

        :param base_image: of steps whose environment names no image; environments are built on it, as cached layers.
        :param settings: ``memory``, ``cpus``, ``gpus``, ``shm_size``, ``user``, ``network``, ``volumes``,
            ``docker_host``.
        :raises ComputeTargetException: a value is not right.
        """
        return cls.configuration({"base_image": base_image, **settings}, tags, description)
