"""`memory_plan`: what a study will hold and write, told before it starts."""

from collections.abc import Iterator

from probekit.circuits.activities import BATCH_TOKENS, kinds_of
from probekit.circuits.options import Circuits
from probekit.models import Model
from probekit.shown import sized
from probekit.sites import Site


def memory_plan(model: Model, options: Circuits) -> Iterator[str]:
    """Lines that say what is needed, from the model's shape and what is asked for.

    Activations are an upper bound: every text that is written might be accepted.
    """
    weights = sum(p.numel() * p.element_size() for p in model.hf.parameters())
    contexts = options.scenarios * (3 if options.every_event else 1) * len(options.seeds)
    written = (contexts + contexts * options.held_out // options.scenarios) * (
        1 + len(options.emotions)
    )
    texts = contexts * (1 + len(options.emotions)) if options.source == "expressing" else 96
    width = sum(model.sites.width(Site(kind, 0)) for kind in kinds_of(model))
    activations = texts * model.n_layers * width * 4
    one = BATCH_TOKENS * width * 4
    yield f"{model.name}: weights {sized(weights)} on {model.device.type}"
    yield f"{written} texts of {options.decoding.max_new_tokens} tokens to write"
    yield f"activations of {texts} texts: {sized(activations)} in memory, as much on disk"
    yield f"a pass over {BATCH_TOKENS} tokens holds {sized(one)} for every layer that is read"
