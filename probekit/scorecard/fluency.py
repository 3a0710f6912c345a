"""Perplexity of a reply given its plain prompt, and its ratio to the plain replies.

The prompt is always the plain one: what a method said to the model (an instruction, examples) is
left out, so that every method is read by the same measure.
"""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from probekit.models import Model
from probekit.prompts import NO_TEMPLATE, TEMPLATES, Encoded, Template
from probekit.scorecard.likelihood import TOKENS, continuation_nats

Floats = NDArray[np.float64]


def plain_template(model: Model) -> Template:
    """The model's chat template, or none where it has none."""
    return TEMPLATES["chat"] if model.tokenizer.chat_template else NO_TEMPLATE


def reply_nats(
    model: Model,
    asked: Sequence[str],
    replies: Sequence[str],
    template: Template | None = None,
    *,
    tokens: int = TOKENS,
    advance: Callable[[int], None] = lambda _: None,
) -> Floats:
    """Mean surprisal in nats of each reply's tokens given its prompt, `[reply]`; exp: perplexity.

    Args:
        model: the model that reads, the writer or another.
        asked: the plain prompt of each reply.
        replies: what was written.
        template: around the prompt (default: `plain_template`).
        tokens: padded tokens of one forward pass; figures do not depend on it.
        advance: told how many replies were just read.

    Returns:
        NaN for an empty reply. A reply that does not fit the context is read as far as it fits.
    """
    template = plain_template(model) if template is None else template
    distinct = list(dict.fromkeys(asked))
    coded = dict(zip(distinct, model.encode(distinct, template), strict=True))
    prompts = [coded[each] for each in asked]
    ids = [_ids(model, *pair, template) for pair in zip(prompts, replies, strict=True)]
    found = continuation_nats(model, prompts, ids, tokens=tokens, advance=advance)
    return np.array([nats.mean() if len(nats) else np.nan for nats in found])


def _ids(model: Model, prompt: Encoded, reply: str, template: Template) -> list[int]:
    if not reply.strip():
        return []
    # Without a template a reply follows its prompt as a further sentence.
    bare = template.pattern is not None and template.pattern.endswith("{text}")
    joint = " " if bare and not reply[0].isspace() else ""
    ids = model.tokenizer(joint + reply, add_special_tokens=False, verbose=False)["input_ids"]
    return [int(token) for token in ids][: max(0, model.n_ctx - len(prompt))]


def log_ratios(nats: Floats, prompts: Sequence[str], plain: NDArray[np.bool_]) -> Floats:
    """Each reply's mean nats less those of the plain replies to the same prompt, `[reply]`.

    Args:
        nats: `[reply]` of `reply_nats`, NaN where missing.
        prompts: `[reply]` ids.
        plain: `[reply]`, which are plain.

    Returns:
        The logarithm of the ratio of perplexities; NaN where the prompt has no plain reply.
    """
    names, member = np.unique(np.asarray(prompts), return_inverse=True)
    usable = plain & ~np.isnan(nats)
    count = np.bincount(member[usable], minlength=len(names))
    total = np.bincount(member[usable], nats[usable], minlength=len(names))
    base = np.divide(total, count, out=np.full(len(names), np.nan), where=count > 0)
    return nats - base[member]
