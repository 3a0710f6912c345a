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
# # Read one text, token by token
#
# Each token's state inside the model can be projected on an emotion's *direction*, and the text
# coloured by the result. Such pictures convince at once, and that is the trouble with them: along a
# direction that means nothing, tokens are coloured too. So every figure here has two controls:
#
# - **neutral texts** along the same direction: what texts reach where nothing is at stake;
# - **random directions** on the same text: what this text reaches along what means nothing.
#
# **What it needs:** `smollm2-135m` (fetched once, 145 MB), about 2 GB of memory, no GPU. In full
# about two minutes on two cores, with `REDUCED = True` half a minute; states of the reference texts
# are kept, and a second run is shorter.

# %% tags=["parameters"]
REDUCED = False
MODEL = "smollm2-135m"
SEED = 0

# %%
import math

import numpy as np
import pandas as pd
from IPython.display import HTML, display

from probekit import StimulusSet, load_model, top_tokens
from probekit.directions import Band, Reading, Reference, read_text, sources
from probekit.directions.pieces import written
from probekit.directions.reference import text_scores
from probekit.plots import Estimate, Heatmap, draw, number
from probekit.progress import notebook_progress
from probekit.report.markup import Html, joined, tag
from probekit.runs import counting

pd.set_option("display.max_colwidth", None)
model = load_model(MODEL, say=print)
progress = notebook_progress()

# %% [markdown]
# ## Directions, and a unit
#
# The directions come from the vignettes' `dev` split: for each of eight emotions the mean state of
# its keyword-free texts, against the others and the neutral ones. They are read at two thirds of
# depth. A raw projection has no unit, so it is measured by *neutral texts*: 0 is the mean of their
# tokens, 1 is one of their standard deviations. The same is done for twenty random directions for
# every emotion.

# %%
directions = sources.from_vignettes(model, counting(progress, "reading the vignettes"))
layer, why = sources.pick_layer(directions, model, chosen=None)
neutral = sources.neutral_texts()
if REDUCED:  # A third of the texts that make the unit.
    neutral = StimulusSet(neutral.name, neutral.rows[::3])
advance = counting(progress, "reading neutral texts", len(neutral))
reference = Reference.measure(model, directions, neutral, layer, advance=advance)

print(f"layer {layer} of {model.n_layers} ({why}), {directions.kind}, {directions.estimator}")
print(f"emotions: {', '.join(directions.emotions)}")
print(f"the unit: {reference.n_tokens} tokens of {len(reference.texts)} neutral texts")

# %% [markdown]
# ## A text
#
# Change it and run the cells below again. (The first token of a prompt is left out: its state is
# many times as long as the others'.) An emotion *stands above both* only where its mean is higher
# than 97.5 % of the neutral texts, cut to this length, **and** than 97.5 % of the random
# directions.

# %%
TEXT = (
    "The handle of the bedroom door turned slowly, though everyone who lived in the house was "
    "away, and he held his breath behind the curtain."
)
reading = read_text(model, reference, TEXT)
for note in sources.notes(TEXT):
    print(note)


def shown(band: Band) -> str:
    return f"[{number(band.low, signed=True)}, {number(band.high, signed=True)}]"


def table(reading: Reading) -> pd.DataFrame:
    stands = {1: "above both", -1: "below both", 0: ""}
    return pd.DataFrame(
        {
            reading.emotions[place]: {
                "mean": number(float(reading.means[place]), signed=True),
                "neutral texts": shown(reading.neutral_bands[place]),
                "random directions": shown(reading.random_band),
                "stands": stands[reading.side(place)],
            }
            for place in reading.ranked()
        }
    ).T


table(reading)

# %% [markdown]
# ## The text, coloured
#
# Blue is above a neutral token, orange below. **Bold**, with its score, is what lies outside of the
# band that 95 of 100 of this text's tokens reach along random directions: inside of it a colour
# means nothing. Below the emotion that came first stands the same text along **one random
# direction**.

# %%
BLUE, ORANGE = "126, 181, 221", "233, 160, 107"


def coloured(text: str, score: float, band: Band) -> Html:
    """A piece of the text; bold and score also tell where a page drops the colours."""
    if math.isnan(score):
        return joined(text)
    hue, strength = (BLUE if score > 0 else ORANGE), min(abs(score) / 4, 1)
    look = f"background: rgba({hue}, {strength:.2f}); border-radius: 3px"
    if not band.side(score):
        return tag("span", text, style=look)
    return tag("b", text, tag("sub", number(score, signed=True, digits=1)), style=look)


def highlighted(name: str, reading: Reading, scores: np.ndarray) -> HTML:
    pieces = [
        coloured(reading.text[piece.start : piece.end], float(score), reading.token_band)
        for piece, score in zip(reading.pieces, scores, strict=True)
    ]
    body = tag("p", *pieces, style="font-size: 1.1em; line-height: 2; max-width: 46em")
    return HTML(tag("div", tag("p", tag("i", name)), body))


first = reading.ranked()[0]
display(highlighted(reading.emotions[first], reading, reading.values[:, first]))
display(highlighted("a random direction", reading, reading.random))

# %% [markdown]
# Along the random direction tokens are coloured too, but hardly any leaves the band. That the two
# rows differ so clearly is why this text was picked. A score belongs to the text *up to* its token,
# since a state holds all that came before, and not to the word alone. All emotions at once, the
# random direction last:

# %%
scored = [place for place, score in enumerate(reading.random) if not math.isnan(score)]
tokens = [
    written(reading.text[reading.pieces[place].start : reading.pieces[place].end])
    for place in scored
]
order = reading.ranked()
values = np.column_stack([reading.values[:, order], reading.random])[scored]
grid = Heatmap(
    [*(reading.emotions[place] for place in order), "random"],
    tokens,
    [[Estimate(float(score)) for score in row] for row in values.T],
    "standard deviations of neutral tokens",
    row_axis="",
    column_axis="token",
)
draw(grid).update_layout(paper_bgcolor="white", width=1000)

# %%
# The mean of a text is that of its tokens, and a score is what it is said to be.
_, places, raw = text_scores(model, reference.panel, TEXT, reference.template)
assert len(places) == reading.n_tokens
standardised = (raw - reference.mean) / reference.deviation
assert np.allclose(standardised[:, : len(reading.emotions)].mean(0), reading.means)
assert np.isfinite(values).all()

# %% [markdown]
# ## One text tells little
#
# This text was picked because it shows something. So read texts that were *not* picked: those of
# the vignettes' `test` split, which neither the directions nor the unit have seen. How often does
# the emotion that was meant come first? By chance in one text of eight, and along random directions
# in the place of the emotions' the same.

# %%
held_out = StimulusSet.load("vignettes").select(split="test")
meant = held_out.select(arm="keyword_free")
calm = held_out.select(arm="neutral")
step = 3 if REDUCED else 1
meant, calm = (StimulusSet(each.name, each.rows[::step]) for each in (meant, calm))

advance = counting(progress, "reading unseen texts", len(meant) + len(calm))
n_emotions = len(directions.emotions)


def read(text: str) -> Reading:
    advance(1)
    return read_text(model, reference, text)


def panel_means(text: str) -> np.ndarray:
    """`[set of directions, emotion]`: the emotions' own, then each set of random ones."""
    _, _, raw = text_scores(model, reference.panel, text, reference.template)
    return reference.standardise(raw).mean(0).reshape(-1, n_emotions)


readings = {
    arm: [read(text) for text in each.texts] for arm, each in (("meant", meant), ("calm", calm))
}
labels = np.array([directions.emotions.index(name) for name in meant.column("emotion")])
means = np.stack([panel_means(text) for text in meant.texts])  # [text, set, emotion]
hits = (means.argmax(-1) == labels[:, None]).mean(0)  # [set]
own, random = hits[0], hits[1:]

print(f"{len(labels)} unseen texts without a word of emotion; the emotion meant comes first in")
print(f"  {own:.2f} along the emotions' directions")
spread = f"{random.min():.2f} to {random.max():.2f}"
print(f"  {random.mean():.2f} along {len(random)} sets of random ones ({spread})")
print(f"  {1 / n_emotions:.2f} by chance")
print(f"{(random >= own).sum()} of {len(random)} random sets do as well or better")

# %%
# The readings that are shown and the panel that is counted are the same figures.
assert np.allclose(means[:, 0], [each.means for each in readings["meant"]])
# Random directions know no emotion: on average they are at chance.
assert abs(random.mean() - 1 / n_emotions) < 0.08

# %% [markdown]
# And how often does a figure *stand above both*, where nothing is at stake? This is the false alarm
# rate of the coloured text, beside what is gained for it.


# %%
def standing(read: list[Reading]) -> np.ndarray:
    """`[text, emotion]`: 1 above both controls, -1 below both, else 0."""
    return np.array([[each.side(place) for place in range(n_emotions)] for each in read])


above = standing(readings["meant"]) > 0
is_meant = np.eye(n_emotions, dtype=bool)[labels]
alarms = (standing(readings["calm"]) > 0).mean()
pd.Series(
    {
        "neutral texts: an emotion": f"{alarms:.3f}",
        "emotional texts: the emotion meant": f"{above[is_meant].mean():.3f}",
        "emotional texts: one of the other seven": f"{above[~is_meant].mean():.3f}",
    },
    name="share that stands above both",
).to_frame()

# %%
# Two controls at 2.5 % each, on texts of the unit's own kind: a false alarm is rare.
assert alarms < 0.1

# %% [markdown]
# So the emotion meant comes first about twice as often as by chance, and of random sets of
# directions one in some twenty does as well: a hint, on so few texts, and no more. Of any single
# text it says next to nothing, since even the emotion meant seldom stands above both. Read many
# texts, and compare.
#
# ## What a direction writes
#
# A direction can be read out as tokens too: those whose logits it raises most, through the final
# norm and the unembedding (the direct path alone). The tempting reading is that these words *name*
# the direction. Beside the emotions stands, again, a random one.

# %%
peer = reference.panel.emotions[n_emotions]
named = {name: top_tokens(model, reference.panel, name, layer, 6) for name in reading.emotions}
named["a random direction"] = top_tokens(model, reference.panel, peer, layer, 6)


def printable(token: str) -> str:
    return "(part of a character)" if "\ufffd" in token else written(token)


pd.DataFrame(
    {name: " · ".join(printable(word.text) for word in found) for name, found in named.items()},
    index=["tokens"],
).T

# %%
# Highest first, and of the opposite direction other tokens come first.
scores = [word.score for word in named[reading.emotions[first]]]
assert scores == sorted(scores, reverse=True)
opposite = top_tokens(model, -directions, reading.emotions[first], layer, 6)
assert not {word.token for word in opposite} & {
    word.token for word in named[reading.emotions[first]]
}

# %% [markdown]
# At this size the tokens are no words of the emotions, and no better than those of the random
# direction. A vector that sorts texts need not be "the emotion", and a list of tokens is no proof
# that it is.
#
# ## The same from the command line
#
# ```sh
# probekit read smollm2-135m "She put one of the two cups back."
# ```
#
# writes a page on which the text can be coloured along each emotion, and along a random direction.
# Whether the model *writes* otherwise along such a direction is another question: see `05_steer`.
