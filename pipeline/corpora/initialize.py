"""Makes a first configuration from a data file: finds the columns, counts, proposes a schema."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from components.arrow import open_parquet, pa
from components.contracts.columns import ARXIV, Columns
from components.errors import UserError
from components.ingestion.columns import Canonical, canonical, check_schema, with_partitions
from components.input_files import find_files, partition_values
from components.validation.reviewed_files import read_classes
from pipeline.config.pipeline_config import load_config
from pipeline.corpora import paper_import, row_source, starter
from pipeline.corpora.paper_import import ImportRequest
from pipeline.corpora.profile import Profile, profile
from pipeline.corpora.roles import find_columns, prose
from pipeline.corpora.row_source import Tally

CONVERTED = "data.parquet"

_HEAD_ROWS = 10_000
_FEW_ROWS = 10
_LEAST_ROWS = 50
# A longer name of a CSV column is rather a text.
_HEADER_WORDS = 5
_MANY_WITHOUT_WORDS = 0.05
# The keys by which a file of JSON lines is arXiv's metadata dump.
_DUMP_KEYS = {"id", "abstract", "categories", "update_date", "authors_parsed"}


@dataclass(frozen=True)
class InitRequest:
    """What to start from, and where to.

    Attributes:
        data: a parquet, CSV or JSON-lines file, a folder of parquet files, or a glob of them.
        folder: the folder to make.
        name: of the pipeline; "" takes the folder's.
        description: what the texts are; "" names their columns.
        glove: word vectors; None for random ones.
        text, label: columns; empty to find them.
        id, date, category: columns; "" for none, None to find them.
    """

    data: str
    folder: Path
    name: str = ""
    description: str = ""
    glove: Path | None = None
    text: tuple[str, ...] = ()
    label: str = ""
    id: str | None = None
    date: str | None = None
    category: str | None = None


class Initialized(NamedTuple):
    """What was found and written: the configuration's path, and notes for the user."""

    config: Path
    columns: Columns
    found: Profile
    notes: list[str]


def initialize(request: InitRequest) -> Initialized:
    """Writes a folder with a configuration, a schema, checks and, if needed, the data as parquet.

    Raises:
        UserError: the data cannot be read, a column cannot be told, the rows cannot be learned
            from, or the folder exists; nothing is left behind.
    """
    inside = Path(os.path.normpath(request.folder.absolute()))
    if Path(request.data).is_dir() and inside.is_relative_to(Path(request.data).absolute()):
        raise UserError(f"{request.folder}: lies in the data; name another folder with --output")
    scratch = starter.new_folder(request.folder)
    try:
        files, columns, notes = _corpus(request, scratch)
        found = _profile(files, columns)
        _check(found, columns, request.data)
        converted = (scratch / CONVERTED).exists()
        starter.write_starter(
            scratch,
            name=request.name or _slug(request.folder.name),
            description=request.description or f"texts ({', '.join(columns.text)})",
            parquet=CONVERTED if converted else str(Path(request.data).absolute()),
            glove=request.glove and request.glove.absolute(),
            columns=columns,
            found=found,
        )
        _read_back(scratch, columns)
        scratch.rename(request.folder)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    notes += _notes(found, columns, request.glove)
    return Initialized(request.folder / starter.CONFIG_FILE, columns, found, notes)


def _read_back(folder: Path, columns: Columns) -> None:
    """Checks that a run could use what was written.

    Raises:
        UserError: it could not, as for an odd name of the pipeline or of a class.
    """
    try:
        config = load_config(folder / starter.CONFIG_FILE)
        read_classes(config.data.schema_file, columns.label)
    except UserError as error:
        # The folder has its final name only after this.
        raise UserError(str(error).replace(f"{folder}{os.sep}", "")) from None


def _corpus(request: InitRequest, scratch: Path) -> tuple[list[str], Columns, list[str]]:
    """Returns the parquet files, converted if need be, the columns, and notes for the user."""
    asked: dict[str, Any] = {
        key: getattr(request, key) for key in ("text", "label", "id", "date", "category")
    }
    files = find_files(request.data)
    if _is_parquet(files[0]):
        head = _parquet_head(files)
        columns = find_columns(head, **asked)
        return files, columns, _other_texts(head, columns)
    if len(files) > 1:
        raise UserError(
            f"{request.data}: {len(files)} files that are not parquet; join them into one first"
        )
    source, target = Path(files[0]), scratch / CONVERTED
    with row_source.opened(source) as opened:
        is_csv = not opened.starts_with(b"{[")
        first = [row for _, row in next(row_source.rows(opened, Tally()), [])]
    if not first:
        raise UserError(f"{source}: no rows in it")
    head = _as_table(first[:_HEAD_ROWS])
    if is_csv:
        _check_header(str(source), head.column_names)
    dump = first[0].keys() >= _DUMP_KEYS and not (request.text or request.label)
    columns = ARXIV if dump else find_columns(head, **asked)
    tally = paper_import.run(ImportRequest(source, target, None if dump else columns))
    notes = [] if dump else _other_texts(head, columns)
    for reason, rows in (tally or Tally()).left_out.items():
        notes.append(f"rows that are left out ({reason}): {rows:,}")
    return [str(target)], columns, notes


def _check_header(name: str, header: list[str]) -> None:
    """Checks that the first line of a CSV file names columns.

    Raises:
        UserError: a name is empty, a number, or a sentence.
    """
    if header and not header[0]:
        raise UserError(
            f"{name}:1: the first column has no name, as where pandas writes its index; write the "
            "file with index=False, or name the column"
        )
    for cell in header:
        words = cell.split()
        if not 0 < len(words) <= _HEADER_WORDS or re.fullmatch(r"[\d.,+-]+", words[0]):
            raise UserError(
                f"{name}:1: the first line must name the columns, but one of them reads "
                f"{cell[:40]!r}; add a line of names"
            )


def _is_parquet(path: str) -> bool:
    with Path(path).open("rb") as file:
        return file.read(4) == b"PAR1"


def _parquet_head(files: list[str]) -> pa.Table:
    """Returns rows of the first, middle and last file, since files may be sorted or partitioned."""
    tables = []
    for path in dict.fromkeys(files[i] for i in (0, len(files) // 2, -1)):
        with open_parquet(path) as file:
            flat = [field.name for field in file.schema_arrow if not pa.types.is_nested(field.type)]
            for group in {0, file.num_row_groups // 2, file.num_row_groups - 1}:
                if 0 <= group < file.num_row_groups:
                    batch = next(file.iter_batches(_HEAD_ROWS, [group], flat), None)
                    if batch:
                        batch = with_partitions(batch, path, partition_values(path))
                        tables.append(pa.Table.from_batches([batch]))
    if not tables:
        raise UserError(f"{files[0]}: no rows in it")
    shared = [
        name for name in tables[0].column_names if all(name in t.schema.names for t in tables)
    ]
    try:
        return pa.concat_tables([table.select(shared) for table in tables])
    except pa.ArrowInvalid:
        # Files whose types differ; ingestion reads them all, so the first will do.
        return tables[0]


def _as_table(rows: list[row_source.Row]) -> pa.Table:
    names = dict.fromkeys(name for row in rows for name in row)
    arrays = {}
    for name in names:
        values = [row.get(name) for row in rows]
        nested = sum(isinstance(value, list | dict) for value in values)
        if 2 * nested > len(values):
            continue
        values = [None if isinstance(value, list | dict) else value for value in values]
        kinds = {type(value) for value in values if value is not None}
        # Integers of any size.
        if len(kinds) > 1 or int in kinds:
            whole = kinds == {int} and all(abs(value or 0) < 1 << 62 for value in values)
            values = values if whole else [one if one is None else str(one) for one in values]
        arrays[name] = pa.array(values)
    return pa.table(arrays)


def _profile(files: list[str], columns: Columns) -> Profile:
    from components.text.cleaning import clean_bytes

    names = [*columns.required, *columns.optional]

    def batches() -> Iterator[Canonical]:
        for path in files:
            with open_parquet(path) as file:
                check_schema(file.schema_arrow, path, columns)
                for batch in file.iter_batches(columns=names):
                    yield canonical(with_partitions(batch, path, names), columns)

    return profile(batches(), clean_bytes)


def _check(found: Profile, columns: Columns, data: str) -> None:
    label = columns.label
    if found.kept and found.without_words == found.kept:
        raise UserError(
            f"{data}: no text has a word of the letters a to z and digits; other scripts are not "
            "read"
        )
    if not found.kept:
        raise UserError(f"{data}: no row has both a text and a label ({found.rows:,} rows)")
    if len(found.classes) < 2:
        (only,) = found.classes
        raise UserError(f"{data}: column {label!r} holds only {only!r}; two classes are needed")
    if 0 < found.kept < _LEAST_ROWS:
        raise UserError(
            f"{data}: {found.kept} rows with a text and a label are too few for three splits; give "
            f"{_LEAST_ROWS} or more"
        )
    if len(found.classes) > found.kept / 2:
        raise UserError(
            f"{data}: column {label!r} has {len(found.classes):,} values in {found.kept:,} rows; "
            "is it the label? Name another with --label"
        )


def _other_texts(head: pa.Table, columns: Columns) -> list[str]:
    """Returns a note on further columns of text, if there are any."""
    taken = {*columns.required, *columns.optional}
    texts = prose({name: head[name] for name in head.column_names if name not in taken})
    joined = " ".join(f"--text {name}" for name in [*texts, *columns.text])
    return [f"more columns hold text; to join them, start again with {joined}"] if texts else []


def _notes(found: Profile, columns: Columns, glove: Path | None) -> list[str]:
    few = [name for name, count in found.classes.items() if count < _FEW_ROWS]
    similar = ", ".join(f"{a!r} and {b!r}" for a, b in found.similar_labels[:5])
    notes = {
        f"rows without a text, which are left out: {found.without_text:,}": found.without_text,
        f"rows without a label, which are left out: {found.without_label:,}": found.without_label,
        f"rows that repeat the text of another, and share its split: {found.duplicate_texts:,}":
            found.duplicate_texts,
        f"rows that repeat an id, of which one is kept: {found.repeated_ids:,}; if {columns.id} "
        "names no row, start again with --id ''": found.repeated_ids,
        f"labels with blanks around them, which are ignored: {found.padded_labels:,}":
            found.padded_labels,
        f"labels that differ only in case or punctuation: {similar}; are they one class?": similar,
        f"classes with fewer than {_FEW_ROWS} rows, too few to learn: {', '.join(few)}": few,
        f"texts without a word of the letters a to z and digits: {found.without_words:,}; other "
        "scripts are not read": found.without_words > _MANY_WITHOUT_WORDS * found.kept,
        f"dates that cannot be read: {found.unreadable_dates:,}; write them as 2024-01-31":
            found.unreadable_dates,
        "no column of ids: repeated rows are told by their text": not columns.id,
        "no column of dates: no slices by year": not columns.date,
        "no word vectors: the model starts from random ones; arxiv-pipeline glove fetch gets "
        "some, and --glove or data.glove names them": glove is None,
    }  # fmt: skip
    return [note for note, applies in notes.items() if applies]


def _slug(name: str) -> str:
    slug = re.sub(r"[^a-z0-9_-]+", "-", name.lower()).strip("-_")
    return (slug if re.match("[a-z]", slug) else f"corpus-{slug}".rstrip("-"))[:63]
