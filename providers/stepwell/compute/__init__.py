"""Where jobs run: one contract (:mod:`stepwell.compute.contract`), one file per kind of target, and v1's API on top.

A compute target knows how to run a job and nothing about steps. Kinds are found through the entry-point group
``stepwell.compute``; each is put together from three small ports (files, runner, exec).
"""
