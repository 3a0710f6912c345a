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
# # Explore circuits: which heads and neurons carry an emotion
#
# A **circuit** is a short list of heads and neurons. Each is scored by what it writes along the
# emotion's direction; the best are put together; then we ask what the list is worth. A list of the
# best of 46,350 components always looks like something, so beside it stand here:
#
# - **two halves of the scenarios**: directions from one, activations from the other;
# - **random components**, as many in every sublayer as the circuit has;
# - **modulation through random components**, scaled to write as much to the stream.
#
# The whole study, with expressions that the model writes itself, influence of sublayers and a
# scorecard, is one command: `probekit circuit MODEL`.
#
# **What it needs:** `smollm2-135m` (fetched once, 145 MB), about 2 GB of memory, no GPU. In full
# a few minutes on two cores, with `REDUCED = True` about one.

# %% tags=["parameters"]
REDUCED = False
MODEL = "smollm2-135m"
SEED = 0

# %%
import numpy as np
import pandas as pd
import torch
from IPython.display import HTML, display

from probekit import LabelLogOdds, StimulusSet, capture, load_model
from probekit.causal import log_odds, spoken
from probekit.circuits import (
    ablation,
    activity,
    assemble,
    connect,
    jaccard,
    learn,
    modulate,
    random_like,
    random_modulation,
    score,
    writing,
)
from probekit.circuits.activities import SCALED
from probekit.circuits.components import INNER, OUTER, stream_kind
from probekit.circuits.edges import Material
from probekit.circuits.texts import vignettes
from probekit.directions.words import tokens_written
from probekit.head import Head
from probekit.plots import Estimate, Heatmap, draw
from probekit.progress import notebook_progress
from probekit.prompts import TEMPLATES
from probekit.runs import counting
from probekit.sites import Site
from probekit.steering import Decoding, generate, residual_scale
from probekit.sweep import sweep

EMOTIONS = ("grief", "rage", "terror") if REDUCED else (
    "amazement", "ecstasy", "grief", "loathing", "rage", "terror"
)  # fmt: skip
EMOTION, K = "terror", 140
model = load_model(MODEL, say=print)
model

# %% [markdown]
# ## What heads and neurons do
#
# The vignettes without emotion words and their neutral controls (dev split) are read once. Of each
# text the mean over its tokens of every head's `z`, every neuron's activation, and the streams.

# %%
stimuli, where = vignettes(model, EMOTIONS)
states = activity(model, where, advance=counting(notebook_progress(), "texts read", len(where)))
states

# %% [markdown]
# What components write must add up to what their sublayer adds to the stream, or no score means
# anything. Here is the largest difference over a layer's heads and neurons.

# %%
for kind in INNER:
    site, outer = Site(kind, 12), Site(OUTER[kind], 12)
    first = StimulusSet("first", stimuli.rows[:1])
    added = capture(model, first, [outer], ["mean"]).layer(outer.kind, 12, "mean")[0]
    written = states.layer(kind, 12, SCALED)[0] @ writing(model, site).numpy()
    gap = np.abs(added - written).max() / np.abs(added).max()
    print(f"{kind}: writes differ from {outer} by {gap:.1e} of its largest value")
    assert gap < 1e-4

# %% [markdown]
# ## Scores
#
# `score` learns directions on one half of the scenarios and activations on the other, both ways
# round. How well the two agree says how much of a score is more than chance.

# %%
scores = score(model, stimuli, states, seed=SEED)
table = pd.DataFrame(
    {
        f"{word}, halves agree (Spearman)": [scores.reliability(kind, e) for e in EMOTIONS]
        for kind, word in (("z", "heads"), ("mlp_post", "neurons"))
    },
    index=pd.Index(EMOTIONS, name="emotion"),
)
table.round(2)

# %% [markdown]
# ## Assemble
#
# The best of all heads and neurons together, in units of each layer's residual norm. (The study's
# own way spreads the budget by each sublayer's influence.) Learned from either half, how much of
# the circuit is the same? Random ones of the same size share what chance gives.

# %%
learned = learn(model, stimuli, states)
norms = {kind: residual_scale(model, stream_kind(model, kind)).norms for kind in INNER}


def circuit_of(values):
    return assemble(
        model, EMOTION, values, K, allocation="global",
        source="reading", stimuli=stimuli.describe(),
    )  # fmt: skip


scores = scores.relative(norms)
circuit = circuit_of(scores.of(EMOTION))
place = scores.emotions.index(EMOTION)
sides = [
    circuit_of({kind: scores.halves[kind][n, place] for kind in INNER}).components for n in range(2)
]
drawn = [
    jaccard(random_like(model, sides[0], n), random_like(model, sides[1], 100 + n))
    for n in range(20)
]
print(f"Jaccard of the two halves' circuits: {jaccard(*sides):.2f}")
print(f"of random ones spread alike: {np.mean(drawn):.3f}, at most {max(drawn):.3f}")
circuit

# %% [markdown]
# ## Draw
#
# Which of its heads feed which of its neurons? A path is measured exactly: what the head writes is
# taken out of the input of one MLP alone. Solid edges are beyond 95 % of paths from random heads,
# with an interval that leaves zero out. Hover for tokens and texts.

# %%
rows = np.flatnonzero(stimuli.column("emotion") == EMOTION)[: 4 if REDUCED else 12].tolist()
neutral_rows = stimuli.column("emotion") == "neutral"
material = Material.of(
    model,
    [where[row] for row in rows],
    [stimuli.rows[row].scenario for row in rows],
    {kind: states.stack(kind, SCALED)[neutral_rows].mean(0, dtype=np.float64) for kind in INNER},
    learned.directions,
)
graph = connect(material, circuit, 6 if REDUCED else 8, (stimuli, states), seed=SEED)
print(f"{len(graph.strong())} of {len(graph.edges)} paths stand out on {graph.items} texts")
graph.figure()

# %% [markdown]
# ## Ablate
#
# The circuit's components are held at what they are in neutral texts, at every token but the first.
# Read is the log-odds of the text's own emotion word after "The feeling here is", on test texts:
# those of this emotion, and those of others. Random sets are drawn five times.

# %%
test = StimulusSet.load("vignettes").select(arm="keyword_free", split="test")
test = StimulusSet("test", tuple(r for r in test.rows if r.emotion in EMOTIONS))
words = LabelLogOdds(model, spoken(EMOTIONS))
prompts = model.encode(test.texts, TEMPLATES["feeling"], ids=test.ids)
random_sets = [
    random_like(model, circuit.components, SEED + n, without=circuit.components)
    for n in range(2 if REDUCED else 5)
]
ablated = [ablation(each, learned.neutral) for each in (circuit.components, *random_sets)]
swept = sweep(model, prompts, ablated, {"words": words}, progress=notebook_progress())
label = np.array([EMOTIONS.index(name) for name in test.column("emotion")])
shift = log_odds(swept.values["words"], label) - log_odds(swept.clean["words"], label)
own = label == EMOTIONS.index(EMOTION)
effects = pd.DataFrame(
    [
        {
            "ablated": "circuit" if n == 0 else f"random {n}",
            f"texts of {EMOTION}": values[own].mean(),
            "other texts": values[~own].mean(),
        }
        for n, values in enumerate(shift)
    ]
).set_index("ablated")
effects.round(2)

# %% [markdown]
# Read the table across *and* down: a circuit of this emotion should cost its own texts more than
# the others, and more than random components do. With the few texts there are, a difference below
# about half a nat says nothing; the study has intervals.

# %%
nothing = sweep(model, prompts[:2], [ablation((), learned.neutral)], {"words": words})
assert np.abs(nothing.effects("words")).max() < 1e-4, "ablating nothing changes nothing"

# %% [markdown]
# ## Modulate
#
# The emotion's effect on each of the circuit's activations is added while the model writes; beside
# it the same through random components, scaled to write as much to the stream. Dose 0 is the plain
# model.

# %%
effect = {kind: learned.effects[kind][place] for kind in INNER}
begun = "My week at work was"
doses = (0.0, 2.0) if REDUCED else (0.0, 1.0, 2.0, 4.0)
rows_of = [("plain", None)]
rows_of += [(f"circuit, dose {d:g}", modulate(model, circuit, effect, d)) for d in doses]
rows_of += [
    (f"random, dose {d:g}", random_modulation(model, circuit, effect, d, SEED)) for d in doses[1:]
]
replies = generate(
    model,
    model.encode([begun] * len(rows_of)),
    [drive for _, drive in rows_of],
    Decoding(max_new_tokens=12 if REDUCED else 32),
)
written = {name: reply.text.strip() for (name, _), reply in zip(rows_of, replies, strict=True)}
assert written["circuit, dose 0"] == written["plain"]
pd.DataFrame({"reply": written}).style.set_properties(**{"text-align": "left"})

# %% [markdown]
# ## Look at one head
#
# The best head of the circuit: the tokens that it writes, and where it looks. The pattern comes
# from TransformerLens on the same weights (`model.bridge()` shares them, and leaves this model as
# it is).

# %%
head = next(each for each in circuit.components if each.kind == "z")
wide = model.sites.width(head.site) // model.sites.units("z")
part = slice(head.unit * wide, (head.unit + 1) * wide)
write = effect["z"][head.layer][part] @ writing(model, head.site)[part].double().numpy()
tokens = [w.text for w in tokens_written(model, write.astype(np.float32), 8, head=Head(model))]
print(f"{head.word} writes {tokens}")

text = test.texts[int(np.flatnonzero(own)[0])]
ids = torch.tensor([model.encode([text])[0].input_ids])
with torch.no_grad():
    _, cache = model.bridge().run_with_cache(ids)
pattern = cache[f"blocks.{head.layer}.attn.hook_pattern"][0, head.unit].numpy()
assert np.allclose(pattern.sum(-1), 1, atol=1e-4), "attention is a distribution over what is before"
assert np.abs(np.triu(pattern, 1)).max() == 0, "and over nothing after"
first = 20
said = [f"{n} {model.tokenizer.decode([t])}" for n, t in enumerate(ids[0, :first].tolist())]
display(HTML(f"<p>{text}</p>"))
draw(
    Heatmap(
        said,
        said,
        [[Estimate(round(float(value), 3)) for value in row] for row in pattern[:first, :first]],
        f"attention of {head.word}, the first {first} tokens",
        row_axis="from",
        column_axis="to",
        share=True,
    )
).update_layout(paper_bgcolor="white", width=640, height=560)

# %% [markdown]
# Most heads look at the first token most of the time (an attention sink), which says nothing of the
# text. What to do next: `probekit circuit` on a model that expresses emotions when it is asked to,
# and its page, where every figure here stands with its interval.
