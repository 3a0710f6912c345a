"""Methods, and directions from what a model writes: what stands in the prompt, what is accepted."""

import numpy as np
import pytest
from families import build

from probekit.directions import Directions
from probekit.errors import UserError
from probekit.models import load_model
from probekit.scorecard.auto import GRID, auto_dose
from probekit.steering import (
    Decoding,
    Elicited,
    FewShot,
    Plain,
    Prompted,
    Random,
    Sample,
    Setting,
    Steered,
    Steering,
    elicit,
    residual_scale,
)
from probekit.steering.methods import BRIEF, held_out, produce
from probekit.stimuli import StimulusSet

pytestmark = pytest.mark.usefixtures("one_thread")
BRIEFLY = Decoding(max_new_tokens=3)


def sample(prompt: str, emotion: str, text: str = "some words") -> Sample:
    return Sample(prompt, "asked", text, "prompt", emotion, None, 0, 2, False)


def test_a_chat_keeps_its_instruction_and_a_text_begins_with_it():
    model = build("llama")
    chat, text = Setting(True), Setting(False)
    asked = Prompted(chat).template("grief").render("My week", model.tokenizer)[0]
    assert f"Always reply in grief. {BRIEF}" in asked
    assert BRIEF in Plain(chat).template("grief").render("My week", model.tokenizer)[0]
    assert "grief" not in Plain(chat).template("grief").render("My week", model.tokenizer)[0]
    written, start = Prompted(text).template("grief").render("My week", model.tokenizer)
    assert written == "What follows is told by somebody full of grief.\n\nMy week"
    assert written[start:] == "My week"
    assert Plain(text).template("").render("My week", model.tokenizer)[0] == "My week"


def test_few_shot_shows_dev_texts_that_name_the_emotion():
    model = build("llama")
    rows = StimulusSet.load("vignettes").select(arm="keyword_rich", emotion="grief").rows
    shown = FewShot(Setting(True)).template("grief").render("My week", model.tokenizer)[0]
    assert [row.split for row in rows if row.text in shown] == ["dev", "dev"]
    with pytest.raises(UserError, match="sorrow"):
        FewShot(Setting(True)).template("sorrow")


def test_a_chat_needs_a_chat_template():
    model = build("llama")
    assert Setting.of(model).chat
    model.tokenizer.chat_template = None
    assert not Setting.of(model).chat
    with pytest.raises(UserError, match="no chat template"):
        Setting.of(model, chat=True)


def test_prompts_that_are_measured_on_elicit_nothing():
    measured, eliciting = held_out(12), held_out(12, "dev")
    assert len(measured) == len(eliciting) == 12
    assert not {id_ for id_, _ in measured} & {id_ for id_, _ in eliciting}


def test_rates_and_stimuli_are_of_what_was_accepted():
    samples = (sample("a", ""), sample("a", "rage"), sample("b", "rage"), sample("a", "grief"))
    made = Elicited("expressing", samples, np.array([True, True, False, True]))
    assert made.rates() == {"rage": 0.5, "grief": 1.0}
    rows = made.stimuli().rows
    assert [(row.scenario, row.emotion) for row in rows] == [
        ("a", "neutral"),
        ("a", "rage"),
        ("a", "grief"),
    ]


@pytest.mark.parametrize("chat", [True, False])
def test_directions_of_what_was_written_are_read_after_the_plain_prompt(chat, monkeypatch):
    """The states are those of the written words, and no emotion's name stands before them."""
    model = build("llama", bos=chat)
    seen = []

    def capture(model, texts, sites, positions, *, spans, **more):
        seen.extend((text[:a], text[a:b]) for (_, text), (a, b) in zip(texts, spans, strict=True))
        raise KeyboardInterrupt

    monkeypatch.setattr("probekit.steering.eliciting.capture", capture)
    samples = tuple(
        sample(p, e, f" {e or 'nothing'} {p}") for e in ("", "rage", "grief") for p in "abc"
    )
    made = Elicited("expressing", samples, np.ones(9, dtype=bool))
    with pytest.raises(KeyboardInterrupt):
        made.directions(model, Setting(chat))
    assert len({before for before, _ in seen}) == 1, "the same plain prompt before all"
    assert "rage" not in seen[0][0]
    assert [text for _, text in seen] == [each.text for each in samples]


def test_elicits_and_estimates_from_incomplete_groups():
    model = build("llama")
    prompts = [(str(n), text) for n, text in enumerate(["rain fell", "she came", "no one", "we"])]

    def accept(samples):
        return np.array([not (s.emotion == "rage" and s.prompt == "0") for s in samples])

    made = elicit(model, ["rage", "grief"], prompts, accept, chat=False, decoding=BRIEFLY)
    assert len(made.samples) == 12
    kept = made.rates()
    assert kept["rage"] <= 0.75
    with pytest.raises(UserError, match="accepted texts of"):
        Elicited("expressing", made.samples[:6], made.accepted[:6]).directions(
            model, Setting(False)
        )


def test_auto_dose_is_the_largest_within_the_bound(monkeypatch):
    model = build("llama")
    cost = {0.01: 1.0, 0.014: 1.2, 0.02: 1.4, 0.028: 1.6}
    current = []

    def generate(model, prompts, steering, decoding):
        current.append(steering.dose if steering else 0.0)
        return [type("Reply", (), {"text": "words"}) for _ in prompts]

    def reply_nats(model, asked, texts, template):
        return np.full(len(texts), np.log(cost.get(current[-1], 1.0)))

    monkeypatch.setattr("probekit.scorecard.auto.generate", generate)
    monkeypatch.setattr("probekit.scorecard.auto.reply_nats", reply_nats)
    scale = _scale(model)
    steering = Steering({1: _unit(model)}, scale, 0.0)
    monkeypatch.setattr("probekit.models.Model.encode", lambda *_, **__: [None] * 12)
    found = auto_dose(model, steering, Setting(False), BRIEFLY, 1.5)
    assert found.dose == 0.02
    assert [round(each.ratio, 2) for each in found.tried] == [1.0, 1.2, 1.4, 1.6]
    cost[0.01] = 2.0
    with pytest.raises(UserError, match="even dose"):
        auto_dose(model, steering, Setting(False), BRIEFLY, 1.5)
    with pytest.raises(UserError, match="of 1 or more"):
        auto_dose(model, steering, Setting(False), BRIEFLY, 0.5)
    assert GRID[0] == 0.01


def _unit(model) -> np.ndarray:
    made = np.ones(model.d_model, np.float32)
    return made / np.linalg.norm(made)


def _scale(model):
    from probekit.steering import Scale

    means = np.zeros((model.n_layers, model.d_model), np.float32)
    return Scale(model.fingerprint, "resid_post", np.full(model.n_layers, 4.0), means)


@pytest.mark.slow
def test_on_the_default_model_methods_write_and_stories_become_directions():
    model = load_model("smollm2-135m")
    setting = Setting.of(model, chat=False)
    made = elicit(
        model,
        ["rage", "grief"],
        held_out(4, "dev"),
        lambda samples: np.ones(len(samples), dtype=bool),
        "stories",
        chat=False,
        decoding=Decoding(max_new_tokens=8),
    )
    directions = made.directions(model, setting)
    assert isinstance(directions, Directions)
    assert directions.emotions == ("grief", "rage")
    assert directions.source == "stories"
    steered = Steered(setting, "steer", model, directions, (12, 14))
    random = Random(setting, "random", model, directions, (12, 14))
    one, other = (method.steering("grief", 0.1) for method in (steered, random))
    assert set(one.vectors) == set(other.vectors) == {12, 14}
    cosine = float(one.vectors[12].astype(float) @ other.vectors[12])
    assert abs(cosine) < 0.25, "a random direction is another one"
    texts = produce(model, steered, "grief", 0.1, held_out(2), BRIEFLY)
    assert [(t.method, t.emotion, t.dose, t.tokens) for t in texts] == [
        ("steer", "grief", 0.1, 3)
    ] * 2
    with pytest.raises(UserError, match="needs a dose"):
        steered.steering("grief", None)
    assert residual_scale(model).norm(12) == one.scale.norm(12)
