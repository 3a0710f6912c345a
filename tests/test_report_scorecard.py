"""The page of a scorecard, from invented texts to a page in a real browser."""

import csv

import numpy as np
import pytest
from test_report import ATTACK, Page, opened  # noqa: F401 - a fixture
from test_report_causal import manifest_of

from probekit.report import headline_table, scorecard, write_report
from probekit.report.reading import read_folder
from probekit.runs import MANIFEST, RESULTS, SAMPLES, write_json, write_results
from probekit.scorecard.options import Scorecard
from probekit.scorecard.scores import score
from probekit.scorecard.study import _write_samples, card_rows, effects_rows
from probekit.steering import Sample

LABELS = ("grief", "rage", "terror", "neutral")
EMOTIONS, DOSES = LABELS[:3], (0.1, 0.2, 0.4)
PROMPTS = tuple(f"p{n}" for n in range(16))
KAPPA = {"judge_kappa": {"value": 0.6, "low": 0.5, "high": 0.7, "n": 300, "clusters": 40}}
TEXT = "The house was quiet that day, and nobody came to ask."


def invented(shares=(0.25, 0.5, 0.875), ratios=(1.1, 1.3, 2.0), random=0.125):
    """Steered texts hit in these shares; random ones in as many at every dose."""
    samples, hit, nats, other = [], [], [], []
    rng = np.random.default_rng(0)

    def add(prompt, method, emotion, dose, share, ratio, text=TEXT):
        place = (PROMPTS.index(prompt) * 7 + LABELS.index(emotion or "grief") * 5) % len(PROMPTS)
        samples.append(
            Sample(prompt, f"What about {prompt}?", text, method, emotion, dose, 0, 9, True)
        )
        wrong = LABELS[(LABELS.index(emotion or "grief") + 1) % 4] if emotion else "neutral"
        hit.append(emotion if emotion and place < share * len(PROMPTS) else wrong)
        nats.append(2 + np.log(ratio) + rng.normal(0, 0.02))
        other.append(2.5 + np.log(ratio))

    for prompt in PROMPTS:
        add(prompt, "plain", "", None, 0, 1.0, ATTACK if prompt == "p0" else TEXT)
        for emotion in EMOTIONS:
            add(prompt, "prompt", emotion, None, 0.75, 1.7)
            for dose, share, ratio in zip(DOSES, shares, ratios, strict=True):
                loops = "no no no no no no" if dose == 0.4 and prompt in PROMPTS[:4] else TEXT
                add(prompt, "steer", emotion, dose, share, ratio, loops)
                add(prompt, "random", emotion, dose, random, ratio)
    probabilities = [[0.7 if label == each else 0.1 for label in LABELS] for each in hit]
    return score(
        samples, LABELS, np.array(probabilities), nats=np.array(nats), nats_other=np.array(other)
    )


def effects():
    found = {("plain", "", None): {"quiz": [1.0] * 30 + [0.0] * 10}}
    for method in ("steer", "random"):
        for emotion in EMOTIONS:
            for place, dose in enumerate(DOSES):
                right = 30 - 8 * place * (method == "steer")
                known = [1.0] * right + [0.0] * (40 - right)
                found[method, emotion, dose] = {"quiz": known, "kl": [0.1 * (place + 1)] * 6}
    return found


def write_run(folder, scores=None, side=True, validity=KAPPA):
    options = Scorecard(EMOTIONS, DOSES, bootstraps=200, permutations=200)
    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    if scores is not None:
        rows = [*card_rows(scores, options), *(effects_rows(effects(), options) if side else [])]
        _write_samples(folder / SAMPLES, scores)
    rows += [{"metric": metric, **cells} for metric, cells in validity.items()]
    write_json(folder / MANIFEST, manifest_of("scorecard", bound=1.5))
    write_results(folder / RESULTS, [{"judge": "a judge", "study": "scorecard", **r} for r in rows])
    return folder


def text_of(folder):
    return Page(write_report(folder).read_text(encoding="utf-8")).text


@pytest.fixture(scope="module")
def carded(tmp_path_factory):
    return write_run(tmp_path_factory.mktemp("card") / "run", invented())


def test_the_findings_name_what_is_beyond_random_directions_at_equal_fluency(carded):
    text = text_of(carded)
    assert (
        "At a perplexity 1.5 times that of plain replies or less, target accuracy by the judge is "
        "more than random directions: steer. Prompt stands at a larger ratio of its own and is not "
        "compared at equal fluency."
    ) in text
    assert "Steer, at equal fluency (dose .26" in text
    assert "which has no dose, at its own perplexity ratio 1.7" in text
    assert "more than random directions: grief, rage and terror" in text
    assert "it rises with the dose" in text


def test_the_judge_is_held_against_readers_or_said_not_to_be(carded, tmp_path):
    text = text_of(carded)
    assert (
        "The judge agrees with blind readers at κ .60 [.50, .70] (300 texts of 40 prompts)." in text
    )
    assert "The rule of incoherence was not held against readers in this run" in text
    bare = text_of(write_run(tmp_path / "bare", invented(), side=False, validity={}))
    assert "The judge was not held against readers in this run" in bare
    assert "Missing: side effects were not measured in this run." in bare
    weak = {"judge_kappa": {"value": 0.1, "low": -0.1, "high": 0.3, "n": 30, "clusters": 9}}
    told = text_of(write_run(tmp_path / "weak", invented(), side=False, validity=weak))
    assert "Agreement above chance is not shown" in told


def test_no_more_is_claimed_than_is_shown(tmp_path):
    none = invented(shares=(0.125, 0.125, 0.125))
    text = text_of(write_run(tmp_path / "none", none, side=False))
    assert "not shown to differ from random directions: steer" in text
    assert "a rise is not shown" in text
    beyond = invented(ratios=(2.0, 3.0, 4.0))
    text = text_of(write_run(tmp_path / "beyond", beyond, side=False))
    assert "at its smallest dose already, so there is no figure at equal fluency" in text
    assert "No method could be compared with a random control at equal fluency" in text


def test_side_effects_are_those_nearest_below_equal_fluency(carded):
    text = text_of(carded)
    assert "Side effects of steer at dose .2: next tokens of neutral texts move by .20" in text
    assert "the quiz, .75 [" in text
    assert "before (chance .25), changes by −.20" in text
    assert "a loss of facts is shown" in text


def test_examples_are_the_first_prompts_and_escaped(carded):
    page = write_report(carded).read_text(encoding="utf-8")
    assert ATTACK not in page
    text = Page(page).text
    assert "What about p0?" in text
    assert "What about p2?" in text
    assert "What about p3?" not in text
    assert "Grief: steer, dose .2" in text
    assert "Grief: steer, dose .4" not in text


def test_the_table_has_controls_and_what_is_missing_is_a_dash(carded):
    sections = {section.key: section for section in scorecard.page(read_folder(carded))}
    body = Page(str(sections["table"].body)).text
    assert "Steer, dose .2" in body
    assert "Random directions, dose .2" in body
    title, columns, rows = headline_table(carded)
    assert "a judge" in title
    assert all(len(row) == len(columns) for row in rows)
    steer = next(row for row in rows if row[0] == "steer, dose .2")
    assert steer[1].startswith("0.50")
    assert next(row for row in rows if row[0] == "plain (no method)")[2] == "-"


def test_a_run_of_nothing_is_a_page(tmp_path):
    folder = write_run(tmp_path / "empty", None, validity={})
    assert "Missing: no text was scored in this run." in text_of(folder)
    assert headline_table(folder)[2] == []


def test_samples_hold_every_text(carded):
    with (carded / SAMPLES).open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 16 * (1 + 3 * (1 + 2 * 3))
    assert rows[0]["text"] == ATTACK
    assert {row["incoherent"] for row in rows} == {"", "loops"}


@pytest.mark.parametrize("width", [400, 1200])
def test_the_page_opens_offline_and_every_figure_is_drawn(opened, carded, width):  # noqa: F811
    page = opened(carded, viewport={"width": width, "height": 900})
    assert page.locator(".plot").count() == 5
    assert page.locator(".plot .main-svg:first-child").count() == 5
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    for menu in page.locator("select").all():
        for option in range(menu.locator("option").count()):
            menu.select_option(index=option)
