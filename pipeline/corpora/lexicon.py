"""Words of the sample corpus, read from ``lexicon.toml``.

A topic's terms come the commonest first. The words of ``ORDERED`` are in no topic and are used
equally often by every class; only which two meet, and in which order, tells the class.
"""

from __future__ import annotations

from importlib import resources
from typing import NamedTuple

import tomli


class Topic(NamedTuple):
    """A research area: its class, its arXiv category, and its terms, the commonest first."""

    label: str
    category: str
    terms: tuple[str, ...]


_LEXICON = tomli.loads(resources.files(__package__).joinpath("lexicon.toml").read_text("utf-8"))


def _surnames(count: int) -> tuple[str, ...]:
    onsets, vowels, codas, endings = (part.split() for part in _LEXICON["syllables"].values())
    heads = [onset + vowel + coda for onset in onsets for vowel in vowels for coda in codas]
    # A stride prime to the number of heads spreads the sounds; each head occurs once.
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
