"""A step: its neutral specification, and its life from resolving inputs to publishing outputs."""
