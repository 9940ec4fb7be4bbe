"""Kinds whose jobs are batches of a cluster: the job directory is on storage that worker and cluster share.

``batches.py`` is the port that a kind brings (submit, see, kill), ``target.py`` all the rest, ``storage.py`` the
shared storage. What runs on the cluster is ``stepwell/payload/batch``.
"""
