"""Private keys and host keys: what is refused, in which words, and one pair for each workspace."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import asyncssh
import pytest
from tests.support.connections import Kept

from stepwell.compute import portal
from stepwell.compute.ssh import hostkeys, keys
from stepwell.errors import ComputeTargetException, UserErrorException
from stepwell.workspace import Workspace
from stepwell.workspace.connections import EnvironmentConnections, set_connection_source


def generate(path: Path, *options: str, passphrase: str = "") -> Path:
    subprocess.run(["ssh-keygen", "-q", *options, "-N", passphrase, "-f", str(path)], check=True)
    return path


@pytest.fixture
def kept() -> Any:
    store = Kept()
    set_connection_source(store)
    yield store
    set_connection_source(None)


# -- private keys ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("options", [("-t", "ed25519"), ("-t", "rsa", "-m", "PEM"), ("-t", "ecdsa", "-m", "PKCS8")])
@pytest.mark.parametrize("passphrase", ["", "open sesame ü"])
def test_a_key_of_ssh_keygen_is_read(tmp_path: Path, options: tuple[str, ...], passphrase: str) -> None:
    path = generate(tmp_path / "key", *options, passphrase=passphrase)
    public = keys.public_line(keys.read_file(path), passphrase)
    assert public.split()[:2] == (tmp_path / "key.pub").read_text().split()[:2]


@pytest.mark.parametrize("mangle", [str.strip, lambda t: t.replace("\n", "\r\n"), lambda t: t.replace("\n", "\\n")])
def test_a_key_that_went_through_a_form_is_read(tmp_path: Path, mangle: Any) -> None:
    text = mangle(generate(tmp_path / "key", "-t", "ed25519").read_text())
    assert keys.public_line(text).startswith("ssh-ed25519 ")


@pytest.mark.parametrize("options", [("-t", "ed25519"), ("-t", "rsa", "-m", "PEM")])
def test_an_encrypted_key_needs_its_own_passphrase(tmp_path: Path, options: tuple[str, ...]) -> None:
    text = generate(tmp_path / "key", *options, passphrase="right one").read_text()
    with pytest.raises(keys.KeyRefused, match="The private key k is encrypted, and no passphrase was given"):
        keys.load(text, None, "the private key k")
    with pytest.raises(keys.KeyRefused, match="The passphrase of the private key k is wrong"):
        keys.load(text, "wrong one", "the private key k")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("hello", "is not a private key"),
        ("", "is not a private key"),
        ("-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXktdjEAAAAA", "is not a private key that can be read"),
        ("-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----", "is a certificate"),
        ("PuTTY-User-Key-File-3: ssh-ed25519", "puttygen"),
        ("ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIIqD", "is a public key"),
    ],
)
def test_what_is_no_private_key_is_told(text: str, message: str) -> None:
    with pytest.raises(keys.KeyRefused, match=message) as caught:
        keys.load(text)
    assert isinstance(caught.value, ComputeTargetException)
    assert "AAAAC3" not in str(caught.value)


def test_a_key_that_others_can_read_is_refused(tmp_path: Path) -> None:
    path = generate(tmp_path / "key", "-t", "ed25519")
    path.chmod(0o644)
    with pytest.raises(keys.KeyRefused, match=r"can be read by others \(its mode is 0644\).*chmod 600"):
        keys.read_file(path)
    path.chmod(0o400)
    assert keys.read_file(path).startswith("-----BEGIN")


def test_files_that_are_no_keys_are_refused(tmp_path: Path) -> None:
    with pytest.raises(keys.KeyRefused, match="There is no private key"):
        keys.read_file(tmp_path / "none.pem")
    with pytest.raises(keys.KeyRefused, match="cannot be read: Is a directory"):
        keys.read_file(tmp_path)
    for name, data, message in (("binary", b"\xff\xfe\0", "not text"), ("large", b"x" * 70_000, "too large")):
        (tmp_path / name).write_bytes(data)
        (tmp_path / name).chmod(0o600)
        with pytest.raises(keys.KeyRefused, match=message):
            keys.read_file(tmp_path / name)


def test_a_workspace_has_one_pair_that_its_connection_keeps(tmp_path: Path, kept: Kept) -> None:
    ws = Workspace("lab", root=tmp_path / "lab")
    made = keys.pair(ws)
    assert made.public.startswith("ssh-ed25519 ")
    assert made.public.endswith(" stepwell-lab")
    assert "PRIVATE" not in repr(made)
    assert keys.pair(Workspace("lab", root=tmp_path / "lab")).public == made.public
    assert kept.all["stepwell_key_lab"].extra["private_key"] == made.private
    with pytest.raises(ComputeTargetException, match="another workspace of the same name"):
        keys.pair(Workspace("lab", root=tmp_path / "other"))


def test_without_a_store_there_is_no_pair(tmp_path: Path) -> None:
    set_connection_source(EnvironmentConnections())
    try:
        with pytest.raises(ComputeTargetException, match="nowhere to keep the key pair of the workspace 'lab'"):
            keys.pair(Workspace("lab", root=tmp_path))
    finally:
        set_connection_source(None)


# -- host keys ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def host_key(tmp_path: Path) -> str:
    return " ".join((generate(tmp_path / "host", "-t", "ed25519").with_suffix(".pub")).read_text().split()[:2])


def test_a_fingerprint_is_that_of_ssh_keygen(tmp_path: Path, host_key: str) -> None:
    said = subprocess.run(["ssh-keygen", "-lf", str(tmp_path / "host.pub")], check=True, capture_output=True, text=True)
    assert hostkeys.fingerprint(host_key) == said.stdout.split()[1]
    assert hostkeys.is_fingerprint(said.stdout.split()[1])
    assert not hostkeys.is_fingerprint(host_key)


def test_a_host_key_is_read_in_each_form(host_key: str) -> None:
    forms = (host_key, f"gpu.example.org,10.0.0.1 {host_key}", f"# a comment\n\n{host_key} root@gpu\n{host_key}")
    assert {hostkeys.parse(form) for form in forms} == {(host_key,)}


@pytest.mark.parametrize("text", ["", "hello", "ssh-ed25519", "ssh-ed25519 AAAA", "ssh-rsa !!!", "SHA256:abc", "a b c"])
def test_what_is_no_host_key_is_refused(text: str) -> None:
    with pytest.raises(UserErrorException, match="host key|cut off"):
        hostkeys.parse(text)


def test_a_key_that_says_another_type_is_refused(host_key: str) -> None:
    with pytest.raises(UserErrorException, match="cut off or damaged"):
        hostkeys.parse(host_key.replace("ssh-ed25519", "ssh-rsa"))


@pytest.mark.parametrize("hashed", [False, True])
def test_known_hosts_says_the_key(tmp_path: Path, host_key: str, hashed: bool) -> None:
    path = tmp_path / "known_hosts"
    path.write_text(f"gpu.example.org {host_key}\n[gpu.example.org]:2222 {host_key} comment\n")
    if hashed:
        subprocess.run(["ssh-keygen", "-q", "-H", "-f", str(path)], check=True, stderr=subprocess.DEVNULL)
        assert "gpu.example.org" not in path.read_text()
    assert hostkeys.known(path, "gpu.example.org") == (host_key,)
    assert hostkeys.known(path, "gpu.example.org", 2222) == (host_key,)
    with pytest.raises(UserErrorException, match="has no key of cpu.example.org"):
        hostkeys.known(path, "cpu.example.org")
    path.write_text(f"@revoked gpu.example.org {host_key}\ngpu.example.org {host_key}\n")
    with pytest.raises(UserErrorException, match="has no key of gpu.example.org"):
        hostkeys.known(path, "gpu.example.org")
    with pytest.raises(UserErrorException, match="cannot be read"):
        hostkeys.known(tmp_path / "none", "gpu.example.org")


def test_a_host_is_asked_for_its_keys() -> None:
    async def look() -> tuple[list[str], tuple[str, ...]]:
        made = [asyncssh.generate_private_key(kind) for kind in ("ssh-ed25519", "ssh-rsa")]
        server = await asyncssh.listen("127.0.0.1", 0, server_host_keys=made)
        async with server:
            found = await hostkeys.scan("127.0.0.1", server.get_port())
        return [key.get_fingerprint() for key in made], found

    fingerprints, found = portal.call(look(), 60)
    assert [hostkeys.fingerprint(key) for key in found] == fingerprints
    assert hostkeys.matching(found, [fingerprints[1] + "="]) == found[1:]


def test_a_host_that_does_not_answer_is_told() -> None:
    import socket

    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        port = silent.getsockname()[1]
        with pytest.raises(ComputeTargetException, match=rf"127.0.0.1:{port} shows no host key: .*[Rr]efused"):
            portal.call(hostkeys.scan("127.0.0.1", port), 60)
        silent.listen()
        with pytest.raises(ComputeTargetException, match="it did not answer within 1 s"):
            portal.call(hostkeys.scan("127.0.0.1", port, seconds=0.6), 60)


def test_a_changed_key_is_told_with_both_fingerprints(tmp_path: Path, host_key: str) -> None:
    other = " ".join(generate(tmp_path / "other", "-t", "ed25519").with_suffix(".pub").read_text().split()[:2])
    error = hostkeys.changed("gpu.example.org:22", [host_key], [other])
    assert hostkeys.fingerprint(host_key) in str(error)
    assert hostkeys.fingerprint(other) in str(error)
    assert error.permanent
