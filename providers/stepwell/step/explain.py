"""Why a step was not reused: what is different from the last time, down to the file, in words."""

from __future__ import annotations

import difflib
import posixpath
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from stepwell.step.fingerprint import MASKED, SENSITIVE, Fingerprint

#: More differences of one sort than this are counted, not named.
NAMED = 5
#: Comparing longer files line by line takes longer than it is worth.
_MOST_LINES = 4000
_LONGEST, _LONGEST_SENTENCE = 60, 300
#: Returns the content of a source file then and now; ``None`` where it cannot be had.
Contents = Callable[[str], tuple[bytes | None, bytes | None]]
References = Mapping[str, Mapping[str, Any]]


def changes(
    now: Fingerprint, then: Fingerprint, inputs_now: References, inputs_then: References, contents: Contents
) -> list[str]:
    """Return what is different, each in a few words, the likeliest causes first.

    :param inputs_now: input → reference, for its version.
    :param contents: for the lines that changed in a source file.
    """
    a, b = now.parts, then.parts
    found = [
        *_single(a, b),
        *_limited(list(_files(now.files, then.files, contents)), "more files changed"),
        *(["the modes of files changed"] if a["code"] != b["code"] and now.files == then.files else []),
        *_limited(list(_sequence("argument", a["arguments"], b["arguments"])), "more arguments"),
        *_limited(list(_sequence("part of the command", a["command"], b["command"])), "more parts of the command"),
        *_masked(now, then),
        *_limited(list(_inputs(a["inputs"], b["inputs"], inputs_now, inputs_then)), "more inputs"),
        *_limited(list(_named("parameter", a["parameters"], b["parameters"])), "more parameters"),
        *_limited(list(_hidden("variable", a["variables"], b["variables"])), "more variables"),
        *_limited(list(_named("the connection of secret", a["secrets"], b["secrets"])), "more secrets"),
        *(_environment(now, then) if a["environment"] != b["environment"] else []),
        *_limited(list(_outputs(a["outputs"], b["outputs"])), "more outputs"),
        *_hidden("the expectations on", a["validations"], b["validations"]),
        *_limited(list(_settings(a.get("settings") or {}, b.get("settings") or {})), "more settings of the step"),
        *_limited(list(_spark(a["spark"] or {}, b["spark"] or {})), "more settings"),
        *_limited(list(_target(a["target"], b["target"])), "more settings of the compute target"),
    ]
    return [_brief("".join(c if c.isprintable() else "\ufffd" for c in text), _LONGEST_SENTENCE) for text in found]


def gates(now: Mapping[str, str], then: Mapping[str, str]) -> list[str]:
    """Return which outputs' gates are others than *then*."""
    return [
        f"the gate of {name} {'changed' if name in then else 'is new'}" for name in now if then.get(name) != now[name]
    ]


def _single(a: Mapping[str, Any], b: Mapping[str, Any]) -> Iterator[str]:
    words = {
        "format": "Stepwell's own rules",
        "kind": "the kind of step",
        "version": "version",
        "script": "the script",
    }
    for part, name in words.items():
        if a[part] != b[part]:
            yield _was(name, a[part], b[part])


def _files(now: Mapping[str, str], then: Mapping[str, str], contents: Contents) -> Iterator[str]:
    named = 0
    for path in sorted({*now, *then}):
        if now.get(path) == then.get(path):
            continue
        named += 1
        if path not in then:
            yield f"{path} is new"
        elif path not in now:
            yield f"{path} is gone"
        else:
            counted = line_counts(*contents(path)) if named <= NAMED else None
            yield f"{path} changed" + (f" (lines +{counted[0]} -{counted[1]})" if counted else "")


def line_counts(then: bytes | None, now: bytes | None) -> tuple[int, int] | None:
    """Return how many lines were added and removed; ``None`` for what is not text, or too long to be compared."""
    if then is None or now is None or b"\0" in then + now:
        return None
    try:
        before, after = (content.decode("utf-8").splitlines() for content in (then, now))
    except UnicodeDecodeError:
        return None
    if max(len(before), len(after)) > _MOST_LINES:
        return None
    # What is the same at both ends goes first: the rest is small, and may be compared roughly where lines repeat.
    same = min(len(before), len(after))
    first = next((i for i in range(same) if before[i] != after[i]), same)
    last = next((i for i in range(same - first) if before[-1 - i] != after[-1 - i]), same - first)
    before, after = before[first : len(before) - last], after[first : len(after) - last]
    added = removed = 0
    for tag, i, j, k, m in difflib.SequenceMatcher(None, before, after).get_opcodes():
        if tag != "equal":
            removed, added = removed + j - i, added + m - k
    return added, removed


def _sequence(what: str, now: Sequence[Any], then: Sequence[Any]) -> Iterator[str]:
    if len(now) != len(then):
        yield f"{len(now)} {what}s, not {len(then)}: {_brief(' '.join(map(_word, now)))}"
        return
    for position, (a, b) in enumerate(zip(now, then, strict=True), 1):
        if a != b:
            yield _was(f"{what} {position}", _word(a), _word(b))


def _masked(now: Fingerprint, then: Fingerprint) -> Iterator[str]:
    for part in MASKED:
        if now.masked.get(part) != then.masked.get(part) and now.parts.get(part) == then.parts.get(part):
            yield f"something masked in the {part} changed"


def _inputs(now: References, then: References, versions_now: References, versions_then: References) -> Iterator[str]:
    for name in sorted({*now, *then}):
        if name not in then or name not in now:
            yield f"input {name} is {'new' if name not in then else 'gone'}"
            continue
        if now[name]["content"] != then[name]["content"]:
            a, b = versions_now.get(name) or {}, versions_then.get(name) or {}
            if a.get("version") and b.get("version") and (a["dataset"], a["version"]) != (b["dataset"], b["version"]):
                was = b["version"] if a["dataset"] == b["dataset"] else _version(b)
                yield f"input {name} is {_version(a, b['dataset'])}, was {was}"
            else:
                yield f"input {name} has other data, or is read in another way"
        for part, word in (("mode", "mode"), ("at", "path_on_compute")):
            if now[name][part] != then[name][part]:
                yield _was(f"the {word} of input {name}", now[name][part], then[name][part])


def _version(reference: Mapping[str, Any], known: str | None = None) -> str:
    number = reference["version"]
    return f"version {number}" if reference["dataset"] == known else f"{reference['dataset']} version {number}"


def _named(what: str, now: Mapping[str, Any], then: Mapping[str, Any]) -> Iterator[str]:
    for name in sorted({*now, *then}):
        if name not in then:
            yield f"{what} {name} is new"
        elif name not in now:
            yield f"{what} {name} is gone"
        elif now[name] != then[name]:
            yield _was(f"{what} {name}", now[name], then[name])


def _hidden(what: str, now: Mapping[str, Any], then: Mapping[str, Any]) -> Iterator[str]:
    """Tell of values that are kept by their digest only."""
    for name in sorted({*now, *then}):
        if now.get(name) != then.get(name):
            yield f"{what} {name} {'is new' if name not in then else 'is gone' if name not in now else 'changed'}"


def _environment(now: Fingerprint, then: Fingerprint) -> list[str]:
    a, b = now.packages, then.packages
    found = []
    if a.get("python") != b.get("python"):
        found.append(_was("Python", a.get("python") or "the worker's", b.get("python") or "the worker's"))
    for part in ("conda", "pip"):
        more, less = (sorted(set(x.get(part) or ()) - set(y.get(part) or ())) for x, y in ((a, b), (b, a)))
        if more or less:
            told = [f"with {', '.join(more)}"] * bool(more) + [f"without {', '.join(less)}"] * bool(less)
            found.append(f"the environment is {_brief(' and '.join(told), 200)}")
    return found or ["the environment changed"]


def _outputs(now: Mapping[str, Any], then: Mapping[str, Any]) -> Iterator[str]:
    for name in sorted({*now, *then}):
        if name not in then or name not in now:
            yield f"output {name} is {'new' if name not in then else 'gone'}"
        elif now[name]["destination"] != then[name]["destination"]:
            places = (":".join(filter(None, o[name]["destination"])) for o in (now, then))
            yield _was(f"the destination of output {name}", *places)
        elif now[name] != then[name]:
            yield f"output {name} is written or read in another way"


def _settings(now: Mapping[str, Any], then: Mapping[str, Any]) -> Iterator[str]:
    for group in sorted({*now, *then}):
        a, b = (x.get(group) if isinstance(x.get(group), dict) else {group: x.get(group)} for x in (now, then))
        yield from _named("the setting", a or {}, b or {})


def _spark(now: Mapping[str, Any], then: Mapping[str, Any]) -> Iterator[str]:
    yield from _conf("the setting", now.get("conf") or {}, then.get("conf") or {})
    for name in sorted({*now, *then} - {"conf"}):
        if now.get(name) == then.get(name):
            continue
        if name in ("py_files", "jars", "files"):
            a, b = ({posixpath.basename(f[0]): f for f in x.get(name) or ()} for x in (now, then))
            yield from _hidden(f"{name}:", a, b) if a != b else [f"the order of {name} changed"]
        else:
            yield _was(name, now.get(name), then.get(name))


def _target(now: Mapping[str, Any], then: Mapping[str, Any]) -> Iterator[str]:
    a, b = dict(now), dict(then)
    yield from _hidden("the worker's variable", a.pop("variables", {}), b.pop("variables", {}))
    yield from _conf("the compute target's setting", a.pop("conf", None) or {}, b.pop("conf", None) or {})
    yield from _named("the compute target's", a, b)


def _conf(what: str, now: Mapping[str, Any], then: Mapping[str, Any]) -> Iterator[str]:
    """Tell of Spark's settings; of those that may be secret, only that they changed."""
    secret = {k for x in (now, then) for k, v in x.items() if SENSITIVE.search(k) or _is_digest(v)}
    for tell, hidden in ((_named, False), (_hidden, True)):
        a, b = ({k: v for k, v in x.items() if (k in secret) == hidden} for x in (now, then))
        yield from tell(what, a, b)


def _is_digest(value: Any) -> bool:
    return isinstance(value, str) and len(value) == 64 and not value.strip("0123456789abcdef")


def _limited(found: list[str], more: str) -> list[str]:
    left = len(found) - NAMED
    return found if left <= 1 else [*found[:NAMED], f"{left} {more}"]


def _was(what: str, now: Any, then: Any) -> str:
    return f"{what} is {_shown(now)}, was {_shown(then)}"


def _shown(value: Any) -> str:
    return "not given" if value is None else _brief(value if isinstance(value, str) else repr(value))


def _word(value: Any) -> str:
    if isinstance(value, dict) and len(value) == 1:
        ((port, name),) = value.items()
        return f"the {port} {name}"
    return str(value)


def _brief(text: str, longest: int = _LONGEST) -> str:
    return text if len(text) <= longest else text[: longest - 1] + "…"
