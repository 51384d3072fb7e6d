"""Arrow functions on the raw columns: type check, canonical form, tf.Example layout."""

from __future__ import annotations

from typing import NamedTuple

from components.arrow import pa, pc
from components.contracts import features
from components.errors import UserError, listed
from components.input_files import partition_values

# Strings are valid UTF-8, dates are "YYYY-MM-DD", and missing values (null or blank) are null.
CANONICAL = pa.schema([(name, pa.string()) for name in features.RAW_COLUMNS])

_SHOWN = 40
_DATE_SHAPE = r"^\s*\d{4}-\d{2}-\d{2}"


class Canonical(NamedTuple):
    """A batch with the columns of ``CANONICAL``, rows as in the source."""

    batch: pa.RecordBatch
    unreadable_dates: int
    """Rows whose date was not an ISO date and is null now."""
    unreadable_date: str
    """The first of those dates in alphabetical order, cut; "" if none."""


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _accepts(name: str, kind: pa.DataType) -> bool:
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    if pa.types.is_null(kind) or _is_text(kind):
        return True
    if name == features.DATE:
        return bool(pa.types.is_date(kind) or pa.types.is_timestamp(kind))
    # Not floats: as a number, 0704.0010 loses its zeros.
    return bool(name == features.ID and pa.types.is_integer(kind))


def with_partitions(batch: pa.RecordBatch, path: str) -> pa.RecordBatch:
    """Adds the required columns that only the names of the file's folders hold, as strings."""
    arrays, names = list(batch.columns), list(batch.schema.names)
    for name, value in partition_values(path).items():
        if name in features.RAW_COLUMNS and name not in names:
            arrays.append(pa.array([value] * len(batch), pa.string()))
            names.append(name)
    return pa.RecordBatch.from_arrays(arrays, names=names)


def check_schema(schema: pa.Schema, path: str) -> None:
    """Checks that a parquet file has every required column once, with a readable type.

    Args:
        schema: the file's Arrow schema.
        path: the file, for the message and for columns in the names of its folders.

    Raises:
        UserError: it does not; names the file, the column and what the file has instead.
    """
    for name in features.RAW_COLUMNS:
        found = schema.get_all_field_indices(name)
        if not found and (name in features.OPTIONAL_COLUMNS or name in partition_values(path)):
            continue
        if not found:
            raise UserError(
                f"{path}: column {name!r} is missing; the file has {listed(schema.names)}. "
                "Rename or add it."
            )
        if len(found) > 1:
            raise UserError(f"{path}: column {name!r} occurs {len(found)} times. Keep one of them.")
        kind = schema.field(found[0]).type
        if not _accepts(name, kind):
            wanted = {
                features.DATE: "string, date or timestamp",
                features.ID: "string or integer",
            }.get(name, "string")
            raise UserError(
                f"{path}: column {name!r} has type {kind}; expected {wanted}. "
                "Convert it before ingestion."
            )


def _valid_utf8(column: pa.Array) -> pa.Array:
    raw = column.cast(pa.binary())
    try:
        return raw.cast(pa.string())
    except pa.ArrowInvalid:
        # Parquet readers do not validate strings. Replace invalid bytes, as text cleaning does.
        return pa.array(
            [None if v is None else v.decode("utf-8", "replace") for v in raw.to_pylist()],
            pa.string(),
        )


def _text(column: pa.Array) -> pa.Array:
    """Returns valid UTF-8 strings; blank ones become null."""
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    column = _valid_utf8(column) if _is_text(column.type) else column.cast(pa.string())
    blank = pc.equal(pc.utf8_trim_whitespace(column), "")
    return pc.if_else(blank, pa.scalar(None, pa.string()), column)


def _date(column: pa.Array) -> tuple[pa.Array, pa.Array]:
    """Returns dates as "YYYY-MM-DD" (of timestamps, in UTC), and the unreadable ones as strings."""
    if pa.types.is_timestamp(column.type):
        # Drops the zone; the instant is stored in UTC.
        column = column.cast(pa.timestamp(column.type.unit))
    if pa.types.is_timestamp(column.type) or pa.types.is_date(column.type):
        return column.cast(pa.date32(), safe=False).cast(pa.string()), pa.array([], pa.string())
    column = _text(column)
    shaped = pc.fill_null(pc.match_substring_regex(column, _DATE_SHAPE), False)
    head = pc.utf8_slice_codeunits(pc.utf8_ltrim_whitespace(column), 0, 10)
    head = pc.if_else(shaped, head, pa.scalar(None, pa.string()))
    days = pc.strptime(head, format="%Y-%m-%d", unit="s", error_is_null=True)
    back = days.cast(pa.date32(), safe=False).cast(pa.string())
    # strptime turns February 31 into March 3.
    dates = pc.if_else(pc.equal(back, head), head, pa.scalar(None, pa.string()))
    return dates, column.filter(pc.and_(pc.is_null(dates), pc.is_valid(column)))


def canonical(batch: pa.RecordBatch) -> Canonical:
    """Converts a batch whose schema passed :func:`check_schema` to ``CANONICAL``."""
    present = set(batch.schema.names)
    columns = {
        name: batch.column(batch.schema.get_field_index(name))
        if name in present
        else pa.nulls(batch.num_rows, pa.string())
        for name in CANONICAL.names
    }
    dates, unreadable = _date(columns.pop(features.DATE))
    texts = {name: _text(column) for name, column in columns.items()} | {features.DATE: dates}
    return Canonical(
        pa.RecordBatch.from_arrays([texts[name] for name in CANONICAL.names], schema=CANONICAL),
        len(unreadable),
        min(unreadable.to_pylist(), default="").strip()[:_SHOWN],
    )


def as_feature_lists(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Returns a canonical batch as ``list<binary>`` columns, as the tf.Example encoder needs them.

    Values become lists of one. Nulls stay null, and the encoder omits those features.
    """
    lists = []
    for column in batch.columns:
        valid = pc.is_valid(column).to_numpy(zero_copy_only=False)
        ends = valid.cumsum()
        offsets = pa.array([*(ends - valid), len(column) - column.null_count], pa.int32())
        if column.null_count:
            present = pa.concat_arrays([pc.is_valid(column), pa.array([True])])
            offsets = pc.if_else(present, offsets, pa.scalar(None, pa.int32()))
        lists.append(pa.ListArray.from_arrays(offsets, column.drop_null().cast(pa.binary())))
    return pa.RecordBatch.from_arrays(lists, names=batch.schema.names)
