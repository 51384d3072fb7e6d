import hashlib
import re
import subprocess
import sys
from collections import Counter, defaultdict
from pathlib import Path

import numpy as np
import pytest
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split

from components.arrow import pa, pq
from components.errors import UserError
from pipeline.corpora import lexicon, sample

ROWS = 4000


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> sample.SamplePaths:
    return sample.make_sample(tmp_path_factory.mktemp("sample"), ROWS, seed=42)


@pytest.fixture(scope="module")
def table(made: sample.SamplePaths) -> pa.Table:
    return pq.read_table(made.corpus)


@pytest.fixture(scope="module")
def abstracts(table: pa.Table) -> list[str]:
    return [text for text in table["abstract"].to_pylist() if text is not None]


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_the_same_seed_gives_the_same_bytes_and_another_one_does_not(tmp_path: Path) -> None:
    first = sample.make_sample(tmp_path / "a", 300, seed=3)
    second = sample.make_sample(tmp_path / "b", 300, seed=3)
    other = sample.make_sample(tmp_path / "c", 300, seed=4)
    for one, same, different in zip(first, second, other, strict=True):
        assert digest(one) == digest(same)
        assert digest(one) != digest(different)


def test_seed_zero_is_a_seed(tmp_path: Path) -> None:
    zero = sample.make_sample(tmp_path / "a", 200, seed=0)
    again = sample.make_sample(tmp_path / "b", 200, seed=0)
    assert digest(zero.corpus) == digest(again.corpus)


def test_columns_and_types_are_those_of_the_real_corpus(table: pa.Table) -> None:
    assert str(table.schema.remove_metadata()) == (
        "abstract: string\n"
        "authors: string\n"
        "authors_parsed: list<item: list<item: string>>\n"
        "  child 0, item: list<item: string>\n"
        "      child 0, item: string\n"
        "comments: string\n"
        "doi: string\n"
        "id: string\n"
        "journal-ref: string\n"
        "license: string\n"
        "report-no: string\n"
        "submitter: string\n"
        "title: string\n"
        "update_date: string\n"
        "versions: list<item: struct<created: string, version: string>>\n"
        "  child 0, item: struct<created: string, version: string>\n"
        "      child 0, created: string\n"
        "      child 1, version: string\n"
        "primary_category: string\n"
        "final_category: string"
    )


@pytest.mark.real
def test_the_schema_is_that_of_the_file_itself(table: pa.Table, real_corpus: Path) -> None:
    assert table.schema.equals(pq.read_schema(real_corpus), check_metadata=False)


def test_classes_have_the_real_shares(table: pa.Table) -> None:
    labels = Counter(label for label in table["final_category"].to_pylist() if label)
    assert table.num_rows == ROWS
    assert set(labels) == set(sample.SHARES)
    for label, share in sample.SHARES.items():
        assert labels[label] / ROWS == pytest.approx(share, abs=0.005)


def test_a_category_is_one_of_its_class(table: pa.Table) -> None:
    of_category = {topic.category: topic.label for topic in lexicon.TOPICS}
    pairs = zip(
        table["primary_category"].to_pylist(), table["final_category"].to_pylist(), strict=True
    )
    assert all(of_category[category] == label for category, label in pairs if label)


def test_lengths_are_distributed_as_in_the_real_corpus(abstracts: list[str]) -> None:
    words = np.array([len(text.split()) for text in abstracts])
    assert words.mean() == pytest.approx(144, abs=4)
    assert words.std() == pytest.approx(62, abs=4)
    assert np.percentile(words, 50) == pytest.approx(144, abs=6)
    assert np.percentile(words, 99) == pytest.approx(281, abs=15)
    assert 1 <= words.min() <= 10
    assert 300 <= words.max() <= 600


@pytest.mark.parametrize(
    "pattern",
    [
        r"\$[^$]+\$",
        r"\\[a-z]+\{",
        r"\$\$.+\$\$",
        r"\\\[.+\\\]",
        r"\$[^$\n]+\n[^$]+\$",
        r"[éőöß]",
        r"[αβλ]",
        "—",
        "[🚀🙂]",
        r"\S\n\S",
    ],
)
def test_texts_have_what_real_ones_have(abstracts: list[str], pattern: str) -> None:
    found = sum(bool(re.search(pattern, text, re.DOTALL)) for text in abstracts)
    assert 0 < found < 0.5 * len(abstracts)


def test_some_dollar_signs_are_unclosed(abstracts: list[str]) -> None:
    assert 0 < sum(text.count("$") % 2 for text in abstracts) < 0.1 * len(abstracts)


def test_each_defect_occurs(table: pa.Table) -> None:
    ids, texts = table["id"].to_pylist(), table["abstract"].to_pylist()
    labels = table["final_category"].to_pylist()
    assert texts.count(None) == 8
    assert labels.count(None) == 8
    assert len(ids) - len(set(ids)) == 8
    labels_of = defaultdict(set)
    papers_of = defaultdict(set)
    for text, label, paper in zip(texts, labels, ids, strict=True):
        if text and label:
            key = " ".join(text.lower().split())
            labels_of[key].add(label)
            papers_of[key].add(paper)
    assert sum(len(found) > 1 for found in papers_of.values()) >= 5
    assert any(len(found) > 1 for found in labels_of.values())


def test_nested_columns_agree_with_flat_ones(table: pa.Table) -> None:
    for row in table.slice(0, 50).to_pylist():
        assert row["authors"] == ", ".join(f"{a[1]} {a[0]}" for a in row["authors_parsed"])
        assert row["submitter"] in row["authors"]
        assert [v["version"] for v in row["versions"]] == [
            f"v{i + 1}" for i in range(len(row["versions"]))
        ]
        assert row["versions"][0]["created"] <= row["update_date"]
        assert re.fullmatch(r"\d{4}-\d{2}-\d{2}", row["update_date"])
        assert re.fullmatch(r"\d{4}\.\d{5}", row["id"])


def test_ids_stay_unique_over_row_groups(tmp_path: Path) -> None:
    sample.write_sample_corpus(tmp_path / "papers.parquet", 20_000, seed=1)
    file = pq.ParquetFile(tmp_path / "papers.parquet")
    assert file.num_row_groups == 3
    ids = file.read(["id"])["id"].to_pylist()
    duplicates = sum(n - 1 for n in Counter(ids).values())
    assert duplicates == 16 + 16 + 7


@pytest.mark.slow
def test_a_linear_model_learns_it_but_not_perfectly(table: pa.Table) -> None:
    frame = table.select(["id", "abstract", "final_category"]).to_pandas()
    frame = frame.dropna().drop_duplicates("id")
    texts, test_texts, labels, test_labels = train_test_split(
        frame["abstract"],
        frame["final_category"],
        test_size=0.25,
        stratify=frame["final_category"],
        random_state=0,
    )

    def accuracy(longest: int) -> float:
        vectorizer = TfidfVectorizer(ngram_range=(1, longest), sublinear_tf=True, min_df=2)
        model = LogisticRegression(C=5, max_iter=200, class_weight="balanced")
        model.fit(vectorizer.fit_transform(texts), labels)
        return float(model.score(vectorizer.transform(test_texts), test_labels))

    pairs = accuracy(2)
    assert 0.85 <= pairs <= 0.90
    # Word order tells something that words alone do not.
    assert pairs > accuracy(1)


def test_the_ordered_words_belong_to_no_topic() -> None:
    others = {term for topic in lexicon.TOPICS for term in topic.terms}
    others |= {*lexicon.NOUNS, *lexicon.ADJECTIVES}
    assert others.isdisjoint(lexicon.ORDERED)
    assert len(set(lexicon.ORDERED)) == len(lexicon.ORDERED)


def read_vectors(path: Path) -> dict[str, np.ndarray]:
    lines = (line.split(" ") for line in path.read_text(encoding="ascii").splitlines())
    return {word: np.array(values, dtype=np.float64) for word, *values in lines}


def test_vectors_cover_most_words_but_not_all(
    made: sample.SamplePaths, abstracts: list[str]
) -> None:
    vectors = read_vectors(made.vectors)
    assert {values.shape for values in vectors.values()} == {(100,)}
    words = Counter(
        word
        for text in abstracts
        for word in re.findall(r"[a-z0-9]+", re.sub(r"\$.*?\$", " ", text.lower()))
    )
    covered = sum(word in vectors for word in words) / len(words)
    assert 0.90 < covered < 0.97
    assert sum(n for word, n in words.items() if word in vectors) / words.total() > 0.90


def test_vectors_of_one_topic_are_closer_than_those_of_two(made: sample.SamplePaths) -> None:
    vectors = read_vectors(made.vectors)

    def cosine(a: str, b: str) -> float:
        return float(
            vectors[a] @ vectors[b] / np.linalg.norm(vectors[a]) / np.linalg.norm(vectors[b])
        )

    heads = [[term for term in topic.terms[:6] if term in vectors][:3] for topic in lexicon.TOPICS]
    within = np.mean([cosine(terms[0], terms[1]) for terms in heads])
    between = np.mean(
        [cosine(a[0], b[1]) for a, b in zip(heads, heads[7:] + heads[:7], strict=True)]
    )
    assert within > 0.25
    assert abs(between) < 0.1


def test_the_dimension_of_vectors_can_be_chosen(tmp_path: Path) -> None:
    sample.write_sample_vectors(tmp_path / "v.txt", dimension=7, seed=1)
    assert {values.shape for values in read_vectors(tmp_path / "v.txt").values()} == {(7,)}


def test_impossible_values_are_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="rows: 99 is too few"):
        sample.make_sample(tmp_path, 99, seed=1)
    with pytest.raises(UserError, match="seed: -1 is negative"):
        sample.make_sample(tmp_path, 100, seed=-1)
    with pytest.raises(UserError, match="dimension: 0 is not possible"):
        sample.write_sample_vectors(tmp_path / "v.txt", dimension=0)


def test_a_failure_leaves_the_earlier_file_and_no_part(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = sample.make_sample(tmp_path, 100, seed=1).corpus
    before = digest(path)

    def fail(*_: object) -> pa.Table:
        raise OSError("disk full")

    monkeypatch.setattr(sample, "_table", fail)
    with pytest.raises(OSError, match="disk full"):
        sample.make_sample(tmp_path, 200, seed=2)
    assert digest(path) == before
    assert {file.name for file in tmp_path.iterdir()} == {"papers.parquet", "vectors.txt"}


def test_the_command_writes_both_files_without_importing_tensorflow(tmp_path: Path) -> None:
    script = (
        "import sys;"
        "from pipeline.corpora import sample;"
        "assert not {'tensorflow', 'tfx', 'apache_beam'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", script], check=True)
    result = subprocess.run(
        [sys.executable, "-m", "pipeline.corpora.sample", str(tmp_path), "--rows", "150"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert result.stdout.split() == [
        str(tmp_path / "papers.parquet"),
        str(tmp_path / "vectors.txt"),
    ]
    assert pq.read_metadata(tmp_path / "papers.parquet").num_rows == 150
    failed = subprocess.run(
        [sys.executable, "-m", "pipeline.corpora.sample", str(tmp_path), "--rows", "5"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert failed.returncode == 2
    assert failed.stderr == "rows: 5 is too few for seven classes; give at least 100.\n"
