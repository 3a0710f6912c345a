"""The page of a run of probes of a corpus."""

from probekit.plots import MISSING, Estimate
from probekit.report import corpus_figures
from probekit.report.causal import figure_of, p_text
from probekit.report.corpus_rows import (
    ABOVE_LINEAR,
    ABOVE_TEXT,
    BASELINES,
    METHODS,
    NULL,
    SELECTIVITY,
    Probed,
    probed_of,
)
from probekit.report.markup import Html, joined, tag
from probekit.report.parts import (
    Section,
    Table,
    drawing,
    found,
    glossary,
    group,
    line,
    manifest,
    missing,
    noted,
    notes,
    scrolling,
    shown,
)
from probekit.report.reading import Recorded
from probekit.report.terms import CORPUS
from probekit.report.words import capital, listed

READ = ("AUROC", "Null", "Words alone", "Above text", "q", "Recall")
FEWEST = 10
"""Groups that an interval needs before anything is claimed by it."""


def page(recorded: Recorded) -> list[Section]:
    """The sections, top to bottom."""
    run = probed_of(recorded)
    return [
        Section("findings", "What was found", findings(run)),
        Section("limits", "What this run cannot say", limits(run)),
        drawing(
            "layers",
            "Layer by layer",
            corpus_figures.over_layers(run),
            "One probe a layer, beside the same probe of permuted labels and words alone. The line "
            "marks the layer that validation chose; only that layer has an interval. The peak of "
            "a test curve is seen after the fact.",
            "Missing: no figures over layers.",
        ),
        drawing(
            "above-text",
            "Above text, class by class",
            corpus_figures.above_text(run),
            "The probe’s AUROC minus that of words alone on the same test items. A bar that "
            "crosses 0 shows nothing beyond the words.",
            "Missing: no difference from words alone.",
        ),
        Section("table", "Every class beside its controls", tables(run)),
        Section("manifest", "How it was made", manifest(recorded.manifest)),
        Section("terms", "How to read this page", glossary(CORPUS)),
    ]


def findings(run: Probed) -> Html:
    """What was found, in sentences."""
    if not run.methods:
        return missing("Missing: no probe was fitted.")
    first = run.methods[0]
    lead = (
        f"At layer {run.chosen[first]} a {METHODS[first]} tells {len(run.classes)} classes with "
        f"AUROC {figure_of(run.at(first)).text()}; words alone ({run.reference}): "
        f"{run.words().text()}; with permuted labels: {figure_of(run.at(first, NULL)).text()}."
    )
    items = [_method(run, method) for method in run.methods]
    if "mlp" in run.methods:
        items.append(_beyond_linear(run))
    return found(lead, items)


def _method(run: Probed, method: str) -> Html:
    above, selective = (figure_of(run.at(method, each)) for each in (ABOVE_TEXT, SELECTIVITY))
    accuracy = figure_of(run.at(method, metric="balanced_accuracy"))
    said = joined(
        tag("strong", f"{capital(METHODS[method])}, layer {run.chosen[method]}"),
        ": AUROC ",
        shown(figure_of(run.at(method))),
        "; above text ",
        shown(above, signed=True),
        "; selectivity ",
        shown(selective, signed=True),
        f"; balanced accuracy {accuracy.text()}, of words alone "
        f"{run.words('balanced_accuracy').text()}.",
    )
    verdict = _few(run) or _verdict(above, selective)
    return tag("li", tag("p", said), tag("p", verdict, class_="verdict"))


def _few(run: Probed) -> str:
    """Said in the place of a verdict where intervals rest on hardly any groups."""
    sizes = run.at(run.methods[0])
    count = sizes.clusters if sizes else None
    if count is None or count >= FEWEST:
        return ""
    return (
        f"The test part has {count} groups: an interval over fewer than {FEWEST} is too narrow "
        "to claim anything; give it more with --parts."
    )


def _verdict(above: Estimate, selective: Estimate) -> str:
    if above.side is None or selective.side is None:
        return "Without an interval nothing is claimed."
    if selective.side < 1:
        return "Permuted labels do as well: nothing is shown."
    return {
        1: "The interval excludes zero: the activations tell more than these baselines of words.",
        0: "The interval includes zero: no more than words tell is shown.",
        -1: "The whole interval is below zero: words alone tell more.",
    }[above.side]


def _beyond_linear(run: Probed) -> Html:
    """What the hidden layer adds, beside what it adds where there is nothing to learn."""
    more = figure_of(run.at("mlp", ABOVE_LINEAR))
    linear, mlp = (figure_of(run.at(each, SELECTIVITY)) for each in ("linear", "mlp"))
    said = joined(
        tag("strong", "MLP beside linear"),
        ": AUROC differs by ",
        shown(more, signed=True),
        f"; selectivity {mlp.text(signed=True)} and {linear.text(signed=True)}.",
    )
    verdicts = {
        1: "The MLP tells more: some of it is not linear, or the linear fit falls short.",
        0: "That the MLP tells more is not shown.",
        -1: "The MLP tells less, as it was trained here.",
        None: "Without an interval nothing is claimed.",
    }
    verdict = _few(run) or verdicts[more.side]
    return tag("li", tag("p", said), tag("p", verdict, class_="verdict"))


def limits(run: Probed) -> Html:
    """What this run cannot say."""
    options, sizes = run.options, run.at(run.methods[0]) if run.methods else None
    told = (
        f"Figures rest on {sizes.n} test items of {sizes.clusters} groups; intervals are over "
        "groups, and do not cover another split, another fit or another corpus."
        if sizes
        else ""
    )
    epochs = dict(run.manifest.get("epochs") or {})
    passes = listed([f"{METHODS[name]} {count}" for name, count in epochs.items()])
    balanced = (
        f"Classes in training: {options.get('balance_train')}, in test: "
        f"{options.get('balance_test')}. With classes balanced, figures are not those of the "
        "corpus as it comes."
    )
    texts = [
        told,
        "A probe says what can be read, not what the model does with it. Labels are as good as "
        "the corpus has them.",
        balanced,
        f"Passes over the training rows: {passes}. Adam comes near the optimum and does not prove "
        "that it is there; a probe that was trained too briefly tells too little.",
        "The null is one permutation across groups, fitted like the probe: its interval is over "
        "test groups, not over permutations.",
        "Words alone are counts hashed into columns, and the mean input embedding where the store "
        "holds it. A stronger reader of texts may tell more of them.",
        "Groups are scenarios where the corpus names them. Where it does not, near repeats that "
        "the corpus still holds can stand in training and test.",
    ]
    return noted([*texts, *notes(run.manifest)])


def tables(run: Probed) -> Html:
    """Classes by method; text baselines; items of every part."""
    parts = [_classes(run, method) for method in run.methods]
    caption = (
        f"Test items at the layer that validation chose. Words alone: {run.reference}. Brackets "
        f"hold 95 % intervals over groups; {MISSING} means not measured."
    )
    baselines = [
        line(name, [run.baseline(key, split).text() for split in ("validation", "test")])
        for key, name in BASELINES.items()
    ]
    counts = [_counted(run, name) for name in run.classes]
    sizes = ("Training", "taken", "Validation", "Test", "taken")
    return joined(
        scrolling(("Class", *READ), parts, caption, "classes"),
        scrolling(
            ("Baseline", "AUROC, validation", "AUROC, test"),
            [group("Words alone", baselines, 2)],
            "The one that does best on validation is the reference.",
            "baselines",
        ),
        scrolling(
            ("Class", *sizes),
            [group("Items", counts, len(sizes))],
            "Items of every part, and rows taken of them once classes are balanced.",
            "counts",
        ),
    )


def _classes(run: Probed, method: str) -> Html:
    lines = []
    for emotion in ("", *run.classes):
        above = run.at(method, ABOVE_TEXT, emotion=emotion)
        recall = "recall" if emotion else "balanced_accuracy"
        cells = [
            figure_of(run.at(method, emotion=emotion)).text(),
            figure_of(run.at(method, NULL, emotion=emotion)).text(),
            run.words(emotion=emotion).text(),
            figure_of(above).text(signed=True),
            p_text(above.q if above else None),
            figure_of(run.at(method, metric=recall, emotion=emotion)).text(),
        ]
        lines.append(line(emotion or "All classes", cells))
    return group(f"{capital(METHODS[method])}, layer {run.chosen[method]}", lines, len(READ))


def _counted(run: Probed, name: str) -> Html:
    counts = dict(run.manifest.get("counts") or {})
    train, validation, test = (counts[part][name] for part in ("train", "validation", "test"))
    return line(name, [str(n) for n in (*train, validation[0], *test)])


def short_table(recorded: Recorded) -> Table:
    """Title, columns and rows for a terminal: a line a method."""
    run = probed_of(recorded)
    columns = ("probe", "layer", "AUROC", "null", "words alone", "above text", "accuracy")
    rows = []
    for method in run.methods:
        figures = [figure_of(run.at(method)), figure_of(run.at(method, NULL)), run.words()]
        cells = [each.text() for each in figures]
        cells.append(figure_of(run.at(method, ABOVE_TEXT)).text(signed=True))
        cells.append(figure_of(run.at(method, metric="balanced_accuracy")).text())
        rows.append((METHODS[method], str(run.chosen[method]), *cells))
    title = f"{len(run.classes)} classes, test part; words alone: {run.reference}"
    return title, columns, rows
