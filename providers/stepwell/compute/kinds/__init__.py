"""The kinds of compute targets, one module each; see :mod:`stepwell.compute.registry`."""
