import datetime
import json
from pathlib import Path

import pytest
import tomli

from components.arrow import pa, pq
from components.contracts.columns import ARXIV, Columns
from components.errors import UserError
from components.validation.reviewed_files import read_classes
from pipeline.config.pipeline_config import load_config
from pipeline.corpora import starter
from pipeline.corpora.initialize import CONVERTED, Initialized, InitRequest, initialize

ROWS = 60
TEXTS = [
    f"the text number {i} is about some {'good' if i % 3 else 'bad'} things" for i in range(ROWS)
]
NAMES = ["Soins, santé", 'naïve "art"', "日本語"]


def start(data: Path | str, folder: Path, **options: object) -> Initialized:
    return initialize(InitRequest(str(data), folder, **options))


def csv_line(cells: list[str], delimiter: str) -> str:
    return delimiter.join('"' + cell.replace('"', '""') + '"' for cell in cells)


def write_csv(path: Path, delimiter: str = ",") -> Path:
    lines = [csv_line(["uid", "body", "topic"], delimiter)]
    lines += [csv_line([str(i), TEXTS[i], NAMES[i % 3]], delimiter) for i in range(ROWS)]
    path.write_text("\n".join(lines) + "\n", "utf-8")
    return path


def write_parquet(path: Path, **columns: list) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(columns), path)
    return path


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_a_csv_becomes_a_configuration_that_loads(tmp_path: Path, delimiter: str) -> None:
    made = start(write_csv(tmp_path / "news.csv", delimiter), tmp_path / "my News!")
    assert made.columns == Columns(text=("body",), label="topic", id="uid", date="", category="")
    assert dict(made.found.classes) == dict.fromkeys(sorted(NAMES), ROWS // 3)
    config = load_config(made.config)
    assert config.name == "my-news"
    assert config.data.columns == made.columns
    assert config.data.glove is None
    assert read_classes(config.data.schema_file, "topic") == sorted(NAMES)
    table = pq.read_table(made.config.parent / CONVERTED)
    assert table["topic"].to_pylist() == [NAMES[i % 3] for i in range(ROWS)]
    assert table["body"].to_pylist() == TEXTS


def test_joined_columns_and_no_id_or_date(tmp_path: Path) -> None:
    data = write_parquet(
        tmp_path / "ag.parquet", head=TEXTS, body=TEXTS[::-1], kind=["a", "b"] * (ROWS // 2)
    )
    made = start(data, tmp_path / "ag", text=("head", "body"))
    assert made.columns.feature == "head_body"
    assert made.found.words == (18, 18, 18)
    # The data stays where it is.
    assert load_config(made.config).data.parquet == data
    assert not (tmp_path / "ag" / CONVERTED).exists()


def test_integers_and_dates_keep_their_types(tmp_path: Path) -> None:
    lines = [json.dumps({"text": text, "y": i % 2}) for i, text in enumerate(TEXTS)]
    (tmp_path / "rows.jsonl").write_text("\n".join(lines))
    made = start(tmp_path / "rows.jsonl", tmp_path / "ints")
    assert (made.columns.label, made.found.classes) == ("y", {"0": 30, "1": 30})
    data = write_parquet(
        tmp_path / "d.parquet",
        review=TEXTS,
        stars=[1, 10, 2] * (ROWS // 3),
        day=[datetime.date(2020, 1, 2)] * ROWS,
        created_date=[datetime.date(2020, 1, 2)] * ROWS,
    )
    made = start(data, tmp_path / "dates", label="stars")
    assert (made.columns.date, made.found.with_date) == ("created_date", 1.0)
    assert list(made.found.classes) == ["1", "2", "10"]


def test_a_folder_of_partitions_gives_its_keys_as_columns(tmp_path: Path) -> None:
    for label in ("good", "bad"):
        write_parquet(tmp_path / "hive" / f"rating={label}" / "p.parquet", review=TEXTS)
    made = start(tmp_path / "hive", tmp_path / "out", label="rating")
    assert made.found.classes == {"bad": ROWS, "good": ROWS}


def test_arxiv_dump_is_imported(tmp_path: Path) -> None:
    paper = {
        "submitter": None, "authors": "A", "title": "T", "comments": None, "journal-ref": None,
        "doi": None, "report-no": None, "license": None, "versions": [], "authors_parsed": [],
        "update_date": "2019-01-02",
    }  # fmt: skip
    lines = [
        json.dumps(
            {**paper, "id": f"0704.{i:04}", "categories": "cs.LG math.CO", "abstract": TEXTS[i]}
            if i % 2
            else {**paper, "id": f"0705.{i:04}", "categories": "math.AG", "abstract": TEXTS[i]}
        )
        for i in range(ROWS)
    ]
    (tmp_path / "dump.json").write_text("\n".join(lines))
    made = start(tmp_path / "dump.json", tmp_path / "out")
    assert made.columns == ARXIV
    assert made.found.classes == {"cs": 30, "math": 30}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("3,Some words about the economy and more\n4,Others\n", "the first line must name the col"),
        (
            "Wall Street falls again on fears,x\nA,y\n",
            "the first line must name the column",
        ),
        ("text,topic\na b c d,x\ne f g h,y,z\n", ":3: the row has 3 fields, the header 2"),
        ("text,topic\na b c d,x\ne f g h,x\n", "holds only 'x'; two classes are needed"),
        ("", "bad.csv: no rows in it"),
        ("text,topic\n", "bad.csv: no rows in it"),
    ],
)
def test_a_file_that_cannot_be_used_is_one_line_and_leaves_nothing(
    tmp_path: Path, content: str, message: str
) -> None:
    (tmp_path / "bad.csv").write_text(content)
    with pytest.raises(UserError) as error:
        start(tmp_path / "bad.csv", tmp_path / "out", label="topic" if "topic" in content else "")
    assert message in str(error.value)
    assert "\n" not in str(error.value)
    assert [path.name for path in tmp_path.iterdir()] == ["bad.csv"]


def test_an_existing_folder_is_never_written_to(tmp_path: Path) -> None:
    data = write_csv(tmp_path / "news.csv")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / starter.CONFIG_FILE).write_text("mine")
    with pytest.raises(UserError, match="exists; name another folder with --output"):
        start(data, tmp_path / "out")
    assert (tmp_path / "out" / starter.CONFIG_FILE).read_text() == "mine"


def test_odd_labels_empty_texts_and_repeats_are_noted(tmp_path: Path) -> None:
    data = write_parquet(
        tmp_path / "d.parquet",
        text=[*TEXTS, TEXTS[0], None, " ", "text of four words", "one more text here"],
        label=[*(["cs", "math"] * (ROWS // 2)), "cs ", "cs", "cs", "Math", None],
    )
    made = start(data, tmp_path / "out", name="odd", description="odd texts")
    notes = "\n".join(made.notes)
    assert "rows without a text, which are left out: 2" in notes
    assert "rows without a label, which are left out: 1" in notes
    assert "labels with blanks around them, which are ignored: 1" in notes
    assert "'Math' and 'math'" in notes
    assert "rows that repeat the text of another, and share its split: 1" in notes
    assert "classes with fewer than 10 rows, too few to learn: Math" in notes
    written = tomli.loads(made.config.read_text("utf-8"))
    assert written["run"]["name"] == "odd"
    assert written["data"]["description"] == "odd texts"


def test_sorted_and_partitioned_files_are_seen_whole(tmp_path: Path) -> None:
    sorted_rows = {
        "text": TEXTS * 2,
        "lang": ["en", "de"] * ROWS,
        "sentiment": ["a"] * ROWS + ["b"] * ROWS,
    }
    table = pa.table(sorted_rows)
    pq.write_table(table, tmp_path / "sorted.parquet", row_group_size=ROWS)
    made = start(tmp_path / "sorted.parquet", tmp_path / "sorted")
    assert made.columns.label == "sentiment"
    write_parquet(tmp_path / "hive" / "label=cs" / "empty.parquet", text=pa.array([], pa.string()))
    for label in ("cs", "math"):
        write_parquet(tmp_path / "hive" / f"label={label}" / "p.parquet", text=TEXTS)
    made = start(tmp_path / "hive", tmp_path / "out")
    assert made.found.classes == {"cs": ROWS, "math": ROWS}


def test_ids_that_repeat_are_no_ids_unless_asked_for(tmp_path: Path) -> None:
    users = [i % 40 for i in range(ROWS)]
    data = write_parquet(
        tmp_path / "d.parquet", user_id=users, text=TEXTS, label=["a", "b"] * (ROWS // 2)
    )
    assert start(data, tmp_path / "found").columns.id == ""
    notes = start(data, tmp_path / "asked", id="user_id").notes
    assert any(
        note.startswith("rows that repeat an id, of which one is kept: 20") for note in notes
    )


@pytest.mark.parametrize(
    ("change", "options", "message"),
    [
        ({"text": ["привет мир снова"] * ROWS}, {}, "no text has a word of the letters a to z"),
        (
            {"label": ["World\xa0news", "b"] * (ROWS // 2)},
            {},
            "class 'World\\xa0news' has",
        ),
        ({}, {"name": "My Model"}, "run.name = 'My Model': String should match"),
        (
            {"text": TEXTS[:20], "label": ["a", "b"] * 10},
            {},
            "20 rows with a text and a label",
        ),
        ({"label": ["--1", "b"] * (ROWS // 2)}, {}, ""),
    ],
)
def test_what_a_run_could_not_use_is_refused_before_the_folder_is_there(
    tmp_path: Path, change: dict, options: dict, message: str
) -> None:
    columns = {"text": TEXTS, "label": ["a", "b"] * (ROWS // 2), **change}
    data = write_parquet(tmp_path / "d.parquet", **columns)
    if not message:
        start(data, tmp_path / "out", text=("text",), **options)
        return
    with pytest.raises(UserError) as error:
        start(data, tmp_path / "out", text=("text",), **options)
    assert message in str(error.value)
    assert not (tmp_path / "out").exists()


def test_folder_within_the_data_and_names_with_blanks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_parquet(tmp_path / "data" / "p.parquet", text=TEXTS, label=["a", "b"] * (ROWS // 2))
    with pytest.raises(UserError, match="lies in the data; name another folder"):
        start(tmp_path / "data", tmp_path / "data" / "out")
    write_csv(tmp_path / "news.csv")
    monkeypatch.chdir(tmp_path)
    assert start("news.csv", Path("my news: 1%")).found.kept == ROWS


def test_json_values_of_any_kind(tmp_path: Path) -> None:
    rows = [{"id": 2**63 + i, "text": text, "y": i % 2} for i, text in enumerate(TEXTS)]
    rows[3]["text"] = ["nested"]
    rows[4].pop("y")
    (tmp_path / "r.jsonl").write_text("\n".join(map(json.dumps, rows)))
    made = start(tmp_path / "r.jsonl", tmp_path / "out")
    assert (made.columns.text, made.columns.id) == (("text",), "id")
    assert made.found.kept == ROWS - 2
