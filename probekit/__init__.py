"""probekit: how emotion works inside a language model, and what words alone achieve beside it."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from probekit.ablation import Ablation, run_ablation
    from probekit.activations import capture
    from probekit.baselines import text_baselines, token_surprisals
    from probekit.circuits import Circuit, Circuits, Graph, run_circuits
    from probekit.crossval import cross_validate
    from probekit.directions import (
        Design,
        Directions,
        estimate,
        extract,
        score_tokens,
        top_tokens,
        write_gguf,
        write_tensors,
    )
    from probekit.edits import Add, Clamp, Edit, Erase, ProjectOut, Rotated, Scale, Set, Zero
    from probekit.erasure import (
        LEACE,
        Concept,
        Eraser,
        Erasers,
        Erasure,
        ProjectionEraser,
        evaluate_erasure,
        language_loss,
        random_eraser,
        run_erasure,
    )
    from probekit.errors import UserError
    from probekit.folds import grouped_folds, permute_labels
    from probekit.geometry import Geometry, cka, run_geometry
    from probekit.judges import (
        Ensemble,
        GeneratedReadings,
        Judge,
        SentenceEncoder,
        TrainedJudge,
    )
    from probekit.models import Model, load_model
    from probekit.patching import Patching, run_patching
    from probekit.probes import LayerProbes, LayerRegression
    from probekit.probing import Options, run_probing
    from probekit.prompts import TEMPLATES, Template
    from probekit.quality import Extraction, run_directions
    from probekit.readouts import (
        LabelLogits,
        LabelLogOdds,
        NextTokenKL,
        Projection,
        Top1,
        probe_score,
    )
    from probekit.report import write_report
    from probekit.report.opened import Run
    from probekit.scorecard import Scorecard, run_scorecard
    from probekit.sites import KINDS, Site
    from probekit.stimuli import StimulusSet, Taxonomy, TestSplitWarning
    from probekit.store import Activations, ActivationStore
    from probekit.tasks import Task, tasks_of

_HOME = {
    "Ablation": "ablation",
    "run_ablation": "ablation",
    "Circuit": "circuits",
    "Circuits": "circuits",
    "Graph": "circuits",
    "run_circuits": "circuits",
    "Design": "directions",
    "Directions": "directions",
    "estimate": "directions",
    "extract": "directions",
    "score_tokens": "directions",
    "top_tokens": "directions",
    "write_gguf": "directions",
    "write_tensors": "directions",
    "Add": "edits",
    "Clamp": "edits",
    "Edit": "edits",
    "Erase": "edits",
    "Rotated": "edits",
    "ProjectOut": "edits",
    "Scale": "edits",
    "Set": "edits",
    "Zero": "edits",
    "Extraction": "quality",
    "run_directions": "quality",
    "Patching": "patching",
    "run_patching": "patching",
    "LabelLogOdds": "readouts",
    "LabelLogits": "readouts",
    "NextTokenKL": "readouts",
    "Projection": "readouts",
    "Top1": "readouts",
    "probe_score": "readouts",
    "LEACE": "erasure",
    "Concept": "erasure",
    "Eraser": "erasure",
    "Erasers": "erasure",
    "Erasure": "erasure",
    "ProjectionEraser": "erasure",
    "evaluate_erasure": "erasure",
    "language_loss": "erasure",
    "random_eraser": "erasure",
    "run_erasure": "erasure",
    "capture": "activations",
    "text_baselines": "baselines",
    "token_surprisals": "baselines",
    "UserError": "errors",
    "grouped_folds": "folds",
    "permute_labels": "folds",
    "Geometry": "geometry",
    "cka": "geometry",
    "run_geometry": "geometry",
    "Ensemble": "judges",
    "GeneratedReadings": "judges",
    "Judge": "judges",
    "SentenceEncoder": "judges",
    "TrainedJudge": "judges",
    "Model": "models",
    "load_model": "models",
    "LayerProbes": "probes",
    "LayerRegression": "probes",
    "cross_validate": "crossval",
    "Options": "probing",
    "run_probing": "probing",
    "TEMPLATES": "prompts",
    "Template": "prompts",
    "Run": "report.opened",
    "write_report": "report",
    "Scorecard": "scorecard",
    "run_scorecard": "scorecard",
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
    "LEACE",
    "TEMPLATES",
    "Ablation",
    "ActivationStore",
    "Activations",
    "Add",
    "Circuit",
    "Circuits",
    "Clamp",
    "Concept",
    "Design",
    "Directions",
    "Edit",
    "Ensemble",
    "Erase",
    "Eraser",
    "Erasers",
    "Erasure",
    "Extraction",
    "GeneratedReadings",
    "Geometry",
    "Graph",
    "Judge",
    "LabelLogOdds",
    "LabelLogits",
    "LayerProbes",
    "LayerRegression",
    "Model",
    "NextTokenKL",
    "Options",
    "Patching",
    "ProjectOut",
    "Projection",
    "ProjectionEraser",
    "Rotated",
    "Run",
    "Scale",
    "Scorecard",
    "SentenceEncoder",
    "Set",
    "Site",
    "StimulusSet",
    "Task",
    "Taxonomy",
    "Template",
    "TestSplitWarning",
    "Top1",
    "TrainedJudge",
    "UserError",
    "Zero",
    "capture",
    "cka",
    "cross_validate",
    "estimate",
    "evaluate_erasure",
    "extract",
    "grouped_folds",
    "language_loss",
    "load_model",
    "permute_labels",
    "probe_score",
    "random_eraser",
    "run_ablation",
    "run_circuits",
    "run_directions",
    "run_erasure",
    "run_geometry",
    "run_patching",
    "run_probing",
    "run_scorecard",
    "score_tokens",
    "tasks_of",
    "text_baselines",
    "token_surprisals",
    "top_tokens",
    "write_gguf",
    "write_report",
    "write_tensors",
]


def __getattr__(name: str) -> Any:
    """Import on first use: torch and TransformerLens take seconds, `probekit --help` must not."""
    if name not in _HOME:
        raise AttributeError(f"module 'probekit' has no attribute {name!r}")
    return getattr(import_module(f"probekit.{_HOME[name]}"), name)
