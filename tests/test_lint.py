"""`lint`: figures known by hand, claims that hold and do not, and what the command says of them."""

import json
from functools import cache

import numpy as np
import pytest

from probekit import stats
from probekit.baselines import word_baselines
from probekit.cli import application, run
from probekit.crossval import cross_validate
from probekit.errors import UserError
from probekit.lint import CHECKS, Design, lint, texts
from probekit.lint.words import measure
from probekit.stimuli import Reading, Stimulus, StimulusSet, write_readings
from probekit.stimuli.readings import text_hash
from probekit.tasks import tasks_of

SMALL = Design(folds=3, permutations=19, bootstraps=50)


def a_set(*rows):
    """Rows of text and factors, with ids 0, 1, 2."""
    return StimulusSet("made", tuple(Stimulus(str(n), **row) for n, row in enumerate(rows)))


def free(text, **factors):
    return {"text": text, "arm": "keyword_free", **factors}


def rich(text, **factors):
    return {"text": text, "arm": "keyword_rich", **factors}


def neutral(text, **factors):
    return {"text": text, "arm": "neutral", **factors}


# Words that give it away


@pytest.mark.parametrize("word", ["grief", "Angrily", "TERRIFIED", "sobbing", "delighted", "hates"])
def test_emotion_words_are_found_in_every_form(word):
    found = texts.keywords(a_set(free(f"The door, {word}, shut."), free("The door shut.")))
    assert found.value == 1
    assert found.where == (f"0: {word.lower()}",)


def test_emotion_words_are_found_in_compounds_and_possessives():
    said = ["He was grief-stricken.", "Panic-stricken!", "teary-eyed", "Her anger's edge.", "x"]
    found = texts.keywords(a_set(*map(free, said)))
    assert found.value == 4
    assert [each[:2] for each in found.where] == ["0:", "1:", "2:", "3:"]
    assert found.where[3] == "3: anger"


def test_keywords_count_texts_of_every_arm_but_the_rich_one():
    rows = [free("Angry and afraid."), neutral("She was angry."), rich("She was angry."), free("x")]
    found = texts.keywords(a_set(*rows, {"text": "So much grief, no arm."}))
    assert found.value == 3
    assert found.where == ("0: angry, afraid", "1: angry", "4: grief")


def test_everyday_words_and_words_allowed_are_no_keywords():
    everyday = a_set(free("A bright alarm rang; the content of the cold pan was bitter."))
    assert texts.keywords(everyday).value == 0
    calm = a_set(free("The sea was calm."), free("A calm and eager dog."))
    assert texts.keywords(calm).value == 2
    assert texts.keywords(calm, allow=["calm"]).where == ("1: eager",)
    assert texts.keywords(calm, allow=["calm", "eager"]).value == 0


def test_idioms_are_found_in_any_case():
    rows = [
        free("At the gate her Heart sank."),
        free("He held his breath."),
        rich("Her heart sank."),
        free("The heart of the town sank into the river."),
        neutral("His blood ran cold."),
    ]
    found = texts.idiomatic(a_set(*rows))
    assert found.value == 3
    assert found.where == ("0: Heart sank", "1: held his breath", "4: blood ran cold")


# Balance between texts


def test_length_ratio_is_that_of_the_most_uneven_scenario():
    found = texts.length_ratio(
        a_set(
            free("one two three", scenario="a"),
            neutral("one two three four", scenario="a"),
            rich("it's one-two, three four five", scenario="b"),
            neutral("one two three four", scenario="b"),
            free("a text that stands alone is long", scenario="c"),
        )
    )
    assert found.value == 1.5  # "it's" is one word, "one-two" two.
    assert found.where == ("b (1.50)", "a (1.33)")


def test_changed_words_are_a_share_of_the_longer_text():
    found = texts.changed_tokens(
        a_set(
            free("The kidney was a match for him.", pair="p"),
            neutral("The jacket was a match for him!", pair="p"),
            free("The letter came on a Friday.", pair="q"),
            neutral("The letter came.", pair="q"),
            free("Of no pair, and nothing like the others."),
        )
    )
    assert found.value == pytest.approx(3 / 6)
    assert found.where == ("q (0.50)", "p (0.14)")


def test_words_that_stand_in_one_arm_more_often_are_named():
    couple = [
        free("got the kidney, not the jacket", pair="p"),
        neutral("got the jacket, not the kidney", pair="p"),
        free("the red jacket came", pair="q"),
        neutral("the red kidney came", pair="q"),
    ]
    odd = texts.unbalanced_words(a_set(*couple))
    assert odd.value == 2
    assert set(odd.where) == {"jacket (+1)", "kidney (-1)"}
    mirrored = [free("the kidney", pair="r"), neutral("the jacket", pair="r")]
    assert texts.unbalanced_words(a_set(*couple, *mirrored)).value == 0
    twice = texts.unbalanced_words(
        a_set(*couple, free("oh oh oh no", pair="s"), neutral("no", pair="s"))
    )
    assert twice.where[0] == "oh (+3)"
    words = {"positive": "the kidney", "negative": "the kidney"}
    by_valence = [{"text": text, "valence": v, "pair": "p"} for v, text in words.items()]
    assert texts.unbalanced_words(a_set(*by_valence)).value == 0
    by_valence[0]["text"] = "the jacket"
    assert texts.unbalanced_words(a_set(*by_valence)).value == 2


def test_near_duplicates_share_runs_of_five_words():
    said = "the bus was late and the stop had no roof at all"
    rows = [
        free(said, scenario="a"),
        neutral(said, scenario="a"),  # Of the same scenario.
        free(f"{said.upper()}, he said", scenario="b"),
        free("the bus was late and then a whole new story began for them", scenario="c"),
        free("short text", scenario="d"),
        free("short text", scenario="e"),
    ]
    found = texts.near_duplicates(a_set(*rows))
    assert found.value == 1
    assert found.where == ("a and b",)
    # c shares one run: with a, which has eight, and with b, which has more than its own nine.
    near = [texts.near_duplicates(a_set(*rows), share).value for share in (0.13, 0.12, 0.11)]
    assert near == [1, 2, 3]


def test_imbalance_is_cohens_d_of_the_labels_most_apart():
    count = len
    rows = [free("a" * n) for n in (4, 6)] + [neutral("b" * n) for n in (5, 9)]
    rows += [rich("c" * 90), {"text": "d" * 90}]  # Neither an arm that counts nor a label.
    found = texts.imbalance(a_set(*rows), count)
    assert found.value == pytest.approx((7 - 5) / np.sqrt((1 + 4) / 2))
    assert found.where[0].startswith("keyword_free - neutral: 5.00 - 7.00")
    by_valence = [{"text": "a" * n, "valence": v} for n, v in
                  ((2, "positive"), (4, "positive"), (2, "negative"), (6, "negative"),
                   (9, "neutral"), (11, "neutral"))]  # fmt: skip
    found = texts.imbalance(a_set(*by_valence), count)
    assert found.value == pytest.approx(7.0)
    assert len(found.where) == 3
    assert texts.imbalance(a_set(free("ab"), neutral("ab")), count).value == 0
    apart = a_set(*[free("ab")] * 3, *[neutral("a")] * 3)  # No spread, and never alike.
    assert texts.imbalance(apart, count).value == np.inf
    for few in ([{"text": "x", "emotion": "rage"}], [free("x")], [free("x"), rich("xy")]):
        assert texts.imbalance(a_set(*few), count) is None


@pytest.mark.parametrize(
    ("text", "sentences", "marks"),
    [
        ("He left. She stayed!", 2, 2 / 4),
        ('"Did he leave?" she asked. No (not yet)...', 3, 9 / 8),
        ("no mark at all", 1, 0),
        ("It cost 3.50 in all.", 1, 2 / 6),
        ('It\'s "so" - yes.', 1, 5 / 3),
        ("It’s “so” — yes.", 1, 5 / 3),
    ],
)
def test_surface_counts(text, sentences, marks):
    assert texts.sentences(text) == sentences
    assert texts.punctuation(text) == pytest.approx(marks)


def test_readability_is_coleman_and_liaus():
    text = "Existing computer programs that measure readability are slow. They count syllables."
    letters, words, sentences = 71, 11, 2
    want = 0.0588 * 100 * letters / words - 0.296 * 100 * sentences / words - 15.8
    assert texts.readability(text) == pytest.approx(want)


# Association with the emotion


def told(emotion, text="", n=1, **factors):
    return [{"text": text, "emotion": emotion, **factors} for _ in range(n)]


def test_gender_is_that_of_most_words():
    rows = a_set({"text": "She gave her son a cup."}, {"text": "He and she."}, {"text": "His boy."})
    assert [texts.gender(row) for row in rows.rows] == ["female", "neither", "male"]


@pytest.mark.parametrize(
    ("counts", "v"),
    [
        ([(20, 0), (0, 20)], 1.0),
        ([(10, 10), (10, 10)], 0.0),
        # phi² = .25; .25 - 1/39 over 1 - 1/39 (Bergsma 2013).
        ([(15, 5), (5, 15)], np.sqrt((0.25 - 1 / 39) / (1 - 1 / 39))),
    ],
)
def test_association_of_gender_and_person_is_cramers_v(counts, v):
    rows = [
        row
        for emotion, (women, men) in zip(("grief", "rage"), counts, strict=True)
        for row in told(emotion, "She left.", women, person="first")
        + told(emotion, "He left.", men, person="third")
    ]
    by_gender = texts.association(a_set(*rows), texts.gender)
    by_person = texts.association(a_set(*rows), lambda row: row.person)
    assert by_gender.value == pytest.approx(v)
    assert by_person.value == pytest.approx(v)
    first, second = counts[0]
    assert by_person.where[0] == f"grief: first {first}, third {second}"


def test_association_counts_scenarios_and_passes_over_the_neutral():
    rows = told("grief", n=9, person="first", scenario="a", arm="keyword_free")
    rows += told("neutral", n=9, person="third", scenario="b")
    rows += told("rage", n=4, person="third", quad="q")
    rows += told("grief", person="third", scenario="c")
    rows += told("rage", person="third", scenario="d") + told("rage", person="first", scenario="e")
    rows += told("rage", scenario="f")  # No one knows in which person.
    found = texts.association(a_set(*rows), lambda row: row.person)
    assert found.where == ("grief: first 1, third 1", "rage: first 1, third 1")
    assert texts.association(a_set(*rows[:9]), lambda row: row.person) is None
    one = told("grief", person="first") + told("rage", person="first")
    assert texts.association(a_set(*one), lambda row: row.person) is None
    two = told("grief", person="first") + told("rage", person="third")
    assert texts.association(a_set(*two), lambda row: row.person).value == 0  # Chance alone.


def test_every_check_measures_a_whole_set():
    found = {name: check(telling(6)) for name, (_, check) in CHECKS.items()}
    assert found["gender_v"] is None
    assert all(np.isfinite(each.value) for each in found.values() if each)
    lengths = found["length_d"].value
    assert lengths == texts.imbalance(telling(6), lambda text: len(text.split())).value


# What words alone achieve


PLACES = [
    ("harbour", "boats"), ("market", "stalls"), ("station", "trains"), ("library", "shelves"),
    ("garden", "beds"), ("bakery", "ovens"), ("museum", "rooms"), ("stable", "horses"),
    ("chapel", "pews"), ("factory", "lathes"), ("cinema", "seats"), ("airfield", "hangars"),
]  # fmt: skip


def telling(n=12):
    """Pairs whose emotional text always has the key, and the neutral one the lamp."""
    rows = []
    for number, (place, things) in enumerate(PLACES[:n]):
        frame = f"At the {place} she walked past the {things} and put the {{}} down on the table."
        own = {"scenario": f"s{number}", "pair": f"p{number}"}
        rows += [free(frame.format("key"), emotion="rage", **own)]
        rows += [neutral(frame.format("lamp"), emotion="neutral", **own)]
    return a_set(*rows)


def mirrored(n=12):
    """Each scenario has a second pair with key and lamp the other way round."""
    rows = []
    for number, (place, things) in enumerate(PLACES[:n]):
        frames = (
            f"At the {place} she walked past the {things} and put the {{}} down on the table.",
            f"Beyond the {place} the {things} were dark, and the {{}} stood on the table.",
        )
        for k, frame in enumerate(frames):
            own = {"scenario": f"s{number}", "pair": f"p{number}-{k}"}
            words = ("key", "lamp") if k == 0 else ("lamp", "key")
            rows += [free(frame.format(words[0]), emotion="rage", **own)]
            rows += [neutral(frame.format(words[1]), emotion="neutral", **own)]
    return a_set(*rows)


def words_of(stimuli, design=SMALL):
    bag = word_baselines(stimuli.texts)[:1]
    return {(w.task, w.folds, w.metric): w for w in measure(stimuli, bag, design)}


def test_a_word_that_gives_the_answer_away_is_told():
    found = words_of(telling())
    assert set(found) == {
        ("reception", "scenario", "auroc"),
        ("reception", "scenario", "forced_choice"),
    }
    area = found["reception", "scenario", "auroc"]
    assert (area.method, area.source, area.clusters) == ("bag_of_words", "keyword_free", 12)
    assert area.estimate.value == 1
    assert area.p == 1 / 20
    assert 0.3 < area.chance < 0.7
    assert 0 < area.smallest < 0.8
    chosen = found["reception", "scenario", "forced_choice"]
    assert chosen.estimate.value == 1
    assert (chosen.chance, chosen.smallest, chosen.p) == (None, None, None)


def test_mirrored_words_tell_nothing():
    area = words_of(mirrored())["reception", "scenario", "auroc"]
    assert area.estimate.value == pytest.approx(0.5, abs=0.02)
    assert area.p > 0.2
    assert texts.unbalanced_words(mirrored()).value == 0
    assert texts.unbalanced_words(telling()).value == 2


def test_chance_is_the_null_and_the_smallest_effect_that_of_scores_that_know_nothing():
    stimuli = telling(9)
    (task,) = tasks_of(stimuli, 3, hold_out=False)[0]
    (bag, *_, lexicon) = word_baselines(stimuli.texts)
    folds, labels = task.folds(3, 0), task.label_numbers
    null = cross_validate(
        bag.features, labels, folds, permuted=task.permuted(19, 0), standardize=False
    )[0].null_nested
    found = {each.method: each for each in measure(stimuli, [bag, lexicon], SMALL) if each.chance}
    area, other = found["bag_of_words"], found["lexicon"]
    assert area.chance == pytest.approx(null.mean())
    assert area.smallest == other.smallest  # A matter of the design, whatever is measured.
    rng = np.random.default_rng(1)
    blind = [stats.auroc(rng.normal(size=18), labels == 1, folds)[0] for _ in range(1000)]
    assert area.smallest == pytest.approx(stats.smallest_effect(blind), rel=0.15)


@cache
def in_domains(n_domains=3):
    """Two emotions in several domains; in each domain another word gives the emotion away."""
    things = (("saw", "nail"), ("pan", "sieve"), ("oar", "rope"))
    rows = [
        free(
            f"By the {place} near the {others} someone had left a {things[d][e]} that morning.",
            emotion=("grief", "rage")[e], domain=f"d{d}", scenario=f"{d}-{e}-{place}",
        )
        for d in range(n_domains) for e in range(2) for place, others in PLACES[:6]
    ]  # fmt: skip
    return a_set(*rows)


def test_domains_are_held_out_where_there_are_three():
    found = words_of(in_domains())
    assert set(found) == {
        ("categorisation", "scenario", "auroc"),
        ("categorisation", "domain", "auroc"),
    }
    assert found["categorisation", "scenario", "auroc"].estimate.value == 1
    # The words of a domain are known from no other.
    assert found["categorisation", "domain", "auroc"].estimate.value == pytest.approx(0.5, abs=0.02)
    assert set(words_of(in_domains(2))) == {("categorisation", "scenario", "auroc")}


def test_an_emotion_that_fills_a_domain_is_measured_over_scenarios_at_least():
    rows = [
        {"text": f"The {who} stood by the {what} on day {n}.", "emotion": e, "domain": f"d{e}"}
        for e in ("rage", "grief", "terror")
        for who in ("cat", "dog")
        for n, what in enumerate(("door", "gate", "wall"))
    ]
    found = words_of(a_set(*rows))
    area = found["categorisation", "scenario", "auroc"]
    assert area.estimate.low <= area.estimate.value <= area.estimate.high
    assert all(np.isfinite(each.estimate.value) for each in found.values())


def test_votes_are_measured_without_permutations(tmp_path):
    file = tmp_path / "votes.jsonl"
    text = "The cat sat by the door on day {}."
    rows = [{"text": text.format(n), "joy": n % 3, "anger": 2, "fear": 1} for n in range(12)]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    found = lint(file, design=Design(folds=3, permutations=0, bootstraps=20))
    soft = [each for each in found if each.name.startswith("soft_labels: ")]
    assert {each.name.split(", ")[1] for each in soft} == {"cross_entropy"}
    assert all(np.isfinite(each.value) and "chance" not in each.said for each in soft)


# Claims


def folder(path, stimuli, claims=""):
    """A set as it is shipped: its rows, and a datasheet with claims."""
    rows = [{k: v for k, v in vars(row).items() if v and k != "extra"} for row in stimuli.rows]
    path.mkdir(exist_ok=True)
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    (path / "stimuli.jsonl").write_text(lines, encoding="utf-8")
    head = f"---\nname: made\nlicence: CC0-1.0\nclaims:\n{claims}\n---\n\n# Made\n"
    (path / "README.md").write_text(head, encoding="utf-8")
    return path


OWN = "task: reception, source: keyword_free"
CLAIMS = f"""
  keywords: {{max: 0}}
  length_ratio: {{min: 1, max: 1.15}}
  changed_tokens: {{max: 0.05}}
  unbalanced_words: {{max: 2}}
  near_duplicates: {{max: 0, share: 0.9}}
  words_alone:
    - {{{OWN}, method: bag_of_words, min: 0.9}}
    - {{{OWN}, method: bag_of_words, metric: forced_choice, max: 0.5}}
    - {{{OWN}, method: surface, min: 0, max: 1}}
"""
KEPT = {
    "keyword-free texts with an emotion word": ("at most 0", True),
    "longest over shortest text of a scenario": ("1 to 1.15", True),
    "largest share of words changed in a pair": ("at most 0.05", False),
    "words not equally often in both arms": ("at most 2", True),
    "scenarios that share much of their wording": ("at most 0", True),
    "reception keyword_free: bag_of_words, auroc": ("at least 0.9", True),
    "reception keyword_free: bag_of_words, forced_choice": ("at most 0.5", False),
    "reception keyword_free: surface, auroc": ("0 to 1", True),
}


def test_claims_are_held_against_the_figures(tmp_path):
    found = lint(folder(tmp_path / "made", telling(), CLAIMS), design=SMALL)
    assert {f.name: (f.claim, f.passed) for f in found if f.claim} == KEPT
    assert all(f.passed is None for f in found if not f.claim)
    by_name = {finding.name: finding for finding in found}
    changed = by_name["largest share of words changed in a pair"]
    assert changed.value == pytest.approx(1 / 16)
    assert changed.said == "0.0625"
    assert changed.where[0].endswith("(0.06)")
    area = by_name["reception keyword_free: bag_of_words, auroc"]
    assert area.value == 1
    assert area.said.startswith("1.000 [1.000, 1.000] chance .")
    assert "detectable ±" in area.said
    methods = {f.name.split(": ")[1].split(",")[0] for f in found if f.name.startswith("reception")}
    assert methods == {each.name for each in word_baselines(["a b", "a c"])}
    # The options of a claim reach its check: many runs of five words are shared.
    unclaimed = lint(folder(tmp_path / "made", telling()), design=SMALL)
    same = "scenarios that share much of their wording"
    assert next(f.value for f in unclaimed if f.name == same) > by_name[same].value == 0


@pytest.mark.parametrize(
    ("value", "bounds", "kept"),
    [
        (0.6004, {"max": 0.6}, True),  # Shown as .600.
        (0.6006, {"max": 0.6}, False),
        (0.3996, {"min": 0.4}, True),
        (0.3994, {"min": 0.4}, False),
        (0.5, {"min": 0.4, "max": 0.6}, True),
        (0.7, {"min": 0.4, "max": 0.6}, False),
        (0.3, {"min": 0.4, "max": 0.6}, False),
        (float("nan"), {"max": 0.6}, False),
    ],
)
def test_a_claim_is_judged_to_three_digits(tmp_path, monkeypatch, value, bounds, kept):
    told, _ = CHECKS["keywords"]
    checks = {**CHECKS, "keywords": (told, lambda _: texts.Measured(value))}
    monkeypatch.setattr("probekit.lint.CHECKS", checks)
    # Too few texts to measure what words achieve: that is said, and nothing fails.
    made = folder(tmp_path / "made", telling(2), f"  keywords: {json.dumps(bounds)}")
    found = lint(made, design=SMALL)
    assert next(f.passed for f in found if f.name == told) is kept
    assert found[-1].name == "words alone"
    assert found[-1].said.startswith("not measured: ")
    assert found[-1].passed is None


@pytest.mark.parametrize(
    ("claim", "says"),
    [
        ("key_words: {max: 0}", r"unknown claim 'key_words': accepted are keywords, .*words_alone"),
        ("words_alone: [{task: valence, method: surface, max: 1}]", "not measured .*valence"),
        (
            f"words_alone: [{{{OWN}, method: surprisal, max: 1}}]",
            "not measured .*surprisal.*--model",
        ),
        (
            "words_alone: [{task: reception, method: surface, max: 1}]",
            "name a task, source, method",
        ),
        ("person_v: {max: 0.1}", "claims 'person_v', and the set gives nothing to measure it on"),
    ],
)
def test_claims_of_nothing_that_is_measured_are_refused(tmp_path, claim, says):
    with pytest.raises(UserError, match=says):
        lint(folder(tmp_path / "made", telling(6), f"  {claim}"), design=SMALL)


@pytest.mark.parametrize("claim", ["changed_tokens", "unbalanced_words", "length_ratio"])
def test_claims_on_pairs_and_scenarios_need_them(tmp_path, claim):
    rows = [
        {"text": row.text, "valence": ("positive", "negative")[number % 2]}
        for number, row in enumerate(telling(6).rows)
    ]
    with pytest.raises(UserError, match=f"claims '{claim}', and the set gives nothing"):
        lint(folder(tmp_path / "made", a_set(*rows), f"  {claim}: {{max: 9}}"), design=SMALL)


@pytest.mark.parametrize(
    ("claim", "says"),
    [
        ("keywords: {maximum: 0}", "the claim 'keywords' is .*maximum.*give a number as `min`"),
        ("keywords: 1", "the claim 'keywords' is 1"),
        ("keywords: 0", "the claim 'keywords' is 0"),
        ("keywords: {}", "the claim 'keywords' is {}"),
        ("keywords: {max: none}", "the claim 'keywords' is .*none"),
        ("keywords: {max: 0, maximum: 0}", "'keywords' has options it does not take.*maximum"),
        ("- keywords", "claims"),
        (f"words_alone: {{{OWN}, method: surface, max: 1}}", "words_alone"),
        ("words_alone: [surface]", "the claim 'words_alone' is 'surface'"),
        (f"words_alone: [{{{OWN}, method: surface}}]", "give a number as `min`"),
        (
            "words_alone: [{tusk: reception, method: surface, max: 1}]",
            "unknown key of a claim on words 'tusk': accepted are task, .*max",
        ),
        (f"words_alone: [{{{OWN}, method: surface, maximum: 0}}]", "the claim 'words_alone' is"),
    ],
)
def test_broken_claims_are_refused(tmp_path, claim, says):
    with pytest.raises(UserError, match=says):
        lint(folder(tmp_path / "made", telling(6), f"  {claim}"), design=SMALL)


def test_two_claims_of_one_figure_are_both_judged(tmp_path):
    own = f"{OWN}, method: bag_of_words"
    claims = f"  words_alone: [{{{own}, max: 0.6}}, {{{own}, min: 0.4}}]"
    found = lint(folder(tmp_path / "made", telling(6), claims), design=SMALL)
    name = "reception keyword_free: bag_of_words, auroc"
    judged = [(each.claim, each.passed) for each in found if each.name == name]
    assert judged == [("at most 0.6", False), ("at least 0.4", True)]


def test_a_claim_on_words_needs_words_to_be_measured(tmp_path):
    claims = f"  words_alone: [{{{OWN}, method: surface, max: 1}}]"
    with pytest.raises(UserError, match="allow no task"):
        lint(folder(tmp_path / "made", telling(2), claims), design=SMALL)


def test_domain_claims_name_their_folds(tmp_path):
    own = "task: categorisation, source: keyword_free, method: bag_of_words"
    claims = f"  words_alone:\n  - {{{own}, folds: domain, max: 0.6}}\n  - {{{own}, min: 0.9}}"
    found = lint(folder(tmp_path / "made", in_domains(), claims), design=SMALL)
    assert {f.name: f.passed for f in found if f.claim} == {
        "categorisation keyword_free: bag_of_words, auroc": True,
        "categorisation keyword_free, domains held out: bag_of_words, auroc": True,
    }


def test_readings_beside_the_set_and_others_are_counted(tmp_path):
    stimuli, made = telling(2), folder(tmp_path / "made", telling(2))

    def by(reader, emotions):
        pairs = zip(stimuli.rows, emotions, strict=True)
        return [Reading(text_hash(row.text), reader, 1, e, id=row.id) for row, e in pairs]

    right = ["rage", "nothing_much"] * 2
    write_readings(made / "readings.csv", by("A", right))
    write_readings(tmp_path / "more.csv", by("B", [*right[:3], "other"]))
    said = {f.name: f.said for f in lint(made, design=SMALL)}
    assert said["texts as they stand: neutral read as intended"] == "2 of 2"
    assert not any("alpha" in name for name in said)
    said = {f.name: f.said for f in lint(made, design=SMALL, readings=[tmp_path / "more.csv"])}
    assert said["texts as they stand: neutral read as intended"] == "3 of 4"
    assert said["first round: keyword_free read as intended"] == "4 of 4"
    assert said["first round: Krippendorff's alpha, emotion"].endswith("4 texts")


# The command


@pytest.fixture
def command(capsys, monkeypatch):
    """Runs `probekit lint`, small; its exit code, standard output and standard error."""
    monkeypatch.setattr(application.out, "width", 200)
    sizes = ["--folds", "3", "--permutations", "2"]

    def linted(*arguments):
        code = run(["lint", *map(str, arguments), *sizes])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return linted


def line(shown, name):
    (found,) = [
        each for each in shown.splitlines() if each.startswith(f" {name}") or each.startswith(name)
    ]
    return " ".join(found.split())


def test_claims_that_hold_end_with_0(command, tmp_path):
    code, shown, _ = command(folder(tmp_path / "made", telling(6), "  keywords: {max: 0}"))
    assert code == 0
    name = "keyword-free texts with an emotion word"
    assert line(shown, name) == f"{name} 0 at most 0 holds"
    assert "all 1 claims hold" in shown
    assert "[1.000, 1.000]" in line(shown, "reception keyword_free: bag_of_words, auroc")


def test_a_claim_that_does_not_hold_ends_with_1_and_names_the_worst(command, tmp_path):
    rows = [vars(row) for row in telling(6).rows]
    for number in range(5):
        rows[number]["text"] += " Such grief [red]!"
    stimuli = StimulusSet("made", tuple(Stimulus(**row) for row in rows))
    made = folder(tmp_path / "made", stimuli, "  keywords: {max: 3}\n  idioms: {max: 0}")
    code, shown, _ = command(made)
    assert code == 1
    name = "keyword-free texts with an emotion word"
    assert f"{name} 5 at most 3 FAILS" in " ".join(shown.split())
    assert f"{name}: 0: grief; 1: grief; 2: grief\n" in shown
    assert "1 of 2 claims do not hold" in shown
    code, shown, _ = command(made, "--details")
    assert code == 1
    assert "3: grief; 4: grief\n" in shown
    assert "longest over shortest text of a scenario: p2 (1.19)" in shown


def test_a_set_that_claims_nothing_is_shown_and_ends_with_0(command, tmp_path):
    rows = [{k: v for k, v in vars(row).items() if v} for row in telling(6).rows]
    file = tmp_path / "own.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    code, shown, _ = command(file)
    assert code == 0
    assert "the set claims nothing: figures are shown, none is judged" in shown
    assert "reception keyword_free: bag_of_words, auroc" in shown
    assert not any(word in shown for word in ("holds", "FAILS"))


@pytest.mark.parametrize(
    ("claims", "says"),
    [
        ("  key_words: {max: 0}", "error: unknown claim 'key_words'"),
        ("  words_alone:\n  - {task: valence, method: surface, max: 1}", "that was not measured"),
    ],
)
def test_bad_claims_end_with_2_and_one_line(command, tmp_path, claims, says):
    code, shown, err = command(folder(tmp_path / "made", telling(6), claims))
    assert code == 2
    assert says in err.splitlines()[-1]
    assert "Traceback" not in err
    assert shown == ""


def test_no_such_set_ends_with_2(command, tmp_path):
    code, _, err = command(tmp_path / "none")
    assert code == 2
    assert "error: no stimulus set and no file" in err
