"""Stepwell's plugin for an Airflow that finds it in its plugins folder.

Where the distribution is installed, Airflow loads the same class from the entry point ``airflow.plugins``, and a second
plugin of the same name would be reported as an import error: then there is nothing to do here.
"""

from __future__ import annotations

from importlib.metadata import entry_points

if not entry_points(group="airflow.plugins", name="stepwell"):
    from stepwell.ui.plugin import StepwellPlugin as StepwellPlugin
