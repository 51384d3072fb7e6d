"""Generates a synthetic corpus with the schema of the real one, and matching word vectors.

Topic model. A paper has a label and a content class, nearly always the same; otherwise the content
class is a neighboring field, as with cross-listed papers. It has a topic of the content class and
one of a second, neighboring class. A sentence is an opening and two to five noun phrases joined by
connectors; the nouns come from the first topic, the second one or words of any field, in
proportions drawn per paper. Some phrases are two words of ``lexicon.ORDERED``, which are equally
frequent in all classes and in both places: only the pair indicates the class, and for most classes
only the order of the pair.

Word vectors. A word's vector is the sum of the directions of the topics that use it, weighted by
its rank in them, plus Gaussian noise; words of no topic share one direction. Directions are random
unit vectors, so related words are close and unrelated ones nearly orthogonal, as in trained
vectors.

The same rows and seed give the same bytes.
"""

from __future__ import annotations

import contextlib
import re
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from components.arrow import pa, pq
from components.atomic import replacing, sweep
from components.errors import UserError
from pipeline.corpora import lexicon

CORPUS_FILE = "papers.parquet"
VECTORS_FILE = "vectors.txt"
MIN_ROWS = 100

SCHEMA = pa.schema(
    [
        *((name, pa.string()) for name in ("abstract", "authors")),
        ("authors_parsed", pa.list_(pa.list_(pa.string()))),
        *((name, pa.string()) for name in ("comments", "doi", "id", "journal-ref", "license")),
        *((name, pa.string()) for name in ("report-no", "submitter", "title", "update_date")),
        ("versions", pa.list_(pa.struct([("created", pa.string()), ("version", pa.string())]))),
        *((name, pa.string()) for name in ("primary_category", "final_category")),
    ]
)
"""Columns and types of the corpus, as in the arXiv metadata."""

SHARES = {
    "cs": 0.4288, "math": 0.3427, "physics": 0.1252, "engineering": 0.0409, "stat": 0.0358,
    "bio": 0.0204, "econ": 0.0062,
}  # fmt: skip
"""Share of each class, as in the real corpus."""

_LABELS = list(SHARES)

# Distribution of a class's neighboring fields, for second topics and cross-listed papers.
_NEIGHBOURS = {
    "cs": {"engineering": 0.35, "stat": 0.3, "math": 0.25, "bio": 0.05, "econ": 0.05},
    "math": {"cs": 0.4, "physics": 0.35, "stat": 0.25},
    "physics": {"math": 0.4, "engineering": 0.25, "cs": 0.2, "bio": 0.15},
    "engineering": {"cs": 0.6, "physics": 0.25, "math": 0.15},
    "stat": {"cs": 0.45, "math": 0.35, "bio": 0.1, "econ": 0.1},
    "bio": {"stat": 0.4, "physics": 0.3, "cs": 0.3},
    "econ": {"stat": 0.4, "math": 0.3, "cs": 0.3},
}

# Share of papers with formulas by class, as in the real corpus.
_FORMULA_SHARE = {
    "cs": 0.13, "math": 0.43, "physics": 0.19, "engineering": 0.07, "stat": 0.13, "bio": 0.09,
    "econ": 0.06,
}  # fmt: skip

# In a class, word i of lexicon.ORDERED is followed by word i + step. Opposite steps give the same
# pairs in the opposite order.
_STEPS = {"cs": 5, "stat": -5, "math": 7, "physics": -7, "engineering": 11, "bio": -11, "econ": 13}

# Quantiles of words per abstract in the real corpus: mean 144, standard deviation 62.
_LENGTH_AT = (0.0, 0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 0.999, 1.0)
_LENGTHS = (5, 18, 43, 62, 99, 144, 189, 228, 250, 281, 330, 567)

# What makes the task hard: the share of papers whose content is not their label's, and the Beta
# distribution of the second topic's share of a paper. Chosen so that TF-IDF (1-2 grams) with
# balanced logistic regression gets 0.85 to 0.90 test accuracy on 4,000 rows.
_CROSS_LISTED = 0.05
_SECOND_TOPIC = (1.0, 4.5)

# Probability of each kind of noun phrase (modifier + head).
_KINDS = {
    "adjective+topic": 0.24,
    "topic+noun": 0.10,
    "adjective+noun": 0.36,
    "ordered": 0.20,
    "name+noun": 0.06,
    "topic+topic": 0.04,
}

_WITH_UNICODE = 0.06
_WITH_LINE_BREAKS = 0.35
_LINE = 76

# Share of rows with each defect; at least one per row group.
_DEFECTS = 0.002

_CHUNK = 8192  # rows of a row group
_FIRST_MONTH = np.datetime64("2008-01", "M")
_MONTHS = 144

Ints = npt.NDArray[np.int64]


class SamplePaths(NamedTuple):
    """The files of a sample."""

    corpus: Path
    vectors: Path


class _Units:
    """All strings that texts are made of; a text is a sequence of their indices."""

    def __init__(self) -> None:
        self.strings: list[str] = []
        self._number: dict[str, int] = {}
        self.topic_terms = [self._add(topic.terms) for topic in lexicon.TOPICS]
        self.ordered = self._add(lexicon.ORDERED)
        self.adjectives = self._add(lexicon.ADJECTIVES)
        self.nouns = self._add(lexicon.NOUNS)
        self.openings = self._add(lexicon.OPENINGS)
        self.connectors = self._add(lexicon.CONNECTORS)
        self.formulas = self._add(lexicon.FORMULAS)
        self.unicode = self._add(lexicon.UNICODE)
        self.names = self._add(lexicon.SURNAMES)
        self.words = np.array([len(string.split()) for string in self.strings])
        # The second half ends a sentence.
        self.table = np.array(
            [*self.strings, *(string + "." for string in self.strings)], dtype=object
        )
        longest = max(len(terms) for terms in self.topic_terms)
        # Short topics repeat their most frequent terms.
        self.terms = np.array([np.resize(terms, longest) for terms in self.topic_terms])

    def _add(self, strings: tuple[str, ...]) -> Ints:
        for string in strings:
            if string not in self._number:
                self._number[string] = len(self.strings)
                self.strings.append(string)
        return np.array([self._number[string] for string in strings])


def _zipf(n: int) -> npt.NDArray[np.float64]:
    weights = 1 / (np.arange(n) + 3.0)
    return np.cumsum(weights / weights.sum())


def _pick(rng: np.random.Generator, n: int, choices: Ints) -> Ints:
    """Draws [n] of the choices [k], Zipf-Mandelbrot distributed: the first are most frequent."""
    rank = np.searchsorted(_zipf(len(choices)), rng.random(n)).clip(max=len(choices) - 1)
    drawn: Ints = choices[rank]
    return drawn


def _neighbour(rng: np.random.Generator, classes: Ints) -> Ints:
    result = np.empty_like(classes)
    for number, label in enumerate(_LABELS):
        here = np.flatnonzero(classes == number)
        others = _NEIGHBOURS[label]
        drawn = rng.choice(len(others), len(here), p=list(others.values()))
        result[here] = np.array([_LABELS.index(other) for other in others])[drawn]
    return result


def _topic_of(rng: np.random.Generator, classes: Ints) -> Ints:
    result = np.empty_like(classes)
    for number, label in enumerate(_LABELS):
        here = np.flatnonzero(classes == number)
        own = [i for i, topic in enumerate(lexicon.TOPICS) if topic.label == label]
        result[here] = rng.choice(own, len(here))
    return result


def _texts(rng: np.random.Generator, units: _Units, content: Ints, topic: Ints) -> list[str]:
    """Writes one abstract for each content class [n] and topic [n]."""
    n = len(content)
    second = _neighbour(rng, content)
    second_topic = _topic_of(rng, second)
    second_share = rng.beta(*_SECOND_TOPIC, n)
    words = np.interp(rng.random(n), _LENGTH_AT, _LENGTHS)

    # Enough phrases for each text, at 3.5 words or more; it is cut to its length below.
    phrases = (words / 3).astype(np.int64) + 2
    text = np.repeat(np.arange(n), phrases)
    total = len(text)
    from_second = rng.random(total) < second_share[text]
    phrase_topic = np.where(from_second, second_topic[text], topic[text])
    phrase_class = np.where(from_second, second[text], content[text])

    def term() -> Ints:
        width = units.terms.shape[1]
        rank = np.searchsorted(_zipf(width), rng.random(total)).clip(max=width - 1)
        drawn: Ints = units.terms[phrase_topic, rank]
        return drawn

    kind = rng.choice(len(_KINDS), total, p=list(_KINDS.values()))
    names = list(_KINDS)
    adjective = _pick(rng, total, units.adjectives)
    noun = _pick(rng, total, units.nouns)
    modifier, head = adjective.copy(), noun.copy()
    start = rng.integers(0, len(units.ordered), total)
    step = np.array([_STEPS[label] for label in _LABELS])[phrase_class]
    first, other = term(), term()
    for name, chosen_modifier, chosen_head in (
        ("adjective+topic", adjective, first),
        ("topic+noun", first, noun),
        ("ordered", units.ordered[start], units.ordered[(start + step) % len(units.ordered)]),
        ("name+noun", rng.choice(units.names, total), noun),
        ("topic+topic", first, other),
    ):
        here = kind == names.index(name)
        modifier[here], head[here] = chosen_modifier[here], chosen_head[here]

    has_formulas = rng.random(n) < np.array([_FORMULA_SHARE[label] for label in _LABELS])[content]
    has_unicode = rng.random(n) < _WITH_UNICODE
    formula = (rng.random(total) < 0.2) & has_formulas[text]
    head[formula] = _pick(rng, int(formula.sum()), units.formulas)
    special = (rng.random(total) < 0.08) & has_unicode[text]
    modifier[special] = _pick(rng, int(special.sum()), units.unicode)

    # Sentences have two to five phrases, an opening before them and a full stop at the end.
    place = np.arange(total) - np.repeat(np.cumsum(phrases) - phrases, phrases)
    per_sentence = rng.integers(2, 6, n)[text]
    opens = place % per_sentence == 0
    closes = (place + 1) % per_sentence == 0
    stop = len(units.strings)
    none = -1
    tokens = np.stack(
        [
            np.where(opens, _pick(rng, total, units.openings), none),
            modifier,
            head + np.where(closes, stop, 0),
            np.where(closes, none, _pick(rng, total, units.connectors)),
        ],
        axis=1,
    ).ravel()
    owner = np.repeat(text, 4)[tokens != none]
    tokens = tokens[tokens != none]
    length = units.words[tokens % stop]
    read = np.cumsum(length)
    first_token = np.searchsorted(owner, np.arange(n))
    before = read[first_token] - length[first_token]
    # The token that holds a text's last word is its last, with a full stop.
    last_token = np.searchsorted(read, before + np.maximum(words.astype(np.int64), 5))
    tokens[last_token] = tokens[last_token] % stop + stop

    strings = units.table[tokens].tolist()
    texts = [" ".join(strings[a : b + 1]) for a, b in zip(first_token, last_token, strict=True)]
    for row in np.flatnonzero(rng.random(n) < _WITH_LINE_BREAKS):
        texts[row] = _break_lines(texts[row])
    return texts


def _break_lines(text: str) -> str:
    """Wraps a text like arXiv's metadata: two leading blanks, a trailing line break."""
    lines = []
    start = 0
    while len(text) - start > _LINE:
        end = text.rfind(" ", start, start + _LINE)
        if end <= start:
            break
        lines.append(text[start:end])
        start = end + 1
    return "  " + "\n".join([*lines, text[start:]]) + "\n"


def _people(rng: np.random.Generator, n: int) -> tuple[list[str], list[list[list[str]]], list[str]]:
    """Returns each paper's authors as one string and as parsed names, and its submitter."""
    count = 1 + rng.poisson(1.6, n)
    first = rng.integers(0, len(lexicon.FORENAMES), count.sum())
    last = rng.integers(0, len(lexicon.SURNAMES), count.sum())
    parsed = [
        [lexicon.SURNAMES[b], lexicon.FORENAMES[a], ""]
        for a, b in zip(first.tolist(), last.tolist(), strict=True)
    ]
    full = [f"{b} {a}" for a, b, _ in parsed]
    ends = np.cumsum(count).tolist()
    starts = [0, *ends[:-1]]
    spans = list(zip(starts, ends, strict=True))
    return (
        [", ".join(full[a:b]) for a, b in spans],
        [parsed[a:b] for a, b in spans],
        [full[a] for a in starts],
    )


def _sometimes(rng: np.random.Generator, share: float, values: list[str]) -> list[str | None]:
    shown = rng.random(len(values)) < share
    return [value if keep else None for value, keep in zip(values, shown.tolist(), strict=True)]


class _Dates(NamedTuple):
    ids: list[str]
    created: npt.NDArray[np.datetime64]
    updated: npt.NDArray[np.datetime64]
    versions: Ints


def _dates(rng: np.random.Generator, n: int, papers_of_month: Ints) -> _Dates:
    """Draws dates and assigns ids by month; adds the papers to ``papers_of_month``."""
    # The number of papers per month grows, as on arXiv.
    month = (np.sqrt(rng.random(n)) * _MONTHS).astype(np.int64)
    order = np.argsort(month, kind="stable")
    starts = np.searchsorted(month[order], np.arange(_MONTHS))
    number = np.empty(n, np.int64)
    number[order] = np.arange(n) - starts[month[order]]
    number += papers_of_month[month] + 1
    papers_of_month += np.bincount(month, minlength=_MONTHS)
    created = (_FIRST_MONTH + month).astype("datetime64[D]") + rng.integers(0, 28, n)
    versions = 1 + rng.poisson(0.6, n)
    updated = created + np.where(versions > 1, rng.integers(20, 700, n), 0)
    stamp = np.char.replace(np.datetime_as_string(_FIRST_MONTH + month), "-", "")
    ids = [f"{ym[2:]}.{i:05d}" for ym, i in zip(stamp.tolist(), number.tolist(), strict=True)]
    return _Dates(ids, created, updated, versions)


def _table(rng: np.random.Generator, units: _Units, n: int, papers_of_month: Ints) -> pa.Table:
    """Generates ``n`` rows; updates ``papers_of_month``."""
    bounds = np.cumsum(list(SHARES.values()))
    label = np.searchsorted(bounds / bounds[-1], (np.arange(n) + rng.random()) / n)
    label = rng.permutation(label.clip(max=len(_LABELS) - 1))
    content = np.where(rng.random(n) < _CROSS_LISTED, _neighbour(rng, label), label)
    topic = _topic_of(rng, content)
    # The category is one of the label's, since the label is derived from it.
    category = np.where(content == label, topic, _topic_of(rng, label))
    dates = _dates(rng, n, papers_of_month)
    authors, parsed, submitters = _people(rng, n)
    pages = rng.integers(4, 60, n).tolist()
    figures = rng.integers(0, 12, n).tolist()
    heads = [units.terms[topic, rng.integers(0, 12, n)] for _ in range(2)]
    modifier, noun = _pick(rng, n, units.adjectives), _pick(rng, n, units.nouns)
    titles = [
        f"A {a} {b} {c} and its {d}".title()
        for a, b, c, d in zip(
            *(units.table[part].tolist() for part in (modifier, heads[0], noun, heads[1])),
            strict=True,
        )
    ]
    created = np.datetime_as_string(dates.created).tolist()
    updated = np.datetime_as_string(dates.updated).tolist()
    columns: dict[str, list[Any]] = {
        "abstract": _texts(rng, units, content, topic),
        "authors": authors,
        "authors_parsed": parsed,
        "comments": _sometimes(
            rng, 0.66, [f"{a} pages, {b} figures" for a, b in zip(pages, figures, strict=True)]
        ),
        "doi": _sometimes(rng, 0.23, [f"10.5555/{name}" for name in dates.ids]),
        "id": list(dates.ids),
        "journal-ref": _sometimes(
            rng, 0.2, [f"J. Ex. {a}, {b}" for a, b in zip(figures, pages, strict=True)]
        ),
        "license": _sometimes(rng, 0.5, ["https://creativecommons.org/licenses/by/4.0/"] * n),
        "report-no": _sometimes(rng, 0.02, [f"REP-{a:03d}" for a in pages]),
        "submitter": submitters,
        "title": titles,
        "update_date": updated,
        "versions": [
            [{"created": first, "version": "v1"}]
            + [{"created": last, "version": f"v{k}"} for k in range(2, count + 1)]
            for first, last, count in zip(created, updated, dates.versions.tolist(), strict=True)
        ],
        "primary_category": [lexicon.TOPICS[i].category for i in category.tolist()],
        "final_category": [_LABELS[i] for i in label.tolist()],
    }
    _spoil(rng, columns, n)
    return pa.table([pa.array(columns[field.name], field.type) for field in SCHEMA], schema=SCHEMA)


def _spoil(rng: np.random.Generator, columns: dict[str, list[Any]], n: int) -> None:
    """Adds the defects of real corpora: missing values, duplicate papers, duplicate texts."""
    each = max(1, round(n * _DEFECTS)) if n >= MIN_ROWS else 0
    rows = rng.choice(n, 6 * each, replace=False).reshape(6, each).tolist()
    for row in rows[0]:
        columns["abstract"][row] = None
    for row in rows[1]:
        columns["final_category"][row] = None
    for row, source in zip(rows[2], rows[3], strict=True):
        # The same paper with a later date and a longer text.
        for column in columns.values():
            column[row] = column[source]
        date = np.datetime64(str(columns["update_date"][source])) + 30
        columns["update_date"][row] = str(date)
        columns["abstract"][row] = f"{columns['abstract'][source]} Revised version."
    for row, source in zip(rows[4], rows[5], strict=True):
        # Another paper, with its own label, whose text differs only before cleaning.
        columns["abstract"][row] = f" {columns['abstract'][source]} ".upper()


def write_sample_corpus(path: Path, rows: int, seed: int) -> None:
    """Writes a corpus with the columns of ``SCHEMA``, in bounded memory.

    Args:
        path: parquet file to write or replace, atomically.
        rows: number of rows, at least ``MIN_ROWS``; a few of them have no abstract or no label, or
            repeat an id or a text.
        seed: not negative; the same rows and seed give the same bytes.

    Raises:
        UserError: too few rows, or a negative seed.
    """
    if rows < MIN_ROWS:
        raise UserError(f"rows: {rows} is too few for seven classes; give at least {MIN_ROWS}.")
    if seed < 0:
        raise UserError(f"seed: {seed} is negative; give 0 or more.")
    units = _Units()
    papers_of_month = np.zeros(_MONTHS, np.int64)
    sweep(path)
    with contextlib.ExitStack() as stack:
        file = stack.enter_context(stack.enter_context(replacing(path)).open("wb"))
        writer = stack.enter_context(pq.ParquetWriter(file, SCHEMA, compression="zstd"))
        for start in range(0, rows, _CHUNK):
            rng = np.random.default_rng([seed, start])
            writer.write_table(_table(rng, units, min(_CHUNK, rows - start), papers_of_month))


def write_sample_vectors(path: Path, dimension: int = 100, seed: int = 0) -> None:
    """Writes vectors for the words of the sample in GloVe's text format: word, then the numbers.

    About one word in twenty-five is left out, so that some words have no vector.

    Args:
        path: text file to write or replace, atomically.
        dimension: numbers per word.
        seed: not negative; the same dimension and seed give the same bytes.

    Raises:
        UserError: a dimension below 1 or a negative seed.
    """
    if dimension < 1:
        raise UserError(f"dimension: {dimension} is not possible; give at least 1.")
    if seed < 0:
        raise UserError(f"seed: {seed} is negative; give 0 or more.")
    rng = np.random.default_rng([seed, dimension])
    directions = rng.normal(size=(len(lexicon.TOPICS) + 1, dimension))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    loads: dict[str, npt.NDArray[np.float64]] = {}
    for number, topic in enumerate(lexicon.TOPICS):
        for rank, term in enumerate(topic.terms):
            load = loads.setdefault(term, np.zeros(len(directions)))
            load[number] += 1 / np.sqrt(rank + 3)
    common = (
        *lexicon.CONNECTORS, *lexicon.OPENINGS, *lexicon.ADJECTIVES, *lexicon.NOUNS,
        *lexicon.ORDERED, *lexicon.SURNAMES,
    )  # fmt: skip
    for word in re.findall(r"[a-z0-9]+", " ".join(common).lower()):
        load = loads.setdefault(word, np.zeros(len(directions)))
        load[-1] = 0.5
    kept = rng.random(len(loads)) >= 0.04
    sweep(path)
    with replacing(path) as part, part.open("w", encoding="ascii", newline="\n") as file:
        for (word, load), keep in zip(loads.items(), kept.tolist(), strict=True):
            # Length 3.5 for a topic's most frequent term, against noise of length 2.5.
            vector = 6 * load @ directions + rng.normal(
                scale=2.5 / np.sqrt(dimension), size=dimension
            )
            if keep:
                file.write(f"{word} {' '.join(f'{value:.5f}' for value in vector)}\n")


def make_sample(folder: Path, rows: int, seed: int) -> SamplePaths:
    """Writes the sample corpus and its word vectors (100 numbers per word) into a folder.

    Args:
        folder: created if missing.
        rows: see :func:`write_sample_corpus`.
        seed: not negative.

    Raises:
        UserError: too few rows, or a negative seed.
    """
    paths = SamplePaths(folder / CORPUS_FILE, folder / VECTORS_FILE)
    write_sample_corpus(paths.corpus, rows, seed)
    write_sample_vectors(paths.vectors, seed=seed)
    return paths
