"""Columns of every type become features; what was learnt is applied alike to new rows."""

from __future__ import annotations

import datetime as dt
import subprocess
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone

from stepwell.payload.automl import columns
from stepwell.payload.automl.columns import FeaturizationError, purpose_of
from stepwell.payload.automl.featurizer import Featurizer

ROWS = 120


def described(featurizer: Featurizer) -> dict[str, dict[str, Any]]:
    return {d["column"]: d for d in featurizer.described}


def features(featurizer: Featurizer, column: str) -> list[str]:
    return [f for f, c in featurizer.lineage.items() if c == column]


@pytest.mark.parametrize(
    ("values", "purpose"),
    [
        ([1.5, None] * 60, "Numeric"),
        ([True, False, None] * 40, "Numeric"),
        ([Decimal("1.5"), None] * 60, "Numeric"),
        (pd.array([1, None] * 60, dtype="Int64"), "Numeric"),
        (pd.to_timedelta(np.arange(ROWS), unit="h"), "Numeric"),
        (pd.date_range("2020-01-01", periods=ROWS), "DateTime"),
        (pd.date_range("2020-01-01", periods=ROWS, tz="Asia/Tokyo"), "DateTime"),
        ([dt.date(2020, 1, 1 + n % 28) for n in range(ROWS)], "DateTime"),
        ([f"2020-01-{1 + n % 28:02d}T10:00:00Z" for n in range(ROWS)], "DateTime"),
        (["a", "b", None] * 40, "Categorical"),
        (pd.Categorical(["a", "b", None] * 40), "Categorical"),
        ([f"key {n // 2 % 110}" for n in range(300)], "CategoricalHash"),
        ([f"the {n} words of text number {n * 7}" for n in range(ROWS)], "Text"),
        ([f"{n:08x}" for n in range(ROWS)], "Hashes"),
        ([None] * ROWS, "AllNan"),
        ([np.nan] * ROWS, "AllNan"),
        ([[1], [2]] * 60, "Ignore"),
        ([b"x", b"y"] * 60, "Ignore"),
    ],
)
def test_purposes(values: Any, purpose: str) -> None:
    assert purpose_of(pd.Series(values, name="column"))[0] == purpose


def test_numbers_that_count_the_rows_are_ids_only_by_name() -> None:
    count = np.arange(1, ROWS + 1)
    assert purpose_of(pd.Series(count, name="PassengerId"))[0] == "Hashes"
    assert purpose_of(pd.Series(count, name="day"))[0] == "Numeric"
    assert purpose_of(pd.Series(count * 3, name="id"))[0] == "Numeric"


def test_the_titanic(titanic: Path) -> None:
    frame = pd.read_csv(titanic).drop(columns="Survived")
    featurizer = Featurizer()
    X = featurizer.fit_transform(frame)
    purposes = {c: d["purpose"] for c, d in described(featurizer).items()}
    assert purposes == {
        "PassengerId": "Hashes", "Pclass": "Numeric", "Name": "Text", "Sex": "Categorical", "Age": "Numeric",
        "SibSp": "Numeric", "Parch": "Numeric", "Ticket": "CategoricalHash", "Fare": "Numeric",
        "Cabin": "CategoricalHash", "Embarked": "Categorical",
    }  # fmt: skip
    assert list(X.columns) == [f"f{n}" for n in range(X.shape[1])] == list(featurizer.lineage)
    kinds = [X[c].dtype.name for c in X]
    assert kinds == sorted(kinds, key=lambda k: k == "category"), "numbers first"
    assert set(kinds) == {"float64", "category"}
    assert not X.isna().any().any()
    age, marker = features(featurizer, "Age")
    assert X[age].iloc[5] == frame["Age"].median()
    assert X[marker].sum() == frame["Age"].isna().sum()
    assert described(featurizer)["PassengerId"]["dropped"]
    assert sum(d["features"] for d in featurizer.described) == X.shape[1]
    assert "mr" in {w for w, i in featurizer.encoders["Name"].vectorizer.vocabulary_.items()
                    if i in featurizer.encoders["Name"].words}  # fmt: skip


def test_new_rows_in_another_order_with_more_columns_and_unseen_values() -> None:
    frame = pd.DataFrame({"n": [1.0, 2.0, np.nan] * 40, "c": ["u", "v", None] * 40, "d": pd.Timestamp("2020-01-01")})
    frame.loc[::2, "d"] = pd.Timestamp("2021-03-04 05:06:07")
    featurizer = Featurizer().fit(frame)
    new = pd.DataFrame({"more": [1], "d": ["2021-03-04 05:06:07"], "c": ["w"], "n": [np.inf]}, index=[7])
    X = featurizer.transform(new)
    assert list(X.index) == [7]
    (category,) = features(featurizer, "c")
    assert list(X[category].cat.categories) == ["u", "v", "(missing)"]
    assert X[category].iloc[0] == "(missing)"
    number, marker = features(featurizer, "n")
    assert X[number].iloc[0] == 1.5
    assert X[marker].iloc[0] == 1
    np.testing.assert_array_equal(
        X[features(featurizer, "d")].to_numpy()[0],
        featurizer.transform(frame.iloc[[0]])[features(featurizer, "d")].to_numpy()[0],
    )
    with pytest.raises(FeaturizationError, match="lack the columns 'c', 'd'.*They have: 'n'"):
        featurizer.transform(frame[["n"]])
    assert featurizer.transform(frame.head(0)).shape == (0, X.shape[1])


def test_a_category_is_the_same_as_number_and_as_text() -> None:
    frame = pd.DataFrame({"c": [1, 2, 10] * 40})
    featurizer = Featurizer({"column_purposes": {"c": "Categorical"}}).fit(frame)
    for values in ([1.0, np.nan, 10.0], ["1", None, "10"], pd.Categorical(["1", None, "10"])):
        X = featurizer.transform(pd.DataFrame({"c": values}))
        assert X["f0"].tolist() == ["1", "(missing)", "10"]
    assert list(X["f0"].cat.categories) == ["1", "2", "10", "(missing)"], "in the order of numbers"


def test_dates_have_only_the_parts_that_change() -> None:
    frame = pd.DataFrame({"d": pd.date_range("2020-01-01", periods=ROWS, freq="D")})
    featurizer = Featurizer().fit(frame)
    (entry,) = featurizer.described
    assert entry["steps"] == ["DateTimeTransformer (month, day, dayofweek, dayofyear, quarter, days)"]
    assert featurizer.transform(frame).iloc[31].tolist() == [2, 1, 5, 32, 1, 18293]


def test_columns_that_say_nothing_are_left_out() -> None:
    frame = pd.DataFrame({"n": range(ROWS), "same": 1, "word": "x", "nothing": None, "once": pd.Timestamp("2020")})
    featurizer = Featurizer().fit(frame)
    assert set(featurizer.lineage.values()) == {"n"}
    assert all(d["why"] for d in featurizer.described)
    with pytest.raises(FeaturizationError, match="No column is left.*'same' has the same value everywhere"):
        Featurizer().fit(frame[["same", "nothing"]])


def test_text_without_common_words_and_long_text() -> None:
    rng = np.random.default_rng(0)
    words = [f"word{n}" for n in range(200)]
    frame = pd.DataFrame({
        "alone": [f"aa{n} bb{n} cc{n}" for n in range(ROWS)],
        "long": [" ".join(rng.choice(words, 20)) for _ in range(ROWS)],
    })  # fmt: skip
    featurizer = Featurizer().fit(frame)
    assert described(featurizer)["alone"]["why"] == "no word occurs twice"
    assert "TruncatedSVD (16 topics)" in described(featurizer)["long"]["steps"]
    new = pd.DataFrame({"alone": [None], "long": [None]})
    assert np.isfinite(featurizer.transform(new).to_numpy()).all()


def test_the_configuration_counts() -> None:
    frame = pd.DataFrame({
        "n": [1.0, 5.0, np.nan] * 100, "m": [1.0, 2.0, 9.0] * 100, "c": ["u", "u", None] * 100,
        "many": [f"{n // 2}x" for n in range(300)], "t": [f"some words of {n}" for n in range(300)],
    })  # fmt: skip
    params = {
        "Imputer": [[["n"], {"strategy": "constant", "fill_value": -7}], [["c"], {"strategy": "most_frequent"}]],
        "HashOneHotEncoder": [[[], {"number_of_bits": 4}]],
    }
    featurizer = Featurizer({
        "drop_columns": ["m"],
        "column_purposes": {"t": "Ignore"},
        "blocked_transformers": ["ImputationMarker"],
        "transformer_params": params,
    }).fit(frame)  # fmt: skip
    X = featurizer.transform(frame)
    (n,) = features(featurizer, "n")
    assert X[n].iloc[2] == -7
    (c,) = features(featurizer, "c")
    assert X[c].iloc[2] == "u"
    assert described(featurizer)["m"]["why"] == "is dropped by the configuration"
    assert described(featurizer)["t"]["dropped"]
    assert len(X[features(featurizer, "many")[-1]].cat.categories) == 16
    left = Featurizer({"blocked_transformers": ["Imputer", "TfIdf", "HashOneHotEncoder"]}).fit(frame)
    assert left.transform(frame)[features(left, "n")[0]].isna().sum() == 100
    assert described(left)["t"]["dropped"]
    assert described(left)["many"]["purpose"] == "Categorical"


@pytest.mark.parametrize(
    ("configuration", "message"),
    [
        ({"column_purposes": {"n": "DateTime"}}, "holds numbers, which are no dates"),
        ({"column_purposes": {"c": "Numeric"}}, "'c' holds no numbers"),
        ({"column_purposes": {"c": "Number"}}, "'Number', given for the column 'c', is not a purpose"),
        ({"transformer_params": {"Imputer": [[[], {"strategy": "guess"}]]}}, "'guess' is not a strategy"),
        ("off", "'c' holds no numbers .*featurization is 'off'"),
    ],
)
def test_what_cannot_be_is_refused(configuration: Any, message: str) -> None:
    frame = pd.DataFrame({"n": [1.0, 5.0, 2.0] * 10, "c": ["u", "v", "w"] * 10})
    with pytest.raises(FeaturizationError, match=message):
        Featurizer(configuration).fit(frame)


def test_off_leaves_numbers_as_they_are() -> None:
    frame = pd.DataFrame({"n": [1.0, np.nan, np.inf] * 10, "b": True, "e": None})
    X = Featurizer("off").fit_transform(frame)
    assert X.shape == (30, 2)
    assert X["f0"].isna().sum() == 20
    assert (X["f1"] == 1).all()


def test_it_can_be_cloned_and_knows_its_features() -> None:
    frame = pd.DataFrame({"a": range(30), "b": ["x", "y", "z"] * 10})
    featurizer = clone(Featurizer("auto", seed=3)).fit(frame)
    assert list(featurizer.get_feature_names_out()) == ["f0", "f1"]
    assert featurizer.lineage == {"f0": "a", "f1": "b"}


def test_it_can_be_saved_by_value_and_used_without_stepwell(tmp_path: Path) -> None:
    cloudpickle = pytest.importorskip("cloudpickle")
    from stepwell.payload.automl import encoders, featurizer

    frame = pd.DataFrame({
        "n": [1.0, None, 3.0] * 20, "c": ["u", "v", None] * 20, "d": pd.date_range("2020-01-01", periods=60),
        "many": [f"k{n // 2 % 25} z" for n in range(60)], "t": [f"these are words of {n}" for n in range(60)],
    })  # fmt: skip
    fitted = Featurizer({"column_purposes": {"many": "CategoricalHash"}}).fit(frame)
    modules = [columns, encoders, featurizer]
    for module in modules:
        cloudpickle.register_pickle_by_value(module)
    try:
        (tmp_path / "model").write_bytes(cloudpickle.dumps(fitted))
    finally:
        for module in modules:
            cloudpickle.unregister_pickle_by_value(module)
    frame.to_json(tmp_path / "data.json")
    script = (
        "import sys, cloudpickle, pandas as pd\n"
        "X = cloudpickle.load(open('model', 'rb')).transform(pd.read_json('data.json', convert_dates=['d']))\n"
        "assert not [m for m in sys.modules if m.startswith('stepwell')], sys.modules\n"
        "print(X.shape)"
    )
    run = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, env={}, capture_output=True, text=True, check=False
    )
    assert run.stdout.strip() == str(fitted.transform(frame).shape), run.stderr


def test_no_copy_of_numbers_beside_the_result() -> None:
    import tracemalloc

    frame = pd.DataFrame(np.random.default_rng(0).normal(size=(50_000, 20)), columns=[f"n{i}" for i in range(20)])
    featurizer = Featurizer().fit(frame)
    size = frame.memory_usage(index=False).sum()
    tracemalloc.start()
    featurizer.transform(frame)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1.2 * size
