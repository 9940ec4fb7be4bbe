"""Conda's package specifications in the words of pip: a small table of names, and the grammar of versions.

Only names known to be the same software are taken over. Guessing that a conda name means the same on a Python package
index would sooner or later install something unrelated that happens to have that name.
"""

from __future__ import annotations

import re
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

_SPEC = re.compile(r"(?:(?P<channel>[^\s:\[\]]+)::)?(?P<name>[A-Za-z0-9_][A-Za-z0-9_.\-]*)\s*(?P<rest>[^\[\]]*)")
_ONE = re.compile(r"(===?|!=|>=|<=|~=|=|>|<)?\s*([0-9][0-9A-Za-z_.+!\-]*(?:\.?\*)?)")


class CondaSpec(NamedTuple):
    """A conda specification taken apart: *name* as conda writes it, *version* in pip's words ("" = any)."""

    name: str
    version: str


def parse(text: str, where: str) -> CondaSpec:
    """Take the conda specification *text* apart ("numpy=1.19", "conda-forge::xgboost>=1.7,<2", "python 3.11").

    :param where: file and line, for messages.
    :raises EnvironmentException: it is none, or uses alternatives ("|") or brackets.
    """
    match = _SPEC.fullmatch(text.strip())
    if match is None:
        raise _bad(text, where)
    return CondaSpec(match["name"].lower(), _version(match["rest"].strip(), text, where))


def to_pip(spec: CondaSpec) -> str | None:
    """Return the pip requirement for *spec*, or ``None`` when only conda is known to have it."""
    plain = spec.name.replace("_", "-")
    name = RENAMED.get(spec.name) or RENAMED.get(plain) or (plain if plain in SAME else None)
    return None if name is None else name + spec.version


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
