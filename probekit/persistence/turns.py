"""A user's turn and what is forced after it: prompts with their spans, neutral continuations.

A turn holds a neutral text and, after it, the text that is studied. Both stand in the model's
chat template where it has one; what follows is the same for every text.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np

from probekit.errors import UserError
from probekit.models import Model
from probekit.prompts import TEMPLATES, Encoded
from probekit.stimuli import StimulusSet
from probekit.tasks import NEUTRAL

END = "\n\n"
"""What ends a turn where there is no chat template; encoded apart, since it may merge with a full
stop into one token."""
CONTINUED = "vignettes"
"""The set whose neutral texts, one after another, are what is forced."""
FILLED = "complex_neutral"
"""The set whose texts stand before those that are studied."""


@dataclass(frozen=True)
class Turn:
    """One prompt, and which of its tokens are whose.

    Attributes:
        prompt: the whole prompt.
        own: tokens of the text that is studied.
        filler: as many tokens of the neutral text before it.
        after: the prompt's tokens after the text (the end of the turn, the assistant's header).
    """

    prompt: Encoded
    own: tuple[int, ...]
    filler: tuple[int, ...]
    after: tuple[int, ...]


def turns(model: Model, stimuli: StimulusSet, *, chat: bool) -> list[Turn]:
    """Every text of a set as a user's turn, after a neutral text of its scenario's own.

    Args:
        chat: in the model's chat template.

    Raises:
        UserError: no chat template, a text that is too long for the context, or one that is
            longer than the neutral texts; no neutral text that is not studied.
    """
    studied = set(stimuli.texts)
    fillers = [text for text in StimulusSet.load(FILLED).texts if text not in studied]
    if not fillers:
        raise UserError(
            f"{stimuli.name} holds all texts of {FILLED!r}, one of which stands before every turn: "
            "leave some out"
        )
    groups = stimuli.groups
    place = {name: number for number, name in enumerate(dict.fromkeys(groups))}
    # Texts of a scenario, which differ in their emotion, stand after the same neutral text.
    before = [fillers[place[name] % len(fillers)] for name in groups]
    whole = [f"{first} {text}" for first, text in zip(before, stimuli.texts, strict=True)]
    if chat:
        prompts = model.encode(whole, TEMPLATES["chat"], ids=stimuli.ids)
    else:
        end = model.tokenizer(END, add_special_tokens=False)["input_ids"]
        prompts = [prompt.followed_by(end) for prompt in model.encode(whole, ids=stimuli.ids)]
    made = [_turn(*each) for each in zip(prompts, before, stimuli.texts, strict=True)]
    ends = {tuple(turn.prompt.input_ids[token] for token in turn.after) for turn in made}
    if len(ends) > 1 or () in ends:
        raise UserError(
            f"{model.public_name}: what follows a text is not one and the same ({len(ends)} ways): "
            "its tokens merge with the text's; give another --chat/--no-chat"
        )
    return made


def _turn(prompt: Encoded, before: str, text: str) -> Turn:
    start = len(before) + 1
    own = prompt.tokens_of(start, start + len(text))
    # A token may hold the space between the two, or more: it is the text's own.
    filler = [token for token in prompt.tokens_of(0, len(before)) if token not in own and token]
    if len(filler) < len(own):
        raise UserError(
            f"item {prompt.id!r} has {len(own)} tokens, the neutral text before it {len(filler)}: "
            "shorten it, so that as many tokens can be removed from either"
        )
    after = range(own[-1] + 1, len(prompt))
    return Turn(prompt, tuple(own), tuple(filler[-len(own) :]), tuple(after))


def continuations(
    model: Model, count: int, tokens: int, seed: int, studied: Collection[str] = ()
) -> list[tuple[int, ...]]:
    """Neutral continuations of so many tokens; no text stands in two of them.

    Args:
        studied: texts of turns, which are not forced after any.

    Raises:
        UserError: the neutral texts do not suffice for so many tokens.
    """
    loaded, turned = StimulusSet.load(CONTINUED), set(studied)
    texts = [row.text for row in loaded.rows if row.arm == NEUTRAL and row.text not in turned]
    order = np.random.default_rng(seed).permutation(len(texts))
    made: list[tuple[int, ...]] = []
    own: list[int] = []
    for place in order:
        own += model.tokenizer(texts[place] + "\n\n", add_special_tokens=False)["input_ids"]
        if len(own) >= tokens:
            made.append(tuple(own[:tokens]))
            own = []
        if len(made) == count:
            return made
    raise UserError(
        f"{count} continuations of {tokens} tokens: the neutral texts of {CONTINUED!r} give "
        f"{len(made)}; ask for fewer or shorter ones"
    )


TURN, HEADER = "turn", "header"
CONTROLS = {TURN: ("neutral_text", "random"), HEADER: ("random_header",)}
"""What is removed, and what is removed in its stead: as many tokens, of something else."""


def removals(all_turns: Sequence[Turn], at: int, seed: int) -> dict[str, list[tuple[int, ...]]]:
    """What is removed at an offset, by the name of the condition.

    - `turn`: the text itself;
    - `header`: the prompt's tokens after it, and `turn_and_header`: both, so that only the
      continuation is left to carry anything (not at offset 0, where nothing would be);
    - `neutral_text`: as many tokens of the neutral text;
    - `random`: as many tokens at random as the text has, and `random_header`: as the header has.
    """
    rng = np.random.default_rng([seed, at])
    found = {TURN: [turn.own for turn in all_turns]}
    if at:
        found[HEADER] = [turn.after for turn in all_turns]
        found["turn_and_header"] = [(*turn.own, *turn.after) for turn in all_turns]
    found["neutral_text"] = [turn.filler for turn in all_turns]
    found["random"] = [_drawn(turn, at, turn.own, len(turn.own), rng) for turn in all_turns]
    if at:
        found["random_header"] = [
            _drawn(turn, at, (*turn.own, *turn.after), len(turn.after), rng) for turn in all_turns
        ]
    return found


def _drawn(
    turn: Turn, at: int, but: Sequence[int], many: int, rng: np.random.Generator
) -> tuple[int, ...]:
    """Tokens drawn from all that have been read at an offset, but some.

    The first token is never drawn: attention rests on it in every model.
    """
    others = sorted(set(range(1, len(turn.prompt) + at)) - set(but))
    drawn = rng.choice(others, min(many, len(others)), replace=False)
    return tuple(sorted(int(token) for token in drawn))
