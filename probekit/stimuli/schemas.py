"""Files of other studies as rows of our own columns: each schema is known by its column names.

| schema | known by its columns | its rows become |
|---|---|---|
| affect-reception | `stimulus_set`, `matched_control_id` | clinical texts and controls as pairs |
| SEV | `scenario`, `event` with one text a valence | one row for each event |
| crowd-enVENT | `generated_text` | the text as written, and with emotion words masked |
| votes by annotator | `text`, `rater_id`, a 0/1 column a label | one row a text, with shares |
| votes by text | `text`, a column of votes a label | the same row, with shares |
| plain | `text`, `label` | the label as `emotion` |

The columns of votes are those whose names are labels of one taxonomy, two or more of them.
Everything else is passed on as it is. What a schema has no column for stays in `extra`.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import chain
from pathlib import Path
from typing import Any

from probekit.errors import UserError
from probekit.stimuli.reading import NumberedRow, unit
from probekit.stimuli.taxonomy import TAXONOMIES, Taxonomy

RATERS = ("rater_id", "annotator", "annotator_id", "worker_id")
SHARES = "shares"
"""Key in `extra` of a text's soft label: each class's share of the votes."""
VALENCES = ("positive", "neutral", "negative")

Adapt = Callable[[Path, Iterator[NumberedRow]], Iterator[NumberedRow]]


def adapt(path: Path, rows: Iterator[NumberedRow]) -> Iterator[NumberedRow]:
    """Rows in our columns, by the schema that the first row's columns mean.

    Rows stream through, but for ratings by annotator, which are gathered by text.

    Raises:
        UserError: a row does not fit the schema of the first.
    """
    first = next(rows, None)
    if first is None:
        return iter(())
    return _schema(set(first[1]))(path, chain([first], rows))


def _schema(columns: set[str]) -> Adapt:
    if {"stimulus_set", "matched_control_id"} <= columns:
        return _each(_affect_reception)
    if {"scenario", "event"} <= columns and "text" not in columns:
        return _sev
    if "generated_text" in columns and "text" not in columns:
        return _crowd_envent
    labels = _label_columns(columns)
    # Where an emotion is given, columns named after emotions are ratings or appraisals.
    if "text" in columns and len(labels) > 1 and not columns & {"emotion", "label"}:
        rater = next((name for name in RATERS if name in columns), None)
        return _ratings(labels, rater) if rater else _counts(labels)
    if "label" in columns and "emotion" not in columns:
        return _each(_plain)
    return lambda _, rows: rows


def _each(change: Callable[[dict[str, Any]], dict[str, Any]]) -> Adapt:
    def adapted(path: Path, rows: Iterator[NumberedRow]) -> Iterator[NumberedRow]:
        for number, row in rows:
            try:
                yield number, change(row)
            except KeyError as error:
                raise _lacks(_place(path, number), error.args[0], row) from error

    return adapted


def _place(path: Path, number: int) -> str:
    return f"{path}, {unit(path)} {number}"


def _lacks(where: str, column: str, row: Mapping[str, Any]) -> UserError:
    return UserError(
        f"{where}: no column {column!r} (it has {', '.join(map(repr, row)) or 'none'}), unlike "
        "the rows that say what kind of file this is: fill it in"
    )


def _affect_reception(row: dict[str, Any]) -> dict[str, Any]:
    """arXiv 2603.22295: set B and its matched controls are pairs, set A stands alone."""
    own = {key: value for key, value in row.items() if key not in ("stimulus_set", "domain")}
    own["domain"] = "" if row.get("domain") is None else str(row["domain"])
    match row["stimulus_set"]:
        case "B_clinical":
            own |= {"set": "clinical", "arm": "keyword_free", "pair": str(row["id"])}
        case "neutral":
            control = row["matched_control_id"]
            own |= {"set": "clinical", "arm": "neutral", "pair": str(control)}
        case name:
            arm = "neutral" if row.get("emotion") == "neutral" else "keyword_rich"
            own |= {"set": name, "arm": arm}
    if "pair" in own:
        own["scenario"] = own["pair"]
    return own


def _sev(path: Path, rows: Iterator[NumberedRow]) -> Iterator[NumberedRow]:
    """arXiv 2510.11328: one row for each event of a scenario, the scenario being its context."""
    for number, row in rows:
        scenario, events = row.get("scenario"), row.get("event")
        given = events if isinstance(events, Mapping) else {}
        texts = {valence: text for valence, text in given.items() if text is not None}
        whole = all(isinstance(text, str) for text in (scenario, *texts.values()))
        if not texts or not whole or not set(texts) <= set(VALENCES):
            raise UserError(
                f"{_place(path, number)}: no scenario with events: give a `scenario` (a text) and "
                f"an `event` with texts under {', '.join(VALENCES)}"
            )
        theme, key = str(row.get("theme") or ""), str(row.get("skeleton_id") or number)
        name = key if key.startswith(theme) else f"{theme}-{key}"
        shared = {k: v for k, v in row.items() if k not in ("scenario", "event", "theme", "id")}
        for valence in (valence for valence in VALENCES if valence in texts):
            told = {"context": scenario, "outcome": texts[valence]}
            text = f"{scenario} {texts[valence]}"
            own = {"id": f"{name}-{valence}", "text": text, "valence": valence, "domain": theme}
            yield number, {**shared, **own, "scenario": name, **told}


def _crowd_envent(path: Path, rows: Iterator[NumberedRow]) -> Iterator[NumberedRow]:
    """Troiano, Oberländer & Klinger 2023: an event as written, and with emotion words masked."""
    for number, row in rows:
        key = str(row.get("text_id") or row.get("id") or number)
        texts = {
            "keyword_rich": row.get("generated_text"),
            "keyword_free": row.get("hidden_emo_text"),
        }
        given = {arm: text for arm, text in texts.items() if text}
        if not given:
            raise UserError(
                f"{_place(path, number)}: neither 'generated_text' nor 'hidden_emo_text' holds a "
                "text: write one, or take the row out"
            )
        shared = {k: v for k, v in row.items() if k not in ("generated_text", "hidden_emo_text")}
        for arm, text in given.items():
            own = {"id": f"{key}-{arm}", "text": text, "scenario": key}
            yield number, {**shared, **own, "arm": arm if len(given) > 1 else ""}


def _plain(row: dict[str, Any]) -> dict[str, Any]:
    rest = {key: value for key, value in row.items() if key != "label"}
    return {**rest, "emotion": row["label"]}


def _label_columns(columns: set[str]) -> list[str]:
    """Columns that are labels of one taxonomy, if there is one that names several of them."""
    found = [sorted(columns & set(Taxonomy.load(name).labels)) for name in TAXONOMIES]
    return max(found, key=len, default=[])


def _ratings(labels: list[str], rater: str) -> Adapt:
    """One row for each rater and text: counted by text."""

    def change(path: Path, rows: Iterator[NumberedRow]) -> Iterator[NumberedRow]:
        texts: dict[str, tuple[int, dict[str, Any]]] = {}
        votes: dict[str, dict[str, float]] = {}
        for number, row in rows:
            where = _place(path, number)
            if "text" not in row:
                raise _lacks(where, "text", row)
            key = str(row.get("id") or row["text"])
            if key in texts and texts[key][1]["text"] != row["text"]:
                raise UserError(
                    f"{where}: the id {key!r} stood before another text, in {unit(path)} "
                    f"{texts[key][0]}: votes of one id are on one text"
                )
            rest = {k: v for k, v in row.items() if k not in (*labels, rater)}
            texts.setdefault(key, (number, rest))
            counted = votes.setdefault(key, dict.fromkeys(labels, 0.0))
            for label, vote in _votes(_place(path, number), row, labels).items():
                counted[label] += vote
        for key, (number, rest) in texts.items():
            yield number, {**rest, **_soft(votes[key])}

    return change


def _counts(labels: list[str]) -> Adapt:
    """One row for each text, with a count or share of each label."""

    def change(path: Path, rows: Iterator[NumberedRow]) -> Iterator[NumberedRow]:
        for number, row in rows:
            votes = _votes(_place(path, number), row, labels)
            yield number, {**{k: v for k, v in row.items() if k not in labels}, **_soft(votes)}

    return change


def _votes(where: str, row: Mapping[str, Any], labels: Iterable[str]) -> dict[str, float]:
    votes = {}
    for label in labels:
        try:
            votes[label] = float(row.get(label) or 0)
        except (TypeError, ValueError):
            raise UserError(
                f"{where}: {label!r} is {row[label]!r}: a column of votes holds numbers"
            ) from None
        if not 0 <= votes[label] < float("inf"):
            raise UserError(f"{where}: {label!r} is {votes[label]:g}: votes are not negative")
    return votes


def _soft(votes: Mapping[str, float]) -> dict[str, Any]:
    """Shares of the votes, and the label that leads (none where two do)."""
    total = sum(votes.values())
    if not total:
        return {}
    shares = {label: vote / total for label, vote in votes.items()}
    leading = [label for label, share in shares.items() if share == max(shares.values())]
    return {SHARES: shares, "emotion": leading[0] if len(leading) == 1 else ""}
