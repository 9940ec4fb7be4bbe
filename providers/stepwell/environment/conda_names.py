"""Conda's package specifications in the words of pip: a small table of names, and the grammar of versions.

Only names known to be the same software are taken over. Guessing that a conda name means the same on a Python package
index would sooner or later install something unrelated that happens to have that name.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import NamedTuple

from stepwell.errors import EnvironmentException

#: Another name on the Python package index.
RENAMED = {
    "pytorch": "torch",
    "pytorch-cpu": "torch",
    "opencv": "opencv-python-headless",
    "py-opencv": "opencv-python-headless",
    "py-xgboost": "xgboost",
    "py-xgboost-cpu": "xgboost",
    "matplotlib-base": "matplotlib",
    "tensorflow-gpu": "tensorflow",
    "pytables": "tables",
    "msgpack-python": "msgpack",
    "ruamel_yaml": "ruamel.yaml",
    "dask-core": "dask",
    "ray-core": "ray",
    "importlib_metadata": "importlib-metadata",
    "python-graphviz": "graphviz",
    "psycopg2": "psycopg2-binary",
}

#: The same software under the same name.
SAME = frozenset(
    """
    absl-py adal adlfs aiohttp altair anyio apache-beam argparse arrow asyncssh attrs autopep8 azure-core
    azure-identity azure-keyvault-secrets azure-storage-blob babel bcrypt beautifulsoup4 black bokeh boto3 botocore
    bottleneck cachetools catboost category-encoders certifi cffi chardet charset-normalizer click cloudpickle
    colorama coverage cryptography cvxpy cycler cython dask dask-ml datasets decorator deltalake dill distributed
    docker duckdb eli5 et-xmlfile evaluate faiss-cpu fastapi fastparquet filelock flake8 flaml flask fsspec future
    gensim geopandas gitpython gluonts google-cloud-storage great-expectations grpcio gunicorn h5py holidays httpx
    huggingface-hub hyperopt idna imageio imbalanced-learn implicit interpret ipykernel ipython isodate jedi jinja2
    joblib jsonschema jupyter jupyterlab keras kiwisolver lifelines lightgbm lightning lime llvmlite lxml mako
    markdown markupsafe marshmallow matplotlib mlflow mlxtend more-itertools msal mypy mypy-extensions natsort
    networkx nltk notebook numba numexpr numpy oauthlib onnx onnxruntime openpyxl optuna orjson packaging pandas
    pandera papermill paramiko pathspec patsy pendulum pillow pip-tools platformdirs plotly pluggy pmdarima polars
    prometheus-client prophet protobuf psutil psycopg py4j pyarrow pycparser pydantic pygments pyjwt pymongo
    pymysql pyodbc pyparsing pyproj pyspark pytest pytest-cov python-dateutil pytorch-lightning pytz pyyaml pyzmq
    ray regex requests rich ruff s3fs sacremoses scikit-image scikit-learn scikit-optimize scipy seaborn
    sentence-transformers sentencepiece setuptools setuptools-scm shap shapely simplejson six skl2onnx skops
    snowflake-connector-python spacy sqlalchemy sqlparse statsmodels streamlit sympy tables tabulate tenacity
    tensorboard tensorflow threadpoolctl tokenizers toml tomli toolz torch torchaudio torchmetrics torchvision
    tornado tqdm transformers typing-extensions tzdata ujson umap-learn urllib3 uvicorn wheel widgetsnbextension
    wordcloud wrapt xarray xgboost xlrd xlsxwriter xlwt yarl zarr zipp zstandard
    """.split()
)

#: Names the file with the user's own names, which go before the ones above.
OWN = "STEPWELL_CONDA_NAMES"
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.\-]*")
_PIP_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._\-]*[A-Za-z0-9])?(\[[A-Za-z0-9._\-, ]+\])?")
_SPEC = re.compile(
    r"(?:(?P<channel>[^\s:\[\]\-][^\s:\[\]]*)::)?(?P<name>[A-Za-z0-9_][A-Za-z0-9_.\-]*)\s*(?P<rest>[^\[\]]*)"
)
_ONE = re.compile(r"(===?|!=|>=|<=|~=|=|>|<)?\s*([0-9][0-9A-Za-z_.+!\-]*(?:\.?\*)?)")


class CondaSpec(NamedTuple):
    """A conda specification taken apart: *name* as conda writes it, *version* in pip's words ("" = any), *channel*."""

    name: str
    version: str
    channel: str = ""

    @property
    def text(self) -> str:
        """The same as text, in its normal form."""
        return (f"{self.channel}::" if self.channel else "") + self.name + self.version


def parse(text: str, where: str) -> CondaSpec:
    """Take the conda specification *text* apart ("numpy=1.19", "conda-forge::xgboost>=1.7,<2", "python 3.11").

    :param where: file and line, for messages.
    :raises EnvironmentException: it is none, or uses alternatives ("|") or brackets.
    """
    match = _SPEC.fullmatch(text.strip())
    if match is None:
        raise _bad(text, where)
    return CondaSpec(match["name"].lower(), _version(match["rest"].strip(), text, where), match["channel"] or "")


def to_pip(spec: CondaSpec) -> str | None:
    """Return the pip requirement for *spec*, or ``None`` when only conda is known to have it.

    :raises EnvironmentException: the user's own table of names is missing or malformed.
    """
    plain = spec.name.replace("_", "-")
    own = own_names()
    name = own.get(spec.name) or own.get(plain) or RENAMED.get(spec.name) or RENAMED.get(plain)
    name = name or (plain if plain in SAME else None)
    return None if name is None else name + spec.version


def own_names() -> Mapping[str, str]:
    """Return the table that the user adds: conda's name → pip's, from the YAML file that :data:`OWN` names.

    :raises EnvironmentException: the file is missing or malformed.
    """
    path = os.environ.get(OWN)
    if not path:
        return {}
    try:
        info = os.stat(path)
        stamp = (os.path.abspath(path), info.st_mtime_ns, info.st_size, info.st_ino)
    except OSError:
        return _read_names(path)  # says what is the matter
    if stamp not in _own:
        _own.clear()
        _own[stamp] = _read_names(path)
    return _own[stamp]


_own: dict[tuple[str, int, int, int], dict[str, str]] = {}


def _read_names(path: str) -> dict[str, str]:
    from stepwell.environment import strict_yaml

    what = f"table of conda names ({OWN})"
    found = {}
    for name, value in strict_yaml.load_mapping(strict_yaml.read_text(path, what), path, None).items():
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            raise EnvironmentException(
                f"{path}: {name!r} is no name of a conda package", allowed=["conda-name: pip-name"]
            )
        if not isinstance(value, str) or not _PIP_NAME.fullmatch(value):
            raise EnvironmentException(
                f"{path}: {name} is to be {value!r}, which is no name on the Python package index",
                allowed=["a name", "a name with extras: name[extra]"],
                hint="Versions stay with those who ask for the package",
            )
        found[name.lower()] = value
    return found


def _version(rest: str, text: str, where: str) -> str:
    if not rest or rest == "*":
        return ""
    # name=1.2=build and "name 1.2 build": the build string only conda can honour; the version is then exact.
    exact = re.fullmatch(r"={1,2}\s*([^\s=,<>!~|]+)\s*=\s*[^\s=,<>!~|]+", rest) or re.fullmatch(
        r"([0-9][^\s=,<>!~|]*)\s+[^\s=,<>!~|]+", rest
    )
    if exact:
        return _clause("==", exact[1], text, where)
    clauses = []
    for part in rest.split(","):
        match = _ONE.fullmatch(part.strip())
        if match is None:
            raise _bad(text, where)
        clauses.append(_clause(match[1] or "==", match[2], text, where))
    return ",".join(clauses)


def _clause(operator: str, version: str, text: str, where: str) -> str:
    from packaging.specifiers import InvalidSpecifier, SpecifierSet

    starred = version.endswith("*")
    bare = version.rstrip("*").rstrip(".")
    if operator == "=" and re.fullmatch(r"[0-9]+(\.[0-9]+)*", bare):
        clause = f"=={bare}.*"  # conda's fuzzy "=": 1.19 means every 1.19.x
    elif starred and operator in ("=", "==", "!="):
        clause = f"{'!=' if operator == '!=' else '=='}{bare}.*"
    elif starred:  # ">=1.2.*" is ">=1.2"
        clause = f"{operator}{bare}"
    else:
        clause = f"{'==' if operator == '=' else operator}{version}"
    try:
        SpecifierSet(clause)
    except InvalidSpecifier as error:
        raise _bad(text, where) from error
    return clause


def _bad(text: str, where: str) -> EnvironmentException:
    return EnvironmentException(
        f"{where}: {text!r} is not a package specification that can be used",
        allowed=["name", "name=1.2", "name==1.2.3", "name>=1.2,<2"],
        hint="Alternatives ('|') and brackets are not supported",
    )
