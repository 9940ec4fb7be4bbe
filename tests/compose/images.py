"""The official images that docker-compose.yaml and its Dockerfiles name: pulled, or made here from Debian's packages.

What is made here has this machine's certificates and package sources: for tests, never to be handed on.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from tests.machines.docker import DockerDaemon

DEBIAN = "debian:bookworm-slim"
STANDINS = {"postgres:17-bookworm": "postgres", "redis:7-bookworm": "redis"}
#: Settings of this machine that a build needs to fetch packages.
SETTINGS = ("etc/pip.conf", "etc/uv/uv.toml", "root/.m2/settings.xml")
CERTIFICATES = "usr/local/share/ca-certificates"
_DOCKER_CLEAN = 'DPkg::Post-Invoke { "rm -f /var/cache/apt/archives/*.deb || true"; };\n'


class NoImageError(Exception):
    """An image can neither be pulled nor be made; the message says why."""


def bring(daemon: DockerDaemon) -> None:
    """See that the daemon has all of them.

    :raises NoImageError: one can neither be pulled nor be made.
    """
    if not _there(daemon, DEBIAN):
        make_debian(daemon)
    for tag, folder in STANDINS.items():
        if not _there(daemon, tag):
            source = str(Path(__file__).with_name("standins") / folder)
            done = subprocess.run(
                daemon.command("build", "--quiet", "--tag", tag, source),
                env={**os.environ, "DOCKER_BUILDKIT": "0"},
                capture_output=True,
                text=True,
                check=False,
            )
            if done.returncode:
                raise NoImageError(f"the stand-in of {tag} cannot be built: {(done.stdout + done.stderr)[-1500:]}")


def _there(daemon: DockerDaemon, tag: str) -> bool:
    """Whether the daemon has the image, or can pull it."""
    for words in (["image", "inspect", tag], ["pull", "--quiet", tag]):
        if subprocess.run(daemon.command(*words), capture_output=True, check=False, timeout=300).returncode == 0:
            return True
    return False


def make_debian(daemon: DockerDaemon) -> None:
    """Make Debian's slim image, as the official one is made: by debootstrap."""
    program = shutil.which("debootstrap", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
    if program is None:
        raise NoImageError(f"{DEBIAN} cannot be pulled, and there is no debootstrap to make it")
    root = daemon.folder / "debian"
    words = [program, "--variant=minbase", "--include=ca-certificates", "bookworm", str(root), *_mirror()]
    try:
        done = subprocess.run(["nice", *words], capture_output=True, text=True, check=False)
        if done.returncode:
            raise NoImageError(f"debootstrap failed: {(done.stdout + done.stderr)[-1500:]}")
        _slim(root)
        with subprocess.Popen(["tar", "-C", str(root), "-c", "."], stdout=subprocess.PIPE) as tar:
            subprocess.run(
                daemon.command("import", "--change", 'CMD ["bash"]', "-", DEBIAN),
                stdin=tar.stdout, check=True, capture_output=True,
            )  # fmt: skip
    finally:
        shutil.rmtree(root, ignore_errors=True)


def _mirror() -> list[str]:
    """Return where this machine gets Debian from, if it says so in the form of today."""
    sources = Path("/etc/apt/sources.list.d/debian.sources")
    lines = sources.read_text().splitlines() if sources.exists() else []
    return [line.split()[1] for line in lines if line.startswith("URIs:") and len(line.split()) > 1][:1]


def _slim(root: Path) -> None:
    for folder in ("usr/share/doc", "usr/share/man", "usr/share/locale", "var/cache/apt/archives", "var/lib/apt/lists"):
        shutil.rmtree(root / folder, ignore_errors=True)
        (root / folder).mkdir(parents=True)
    (root / "etc/apt/apt.conf.d/docker-clean").write_text(_DOCKER_CLEAN)
    for name in SETTINGS:
        if Path("/", name).exists():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(Path("/", name), root / name)
    if Path("/", CERTIFICATES).exists():
        shutil.copytree(Path("/", CERTIFICATES), root / CERTIFICATES, dirs_exist_ok=True)
        subprocess.run(["chroot", str(root), "update-ca-certificates"], check=True, capture_output=True)
