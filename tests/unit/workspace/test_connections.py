from __future__ import annotations

import pytest

from stepwell.errors import UserErrorException
from stepwell.workspace.connections import EnvironmentConnections, get_connection


def test_uri_and_json(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_A", "my-type://us%40er:p%2Fw@host:123/sch?k=v")
    found = EnvironmentConnections().get("a")
    assert found is not None
    assert (found.conn_type, found.login, found.password, found.host, found.port) == (
        "my_type",
        "us@er",
        "p/w",
        "host",
        123,
    )
    assert (found.schema, dict(found.extra)) == ("sch", {"k": "v"})
    assert "p/w" not in repr(found)
    monkeypatch.setenv("AIRFLOW_CONN_A", "t://?__extra__=%7B%22n%22%3A+1%7D")
    assert dict(EnvironmentConnections().get("a").extra) == {"n": 1}  # type: ignore[union-attr]
    monkeypatch.setenv(
        "AIRFLOW_CONN_A", '{"conn_type": "t", "port": "7", "extra": "{\\"a\\": 2}", "password": "hidden"}'
    )
    found = get_connection("a")
    assert found is not None
    assert (found.port, dict(found.extra)) == (7, {"a": 2})
    assert get_connection("none") is None


@pytest.mark.parametrize(
    "text", ['{"password": "hidden"', "hidden", '{"extra": "hidden", "conn_type": "t"}', "t://h:hidden/"]
)
def test_what_cannot_be_read_is_not_shown(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_A", text)
    with pytest.raises(UserErrorException, match="AIRFLOW_CONN_A cannot be read") as caught:
        get_connection("a")
    assert "hidden" not in str(caught.value)
    assert caught.value.__suppress_context__
