"""The example pipeline on every pair of kinds of compute targets (``make pair-table``)."""
