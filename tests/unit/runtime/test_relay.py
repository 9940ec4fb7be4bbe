from __future__ import annotations

import time
from pathlib import Path

import pytest

from stepwell.runtime.relay import MASK, PARTIAL_SECONDS, Masker, Relay, variants

SECRET = "swordfish/9"


@pytest.mark.parametrize("size", range(1, 14))
def test_a_secret_is_masked_wherever_the_stream_is_cut(size: int) -> None:
    text = b"a swordfish/9 b swordfiswordfish/9swordfish/9 sword"
    masker = Masker(variants([SECRET]))
    shown = b"".join(masker.feed(text[i : i + size]) for i in range(0, len(text), size)) + masker.end()
    assert shown == b"a *** b swordfi****** sword"


@pytest.mark.parametrize("size", range(1, 20))
def test_of_two_secrets_where_one_begins_the_other_the_longer_is_masked(size: int) -> None:
    text = b"x pass1word y pass1 z pass1wo pass1"
    masker = Masker(variants(["pass1", "pass1word"]))
    shown = b"".join(masker.feed(text[i : i + size]) for i in range(0, len(text), size)) + masker.end()
    assert shown == b"x *** y *** z ***wo ***"


def test_text_that_cannot_begin_a_secret_is_not_held_back() -> None:
    masker = Masker(variants([SECRET]))
    assert masker.feed(b"progress 10%") == b"progress 10%"
    assert masker.feed(b"a s") == b"a "


@pytest.mark.parametrize(
    ("value", "printed"),
    [
        ('quo"te\n', '{"a": "quo\\"te\\n"}'),
        ("p@ss/word", "http://me:p%40ss%2Fword@host"),
        ("-----BEGIN KEY-----\nMIIEvQIBADAN\n", "key MIIEvQIBADAN"),
    ],
)
def test_a_secret_is_masked_in_the_forms_it_is_printed_in(value: str, printed: str) -> None:
    masker = Masker(variants([value]))
    shown = masker.feed(printed.encode()) + masker.end()
    assert MASK in shown
    assert all(form not in shown for form in variants([value]))


def test_short_values_are_left_alone() -> None:
    assert variants(["", "abc"]) == []


def make(tmp_path: Path, last: int = 3, secrets: tuple[str, ...] = ()) -> Relay:
    copies = {name: str(tmp_path / name) for name in ("stdout", "stderr")}
    return Relay(str(tmp_path / "step.log"), copies, variants(secrets), last)


def test_lines_of_two_streams_do_not_mix(tmp_path: Path) -> None:
    relay = make(tmp_path)
    for stream, data in (("stdout", b"he"), ("stderr", b"war"), ("stdout", b"llo\nwor"), ("stderr", b"ning\n")):
        relay.feed(stream, data)
    relay.end()
    assert (tmp_path / "step.log").read_bytes() == b"hello\nwarning\nwor\n"
    assert (tmp_path / "stdout").read_bytes() == b"hello\nwor"
    assert (tmp_path / "stderr").read_bytes() == b"warning\n"


def test_a_line_without_an_end_is_shown_after_a_moment(tmp_path: Path) -> None:
    relay = make(tmp_path)
    relay.feed("stdout", b"50%")
    relay.tick()
    assert (tmp_path / "step.log").read_bytes() == b""
    time.sleep(PARTIAL_SECONDS + 0.05)
    relay.tick()
    assert (tmp_path / "step.log").read_bytes() == b"50%"


def test_the_last_lines_are_kept_and_cut(tmp_path: Path) -> None:
    relay = make(tmp_path, last=2, secrets=(SECRET,))
    relay.feed("stderr", b"one\ntwo\n" + b"x" * 5000 + b"\nlast " + SECRET.encode())
    relay.end()
    assert relay.last_lines() == ["x" * 2000 + "…", "last ***"]


def test_a_full_disk_ends_the_log_and_nothing_else() -> None:
    relay = Relay("/dev/full", {"stdout": "/dev/full", "stderr": "/dev/null"}, [], 5)
    relay.feed("stdout", b"still read\n")
    relay.say("and this")
    relay.end()
    assert relay.last_lines() == ["still read"]
    assert relay.problem == "the log is not complete: No space left on device"
