"""What is shipped to every compute target: the job directory protocol, the launcher, dataset definitions.

Standard library only, and Python 3.8 or later: a target has an interpreter, nothing else is promised.
"""
