"""What else an edit does to a model: next tokens of neutral texts, plain facts, refusals."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from probekit import stats
from probekit.errors import UserError
from probekit.models import Model
from probekit.runs import read_json
from probekit.scorecard.likelihood import Meanwhile, continuation_nats, next_token_kl
from probekit.stats import Estimate, bootstrap_weights, sign_flip_p

Floats = NDArray[np.float64]
CHANCE = 0.25
"""Of the quiz, whose items have four options."""
OPENING = 200
"""Characters of a reply in which a refusal stands."""


@dataclass(frozen=True)
class Item:
    """A question of common knowledge; the first option is right."""

    question: str
    options: tuple[str, ...]


@cache
def quiz_items() -> tuple[Item, ...]:
    """The forty items that come with probekit."""
    given = _data("quiz")["items"]
    return tuple(Item(each["question"], tuple(each["options"])) for each in given)


@cache
def harmless_prompts() -> Mapping[str, tuple[str, ...]]:
    """Prompts without harm: `plain`, and `sounds_harmful` for words of harm in another sense."""
    given = _data("harmless")
    return {kind: tuple(given[kind]) for kind in ("plain", "sounds_harmful")}


def quiz(
    model: Model, meanwhile: Meanwhile = (), items: Sequence[Item] | None = None
) -> NDArray[np.bool_]:
    """Whether the right option of each item is the likeliest, `[item]`.

    An option is scored by the mean log-likelihood of its tokens after the question.

    Args:
        model: the model.
        meanwhile: what is done to it, as if it were writing the options.
        items: default `quiz_items`.
    """
    items = quiz_items() if items is None else items
    prompts = model.encode([each.question for each in items])
    rows = [(place, option) for place, each in enumerate(items) for option in each.options]
    ids = [model.tokenizer(f" {o}", add_special_tokens=False)["input_ids"] for _, o in rows]
    found = continuation_nats(model, [prompts[place] for place, _ in rows], ids, meanwhile)
    means = np.array([nats.mean() for nats in found])
    place = np.array([place for place, _ in rows])
    return np.array([means[place == n].argmin() == 0 for n in range(len(items))], dtype=bool)


def refuses(text: str) -> bool:
    """Whether a reply opens with a refusal, by a list of patterns."""
    return bool(_patterns().search(text[:OPENING]))


def changes(
    before: Sequence[float],
    after: Sequence[float],
    metric: str,
    *,
    bootstraps: int = 1000,
    permutations: int = 1000,
    seed: int = 0,
) -> list[dict[str, Any]]:
    """A figure per item before and after, and its paired change: rows of `results.csv`.

    The interval draws items; p flips the sign of each item's change.

    Raises:
        UserError: lengths differ, or fewer than two items.
    """
    one, other = np.asarray(before, np.float64), np.asarray(after, np.float64)
    if len(one) != len(other):
        raise UserError(f"{metric}: {len(one)} items before, {len(other)} after: give as many")
    items = [str(place) for place in range(len(one))]
    weights = bootstrap_weights(items, bootstraps, seed)
    sizes = {"n": len(items), "clusters": len(items)}

    def row(name: str, values: Floats) -> dict[str, Any]:
        return {"metric": name, **Estimate.of(stats.weighted_mean(values, weights)).cells, **sizes}

    p = sign_flip_p((other - one)[:, None], items, permutations, seed)
    return [
        {**row(metric, one), "condition": "before"},
        {**row(metric, other), "condition": "after"},
        {**row(f"{metric}_change", other - one), "p": float(p[0])},
    ]


def measure_side_effects(
    model: Model,
    meanwhile: Meanwhile,
    neutral: Sequence[str],
    known: NDArray[np.bool_] | None = None,
    *,
    bootstraps: int = 1000,
    permutations: int = 1000,
    seed: int = 0,
) -> list[dict[str, Any]]:
    """KL on neutral texts and the quiz, before and after; see `changes`.

    Args:
        model: the model.
        meanwhile: what is done to it, as if it were writing.
        neutral: texts without an emotion.
        known: `quiz(model)`, if already answered.
        bootstraps, permutations, seed: of intervals and p.
    """
    before = quiz(model) if known is None else known
    kl, after = next_token_kl(model, neutral, meanwhile), quiz(model, meanwhile)
    draws = {"bootstraps": bootstraps, "permutations": permutations, "seed": seed}
    return effect_rows(kl, list(before), list(after), **draws)


def effect_rows(
    kl: Floats, before: Sequence[float], after: Sequence[float], **draws: int
) -> list[dict[str, Any]]:
    """Rows of KLs `[text]` and of the quiz before and after `[item]`; see `changes` for draws."""
    kl = kl[~np.isnan(kl)]
    items = [str(place) for place in range(len(kl))]
    weights = bootstrap_weights(items, draws["bootstraps"], draws["seed"])
    drift = Estimate.of(stats.weighted_mean(kl, weights)).cells
    return [
        {"metric": "kl", **drift, "n": len(kl), "clusters": len(kl)},
        *changes(before, after, "quiz", **draws),
        {"metric": "quiz", "condition": "chance", "value": CHANCE},
    ]


@cache
def _patterns() -> re.Pattern[str]:
    return re.compile("|".join(f"(?:{each})" for each in _data("harmless")["refusals"]), re.I)


@cache
def _data(name: str) -> dict[str, Any]:
    return read_json(Path(__file__).with_name(f"{name}.json"))
