# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Steer a model with an emotion
#
# A direction that *reads* an emotion need not *write* it. Here one is added to a model's states
# while it writes, and three texts stand side by side: the model's own, the steered one, and one
# steered along a **random direction of equal length**. Whatever the random direction does too is no
# work of the emotion.
#
# 1. An emotion's vector, and a dose that means the same at every layer.
# 2. A slider of doses: text, and what it costs (perplexity without steering).
# 3. What must hold, checked: a dose of 0 changes nothing, rows do not disturb each other.
# 4. A scorecard: steering beside asking, on scenarios that no vector was made from.

# %% tags=["parameters"]
REDUCED = False
MODEL = "smollm2-135m"
SEED = 0

# %%
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import ipywidgets
import numpy as np
from IPython.display import HTML, display

from probekit import Run, load_model, write_report
from probekit.directions.sources import from_vignettes
from probekit.judges.naming import by_name
from probekit.plots import LIGHT, draw
from probekit.report import scorecard_figures
from probekit.report.scorecard_rows import card_of
from probekit.scorecard import Scorecard, reply_nats, run_scorecard
from probekit.shown import grid
from probekit.steering import (
    Decoding,
    Plain,
    Prompted,
    Random,
    Setting,
    Steered,
    Steering,
    generate,
)
from probekit.steering.methods import held_out

model = load_model(MODEL, say=print)
model

# %% [markdown]
# ## The vector
#
# `from_vignettes` reads the dev split of the shipped vignettes: each emotion's texts (without
# emotion words) against the neutral texts of the same scenarios, at every layer.

# %%
directions = from_vignettes(model)
directions

# %% [markdown]
# A **dose** is the length of what is added over the median length of a neutral state at that
# layer. By default it is added at every layer of the middle third of depth, at each token that is
# written. `random(seed)` is the control: another direction, the same lengths, the same layers.

# %%
EMOTION, PROMPT = "grief", "My week at work was"
STEPS = (0.0, 0.04, 0.08) if REDUCED else (0.0, 0.02, 0.04, 0.08, 0.12, 0.2)
DECODING = Decoding(12 if REDUCED else 40)

setting = Setting.of(model, chat=False)  # The model writes on; a chat would reply.
prompt = model.encode([PROMPT], setting.template("plain"))[0]
steering = Steering.along(model, directions, EMOTION, 0.08)
print(steering.explain())

# %% [markdown]
# ## A slider of doses
#
# The three texts are rows of one batch with the same decoding. Under each stands its perplexity
# **without steering**: how much the untouched model is surprised by it. A text that has lost its
# fluency shows there.


# %%
@cache
def written(dose: float) -> list[str]:
    """The plain, the steered and the random text."""
    rows = [None, steering.at(dose), steering.random(SEED).at(dose)]
    return [reply.text for reply in generate(model, [prompt] * 3, rows, DECODING, seed=SEED)]


@cache
def perplexities(dose: float) -> list[str]:
    """Of the three texts, to the model without steering; an empty text has none."""
    nats = reply_nats(model, [PROMPT] * 3, written(dose), setting.template("plain"))
    return ["missing" if np.isnan(each) else f"{np.exp(each):.1f}" for each in nats]


def side_by_side(dose: float) -> HTML:
    """The three texts of a dose, as a table."""
    head = ("", "plain", f"{EMOTION}, dose {dose:g}", "random direction, same dose")
    texts = [text.strip() or "(nothing written)" for text in written(dose)]
    return HTML(grid(head, [("text", *texts), ("perplexity", *perplexities(dose))]))


# What stands here without a front end, too: every dose of the slider, one below the other.
for step in STEPS:
    display(side_by_side(step))

# %%
slider = ipywidgets.interact(
    side_by_side,
    dose=ipywidgets.SelectionSlider(
        options=STEPS, value=STEPS[-1], description="dose", continuous_update=False
    ),
)

# %% [markdown]
# ## What must hold
#
# These are no findings: they say that the comparison above is a fair one.

# %%
# A dose of 0 writes exactly what the plain model writes.
plain, *unchanged = written(0.0)
assert unchanged == [plain, plain]

# A row that is steered beside others is the row alone, token for token; and steering did something.
dose = STEPS[-1]
beside = generate(
    model, [prompt] * 3, [None, steering.at(dose), steering.random(SEED).at(dose)], DECODING
)
alone = generate(model, [prompt], steering.at(dose), DECODING)
assert beside[1].ids == alone[0].ids
assert beside[1].ids != beside[0].ids

# The random direction is as long as the emotion's, at every layer, and lies across it.
for layer, vector in steering.vectors.items():
    other = steering.random(SEED).vectors[layer]
    assert np.isclose(np.linalg.norm(vector), np.linalg.norm(other), atol=1e-5)
    assert steering.length(layer) == steering.random(SEED).length(layer)
    assert abs(float(vector @ other)) < 5 / np.sqrt(model.d_model)

# %% [markdown]
# ## A scorecard
#
# One prompt shows nothing. The scorecard writes after many scenarios that no vector was made from,
# lets a judge say which emotion each text expresses, and calls a text a **hit** if it is the target
# *and* the text is coherent. Beside steering stand the plain model (what the judge sees by chance),
# **asking** for the emotion in words, and random directions at the same doses.
#
# The judge is the `ensemble`, which agrees best with blind readers (kappa .51 on the half that it
# was chosen on) and takes about two minutes to train. In reduced form it is the `lexicon` (kappa
# .42), which only counts words that name an emotion: quick, and blind to a text that shows an
# emotion without naming it. `probekit judge --validate` holds either against the readers.

# %%
if REDUCED:
    print("reduced form: the lexicon judges few short texts; read no figure from it")
judge = by_name("lexicon" if REDUCED else "ensemble", say=print)
options = Scorecard(
    emotions=("grief", "ecstasy"),
    doses=(0.04, 0.08),
    decoding=Decoding(8 if REDUCED else 32),
    effects_of=("none",),  # Side effects on other tasks: `probekit scorecard` measures them.
    bootstraps=200 if REDUCED else 1000,
    permutations=200 if REDUCED else 1000,
    seed=SEED,
)
prompts = held_out(3 if REDUCED else 12)
chat = Setting.of(model)
methods = [
    Plain(chat),
    Prompted(chat),
    Steered(chat, "steer", model, directions),
    Random(chat, "random", model, directions, seed=SEED),
]

# %%
scratch = TemporaryDirectory()  # Give a folder of your own, and a run that was stopped goes on.
folder = run_scorecard(
    model,
    Path(scratch.name) / "scorecard",
    options,
    methods=methods,
    judge=judge,
    prompts=prompts,
    prompts_name="scenarios",
)
write_report(folder)
run = Run.open(folder)
run

# %% [markdown]
# Read *above random* first: the difference to random directions, paired by prompt, with its 95 %
# interval over prompts. *ratio* is the perplexity over that of the plain replies. A method is worth
# its accuracy only at a ratio that another method reaches too, so the figure sets one against the
# other: up is more accurate, left is more fluent, and the dashed line marks equal fluency. Expect
# little: in the runs of the log (`experiments/LOG.md`) steering does not beat asking there.

# %%
card = card_of(run.recorded)
for figure in filter(None, scorecard_figures.tradeoff(card)):
    view = figure.views[0]
    display(draw(view.data).update_layout(paper_bgcolor=LIGHT.page))
    print(view.summary)

# %%
# The folder holds every figure and every text.
results = run.results
accuracy = results[(results.metric == "target_accuracy") & (results.emotion == "")]
cells = 1 + len(options.emotions) * (1 + 2 * len(options.doses))
assert len(run.recorded.samples or ()) == cells * len(prompts)
assert set(accuracy.method) >= {"prompt", "steer", "random"}
assert ((accuracy.low <= accuracy.value) & (accuracy.value <= accuracy.high)).all()
above = results[(results.metric == "target_accuracy_above_random") & (results.method == "steer")]
assert set(above.dose) >= set(options.doses)  # No figure of steering without its control.
accuracy[["method", "dose", "value", "low", "high", "n"]]

# %% [markdown]
# ## Further
#
# - `probekit scorecard MODEL` adds a second model's perplexity, side effects on a quiz and on
#   neutral texts, relevance, and all eight emotions; `probekit steer --sweep` tries layers.
# - `Steering.along(..., how="clamp")` holds the coordinate instead of adding to it, `"project_out"`
#   takes it out; `positions` and `gate` say at which tokens.
# - Before you trust a vector: `probekit directions MODEL` measures it on held-out texts.
