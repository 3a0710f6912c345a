"""What no text may hold, and designs that are not whole: refused with the place of the row."""

import pytest
from test_stimuli import jsonl, pair, quad, refused, write

from probekit.stimuli import Stimulus, StimulusSet
from probekit.stimuli.hygiene import FOREIGN_SHARE, check_languages, check_markup

ENGLISH = [
    "She put the phone down and looked at the window.",
    "He walked home in the rain without his coat.",
    "The letter had been lying on the table for days.",
    "They waited for the bus until it was dark.",
]
GERMAN = [
    "Sie legte das Telefon auf den Tisch und sah aus dem Fenster.",
    "Er ging ohne seinen Mantel im Regen nach Hause.",
]
SHORT = ["Schadenfreude.", "Nein.", "Que sera, sera.", "Hola!", "Ugh."]
COLUMNS = ("id", "text", "arm", "scenario", "pair", "quad", "context", "outcome", "valence")


def texts(*given: str, **columns: str):
    return [{"text": text, **columns} for text in given]


def records(rows: list[Stimulus]):
    return [{name: getattr(row, name) for name in COLUMNS} for row in rows]


# Markup

TAGS = ("<b>", "</p>", "<br>", "<br />", '<a href="x.html">', "<SPAN class=x>", "<h2>")
ENTITIES = ("&amp;", "&nbsp;", "&#39;", "&#x27;", "&QUOT;")
HARMLESS = (
    "I <3 you.",
    "It was < 5 degrees, and later > 9.",
    "if a<b then",
    "He said <sigh> and left.",
    "Tom & Jerry; and AT&T",
    "R&B; soul",
    "<<Non>>",
    "a -> b <- c",
    "100% &c.",
    "#39;",
)


@pytest.mark.parametrize("markup", [*TAGS, *ENTITIES])
def test_refuses_markup(tmp_path, markup):
    rows = texts(ENGLISH[0], f"He said {markup} and left.", f"{markup}")
    path = jsonl(tmp_path / "x.jsonl", rows)
    parts = [f"{path}, line 2", f"({markup!r})", "take tags out", "entities"]
    refused(lambda: StimulusSet.load(path), *parts)


@pytest.mark.parametrize("text", HARMLESS)
def test_passes_over_signs_that_are_no_markup(text):
    check_markup([Stimulus("a", text)])


# Languages


def test_refuses_mixed_languages(tmp_path):
    """The place is that of the first text in the rarer language, wherever it stands."""
    for rows, line in ((ENGLISH + GERMAN, 5), (GERMAN + ENGLISH, 1)):
        path = jsonl(tmp_path / "x.jsonl", texts(*rows))
        parts = ["4 texts look like 'en', 2 like 'de'", "add a column 'language'", "leave one"]
        refused(lambda path=path: StimulusSet.load(path), f"{path}, line {line}:", *parts)


@pytest.mark.parametrize("column", ["language", "lang"])
def test_accepts_languages_that_a_column_declares(tmp_path, column):
    rows = texts(*ENGLISH, **{column: "en"}) + texts(*GERMAN, **{column: "de"})
    stimuli = StimulusSet.load(jsonl(tmp_path / "x.jsonl", rows))
    assert stimuli.select(**{column: "de"}).texts == GERMAN
    empty = jsonl(tmp_path / "e.jsonl", texts(*ENGLISH, *GERMAN, **{column: ""}))
    refused(lambda: StimulusSet.load(empty), "line 5", "mixed languages")


def test_passes_over_a_single_foreign_text_and_short_ones(tmp_path):
    for number, foreign in enumerate((GERMAN[:1], SHORT)):
        path = jsonl(tmp_path / f"{number}.jsonl", texts(*ENGLISH, *foreign))
        assert len(StimulusSet.load(path)) == 4 + len(foreign)
    check_languages(Stimulus(str(n), text) for n, text in enumerate(GERMAN))


def test_a_few_foreign_texts_among_many_are_an_accident():
    many = int(2 / FOREIGN_SHARE)
    rows = [Stimulus(str(n), ENGLISH[0]) for n in range(many)]
    foreign = [Stimulus(f"g{n}", text) for n, text in enumerate(GERMAN)]
    check_languages(rows + foreign)
    refused(lambda: check_languages(rows[: many - 2] + foreign), f"{many - 2} texts", "2 like 'de'")


# Designs, where a row was left out or miswritten

ARMS = ("keyword_free", "keyword_rich", "neutral")


def scenarios(*names: str):
    return [
        {"id": f"{name}-{arm}", "text": f"{name} {arm}", "arm": arm, "scenario": name}
        for name in names
        for arm in ARMS
    ]


@pytest.mark.parametrize(
    ("rows", "line", "parts"),
    [
        (scenarios("s", "t")[:-1], 4, ["'t' has 1 keyword_free, 1 keyword_rich, 0 neutral"]),
        ([*scenarios("s", "t"), {"id": "x", "text": "x", "arm": "neutral"}], 7, ["no scenario"]),
        (texts("x", "y") + records(quad(valence="negative")), 3, ["'q'", "no interaction"]),
        (texts("x") + records(quad(text="c2 , o2")), 5, ["'c2o2'", "write it exactly so"]),
        (texts("x") + records(quad()[1:]), 2, ["3 rows (c1o2, c2o1, c2o2)", "each combination"]),
        (texts("x") + records(quad(scenario="p")), 2, ["spans the scenarios ['p', 'q']"]),
        (
            texts("x") + records([*pair(), Stimulus("m", "z", scenario="s", pair="p")]),
            2,
            ["pair 'p' has 3 rows (e, n, m)", "two rows"],
        ),
        (texts("x") + records(pair(arm="keyword_free")), 2, ["one label twice (2 rows (e, n))"]),
    ],
)
@pytest.mark.parametrize("kind", ["jsonl", "tsv"])
def test_a_broken_design_names_its_row(tmp_path, rows, line, parts, kind):
    rows = [{"id": f"i{n}", **row} for n, row in enumerate(rows)]
    if kind == "jsonl":
        # An empty line counts as one.
        path = write(tmp_path / "x.jsonl", "\n" + jsonl(tmp_path / "y", rows).read_text())
    else:
        cells = ["\t".join(str(row.get(name, "")) for name in COLUMNS) for row in rows]
        path = write(tmp_path / "x.tsv", "\n".join(["\t".join(COLUMNS), *cells]))
    # In a table the head is a line.
    refused(lambda: StimulusSet.load(path), f"{path}, line {line + 1}:", *parts)


def test_whole_designs_are_accepted(tmp_path):
    rows = scenarios("s", "t") + records(quad())
    assert len(StimulusSet.load(jsonl(tmp_path / "x.jsonl", rows))) == 10
    assert len(StimulusSet.load(jsonl(tmp_path / "p.jsonl", records(pair())))) == 2
