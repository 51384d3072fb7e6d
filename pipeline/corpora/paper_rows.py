"""Makes tables from the rows of arXiv's metadata dump, or of a file of one's own."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping, Sequence
from operator import itemgetter
from pathlib import Path
from typing import Any

import tomli

from components.arrow import pa, pc
from components.contracts.columns import Columns
from components.contracts.features import ABSTRACT, CATEGORY, ID, LABEL
from components.errors import UserError
from components.packed_files import Source
from pipeline.corpora.row_source import Rows, Tally, json_rows, rows
from pipeline.corpora.sample import SCHEMA

SUBJECTS_FILE = Path(__file__).with_name("arxiv_subjects.toml")
LINE = pa.field("line", pa.int64())
"""The line of the file that a row begins in."""

_CATEGORIES = "categories"
_DUMP = pa.schema(
    [*(one for one in SCHEMA if one.name not in (CATEGORY, LABEL)), (_CATEGORIES, pa.string())]
)
_NEEDED = (ID, ABSTRACT, _CATEGORIES)
_WRONG_TYPE = (pa.ArrowException, TypeError, ValueError, OverflowError)

# What comments or abstract of a withdrawn paper say: "This paper has been withdrawn by the author",
# "Paper withdrawn", "Withdrawn due to an error", "The authors have withdrawn this article". Not "a
# plate is withdrawn from a bath", nor "replaces an earlier paper that was withdrawn".
_PAPER = (
    "(?:paper|article|manuscript|preprint|submission|work|note|report|version|translation|letter)s?"
)
_WITHDRAWN = (
    rf"(?i)(?:^|[.!?]\s)\W*(?:{_PAPER}\s+(?:(?:is|was|has been)\s+)?)?withdrawn\b"
    rf"|\b(?:this|the|our|present)\s+(?:[\w-]+\s+){{0,2}}{_PAPER}\s+(?:\w+\s+){{0,3}}?"
    r"(?:is|was|has|had)\s+(?:\w+\s+){0,2}withdrawn\b"
    rf"|\bha(?:ve|s) withdrawn th(?:is|e) {_PAPER}\b"
)


def load_subjects(path: Path = SUBJECTS_FILE) -> dict[str, str]:
    """Loads {archive or category: subject, or "" for none}.

    Raises:
        UserError: the file cannot be read, or is not of that form.
    """
    try:
        subjects = tomli.loads(path.read_text(encoding="utf-8")).get("subjects")
    except (OSError, UnicodeDecodeError, tomli.TOMLDecodeError) as error:
        raise UserError(f"{path}: cannot be read as TOML ({error})") from None
    if not isinstance(subjects, dict) or not subjects:
        raise UserError(f'{path}: has no table [subjects] of rows such as cs = "computing"')
    for archive, subject in subjects.items():
        if not isinstance(subject, str) or subject != subject.strip():
            raise UserError(
                f"{path}: the subject of {archive!r} is {subject!r}; give a string without blanks "
                'around it, or "" for none (write a category in quotes: "math.ST")'
            )
    return subjects


def dump_papers(source: Source, tally: Tally, subjects: Mapping[str, str]) -> Iterator[pa.Table]:
    """Reads arXiv's metadata dump, one JSON object a line, as Kaggle has it.

    Yields:
        The columns of ``sample.SCHEMA`` and ``LINE``, texts as they are; without the rows that
        are no papers, are withdrawn, or whose first category has no subject.

    Raises:
        UserError: none of the first lines is a paper of the dump.
    """
    known = False
    for part in json_rows(source, tally):
        known = known or any(all(name in row for name in _NEEDED) for _, row in part)
        if not known and tally.rows:
            reason = next(iter(tally.left_out), "other keys")
            raise UserError(
                f"{source.name}: no dump of arXiv's metadata: none of its first {tally.rows:,} "
                f"lines is a JSON object with {', '.join(_NEEDED)} (the first: {reason}). For a "
                "file of your own give --text and --label"
            )
        table = _table(part, _DUMP, tally)
        # Other exports separate categories by commas.
        first = pc.extract_regex(table[_CATEGORIES], r"^[\s,]*(?P<first>[^\s,]+)")
        primary = pc.struct_field(first.combine_chunks(), [0]).dictionary_encode()
        names = [
            subjects.get(name, subjects.get(name.partition(".")[0])) if name else None
            for name in primary.dictionary.to_pylist()
        ]
        table = table.append_column(CATEGORY, primary.cast(pa.string()))
        table = table.append_column(LABEL, pa.array(names, pa.string()).take(primary.indices))
        said = (pc.match_substring_regex(table[n], _WITHDRAWN) for n in (ABSTRACT, "comments"))
        wrong = {
            "no id": _blank(table[ID]),
            "no abstract": _blank(table[ABSTRACT]),
            "withdrawn": pc.or_(*(pc.fill_null(one, False) for one in said)),
            "no category": pc.is_null(table[CATEGORY]),
            "unknown archive": pc.is_null(table[LABEL]),
            "archive without a subject": pc.equal(table[LABEL], ""),
        }
        yield without(wrong, table.select([*SCHEMA.names, LINE.name]), tally)


def own_schema(columns: Columns) -> pa.Schema:
    """Returns the schema of a file of one's own: the columns that have a role, as strings."""
    return pa.schema([(name, pa.string()) for name in (*columns.required, *columns.optional)])


def own_rows(source: Source, tally: Tally, columns: Columns) -> Iterator[pa.Table]:
    """Reads a CSV or JSON-lines file.

    Yields:
        The columns of :func:`own_schema` and ``LINE``; without the rows that lack text or label.
        Integers and booleans among ids and labels are text; rows with other numbers are left out,
        since as a number, 0704.0010 loses its zeros.

    Raises:
        UserError: a column is missing, or the file is neither CSV nor JSON lines.
    """
    schema, keys = own_schema(columns), {columns.id, columns.label}
    for part in rows(source, tally, columns.required):
        for _, row in part:
            row.update(
                {key: str(row[key]).lower() for key in keys if isinstance(row.get(key), int)}
            )
        table = _table(part, schema, tally)
        no_text = functools.reduce(pc.and_, (_blank(table[name]) for name in columns.text))
        yield without({"no text": no_text, "no label": _blank(table[columns.label])}, table, tally)


def _blank(column: pa.ChunkedArray) -> pa.ChunkedArray:
    return pc.fill_null(pc.equal(pc.utf8_trim_whitespace(column), ""), True)


def without(wrong: Mapping[str, Any], table: pa.Table, tally: Tally) -> pa.Table:
    """Leaves out rows, each counted for the first reason whose mask, true or null, has it."""
    keep = pa.array([True] * len(table), pa.bool_())
    for reason, mask in wrong.items():
        found = pc.and_(keep, pc.fill_null(mask, True))
        tally.leave_out(reason, table[LINE.name].filter(found).to_pylist())
        keep = pc.and_not(keep, found)
    return table.filter(keep)


def _table(part: Rows, schema: pa.Schema, tally: Tally) -> pa.Table:
    """Returns the columns of a schema, null where a key is missing, and ``LINE``."""
    rows = [row for _, row in part]
    try:
        # Faster than a lookup a key; a dump's rows have all keys.
        values = list(zip(*map(itemgetter(*schema.names), rows), strict=True))
    except KeyError:
        values = [tuple(row.get(name) for row in rows) for name in schema.names]
    arrays = []
    for kind, column in zip(schema, values or [()] * len(schema), strict=True):
        try:
            arrays.append(_array(column, kind.type))
        except _WRONG_TYPE:
            fits = [_fits(value, kind.type) for value in column]
            bad = [line for (line, _), fit in zip(part, fits, strict=True) if not fit]
            if not bad:
                raise
            tally.leave_out(f"{kind.name}: wrong type", bad)
            kept = [one for one, fit in zip(part, fits, strict=True) if fit]
            return _table(kept, schema, tally)
    lines = pa.array([line for line, _ in part], LINE.type)
    return pa.table([*arrays, lines], schema=schema.append(LINE))


def _array(values: Sequence[Any], kind: pa.DataType) -> pa.Array:
    if pa.types.is_list(kind) and str in {type(one) for value in values if value for one in value}:
        raise TypeError("Arrow would take a string for a list of characters")
    return pa.array(values, kind)


def _fits(value: Any, kind: pa.DataType) -> bool:
    try:
        _array([value], kind)
    except _WRONG_TYPE:
        return False
    return True
