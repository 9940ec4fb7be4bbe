"""What the command line prints is what was recorded."""

from __future__ import annotations

import pytest

from stepwell.cli.table import print_table


def test_values_are_not_read_as_markup_nor_sent_to_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(["[b]what"], [["[/red] [link=x]y"], [":smile: \x1b[2Jz"]], title="[dag], run [1]")
    out = capsys.readouterr().out
    for text in ("[b]what", "[/red] [link=x]y", ":smile:", "[dag], run [1]"):
        assert text in out
    assert "\x1b[2J" not in out
