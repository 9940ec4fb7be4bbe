"""The report of a gate."""
from __future__ import annotations
import html, json
def render(result):
    return "<!doctype html><pre>" + html.escape(json.dumps(result, indent=1)) + "</pre>"
