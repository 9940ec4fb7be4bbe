"""From a step to the job document: arguments are filled with what the ports resolved to."""

from __future__ import annotations

import pytest

from stepwell.errors import UserErrorException
from stepwell.step.spec import StepSpec

SPEC = StepSpec("s", "python", "local")


def test_arguments_are_filled_with_what_the_ports_resolved_to() -> None:
    given = ("--in", {"input": "a"}, {"output": "b"}, 3)
    assert SPEC.fill(given, {"a": "/in/a"}, {"b": "/out/b"}) == ["--in", "/in/a", "/out/b", "3"]


@pytest.mark.parametrize("port", ["input", "output"])
def test_an_argument_that_names_a_port_that_is_not_there(port: str) -> None:
    with pytest.raises(UserErrorException, match=f"name the {port} 'x', which the step has not. Allowed: a"):
        SPEC.fill(({port: "x"},), {"a": ""}, {"a": ""})
