"""probekit: how emotion works inside a language model, and what words alone achieve beside it."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from probekit.activations import capture
    from probekit.baselines import text_baselines, token_surprisals
    from probekit.crossval import cross_validate
    from probekit.errors import UserError
    from probekit.folds import grouped_folds, permute_labels
    from probekit.models import Model, load_model
    from probekit.probes import LayerProbes, LayerRegression
    from probekit.probing import Options, run_probing
    from probekit.prompts import TEMPLATES, Template
    from probekit.report import write_report
    from probekit.sites import KINDS, Site
    from probekit.stimuli import StimulusSet, Taxonomy, TestSplitWarning
    from probekit.store import Activations, ActivationStore
    from probekit.tasks import Task, tasks_of

_HOME = {
    "capture": "activations",
    "text_baselines": "baselines",
    "token_surprisals": "baselines",
    "UserError": "errors",
    "grouped_folds": "folds",
    "permute_labels": "folds",
    "Model": "models",
    "load_model": "models",
    "LayerProbes": "probes",
    "LayerRegression": "probes",
    "cross_validate": "crossval",
    "Options": "probing",
    "run_probing": "probing",
    "TEMPLATES": "prompts",
    "Template": "prompts",
    "write_report": "report",
    "KINDS": "sites",
    "Site": "sites",
    "StimulusSet": "stimuli",
    "Taxonomy": "stimuli",
    "TestSplitWarning": "stimuli",
    "ActivationStore": "store",
    "Activations": "store",
    "Task": "tasks",
    "tasks_of": "tasks",
}
__all__ = [
    "KINDS",
    "TEMPLATES",
    "ActivationStore",
    "Activations",
    "LayerProbes",
    "LayerRegression",
    "Model",
    "Options",
    "Site",
    "StimulusSet",
    "Task",
    "Taxonomy",
    "Template",
    "TestSplitWarning",
    "UserError",
    "capture",
    "cross_validate",
    "grouped_folds",
    "load_model",
    "permute_labels",
    "run_probing",
    "tasks_of",
    "text_baselines",
    "token_surprisals",
    "write_report",
]


def __getattr__(name: str) -> Any:
    """Import on first use: torch and TransformerLens take seconds, `probekit --help` must not."""
    if name not in _HOME:
        raise AttributeError(f"module 'probekit' has no attribute {name!r}")
    return getattr(import_module(f"probekit.{_HOME[name]}"), name)
