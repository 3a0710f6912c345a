"""Figures of what is replied: what system prompts shift, and what changes do."""

from collections.abc import Mapping

from probekit.plots import Estimate, Forest
from probekit.report.express_rows import (
    CHANGES,
    CONTROL,
    JUDGED,
    KINDS,
    NONE,
    READ,
    SHIFTS,
    Expressed,
    estimate,
)
from probekit.report.views import Figure, View, figure
from probekit.report.words import capital

BEYOND = "target_probability_change_beyond_control"


def shifts(run: Expressed) -> list[Figure | None]:
    """What each kind of system prompt shifts, less unrelated ones."""
    views = []
    for kind in (*KINDS, NONE):
        name = "no system prompt" if kind == NONE else f"{kind} system prompts"
        found = {said: estimate(run.under(kind, key, shift=True)) for key, said in SHIFTS.items()}
        views.append(_view("", name, found, "difference from unrelated system prompts"))
    return [figure("shifts-of", "What system prompts shift", views)]


def changes(run: Expressed) -> list[Figure | None]:
    """What each change does to the judged probability of its target, beside its control."""
    views = []
    for method, said in ((JUDGED, "the reply as judged"), (READ, "the read-out itself")):
        found = {}
        for name, called in CHANGES.items():
            metric = "target_probability_change"
            found[called] = estimate(run.change(name, metric, method))
            found[f"{called}: control"] = estimate(run.change(name + CONTROL, metric, method))
            found[f"{called}: beyond control"] = estimate(run.change(name, BEYOND, method))
        views.append(_view("", said, found, "change in the probability of the target"))
    return [figure("changes-of", "What changes do", views)]


def _view(group: str, name: str, found: Mapping[str, Estimate], unit: str) -> View | None:
    known = {label: each for label, each in found.items() if each.value is not None}
    if not known:
        return None
    said = "; ".join(f"{label} {each.text(signed=True)}" for label, each in known.items())
    return View(group, name, Forest([*known], [*known.values()], unit), capital(f"{name}: {said}."))
