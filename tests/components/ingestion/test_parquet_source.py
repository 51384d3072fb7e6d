from pathlib import Path
from typing import Any

import pytest

from components.arrow import open_parquet, pa, pq
from components.contracts.columns import ARXIV
from components.errors import UserError
from components.ingestion import parquet_source
from components.ingestion.parquet_source import RowGroup, RowGroupReader, find_row_groups


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    """Two files of 40 rows in row groups of 3."""
    paths = [tmp_path / "a.parquet", tmp_path / "b.parquet"]
    for path in paths:
        values = [f"{path.stem}{row}" for row in range(40)]
        table = pa.table(dict.fromkeys((*ARXIV.required, *ARXIV.optional), values))
        pq.write_table(table, path, row_group_size=3)
    return paths


def ids(batches: list[pa.RecordBatch]) -> list[str]:
    return [row["id"] for batch in batches for row in batch.to_pylist()]


def test_footer_is_parsed_once_for_the_row_groups_of_a_file(
    files: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parsed = []

    def spy(source: Any, name: str, **options: Any) -> Any:
        if options.get("metadata") is None:
            parsed.append(Path(name))
        return open_parquet(source, name, **options)

    monkeypatch.setattr(parquet_source, "open_parquet", spy)
    row_groups = find_row_groups(str(tmp_path / "*.parquet"))
    assert parsed == files
    reader = RowGroupReader()
    found = ids([batch for group in row_groups for batch in reader.batches(group)])
    assert parsed == [*files, *files]
    assert found == [f"{path.stem}{row}" for path in files for row in range(40)]


def test_row_groups_in_any_order_are_read_from_their_own_file(files: list[Path]) -> None:
    reader = RowGroupReader()
    a, b = map(str, files)
    wanted = [RowGroup(b, 13, 1), RowGroup(a, 0, 3), RowGroup(b, 1, 3), RowGroup(b, 0, 3)]
    found = [ids(list(reader.batches(group))) for group in wanted]
    assert found == [["b39"], ["a0", "a1", "a2"], ["b3", "b4", "b5"], ["b0", "b1", "b2"]]


def test_file_that_is_damaged_or_gone_is_named_though_its_footer_is_known(
    files: list[Path],
) -> None:
    reader = RowGroupReader()
    list(reader.batches(RowGroup(str(files[0]), 0, 3)))
    files[0].write_bytes(b"PAR1" + b"?" * (files[0].stat().st_size - 4))
    with pytest.raises(UserError, match=r"^\S+a\.parquet: cannot be read as parquet"):
        list(reader.batches(RowGroup(str(files[0]), 5, 3)))
    files[0].unlink()
    with pytest.raises(UserError, match=r"a\.parquet: cannot be opened"):
        list(reader.batches(RowGroup(str(files[0]), 6, 3)))
