"""Retention: what a workspace keeps, what nothing refers to any more, and how that is removed.

:mod:`~stepwell.retention.rules` says how long things are kept, :mod:`~stepwell.retention.references` what refers to
what, :mod:`~stepwell.retention.plan` what may go (plain data, nothing is touched), :mod:`~stepwell.retention.sweep`
removes it.
"""
