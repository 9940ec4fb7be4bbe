"""The launcher alone, as a target runs it: ``python -I -S launcher.py <job directory>``, with only the payload."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from stepwell.compute import shipping


@pytest.fixture(scope="module")
def launcher(tmp_path_factory: pytest.TempPathFactory) -> Path:
    import io
    import zipfile

    root = tmp_path_factory.mktemp("payload")
    zipfile.ZipFile(io.BytesIO(shipping.archive())).extractall(root)
    return root / "stepwell" / "runtime" / "launcher.py"


@pytest.fixture
def job(tmp_path: Path) -> Path:
    folder = tmp_path / "job"
    folder.mkdir()
    return folder


def launch(launcher: Path, job: Path, *phases: dict[str, Any], **document: Any) -> dict[str, Any]:
    (job / "job.json").write_text(json.dumps({"phases": phases, **document}))
    command = [sys.executable, "-I", "-S", str(launcher), str(job)]
    done = subprocess.run(command, capture_output=True, timeout=60, start_new_session=True, check=False)
    assert done.returncode == 0, done.stderr
    return final(job)


def final(job: Path) -> dict[str, Any]:
    found = json.loads((job / "events" / "final.json").read_text())
    assert isinstance(found, dict)
    return found


def say(name: str, text: str, code: int = 0, **more: Any) -> dict[str, Any]:
    return {"name": name, "argv": ["/bin/sh", "-c", f"echo {text}; exit {code}"], **more}


def log(job: Path) -> str:
    return (job / "logs" / "step.log").read_text()


def test_phases_run_in_order(launcher: Path, job: Path) -> None:
    found = launch(launcher, job, say("one", "1"), say("two", "2"))
    assert found["status"] == "succeeded"
    assert [(p["name"], p["exit_code"]) for p in found["phases"]] == [("one", 0), ("two", 0)]
    assert log(job) == "1\n2\n"


def test_after_a_failure_only_phases_that_always_run_do(launcher: Path, job: Path) -> None:
    found = launch(launcher, job, say("one", "1", 7), say("two", "2"), say("tidy", "3", 9, always=True))
    assert (found["status"], found["phase"], found["exit_code"]) == ("failed", "one", 7)
    assert found["last_lines"] == ["1"]
    assert log(job) == "1\n3\n"


def test_a_phase_has_its_variables_its_folder_and_its_files(launcher: Path, job: Path) -> None:
    (job / "code").mkdir()
    phase = {
        "name": "step",
        "argv": ["/bin/sh", "-c", 'pwd; echo "$A $B $STEPWELL_JOB_DIR"; cat ../settings'],
        "cwd": str(job / "code"),
        "variables": {"B": "phase"},
        "files": {"settings": "text\n"},
    }
    launch(launcher, job, phase, variables={"A": "job", "B": "job"})
    assert log(job) == f"{job}/code\njob phase {job}\ntext\n"


def test_secrets_are_deleted_before_the_step_starts(launcher: Path, job: Path) -> None:
    (job / "secrets.json").write_text('{"TOKEN": "open-sesame"}')
    phase = {"name": "step", "argv": ["/bin/sh", "-c", "ls; test $TOKEN = open-sesame && echo same; echo $TOKEN"]}
    launch(launcher, job, phase, secret_names=["TOKEN"])
    assert "secrets.json" not in log(job)
    assert log(job).endswith("same\n***\n")


def test_a_secret_that_was_not_handed_over_is_named(launcher: Path, job: Path) -> None:
    found = launch(launcher, job, say("one", "1"), secret_names=["TOKEN"])
    assert (found["status"], found["reason"]) == ("failed", "secrets were not handed over: TOKEN")
    assert found["phases"] == []


def test_a_second_launcher_leaves_the_job_alone(launcher: Path, job: Path) -> None:
    launch(launcher, job, say("one", "1"))
    before = final(job)
    (job / "secrets.json").write_text('{"TOKEN": "open-sesame"}')
    assert launch(launcher, job, say("other", "2")) == before
    assert log(job) == "1\n"
    assert not (job / "secrets.json").exists()


@pytest.mark.parametrize("document", ["{", "[]", '{"phases": [{"argv": []}]}', '{"phases": null}'])
def test_a_job_that_cannot_be_read_has_a_final_status_too(launcher: Path, job: Path, document: str) -> None:
    (job / "job.json").write_text(document)
    subprocess.run([sys.executable, "-I", "-S", str(launcher), str(job)], check=True, timeout=60)
    assert final(job)["status"] == "failed"
    assert "the launcher failed" in final(job)["reason"]


def test_start_up_imports_little(launcher: Path, job: Path) -> None:
    (job / "job.json").write_text(json.dumps({"phases": [say("one", "1")]}))
    command = [sys.executable, "-I", "-S", "-X", "importtime", str(launcher), str(job)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    loaded = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert "stepwell.runtime.relay" in loaded
    assert not loaded & {"typing", "subprocess", "pathlib", "dataclasses", "urllib.parse", "tempfile", "logging"}


WILD = """
import os, sys
for _ in range(160):
    os.write(1, b"\\xff\\x00x\\xc3" * 16384)  # 10 MB, no line and no text
os.write(2, b"\\nend \\xe4\\n" + b"\\r" * 1000000)
sys.exit(3)
"""
#: Measured by a small process: a child's peak begins with its parent's, and pytest is large.
MEASURED = """
import os, sys
_, status, used = os.wait4(os.posix_spawn(sys.executable, [sys.executable, *sys.argv[1:]], {}, setpgroup=0), 0)
print(status, used.ru_maxrss)
"""


def test_bytes_that_are_no_text_and_a_line_without_end_are_passed_on_in_little_memory(
    launcher: Path, job: Path
) -> None:
    phase = {"name": "step", "argv": [sys.executable, "-I", "-S", "-c", WILD]}
    (job / "job.json").write_text(json.dumps({"phases": [phase], "secret_names": ["A"]}))
    (job / "secrets.json").write_text(json.dumps({"A": "open-sesame"}))
    command = [sys.executable, "-I", "-S", "-c", MEASURED, "-I", "-S", str(launcher), str(job)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    status, kibibytes = (int(number) for number in done.stdout.split())
    assert (status, kibibytes < 32 * 1024) == (0, True), kibibytes
    assert (final(job)["status"], final(job)["exit_code"]) == ("failed", 3)
    assert (job / "logs" / "azureml" / "driver" / "stdout").stat().st_size == 160 * 65536
    assert (job / "logs" / "step.log").stat().st_size >= 160 * 65536 + 1000000
    assert (job / "events" / "final.json").stat().st_size < 256 * 1024
    assert "end \ufffd" in (job / "logs" / "step.log").read_text(errors="replace")


@pytest.mark.integration
@pytest.mark.skipif(os.geteuid() != 0 or shutil.which("mount") is None, reason="mounts a small tmpfs")
def test_a_full_disk_does_not_lose_the_final_status(launcher: Path, job: Path) -> None:
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(job)], check=False)
    if mounted.returncode != 0:
        pytest.skip("this machine does not let us mount")
    try:
        fill = "dd if=/dev/zero of=big bs=64k count=100 2>&1; seq 1 200000; exit 5"
        found = launch(launcher, job, {"name": "step", "argv": ["/bin/sh", "-c", fill]})
        assert (found["status"], found["exit_code"]) == ("failed", 5)
        assert "No space left on device" in found["reason"]
        assert found["last_lines"][-1] == "200000"
    finally:
        subprocess.run(["umount", str(job)], check=True)
