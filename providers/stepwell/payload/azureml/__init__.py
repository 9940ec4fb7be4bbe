"""The names of the Azure ML SDK v1 that scripts inside a step use, on top of Stepwell's job directory.

Only ever on the path of a step's processes, and never where the real ``azureml-core`` is installed. A part of the SDK
that is not here yet raises an ImportError that says so.
"""

from ._missing import explain_missing_modules as _explain_missing_modules

_explain_missing_modules()
