"""Words of the sample corpus, read from ``lexicon.toml``.

The words of ``ORDERED`` are in no topic and equally frequent in every class; only their pairs, and
the order within a pair, indicate the class.
"""

from __future__ import annotations

from importlib import resources
from typing import NamedTuple

import tomli


class Topic(NamedTuple):
    """A research area: its class, its arXiv category, and its terms, most frequent first."""

    label: str
    category: str
    terms: tuple[str, ...]


_LEXICON = tomli.loads(resources.files(__package__).joinpath("lexicon.toml").read_text("utf-8"))


def _surnames(count: int) -> tuple[str, ...]:
    onsets, vowels, codas, endings = (part.split() for part in _LEXICON["syllables"].values())
    heads = [onset + vowel + coda for onset in onsets for vowel in vowels for coda in codas]
    # The stride is coprime to the number of heads, so each head occurs once per cycle.
    return tuple(
        (heads[i * 467 % len(heads)] + endings[i % len(endings)]).capitalize() for i in range(count)
    )


TOPICS = tuple(
    Topic(topic["label"], topic["category"], tuple(topic["terms"].split()))
    for topic in _LEXICON["topics"]
)
ORDERED, ADJECTIVES, NOUNS, FORENAMES = (
    tuple(_LEXICON[name].split()) for name in ("ordered", "adjectives", "nouns", "forenames")
)
OPENINGS, CONNECTORS, FORMULAS, UNICODE = (
    tuple(_LEXICON[name]) for name in ("openings", "connectors", "formulas", "unicode")
)
SURNAMES = _surnames(1500)
"""Made-up names: authors, and the rare words of the texts."""
