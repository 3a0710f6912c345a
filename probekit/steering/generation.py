"""`generate`: many prompts written on, each row steered in its own way.

Rows share passes but nothing else: a row gets what it would get alone, in any batch, whatever
the others carry. Sampling draws from a generator of the row's own seed, so a sample does not
depend on its neighbours either (Gumbel's trick: the largest of log-probability plus noise is a
draw from the distribution; Maddison et al. 2014, arXiv 1411.0030).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from probekit.edits import Edit, applied
from probekit.errors import UserError
from probekit.models import Model
from probekit.prompts import Encoded
from probekit.steering.steering import Drive, edits_of

Stream = Callable[[int, str], None]
"""Called with a row's number and the characters that were just written in it."""
BATCH, HEAD = 16, 1024


@dataclass(frozen=True)
class Reply:
    """What was written after a prompt.

    Attributes:
        text: without special tokens.
        ids: `[token]`, without the end marker.
        ended: whether the model ended by itself.
    """

    text: str
    ids: tuple[int, ...]
    ended: bool


@dataclass(frozen=True)
class Decoding:
    """How tokens are chosen; the same for every method that is compared.

    Attributes:
        max_new_tokens: the limit.
        temperature: 0 takes the likeliest token; above, tokens are drawn.
        top_p: draws are made among the likeliest tokens that hold this share (Holtzman et al.
            2019, arXiv 1904.09751).

    Raises:
        UserError: a limit below 1, a negative temperature, a share outside 0 to 1.
    """

    max_new_tokens: int = 48
    temperature: float = 0.0
    top_p: float = 1.0

    def __post_init__(self) -> None:
        if self.max_new_tokens < 1:
            raise UserError(f"{self.max_new_tokens} new tokens: give 1 or more")
        if not 0 <= self.temperature < float("inf"):
            raise UserError(f"temperature {self.temperature}: give 0 or a positive number")
        if not 0 < self.top_p <= 1:
            raise UserError(f"top-p {self.top_p}: give a share above 0, and 1 at most")


GREEDY = Decoding()


@torch.no_grad()
def generate(
    model: Model,
    prompts: Sequence[Encoded],
    steering: Drive | Sequence[Drive | None] | None = None,
    decoding: Decoding = Decoding(),
    *,
    seed: int | Sequence[int] = 0,
    edits: Sequence[Edit] = (),
    batch_size: int = BATCH,
    use_cache: bool = True,
    stream: Stream | None = None,
    advance: Callable[[int], None] = lambda _: None,
) -> list[Reply]:
    """Write on after each prompt.

    Args:
        model: the model.
        prompts: from `model.encode`.
        steering: one for every row, or one (or None) for each.
        decoding: how tokens are chosen.
        seed: of sampling, or one for each row. Rows with one seed get the same noise, so that
            what differs between them is not chance.
        edits: further edits, of all rows or of rows by number.
        batch_size: rows in one pass.
        use_cache: keep keys and values (without, each token costs a pass over all before it).
        stream: receives characters as they are written.
        advance: called with the number of rows finished.

    Returns:
        Replies in the prompts' order.

    Raises:
        UserError: a prompt that leaves no room in the context, a steering of another model, or
            as many steerings or seeds as there are not rows.
    """
    each = _each(steering, len(prompts), "steerings")
    seeds = _each(seed, len(prompts), "seeds")
    check_room(model, prompts, decoding)
    replies: dict[int, Reply] = {}
    # Prompts of one length need no pads, which cost as much as tokens.
    order = sorted(range(len(prompts)), key=lambda row: len(prompts[row]))
    for start in range(0, len(order), batch_size):
        rows = order[start : start + batch_size]
        own = edits_of(model, [each[row] for row in rows])
        job = _Job(model, [prompts[row] for row in rows], decoding, [seeds[r] for r in rows])
        heard = None if stream is None else _Ear(model.tokenizer, rows, stream)
        written = job.run([*_local(edits, rows), *own], use_cache, heard)
        replies |= dict(zip(rows, written, strict=True))
        advance(len(rows))
    return [replies[row] for row in range(len(prompts))]


def check_room(model: Model, prompts: Sequence[Encoded], decoding: Decoding) -> None:
    """Raise a `UserError` that names a prompt which leaves no room for what is to be written."""
    for prompt in prompts:
        if len(prompt) + decoding.max_new_tokens > model.n_ctx:
            raise UserError(
                f"prompt {prompt.id!r} has {len(prompt)} tokens, and {decoding.max_new_tokens} "
                f"are to be written: the context holds {model.n_ctx}; shorten it, or write fewer"
            )


@dataclass(frozen=True)
class _Job:
    """One batch of `generate`."""

    model: Model
    prompts: Sequence[Encoded]
    decoding: Decoding
    seeds: Sequence[int]

    def run(self, edits: Sequence[Edit], use_cache: bool, streamer: Any) -> list[Reply]:
        from transformers import GenerationConfig

        model, ends = self.model, end_tokens(self.model)
        batch = model.collate(self.prompts, side="left")
        # Everything is said here: a model's own defaults (say, a repetition penalty) differ from
        # model to model, and would be a method's advantage.
        config = GenerationConfig(
            max_new_tokens=self.decoding.max_new_tokens,
            do_sample=False,
            num_beams=1,
            repetition_penalty=1.0,
            eos_token_id=ends or None,
            pad_token_id=ends[0] if ends else 0,
            use_cache=use_cache,
        )
        drawn = self.decoding.temperature > 0
        lengths = [len(prompt) for prompt in self.prompts]
        with applied(model, edits, lengths=lengths, beyond=True):
            out = model.hf.generate(
                input_ids=batch.input_ids,
                attention_mask=batch.attention_mask,
                generation_config=config,
                logits_processor=[_Draw(self.decoding, self.seeds)] if drawn else [],
                streamer=streamer,
            )
        return [self._reply(row, ends) for row in out[:, batch.input_ids.shape[1] :].tolist()]

    def _reply(self, ids: list[int], ends: Sequence[int]) -> Reply:
        stop = next((place for place, token in enumerate(ids) if token in ends), None)
        ids = ids[:stop]
        text = self.model.tokenizer.decode(ids, skip_special_tokens=True)
        return Reply(text, tuple(ids), stop is not None)


class _Draw:
    """A logits processor: scores in which the largest is a draw of each row's own generator."""

    def __init__(self, decoding: Decoding, seeds: Sequence[int]) -> None:
        self.decoding = decoding
        self.generators = {seed: torch.Generator().manual_seed(seed) for seed in seeds}
        self.seeds = list(seeds)

    def __call__(self, _: Tensor, scores: Tensor) -> Tensor:
        scaled = (scores.float() / self.decoding.temperature).log_softmax(-1)
        if self.decoding.top_p < 1:
            scaled = scaled.where(scaled >= self._least(scaled), -float("inf"))
        noise = {
            seed: -torch.empty(scores.shape[-1]).exponential_(generator=made).log()
            for seed, made in self.generators.items()
        }
        return scaled + torch.stack([noise[seed] for seed in self.seeds]).to(scaled.device)

    def _least(self, scaled: Tensor) -> Tensor:
        """`[row, 1]`, the least log-probability among the likeliest tokens that hold the share."""
        share = self.decoding.top_p
        # A share is nearly always held by few tokens, and sorting all of them costs a whole step.
        top = scaled.topk(min(HEAD, scaled.shape[-1])).values
        if bool((top.exp().sum(-1) < share).any()):
            top = scaled.sort(dim=-1, descending=True).values
        before = top.exp().cumsum(-1) - top.exp()
        kept = (before < share).sum(-1, keepdim=True)
        return top.gather(-1, kept - 1)


class _Ear:
    """What Hugging Face calls a streamer, for several rows: whole characters, as they come."""

    def __init__(self, tokenizer: Any, rows: Sequence[int], stream: Stream) -> None:
        self.tokenizer, self.rows, self.stream = tokenizer, rows, stream
        self.ids: list[list[int]] = [[] for _ in rows]
        self.shown = [0] * len(rows)
        self.prompted = False

    def put(self, value: Tensor) -> None:
        if not self.prompted:  # The first call brings the prompts.
            self.prompted = True
            return
        for place, token in enumerate(value.flatten().tolist()):
            self.ids[place].append(token)
            text = self.tokenizer.decode(self.ids[place], skip_special_tokens=True)
            # A character may span tokens; until it is whole it decodes to a replacement mark.
            if not text.endswith("�"):
                self._show(place, text)

    def end(self) -> None:
        for place, ids in enumerate(self.ids):
            self._show(place, self.tokenizer.decode(ids, skip_special_tokens=True))

    def _show(self, place: int, text: str) -> None:
        if len(text) > self.shown[place]:
            self.stream(self.rows[place], text[self.shown[place] :])
            self.shown[place] = len(text)


def end_tokens(model: Model) -> list[int]:
    """Tokens at which a model ends what it writes: its own, and its chat template's."""
    given = model.hf.generation_config.eos_token_id
    given = given if given is not None else model.config.eos_token_id
    ends = list(given) if isinstance(given, list | tuple) else [given]
    ends.append(model.tokenizer.eos_token_id)
    return list(dict.fromkeys(token for token in ends if token is not None))


def _each(given: Any, count: int, what: str) -> list[Any]:
    """One for every row, from one for all or a sequence."""
    if not isinstance(given, Sequence):
        return [given] * count
    if len(given) != count:
        raise UserError(f"{len(given)} {what} for {count} prompts: give one, or one for each")
    return list(given)


def _local(edits: Sequence[Edit], rows: Sequence[int]) -> list[Edit]:
    """Shared edits as a batch that holds these rows, in this order, needs them."""
    made = []
    for edit in edits:
        mine = [n for n, row in enumerate(rows) if edit.rows is None or row in edit.rows]
        values = any(value.dim() > 1 for value in edit.operation.values)
        if values or isinstance(edit.positions, tuple):
            raise UserError(
                "edits with values or positions for each row are not taken here: give a steering "
                "for each row"
            )
        if mine:
            made.append(replace(edit, rows=mine))
    return made
