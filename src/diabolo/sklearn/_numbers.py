"""Data frames whose columns are no numbers: the error names the line that makes numbers of them."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.utils.validation import validate_data

from diabolo.datasets._match import listed
from diabolo.errors import DataError

__all__ = ["LINE", "validated"]

LINE = (
    'make_pipeline(make_column_transformer((SimpleImputer(strategy="median"), '
    'make_column_selector(dtype_include="number")), (OneHotEncoder(handle_unknown="ignore", sparse_output=False), '
    'make_column_selector(dtype_exclude="number"))), {name}())'
)
"""A pipeline of scikit-learn that fills missing numbers and turns categories into columns of 0 and 1."""


def validated(estimator: Any, X: Any, **options: Any) -> np.ndarray:
    """The numbers of X, as scikit-learn's `validate_data` gives them.

    Raises:
        DataError: X is a data frame with columns of text, categories, dates or missing values.
    """
    try:
        return np.asarray(validate_data(estimator, X, **options))
    except (TypeError, ValueError) as error:
        kinds = _kinds(X)
        if not kinds:
            raise
        words = "; ".join(f"{kind} in {listed(names)}" for kind, names in kinds.items())
        dates = "Turn dates into numbers first, such as (dates - dates.min()).dt.days. " if "dates" in kinds else ""
        name = type(estimator).__name__
        raise DataError(
            f"{name} takes numbers, and the data frame holds {words}. {dates}Let scikit-learn's ColumnTransformer make "
            f"numbers of the columns: {LINE.format(name=name)}. Or train by diabolo.train(frame, mixed=True)."
        ) from error


def _kinds(X: Any) -> dict[str, list[str]]:
    """What the columns of a data frame hold beside numbers: kind -> names."""
    kinds: dict[str, list[str]] = {}
    if not (hasattr(X, "iloc") and hasattr(X, "columns")):
        return kinds
    for place, name in enumerate(X.columns):
        column = X.iloc[:, place]
        letter = getattr(column.dtype, "kind", "O")
        kind = "dates" if letter in "Mm" else "text or categories" if letter not in "biuf" else ""
        if kind or bool(column.isna().any()):
            kinds.setdefault(kind or "missing values", []).append(str(name))
    return kinds
