"""From the `RawData` of a reader to a `Dataset`: element type, finite values, layout, labels; and arrays as sources."""

from __future__ import annotations

import math
import numbers
from typing import Any

import numpy as np

from diabolo.datasets._dataset import Array, Dataset, chunks
from diabolo.datasets._layouts import check_layout, layout_of
from diabolo.datasets._read_options import ReadOptions
from diabolo.datasets._readers import RawData, register_reader
from diabolo.datasets._scalars import float_of, kind_of
from diabolo.datasets._store import Cast, Store, as_store
from diabolo.errors import DataError
from diabolo.storage.files import text_of
from diabolo.storage.foreign import as_array, reading

LOSS = 1e-3  # of the spread of a column, which float32 may move a value by
FEW = 10  # examples that are too few to guess from
LOW = 64  # bytes that all lie below were never meant to reach 255

DEPTHS = (255, 1023, 4095, 16383, 65535)
"""The largest values of 8, 10, 12, 14 and 16 bits."""

__all__ = ["as_examples", "as_numpy", "encode_labels", "to_dataset"]


def to_dataset(raw: RawData, layout: str | None = None, white: int | str = "auto") -> Dataset:
    """Checks and converts the data of a reader.

    Raises:
        DataError: empty, not numeric, NaN or infinite, labels of another length.
        ShapeError: no layout could be told from the shape, or the given one does not fit it.
    """
    x: Any = raw.x
    _check_size(x, raw.name)
    _check_kind(x, raw.name)
    about: tuple[str, ...] = ()
    layout = layout or raw.layout
    if layout is None:
        layout, about = layout_of(x.shape, x.dtype)
    check_layout(layout, x.shape)
    one, notes = _white(x, layout, white)
    notes = about + notes
    converted = _convert(x, one, layout, exact=white != "full")
    features = raw.features if layout == "F" else ()
    store, pictures = as_store(converted), layout in ("HW", "HWC", "CHW")  # a store checks what is read of it
    if converted.dtype == np.float64:
        notes += ("values lie close together far from zero: kept as float64, of which float32 would lose much",)
    if converted.dtype != np.uint8 and (store is None or pictures):
        low, high = _check_finite(converted, x, features, raw.name) if store is None else _extremes(store)
        if pictures and (low < 0 or high > 1):
            words = f"pixel values lie between {low:g} and {high:g}, not between 0 and 1, and are taken as they are"
            notes += (f"{words} (scaling='range' of the training brings them there)",)
    y, classes = (None, ()) if raw.labels is None else encode_labels(raw.labels, len(x), raw.classes)
    return Dataset(
        x=converted,
        layout=layout,
        name=text_of(raw.name),
        y=y,
        classes=tuple(map(text_of, classes)),
        features=tuple(map(text_of, features)),
        ids=tuple(map(text_of, raw.ids)),
        official_test=raw.official_test,
        notes=tuple(map(text_of, raw.notes + notes)),
        factors=raw.factors,
        white=one,
        codes=raw.codes,
        decimal=raw.decimal,
    )


def as_numpy(source: Any) -> Array:
    """Anything array-like as a NumPy array: lists, torch tensors on any device, sparse matrices, data frames.

    Raises:
        DataError: rows of different lengths, or masked values.
    """
    if hasattr(source, "detach") and hasattr(source, "cpu"):
        return _from_torch(source)
    if isinstance(source, np.ma.MaskedArray):
        if np.ma.is_masked(source):
            raise DataError("The array has masked values, which would count as real ones. Fill or remove them first.")
        return np.asarray(source.data)
    if hasattr(source, "toarray") and hasattr(source, "nnz"):
        return np.asarray(source.toarray())
    return as_array("The examples", source)


def as_examples(source: Any) -> Array:
    """Anything array-like as an array of numbers, objects that are numbers or arrays of one shape included.

    Raises:
        DataError: examples of different shapes, or masked values.

    >>> as_examples(np.array([[1, None]], dtype=object)).tolist()
    [[1.0, nan]]
    """
    array = as_numpy(source)
    if array.dtype != object or not array.size:
        return array
    if array.ndim == 1 and all(np.ndim(item) for item in array):
        return as_array("The examples", list(array))
    kinds = [kind_of(value) for value in array.flat]
    if {*kinds} - {"number", "missing"}:
        return array
    values = (float_of(value) if kind == "number" else math.nan for value, kind in zip(array.flat, kinds, strict=True))
    return np.fromiter(values, np.float64, array.size).reshape(array.shape)


def encode_labels(labels: Any, count: int, classes: tuple[str, ...] = ()) -> tuple[Array, tuple[str, ...]]:
    """Labels as (y, classes): int64 indices and names, or float32 and () where they are continuous.

    Whole numbers are classes unless nearly every example has its own: more than 100 of them, and more than half as
    many as examples (a twentieth, where they were written as floats). `classes` names them where they are 0, 1, ...

    Raises:
        DataError: not one label for each example, a missing label.
    """
    ordered = _ordered(labels)
    if ordered is not None:
        labels, classes = ordered
    values = as_numpy(labels)
    if values.ndim == 2 and values.shape[1] == 1:
        values = values[:, 0]
    if values.ndim != 1 or len(values) != count:
        received = f"{len(values):,} labels" if values.ndim == 1 else f"labels of shape {values.shape}"
        raise DataError(f"Received {received} for {count:,} examples: give one label for each example.")
    values = _plain(values)
    if values.dtype.kind == "f":
        with np.errstate(over="ignore"):  # what is too large becomes infinite, and is refused
            numbers = values.astype(np.float32)
        if not np.isfinite(numbers).all():
            where = int(np.flatnonzero(~np.isfinite(numbers))[0])
            raise DataError(
                f"The label of example {where} is missing or infinite, or beyond 3.4e38 ({values[where]}). Fill it in "
                "or leave that row out."
            )
        is_whole = bool((values == np.floor(values)).all() and (np.abs(values) < 2**53).all())
        if not is_whole or len(np.unique(values)) > max(100, count // 20):
            return numbers, ()
        values = values.astype(np.int64)
    if classes and values.dtype.kind in "iu":
        inside = (values >= 0) & (values < len(classes))
        # An index without a name, such as -1, is a missing label; 1 to K for K names is another way to count.
        if inside.all() or (inside.any() and not (values.min() == 1 and values.max() == len(classes))):
            return np.where(inside, values, -1).astype(np.int64), classes
    names, y = np.unique(values, return_inverse=True)
    if values.dtype.kind in "iu" and len(names) > max(100, count // 2):
        return values.astype(np.float32), ()
    return y.reshape(-1).astype(np.int64), tuple(str(name) for name in names)


def _is_bunch(source: Any) -> bool:
    return isinstance(source, dict) and ("data" in source or "images" in source)


@register_reader("bunch", kind="object", accepts=_is_bunch, takes=("labels",), rank=20)
def _read_bunch(bunch: dict[str, Any], options: ReadOptions) -> RawData:
    """A scikit-learn Bunch, or any dictionary like it; `images` rather than `data`, where both are there."""
    if options.label is not None and options.label not in bunch:
        raise DataError(f"labels={options.label!r} is not among the entries: {', '.join(map(str, bunch))}.")
    x = as_examples(bunch["images"] if bunch.get("images") is not None else bunch["data"])
    names = bunch.get("target_names")
    features = bunch.get("feature_names")
    return RawData(
        x=x,
        name="bunch",
        labels=bunch.get(options.label or "target"),
        classes=() if names is None or isinstance(names, str) else tuple(map(str, names)),
        features=tuple(map(str, features)) if features is not None and x.ndim == 2 else (),
    )


@register_reader("array", kind="object", accepts=lambda source: source is not None, rank=90)
def _read_array(source: Any, _: ReadOptions) -> RawData:
    """Anything array-like. A memory map and a `Store` stay what they are: nothing of them is read yet."""
    return RawData(x=source if isinstance(source, (np.memmap, Store)) else as_examples(source), name="array")


def _check_size(x: Array, name: str) -> None:
    if x.ndim == 0:
        raise DataError(f"{name} holds a single value or object ({x.dtype}), not an array of examples, (N, ...).")
    if x.size == 0:
        raise DataError(f"{name} is empty: its shape is {x.shape}. At least one example of one value is needed.")


def _check_kind(x: Array, name: str) -> None:
    if x.dtype.kind not in "biuf":
        what = {"O": "Python objects", "c": "complex numbers", "U": "text", "S": "text", "M": "dates", "m": "times"}
        raise DataError(
            f"{name} holds {what.get(x.dtype.kind, 'structured records')} ({x.dtype}); expected integers, floats or "
            "booleans. Convert it to numbers first (complex ones: real and imaginary parts as two channels)."
        )


def _extremes(store: Store) -> tuple[float, float]:
    """The smallest and the largest value of the first examples of up to eight blocks."""
    starts = store.blocks[np.unique(np.linspace(0, len(store.blocks) - 2, 8).astype(np.int64))].tolist()
    some = [store.read(start, min(start + 16, len(store))) for start in starts]
    return min(float(part.min()) for part in some), max(float(part.max()) for part in some)


def _white(x: Any, layout: str, white: int | str) -> tuple[int | None, tuple[str, ...]]:
    """The whole number that stands for 1, and what to say about it; None where values stay as they are.

    Of bytes, and of pixels of 16 bits, it is the largest value where that is below 64 (masks, label maps, digits from
    0 to 16); otherwise 255, or what 10, 12, 14 or 16 bits can hold. The values of a table are not scaled.
    """
    is_byte, most = x.dtype == np.uint8, 255 if x.dtype.itemsize == 1 else 65535
    if not is_byte and not (x.dtype.kind == "u" and x.itemsize == 2 and layout in ("HW", "HWC", "CHW")):
        return None, ()
    is_known = is_byte and (white in ("full", 255) or (white == "auto" and len(x) < FEW))
    high = 0 if is_known else _highest(x, most)
    if isinstance(white, int):
        if high > white > 1:
            raise DataError(f"The values go up to {high}, above white={white}. Leave it out, or name a larger one.")
        return white, ()
    one = most if not high or white == "full" else _white_of(high, len(x))
    if is_byte and one == 255:
        words = "bytes, taken for pixels: scaled to [0, 1] by 255 (white=1 takes them for numbers)"
        return 255, (words,) if layout == "F" and white == "auto" else ()
    words = f"{x.dtype.name} from 0 to {high}"
    if layout == "F":
        return 1, (f"{words}, taken for numbers rather than pixels (white=255 scales them to [0, 1] by 255)",)
    if not is_byte and one == most:
        return most, ("16-bit images, scaled to [0, 1] by 65535 (white= names another number)",)
    return one, (f"{words}, scaled to [0, 1] by {one} (white={most} scales them by {most})",)


def _white_of(high: int, count: int) -> int:
    """What a largest value stands for: itself, where it is low among enough examples; else the most of as many bits."""
    return high if high < LOW and count >= FEW else next(most for most in DEPTHS if most >= high)


def _highest(x: Any, most: int) -> int:
    """The largest value of whole numbers, or one of more than half of `most`; of a store, that of samples."""
    store, high = as_store(x), 0
    if store is not None:
        try:
            return int(_extremes(store)[1])
        except DataError:  # a broken example is named when it is used
            return most
    for _, chunk in chunks(x):
        high = max(high, int(chunk.max()))
        if high > most // 2:
            break
    return high


def _loses(x: Array, converted: Array, layout: str) -> bool:
    """Whether float32 moves the values of a column or channel by more than a thousandth of their spread."""
    if x.dtype.kind not in "iuf" or layout in ("HW", "HWC", "CHW") or not np.isfinite(converted).all():
        return False
    axes = {"F": (0,), "LC": (0, 1), "CL": (0, 2)}.get(layout)
    values = x if x.dtype.kind != "f" or x.dtype.itemsize <= 8 else x.astype(np.float64)
    with np.errstate(over="ignore", invalid="ignore"):
        moved = np.abs(values - converted.astype(np.float64)).max(axes)
        spread = np.asarray(values - np.asarray(values[:1]), np.float64).std(axes)
    return bool((moved > LOSS * spread).any())


def _convert(x: Any, white: int | None, layout: str, exact: bool) -> Any:
    """The examples as uint8 or float32, divided by what stands for 1.

    float64 where float32 would lose what tells examples apart: times, order numbers, coordinates in metres.
    """
    if x.dtype == np.uint8 and white == 255:
        return x
    store = as_store(x)
    if store is not None:
        return store if store.dtype == np.float32 else Cast(store, 1 / (white or 1))
    with np.errstate(over="ignore"):
        converted = x if x.dtype == np.float32 else np.asarray(x).astype(np.float32)
    if exact and x.dtype.itemsize > 2 and _loses(x, converted, layout):
        return np.asarray(x).astype(np.float64)
    return converted / np.float32(white) if white is not None and white != 1 else converted


def _check_finite(x: Array, original: Array, features: tuple[str, ...], name: str) -> tuple[float, float]:
    """The smallest and largest value of `x`; DataError where one is not finite."""
    bad, first, low, high = 0, -1, math.inf, -math.inf
    for start, chunk in chunks(x):
        finite = np.isfinite(chunk)
        if finite.all():
            low, high = min(low, float(chunk.min())), max(high, float(chunk.max()))
            continue
        bad += int(chunk.size - finite.sum())
        if first < 0:
            first = start + int(np.flatnonzero(~finite.reshape(len(chunk), -1).all(axis=1))[0])
    if not bad:
        return low, high
    position = tuple(int(i) for i in np.argwhere(~np.isfinite(x[first]))[0])
    where = f"column {features[position[0]]!r}" if features else f"position {position}"
    value = original[first][position]
    why = f", which is too large for float32 ({value:g})" if np.isfinite(value) else f" ({value})"
    raise DataError(
        f"{name} holds {bad:,} of {x.size:,} values that are NaN or infinite, and every value must be finite. "
        f"The first is in example {first}, {where}{why}. Remove those examples or fill the values in"
        f"{', or have mixed=True (--mixed) fill what is missing' if features and np.isnan(value) else ''}."
    )


def _from_torch(tensor: Any) -> Array:
    with reading("The tensor", DataError, form="an array", remedy="Give a dense one of numbers."):
        tensor = tensor.detach().cpu()
        tensor = tensor if str(tensor.layout) == "torch.strided" else tensor.to_dense()
        try:
            return np.asarray(tensor.numpy())
        except TypeError:  # bfloat16 and the 8-bit floats have no NumPy type
            return np.asarray(tensor.float().numpy())


def _ordered(labels: Any) -> tuple[Array, tuple[str, ...]] | None:
    """The indices and the names of labels whose categories have an order: pandas' ordered ones, polars' Enum."""
    kind = getattr(labels, "dtype", None)
    if kind is not None and getattr(kind, "ordered", None) and hasattr(kind, "categories"):
        values = getattr(labels, "array", labels)
        codes, names = np.asarray(values.codes), [str(name) for name in kind.categories]
    elif type(kind).__name__ == "Enum" and hasattr(labels, "to_physical"):
        missing = labels.is_null().to_numpy()
        codes = np.where(missing, -1, labels.to_physical().fill_null(0).to_numpy().astype(np.int64))
        names = [str(name) for name in labels.cat.get_categories()]
    else:
        return None
    if (codes < 0).any():
        raise _missing_label(codes < 0)
    used, places = np.unique(codes, return_inverse=True)
    return places.reshape(-1).astype(np.int64), tuple(names[i] for i in used)


def _missing_label(missing: Array) -> DataError:
    first = int(np.flatnonzero(missing)[0])
    return DataError(f"The label of example {first} is missing ({int(missing.sum()):,} in all). Fill it in.")


def _plain(values: Array) -> Array:
    """Labels of Python objects or text as the simplest array that holds them: numbers, otherwise text."""
    if values.dtype.kind == "b":
        return values.astype(str)
    if values.dtype.kind in "iuf":
        return values
    objects = [value.decode("utf-8", "replace") if isinstance(value, bytes) else value for value in list(values)]
    kinds = [kind_of(value) for value in objects]
    missing = np.array(
        [
            kind == "missing" or (kind == "other" and str(value) == "")
            for kind, value in zip(kinds, objects, strict=True)
        ]
    )
    if missing.any():
        raise _missing_label(missing)
    if values.dtype.kind == "O" and all(isinstance(value, (bool, np.bool_)) for value in objects):
        return np.array(objects).astype(str)
    if values.dtype.kind == "O" and {*kinds} == {"number"}:
        whole = all(isinstance(value, numbers.Integral) for value in objects)
        return np.array([int(value) if whole else float_of(value) for value in objects])
    return np.array([str(value) for value in objects])
