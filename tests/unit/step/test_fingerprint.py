"""What a step is made of, and what is told when that is different."""

from __future__ import annotations

import json
import random
import time
from pathlib import Path
from typing import Any

import pytest

from stepwell.step import explain
from stepwell.step.explain import line_counts
from stepwell.step.fingerprint import Fingerprint, fingerprint
from stepwell.step.spec import StepSpec

ENVIRONMENT: dict[str, Any] = {"variables": {}, "python": None, "conda": [], "pip": []}


def made_of(target: Any = None, conf: Any = None, **more: Any) -> Fingerprint:
    """Return the fingerprint of a Spark step."""
    files = {name: more.pop(name, []) for name in ("py_files", "jars", "files")}
    spark = {"conf": conf or {}, "app_name": "x", "driver_memory": "1g", **files}
    return fingerprint(
        StepSpec("s", "spark", "sp", spark=spark, **more),
        [],
        None,
        environment_key="key",
        environment=ENVIRONMENT,
        target={"kind": "spark", "conf": target or {}, "spark": None},
        default_datastore="store",
        mask=lambda value: value,
    )


def changes(now: Fingerprint, then: Fingerprint) -> list[str]:
    kept = Fingerprint.from_dict(json.loads(json.dumps(then.to_dict())))
    return explain.changes(now, kept, {}, {}, lambda path: (None, None))


# -- lines ------------------------------------------------------------------------------------------------------------


def lines(*of: str) -> bytes:
    return "\n".join(of).encode()


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (["0"] * 4000, ["0", "1"] * 2000),
        ([str(random.Random(1).randrange(2)) for _ in range(4000)], ["0", "1"] * 2000),
        (
            [str(n) for n in random.Random(1).choices(range(100), k=4000)],
            [str(n) for n in random.Random(2).choices(range(100), k=4000)],
        ),
    ],
    ids=["one line", "labels", "a hundred words"],
)
def test_lines_that_repeat_are_counted_at_once(before: list[str], after: list[str]) -> None:
    begin = time.process_time()
    counted = line_counts(lines(*before), lines(*after))
    assert time.process_time() - begin < 1
    assert counted is not None
    added, removed = counted
    assert added - removed == len(after) - len(before)


@pytest.mark.parametrize("words", [1, 2, 30, 3000])
@pytest.mark.parametrize("at", [0, 1500, 2999, 3000])
def test_a_line_put_between_lines_that_repeat_is_one_line(words: int, at: int) -> None:
    before = [str(n % words) for n in range(3000)]
    after = [*before[:at], "new", *before[at:]]
    assert line_counts(lines(*before), lines(*after)) == (1, 0)
    assert line_counts(lines(*after), lines(*before)) == (0, 1)


@pytest.mark.parametrize(
    ("before", "after", "counted"),
    [
        (b"a\nb\nc\n", b"a\nx\nc\n", (1, 1)),
        (b"a\na\n", b"a\n", (0, 1)),
        (b"a\nb\n", b"b\na\n", (1, 1)),
        (b"", b"a\nb\n", (2, 0)),
        (b"a\n", b"a", (0, 0)),
        (b"a\n", b"a\0", None),
        (b"a\n", b"\xff", None),
        (b"a\n", None, None),
        (b"a\n" * 4001, b"a\n", None),
    ],
)
def test_lines_are_counted_where_there_are_lines(before: Any, after: Any, counted: Any) -> None:
    assert line_counts(before, after) == counted


# -- files of Spark ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "written", ["{0}/x.jar", "{0}/*.jar", "{0}/x.jar#alias", "file://{0}/x.jar", "file://{0}/x.jar#alias"]
)
def test_a_jar_counts_by_content_however_it_is_written(tmp_path: Path, written: str) -> None:
    jar = written.format(tmp_path)
    (tmp_path / "x.jar").write_text("1")
    before = made_of(jars=[jar])
    assert made_of(jars=[jar]).digest == before.digest
    (tmp_path / "x.jar").write_text("2")
    after = made_of(jars=[jar])
    assert after.digest != before.digest
    assert changes(after, before) == [f"jars: {jar.rpartition('/')[2]} changed"]


def test_a_jar_has_the_same_content_in_another_folder(tmp_path: Path) -> None:
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "x.jar").write_text("1")
    one, other = (made_of(jars=[f"{tmp_path}/{name}/x.jar#y"]) for name in ("one", "other"))
    assert one.digest == other.digest


def test_another_alias_or_another_jar_that_a_pattern_finds_counts(tmp_path: Path) -> None:
    (tmp_path / "x.jar").write_text("1")
    one, other = (made_of(jars=[f"{tmp_path}/x.jar#{alias}"]) for alias in "ab")
    assert one.digest != other.digest
    before = made_of(jars=[f"{tmp_path}/*.jar"])
    (tmp_path / "y.jar").write_text("1")
    assert made_of(jars=[f"{tmp_path}/*.jar"]).digest != before.digest


@pytest.mark.parametrize("jar", ["{0}", "{0}/gone.jar", "{0}/*.gone", "hdfs://host/x.jar#alias", "local:///x.jar"])
def test_what_is_no_file_here_counts_by_its_address(tmp_path: Path, jar: str) -> None:
    address = jar.format(tmp_path)
    assert made_of(jars=[address]).parts["spark"]["jars"] == [[address]]


def test_what_a_pattern_or_a_folder_holds_counts_by_content_and_name(tmp_path: Path) -> None:
    (tmp_path / "below").mkdir()
    (tmp_path / "below" / "a.txt").write_text("1")
    (tmp_path / "q[1].jar").write_text("1")
    (tmp_path / "x y.jar").write_text("1")
    addresses = [f"{tmp_path}/*", f"{tmp_path}/below", f"{tmp_path}/q[1].jar", f"file://{tmp_path}/x%20y.jar"]
    before = made_of(jars=addresses).parts["spark"]["jars"]
    for path in (tmp_path / "below" / "a.txt", tmp_path / "q[1].jar", tmp_path / "x y.jar"):
        path.write_text("2")
    after = made_of(jars=addresses).parts["spark"]["jars"]
    assert all(a != b for a, b in zip(before, after, strict=True))
    (tmp_path / "below" / "a.txt").rename(tmp_path / "below" / "b.txt")
    assert made_of(jars=addresses).parts["spark"]["jars"][1] != after[1]


def test_a_secret_in_the_options_of_a_jvm_is_not_kept() -> None:
    option = "spark.driver.extraJavaOptions"
    one, other = (made_of(conf={option: f"-Djavax.net.ssl.keyStorePassword=hunter{n}"}) for n in (2, 3))
    assert "hunter" not in json.dumps([one.to_dict(), other.to_dict()])
    assert changes(one, other) == [f"the setting {option} changed"]


def test_the_order_of_jars_is_told(tmp_path: Path) -> None:
    jars = [f"{tmp_path}/{name}.jar" for name in "ab"]
    for jar in jars:
        Path(jar).write_text(jar)
    assert changes(made_of(jars=jars), made_of(jars=jars[::-1])) == ["the order of jars changed"]


# -- secrets ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "setting",
    [
        "spark.hadoop.fs.s3a.secret.key",
        "spark.ssl.keyPassword",
        "spark.hadoop.fs.azure.account.key.x",
        "spark.auth.TOKEN",
        "spark.x.credentials",
    ],
)
def test_a_setting_that_may_be_secret_is_neither_kept_nor_told(setting: str) -> None:
    def of(value: str) -> Fingerprint:
        return made_of(conf={setting: value, "spark.a": "1"}, target={setting: value, "spark.b": "2"})

    now, then = of("hunter2"), of("hunter3")
    assert now.digest != then.digest
    assert of("hunter2").digest == now.digest
    told = changes(now, then)
    assert told == [f"the setting {setting} changed", f"the compute target's setting {setting} changed"]
    assert "hunter" not in json.dumps([now.to_dict(), told])
    assert changes(now, made_of(conf={"spark.a": "1"}, target={"spark.b": "2"}))[0] == f"the setting {setting} is new"


def test_other_settings_are_told_with_their_values() -> None:
    told = changes(made_of(conf={"spark.a": "2"}), made_of(conf={"spark.a": "1", "spark.b": "1"}))
    assert told == ["the setting spark.a is 2, was 1", "the setting spark.b is gone"]
    assert made_of(conf={"a": "1", "b": "2"}).digest == made_of(conf={"b": "2", "a": "1"}).digest


# -- what is told -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("part", ["arguments", "command", "params", "variables", "secrets", "conf", "target", "jars"])
def test_what_is_told_is_short_and_can_be_printed(part: str) -> None:
    def of(sign: str) -> Fingerprint:
        odd = [f"\x1b[2J\n\u202e{'x' * 5000}{n}{sign}" for n in range(500)]
        if part in ("arguments", "command"):
            return made_of(**{part: tuple(odd)})
        return made_of(**{part: odd if part == "jars" else {f"\x1b\n{'k' * 5000}{n}": odd[n] for n in range(500)}})

    told = changes(of("a"), of("b"))
    assert told
    assert all(text.isprintable() and len(text) <= 300 for text in told), told
    assert len(told) <= 7


def test_keys_of_several_types_are_one_text_each() -> None:
    one, other = made_of(params={"a": {1: 2, "b": 3, None: 4}}), made_of(params={"a": {None: 4, "b": 3, 1: 2}})
    assert one.digest == other.digest
    assert one.digest != made_of(params={"a": {1: 2, "b": 4, None: 4}}).digest
