"""Arrow functions on the raw columns: type check, canonical form, tf.Example layout."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import NamedTuple

from components.arrow import pa, pc
from components.contracts.columns import ARXIV, Columns
from components.errors import UserError
from components.input_files import check_columns, partition_values

# Columns by their role, whatever the user calls them.
ID, TEXT, LABEL, DATE, CATEGORY = "id", "text", "label", "date", "category"
# Strings are valid UTF-8, dates are "YYYY-MM-DD", and missing values (null or blank) are null.
CANONICAL = pa.schema([(role, pa.string()) for role in (ID, TEXT, LABEL, DATE, CATEGORY)])

_SHOWN = 40
_DATE_SHAPE = r"^\s*\d{4}-\d{2}-\d{2}"


class Canonical(NamedTuple):
    """A batch with the columns of ``CANONICAL``, rows as in the source."""

    batch: pa.RecordBatch
    unreadable_dates: int
    """Rows whose date was not an ISO date and is null now."""
    unreadable_date: str
    """The first of those dates in alphabetical order, cut; "" if none."""
    padded_labels: int
    """Rows whose label had blanks around it."""


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _accepts(role: str, kind: pa.DataType) -> bool:
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    if pa.types.is_null(kind) or _is_text(kind):
        return True
    if role == DATE:
        return bool(pa.types.is_date(kind) or pa.types.is_timestamp(kind))
    if role == LABEL and pa.types.is_boolean(kind):
        return True
    # Not floats: as a number, 0704.0010 loses its zeros.
    return role in (ID, LABEL) and bool(pa.types.is_integer(kind))


_TYPES = {
    DATE: "string, date or timestamp",
    ID: "string or integer",
    LABEL: "string, integer or boolean",
}


def with_partitions(batch: pa.RecordBatch, path: str, wanted: Collection[str]) -> pa.RecordBatch:
    """Adds the wanted columns that only the names of the file's folders hold, as strings."""
    arrays, names = list(batch.columns), list(batch.schema.names)
    for name, value in partition_values(path).items():
        if name in wanted and name not in names:
            arrays.append(pa.array([value] * len(batch), pa.string()))
            names.append(name)
    return pa.RecordBatch.from_arrays(arrays, names=names)


def check_schema(schema: pa.Schema, path: str, columns: Columns = ARXIV) -> None:
    """Checks that a parquet file has every required column once, with a readable type.

    Args:
        schema: the file's Arrow schema.
        path: the file, for the message and for columns in the names of its folders.
        columns: the names of the columns.

    Raises:
        UserError: it does not; names the file, the columns and what the file has instead.
    """
    in_folders = [name for name in partition_values(path) if name not in schema.names]
    present = [*schema.names, *in_folders]
    wanted = [*columns.required, *(name for name in columns.optional if name in present)]
    check_columns(wanted, present, path, remedy="; name yours in [data.columns]")
    for role, names in columns.by_role().items():
        for name in names:
            index = schema.get_field_index(name)
            kind = schema.field(index).type if index >= 0 else pa.null()
            if not _accepts(role, kind):
                raise UserError(
                    f"{path}: column {name!r} has type {kind}; expected "
                    f"{_TYPES.get(role, 'string')}. Convert it before ingestion."
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


def _joined(columns: Sequence[pa.Array]) -> pa.Array:
    """Joins the texts of each row by newlines; null where all are null."""
    joined, *rest = columns
    for column in rest:
        # Null where one of the two is; pyarrow's own null_handling="skip" loses rows.
        both = pc.binary_join_element_wise(joined, column, "\n")
        joined = pc.coalesce(both, joined, column)
    return joined


def canonical(batch: pa.RecordBatch, columns: Columns = ARXIV) -> Canonical:
    """Converts a batch whose schema passed :func:`check_schema` to ``CANONICAL``."""
    nothing = pa.nulls(batch.num_rows, pa.string())
    indices = batch.schema.get_all_field_indices
    raw = {
        role: [batch.column(index) for name in names for index in indices(name)]
        for role, names in columns.by_role().items()
    }
    dates, unreadable = _date((raw.pop(DATE, None) or [nothing])[0])
    found = {
        role: _joined([_text(one) for one in arrays]) for role, arrays in raw.items() if arrays
    }
    # Blanks around a label never mean another class.
    trimmed = pc.utf8_trim_whitespace(found[LABEL])
    padded = pc.sum(pc.not_equal(trimmed, found[LABEL])).as_py() or 0
    found |= {LABEL: trimmed, DATE: dates}
    return Canonical(
        pa.RecordBatch.from_arrays(
            [found.get(role, nothing) for role in CANONICAL.names], schema=CANONICAL
        ),
        len(unreadable),
        min(unreadable.to_pylist(), default="").strip()[:_SHOWN],
        padded,
    )


def as_feature_lists(batch: pa.RecordBatch, columns: Columns = ARXIV) -> pa.RecordBatch:
    """Returns a canonical batch as ``list<binary>`` columns, as the tf.Example encoder needs them.

    They have the names of the features; a role without a column has none.

    Values become lists of one. Nulls stay null, and the encoder omits those features.
    """
    lists = {}
    names = columns.features()
    for role, column in zip(batch.schema.names, batch.columns, strict=True):
        if role not in names:
            continue
        valid = pc.is_valid(column).to_numpy(zero_copy_only=False)
        ends = valid.cumsum()
        offsets = pa.array([*(ends - valid), len(column) - column.null_count], pa.int32())
        if column.null_count:
            present = pa.concat_arrays([pc.is_valid(column), pa.array([True])])
            offsets = pc.if_else(present, offsets, pa.scalar(None, pa.int32()))
        lists[names[role]] = pa.ListArray.from_arrays(offsets, column.drop_null().cast(pa.binary()))
    return pa.RecordBatch.from_arrays(list(lists.values()), names=list(lists))
