"""``azureml.core`` for scripts inside a step."""

from .._missing import module_getattr as _module_getattr
from .dataset import Dataset
from .datastore import Datastore
from .experiment import Experiment
from .keyvault import Keyvault
from .run import Run
from .workspace import Workspace

#: The SDK version whose behaviour this layer follows; the suffix tells it from the real one.
VERSION = "1.61.0+stepwell"
__version__ = VERSION
__getattr__ = _module_getattr(__name__, "core")

__all__ = ["Dataset", "Datastore", "Experiment", "Keyvault", "Run", "VERSION", "Workspace"]
