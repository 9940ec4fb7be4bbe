"""Triggers: who waits for a step's job while no worker does."""

from __future__ import annotations

from stepwell.triggers.job import JobTrigger as JobTrigger

__all__ = ["JobTrigger"]
