"""What Airflow reads of this provider at start-up. It must import nothing: a mistake here breaks ``import airflow``."""

from __future__ import annotations

from typing import Any


def get_provider_info() -> dict[str, Any]:
    """Return the provider's metadata, in the form of Airflow's ``provider_info.schema.json``."""
    return {
        "package-name": "airflow-provider-stepwell",
        "name": "Stepwell",
        "description": "Machine-learning pipelines of steps on any compute target, with versioned, validated datasets.",
        "integrations": [
            {
                "integration-name": "Stepwell",
                "tags": ["machine-learning"],
            }
        ],
        "operators": [{"integration-name": "Stepwell", "python-modules": ["stepwell.operators"]}],
        "triggers": [{"integration-name": "Stepwell", "python-modules": ["stepwell.triggers"]}],
        "hooks": [{"integration-name": "Stepwell", "python-modules": ["stepwell.hooks"]}],
        "filesystems": ["stepwell.fs"],
        "asset-uris": [{"schemes": ["stepwell"], "handler": None}],
        "extra-links": [
            "stepwell.links.RunLink",
            "stepwell.links.ValidationReportLink",
            "stepwell.links.AutoMLReportLink",
        ],
        "cli": ["stepwell.cli.get_commands"],
        "plugins": [{"name": "stepwell", "plugin-class": "stepwell.ui.plugin.StepwellPlugin"}],
        "connection-types": [_WORKSPACE, _DATASTORE, _COMPUTE, _MACHINE],
        "config": {
            "stepwell": {
                "description": "Settings of Stepwell.",
                "options": {
                    "instance": {
                        "description": "The name of this Airflow installation, the same on all its workers; "
                        "part of each job's key. Default: host name and AIRFLOW_HOME, which is right for one machine.",
                        "version_added": "0.1.0",
                        "type": "string",
                        "example": "production",
                        "default": "",
                    }
                },
            }
        },
    }


def _text(label: str, **more: Any) -> dict[str, Any]:
    return {"label": label, "schema": {"type": ["string", "null"], **more}}


_WORKSPACE: dict[str, Any] = {
    "connection-type": "stepwell_workspace",
    "hook-class-name": "stepwell.hooks.WorkspaceHook",
    "hook-name": "Stepwell workspace",
    "ui-field-behaviour": {
        "hidden-fields": ["schema", "port", "password"],
        "relabeling": {"host": "Root URL", "login": "HDFS user"},
        "placeholders": {"host": "file:///shared/stepwell or hdfs://namenode:9000/stepwell"},
    },
    "conn-fields": {"webhdfs_url": _text("WebHDFS URL of an HDFS root")},
}

_DATASTORE: dict[str, Any] = {
    "connection-type": "stepwell_datastore",
    "hook-class-name": "stepwell.hooks.DatastoreHook",
    "hook-name": "Stepwell datastore",
    "ui-field-behaviour": {
        "hidden-fields": ["schema", "password"],
        "relabeling": {"host": "NameNode", "port": "RPC port", "login": "User"},
        "placeholders": {"host": "namenode", "port": "9000"},
    },
    "conn-fields": {
        "kind": {"label": "Kind", "schema": {"type": "string", "enum": ["hdfs", "local"], "default": "hdfs"}},
        "root": _text("Root folder"),
        "webhdfs_url": _text("WebHDFS URL"),
    },
}

_COMPUTE: dict[str, Any] = {
    "connection-type": "stepwell_compute",
    "hook-class-name": "stepwell.hooks.ComputeTargetHook",
    "hook-name": "Stepwell compute target",
    "ui-field-behaviour": {
        "hidden-fields": ["schema", "host", "port", "login", "password"],
        "relabeling": {},
        "placeholders": {},
    },
    "conn-fields": {
        "target": _text("Name of the compute target"),
        "workspace": _text("Workspace"),
    },
}

# A connection that is a compute target by itself. Fields that do not allow null are required in Airflow's form.
_MACHINE: dict[str, Any] = {
    "connection-type": "stepwell_ssh",
    "hook-class-name": "stepwell.hooks.MachineHook",
    "hook-name": "Stepwell machine over SSH",
    "ui-field-behaviour": {
        "hidden-fields": ["schema"],
        "relabeling": {"host": "Address", "login": "User"},
        "placeholders": {"host": "gpu.example.org", "port": "22"},
    },
    "conn-fields": {
        "kind": {
            "label": "Kind of compute target",
            "schema": {"type": "string", "enum": ["remote", "remotedocker", "cluster"], "default": "remote"},
        },
        "host_key": {
            "label": "Host key (ssh-ed25519 AAAA…): ssh-keyscan shows it, the machine itself confirms it",
            "schema": {"type": "string", "minLength": 40},
        },
        "private_key": _text("Private key (instead of a password)", format="multiline"),
        "private_key_passphrase": _text("Passphrase of the private key", format="password"),
        "root": _text("Folder there (default: ~/.stepwell)"),
        "python": _text("Python there (default: python3)"),
        "base_image": _text("Docker: the image of steps that name none"),
        "storage": _text("Cluster: a datastore on its HDFS"),
        "queue": _text("Cluster: the YARN queue"),
        "workspace": _text("Workspace (default: all)"),
    },
}
