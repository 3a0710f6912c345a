"""Readouts: what an edit is measured by, read at the last token of each prompt.

A readout names what it needs (the stream at one site, or the final state; tokens to append) and
turns it into figures with differentiable operations, so that the exact engine, the naive run and
attribution patching all use the same one.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from probekit.errors import UserError
from probekit.head import Head
from probekit.models import Model
from probekit.probes import LayerProbes
from probekit.sites import Site

ROWS_OF_LOGITS = 256
"""Distributions over the whole vocabulary that are held at once."""


@dataclass(frozen=True)
class Seen:
    """What a readout is given of n prompts, `[n, 1 + token, d]`.

    At each prompt's last token, then at each token of the readout's branches in their order;
    `clean` is the same without an edit, once for each item, and `items` says whose is whose
    (default: one for each of `states`).
    """

    states: Tensor
    clean: Tensor
    items: Tensor | None = None


class Readout(ABC):
    """Figures of a prompt.

    Attributes:
        columns: names of the figures.
        site: where it reads; None is the state after the final norm.
        branches: token sequences that are appended to the prompt, each by itself, and read too.
        notes: what a reader of the figures should know.
    """

    columns: tuple[str, ...]
    site: Site | None = None
    branches: tuple[tuple[int, ...], ...] = ()
    notes: tuple[str, ...] = ()

    @abstractmethod
    def read(self, seen: Seen) -> Tensor:
        """Figures `[n, column]`."""


class LabelLogits(Readout):
    """How strongly the model would go on with each of some labels.

    The figure of a label of one token is its logit. A label that the tokenizer splits gets the
    first token's logit plus the log-probabilities of its further tokens, so that differences of
    figures are exactly differences of log-probabilities (log-odds) for every label.

    Args:
        model: the model that is read.
        labels: the words, without the space before them.
        before: what stands between prompt and label.
        first_token: take the first token alone; refused where two labels share it.

    Raises:
        UserError: fewer than two labels, two that are one, or two that share a first token when
            only that is read.
    """

    def __init__(
        self,
        model: Model,
        labels: Sequence[str],
        *,
        before: str = " ",
        first_token: bool = False,
    ) -> None:
        if len(labels) < 2 or len(set(labels)) < len(labels):
            raise UserError(f"labels {', '.join(labels)}: give two or more different ones")
        self.columns, self.head = tuple(labels), Head(model)
        split = [_tokens(model, before + label) for label in labels]
        self.first = torch.tensor([tokens[0] for tokens in split])
        shared = {label for label, t in zip(labels, split, strict=True) if _count(split, t[0]) > 1}
        if first_token and shared:
            raise UserError(f"labels {', '.join(sorted(shared))} begin with the same token")
        long = [label for label, tokens in zip(labels, split, strict=True) if len(tokens) > 1]
        if first_token:
            self.notes = (f"first token only of {', '.join(long)}",) if long else ()
            return
        self.notes = (f"split by the tokenizer: {', '.join(long)}",) if long else ()
        # A branch needs no state at a label's last token: nothing follows it.
        self.branches = tuple(tuple(tokens[:-1]) for tokens in split if len(tokens) > 1)
        self.next = [tokens[1:] for tokens in split]

    def read(self, seen: Seen) -> Tensor:
        figures = self.head(seen.states[:, 0], self.first)
        if not self.branches:
            return figures
        after = _log_probabilities(self.head(seen.states[:, 1:]))
        extra, place = [], 0
        for tokens in self.next:
            chosen = [after[:, place + n, token] for n, token in enumerate(tokens)]
            extra.append(sum(chosen, torch.zeros_like(figures[:, 0])))
            place += len(tokens)
        return figures + torch.stack(extra, -1)


class LabelLogOdds(LabelLogits):
    """Log-odds of each label against all the others, in nats; see `LabelLogits`."""

    def read(self, seen: Seen) -> Tensor:
        figures = super().read(seen)
        own = torch.eye(len(self.columns), dtype=torch.bool, device=figures.device)
        others = figures[:, None, :].masked_fill(own, -torch.inf)
        return figures - others.logsumexp(-1)


class Projection(Readout):
    """The stream at a site along given vectors: `h @ v + b`.

    Args:
        site: where it is read, a stream site such as "resid_post.20".
        vectors: `[k, d]` or `[d]`.
        names: `[k]` names of the figures.
        offsets: `[k]`, added.
    """

    def __init__(
        self, site: str | Site, vectors: Any, names: Sequence[str], offsets: Any = 0.0
    ) -> None:
        self.site = site if isinstance(site, Site) else Site.parse(site)[0]
        self.vectors = torch.atleast_2d(torch.as_tensor(vectors))
        self.columns = tuple(names)
        self.offsets = torch.as_tensor(offsets).expand(len(self.columns))
        if len(self.vectors) != len(self.columns):
            raise UserError(
                f"{len(self.vectors)} vectors and {len(self.columns)} names: give equal"
            )

    def read(self, seen: Seen) -> Tensor:
        state = seen.states[:, 0]
        return state @ self.vectors.to(state).mT + self.offsets.to(state)


def probe_score(
    model: Model, probe: LayerProbes, site: str | Site, *, place: int = 0, fingerprint: str
) -> Projection:
    """The log-odds that a fitted probe gives at a site.

    Args:
        model: the model that is edited.
        probe: fitted on last-token states of that site.
        place: the site's place among the probe's layers.
        fingerprint: `model.fingerprint` of the model whose states the probe was fitted on.

    Raises:
        UserError: a probe of another model, or of states of another width.
    """
    if fingerprint != model.fingerprint:
        raise UserError(f"the probe was fitted on another model than {model.name}: fit it on this")
    weight, bias = probe.coef_[place], probe.intercept_[place]
    if weight.shape[1] != model.d_model:
        raise UserError(
            f"the probe reads {weight.shape[1]} values, {model.name} has {model.d_model}"
        )
    classes = [str(name) for name in probe.classes_]
    return Projection(site, weight, classes if len(weight) > 1 else classes[1:], bias)


class NextTokenKL(Readout):
    """KL(unedited || edited) of the next token's distribution, in nats."""

    columns = ("kl",)

    def __init__(self, model: Model) -> None:
        self.head = Head(model)

    def read(self, seen: Seen) -> Tensor:
        was = _log_probabilities(self.head(seen.clean[:, 0]))
        items = torch.arange(len(was)) if seen.items is None else seen.items
        items = items.to(was.device)

        def part(rows: slice) -> Tensor:
            now, then = _log_probabilities(self.head(seen.states[rows, 0])), was[items[rows]]
            return (then.exp() * (then - now)).sum(-1, keepdim=True)

        steps = range(0, len(seen.states), ROWS_OF_LOGITS)
        return torch.cat([part(slice(step, step + ROWS_OF_LOGITS)) for step in steps])


class Top1(Readout):
    """Which word of a vocabulary comes first: its place among the labels.

    Takes `LabelLogits`, so that split labels are compared by their whole probability.
    """

    columns = ("top1",)

    def __init__(self, labels: LabelLogits) -> None:
        self.labels, self.branches, self.notes = labels, labels.branches, labels.notes

    def read(self, seen: Seen) -> Tensor:
        return self.labels.read(seen).argmax(-1, keepdim=True).to(seen.states.dtype)


def _log_probabilities(logits: Tensor) -> Tensor:
    """Over the vocabulary, in float32 at least."""
    return (logits if logits.dtype == torch.float64 else logits.float()).log_softmax(-1)


def _tokens(model: Model, text: str) -> list[int]:
    tokens = model.tokenizer(text, add_special_tokens=False)["input_ids"]
    if not tokens:
        raise UserError(f"label {text!r} has no token")
    return [int(token) for token in tokens]


def _count(split: Sequence[Sequence[int]], token: int) -> int:
    return sum(tokens[0] == token for tokens in split)
