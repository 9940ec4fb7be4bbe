"""What each kind wants to be told: its form, its v1 class, its flags and its target agree."""

from __future__ import annotations

import inspect
import json
import re
from pathlib import Path
from typing import Any

import pytest

import stepwell
from stepwell.cli.computetarget import _parser
from stepwell.compute import classes, registry
from stepwell.compute.logins import Login
from stepwell.compute.settings import Form, Setting
from stepwell.errors import ComputeTargetException, UserErrorException
from stepwell.workspace.connections import ConnectionInfo

HOST_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIIqD5L241XPHm2azcGNl9AjkaAzoYpZ9GjdFvcmcSzS0"
SSH: dict[str, Any] = {"address": "10.0.0.7:2222", "username": "ml", "password": "hush-hush", "host_key": HOST_KEY}
SHARED: dict[str, Any] = {"storage": "file:///shared", "storage_is_shared": True, "conf": {"spark.ui.enabled": "false"}}
#: A target of each kind, with all settings that go together.
EXAMPLES: dict[str, dict[str, Any]] = {
    "amlcompute": {"max_nodes": 2},
    "docker": {"base_image": "python:3.11", "memory": "1g", "cpus": 1.5, "user": 1000, "volumes": ["/data:/data:ro"]},
    "remote": {**SSH, "root": "/data/stepwell", "python": "/usr/bin/python3"},
    "remotedocker": {**SSH, "root": "/data/stepwell", "base_image": "python:3.11", "shm_size": "1g", "network": "host"},
    "cluster": {**SSH, **SHARED, "queue": "ml", "deploy_mode": "cluster", "yarn": ["http://rm:8088"]},
    "livy": {"address": "https://livy.example.org/gateway", "username": "me", "password": "hush-hush", **SHARED},
    "spark": {"master": "spark://head:7077", "conf": {"spark.x": 1}, "ship_environment": False},
    "synapse": {"linked_service": "pools", "pool_name": "pool1", **SHARED},
}


def test_there_is_an_example_of_each_kind() -> None:
    assert set(EXAMPLES) == set(classes.kinds())


@pytest.mark.parametrize("kind", EXAMPLES)
def test_what_the_form_takes_the_target_understands(kind: str, tmp_path: Path) -> None:
    configuration = classes.class_of(kind).configuration(EXAMPLES[kind])
    assert "hush-hush" not in json.dumps(configuration.settings) + repr(configuration.login)
    record: dict[str, Any] = {"name": "x", "kind": kind, "configuration": configuration.settings, "report": None}
    if configuration.login is not None:
        one = configuration.login
        record["connection"] = ConnectionInfo(
            "c", one.conn_type, one.host, one.port, one.login, one.password, one.schema
        )
    if kind == "synapse":  # what the linked service adds
        record["configuration"] = {**configuration.settings, "endpoint": "https://lab.dev.azuresynapse.net"}
    target = registry.target_class(kind).from_record(record, str(tmp_path))
    assert target.name == "x"


@pytest.mark.parametrize("kind", EXAMPLES)
def test_each_setting_has_a_flag_that_gives_it_its_type(kind: str) -> None:
    form = classes.form_of(kind)
    said = {"text": "a", "integer": "3", "number": "1.5", "list": "a", "map": "a=b"}
    kinds = {"text": str, "integer": int, "number": float, "list": list, "map": list, "switch": bool}
    parser = _parser(kind, form, managed=form.managed)
    for setting in form.every:
        value = [setting.choices[0]] if setting.choices else [] if setting.type == "switch" else [said[setting.type]]
        found = getattr(parser.parse_args(["-n", "x", setting.flag, *value]), setting.name)
        assert isinstance(found, kinds[setting.type]), setting
        assert setting.help.strip(), setting


@pytest.mark.parametrize("kind", EXAMPLES)
def test_v1s_class_is_exported_and_has_v1s_call(kind: str) -> None:
    cls = classes.class_of(kind)
    assert getattr(stepwell, cls.__name__) is cls
    call = getattr(cls, "provisioning_configuration" if cls.form.managed else "attach_configuration")
    assert "tags" in inspect.signature(call).parameters
    assert cls.form.type == cls._compute_type


def test_the_signature_of_a_machine_is_v1s() -> None:
    names = list(inspect.signature(stepwell.RemoteCompute.attach_configuration).parameters)
    assert names[:10] == [
        "username", "subscription_id", "resource_group", "vm_name", "resource_id", "address", "ssh_port",
        "password", "private_key_file", "private_key_passphrase",
    ]  # fmt: skip
    assert "cluster_name" in inspect.signature(stepwell.HDInsightCompute.attach_configuration).parameters


@pytest.mark.parametrize(
    ("address", "where"),
    [
        ("http://livy:8998", ("livy", 8998, "http", {})),
        ("livy", ("livy", 8998, "http", {})),
        ("https://hub/gateway/livy/", ("hub", 443, "https", {"endpoint_prefix": "gateway/livy"})),
    ],
)
def test_the_address_of_a_livy(address: str, where: tuple[Any, ...]) -> None:
    login = stepwell.LivyCompute.attach_configuration(address, "lake").login
    assert isinstance(login, Login)
    assert (login.host, login.port, login.schema, dict(login.extra)) == where


@pytest.mark.parametrize("address", ["ftp://livy", "http://", "http://me:pw@livy", "http://livy:x", "http://a b"])
def test_what_is_no_address_of_a_livy_is_refused(address: str) -> None:
    with pytest.raises(
        (UserErrorException, ComputeTargetException), match="address of a Livy|not a host|a login in it"
    ) as caught:
        stepwell.LivyCompute.attach_configuration(address, "lake")
    assert "pw" not in str(caught.value)


@pytest.mark.parametrize("address", ["ml:hush-hush@gpu", "ml:hush-hush@gpu:22", "ssh://ml:hush-hush@gpu"])
def test_a_password_in_an_address_is_not_shown(address: str) -> None:
    with pytest.raises(UserErrorException, match="has a login in it") as caught:
        stepwell.RemoteCompute.attach_configuration("ml", address=address, password="x")
    assert "hush-hush" not in str(caught.value)


# -- settings ----------------------------------------------------------------------------------------------------------

FORM = Form(
    "Thing",
    "a thing",
    (
        Setting("size", "how large", "integer", required=True),
        Setting("colour", "which colour", choices=("red", "blue"), default="red"),
        Setting("labels", "what it is called", "map"),
        Setting("parts", "what is in it", "list"),
        Setting("weight", "in kg", "number"),
        Setting("shiny", "whether", "switch"),
        Setting("code", "a secret", secret=True),
    ),
)


def test_defaults_are_filled_in_and_the_rest_is_left_out() -> None:
    assert FORM.check({"size": 1, "weight": None}, "it") == {"size": 1, "colour": "red"}
    assert FORM.own(FORM.check({"size": 1, "code": "hush"}, "it")) == {"size": 1, "colour": "red"}
    assert FORM.check({"size": 1, "code": 7}, "it")["code"] == "7", "YAML makes a number of it"


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({}, "It (Thing) needs size: how large. Give size, on the command line --size."),
        ({"size": "1"}, "size='1' is not right. Allowed: a whole number."),
        ({"size": True}, "size=True is not right"),
        ({"size": 1, "colour": "green"}, "colour='green' is unknown. Allowed: red, blue."),
        ({"size": 1, "color": "red"}, "'color' is no setting of it (Thing). Allowed: colour"),
        ({"size": 1, "labels": ["a"]}, "labels=['a'] is not right. Allowed: names with values."),
        ({"size": 1, "labels": {"a": ["b"]}}, "is not right"),
        ({"size": 1, "parts": "ab"}, "parts='ab' is not right. Allowed: a list of texts."),
        ({"size": 1, "weight": float("nan")}, "weight=nan is not right"),
        ({"size": 1, "shiny": "yes"}, "shiny='yes' is not right. Allowed: true or false."),
        ({"size": 1, "colour": "a\0b"}, "is not right"),
        ({"size": 1, "code": ["hush-hush"]}, "code=… is not right"),
    ],
)
def test_what_is_not_right_is_told(values: dict[str, Any], message: str) -> None:
    with pytest.raises(UserErrorException, match=re.escape(message)) as caught:
        FORM.check(values, "it")
    assert "hush" not in str(caught.value)
