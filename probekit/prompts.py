"""Prompt templates, and texts tokenised inside them with character spans kept."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from jinja2 import TemplateError

from probekit.errors import UserError, unknown

SLOT = "{text}"


@dataclass(frozen=True)
class Template:
    """Text around a stimulus: `pattern` holds `{text}` once; None is the model's chat template.

    Attributes:
        name: what results call it.
        pattern: the text with its slot, or None.
        system: of a chat, an instruction before it ("": what the model's own template does).
        shots: of a chat, answered examples before the text, each what was asked and replied.
    """

    name: str
    pattern: str | None
    system: str = ""
    shots: tuple[tuple[str, str], ...] = ()

    @staticmethod
    def load(name_or_file: str) -> "Template":
        """A template by name (see `TEMPLATES`) or from a UTF-8 file that holds `{text}` once.

        Raises:
            UserError: no such name or file, or `{text}` does not stand in it exactly once.
        """
        if name_or_file in TEMPLATES:
            return TEMPLATES[name_or_file]
        path = Path(name_or_file)
        if not path.is_file():
            raise unknown("template", name_or_file, [*TEMPLATES, "or a file that holds {text}"])
        try:
            pattern = path.read_text(encoding="utf-8").removesuffix("\n")
        except UnicodeDecodeError as error:
            raise UserError(f"template {path} is not UTF-8; save it as UTF-8") from error
        if pattern.count(SLOT) != 1:
            raise UserError(
                f"template {path}: {SLOT} must stand in it exactly once, "
                f"it stands {pattern.count(SLOT)} times"
            )
        return Template(path.stem, pattern)

    def render(self, text: str, tokenizer: Any) -> tuple[str, int]:
        """The prompt, and the character at which the text starts in it.

        Raises:
            UserError: a chat template is asked of a model that has none.
        """
        if self.pattern is not None:
            return self.pattern.replace(SLOT, text), self.pattern.index(SLOT)
        if not tokenizer.chat_template:
            raise UserError("template 'chat': this model has no chat template; use another")
        # The text itself may be a word of the template ("user"), so the place is found without it.
        before, _, after = self._in_chat(SLOT, tokenizer).partition(SLOT)
        prompt = self._in_chat(text, tokenizer)
        if prompt != before + text + after:
            raise UserError(f"the chat template rewrites {text[:40]!r}; strip its white space")
        return prompt, len(before)

    def _in_chat(self, text: str, tokenizer: Any) -> str:
        turns = [{"role": "system", "content": self.system}] if self.system else []
        for asked, replied in self.shots:
            turns += [{"role": "user", "content": asked}]
            turns += [{"role": "assistant", "content": replied}]
        turns += [{"role": "user", "content": text}]
        try:
            return tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
        except TemplateError as error:
            raise UserError(
                f"this model's chat template takes no such turns ({error}): leave out what stands "
                "before the text (a system prompt, examples), or use another template"
            ) from error

    def describe(self) -> dict[str, Any]:
        """What a manifest and a cache key say of the template."""
        told: dict[str, Any] = {"name": self.name, "pattern": self.pattern}
        # Left out where they are not used: caches made without them stay good.
        told |= {"system": self.system} if self.system else {}
        return told | ({"shots": [list(shot) for shot in self.shots]} if self.shots else {})


NO_TEMPLATE = Template("none", SLOT)
TEMPLATES = {
    "none": NO_TEMPLATE,
    "chat": Template("chat", None),
    "feeling": Template("feeling", f"{SLOT} The feeling here is"),
    # The shape of the first study's prompt (arXiv 2603.22295): two answered examples, one question.
    "two-shot": Template(
        "two-shot",
        "Text: The parcel came a week early, and inside was the letter she had given up on.\n"
        "Which emotion does this text convey? Answer: joy\n\n"
        "Text: He stood at the counter while they gave his place to someone who had paid.\n"
        "Which emotion does this text convey? Answer: anger\n\n"
        f"Text: {SLOT}\nWhich emotion does this text convey? Answer:",
    ),
}
"""Templates by name; "feeling" reads the model out after "The feeling here is"."""


@dataclass(frozen=True)
class Encoded:
    """One tokenised prompt.

    Attributes:
        id: the item's id.
        input_ids: `[token]`, without padding.
        special: `[token]`, True for tokens that stand for no text (BOS, chat markers).
        offsets: `[token]`, characters `(start, end)` in the prompt.
        text_start, text_end: the stimulus's characters in the prompt.
    """

    id: str
    input_ids: tuple[int, ...]
    special: tuple[bool, ...]
    offsets: tuple[tuple[int, int], ...]
    text_start: int
    text_end: int

    def __len__(self) -> int:
        return len(self.input_ids)

    def first(self, count: int) -> "Encoded":
        """The prompt's first tokens alone."""
        return replace(
            self,
            input_ids=self.input_ids[:count],
            special=self.special[:count],
            offsets=self.offsets[:count],
        )

    def followed_by(self, ids: Sequence[int]) -> "Encoded":
        """The prompt with tokens behind it that belong to no text of its own."""
        place = self.offsets[-1][1]
        return replace(
            self,
            input_ids=(*self.input_ids, *ids),
            special=(*self.special, *(False for _ in ids)),
            offsets=(*self.offsets, *((place, place) for _ in ids)),
        )

    def tokens_of(self, start: int, end: int) -> list[int]:
        """Indices of the tokens that overlap characters `[start, end)` of the *text*."""
        low, high = self.text_start + start, min(self.text_start + end, self.text_end)
        return [
            index
            for index, (first, last) in enumerate(self.offsets)
            if first < high and last > low and not self.special[index]
        ]


def encode(
    tokenizer: Any,
    texts: Sequence[str],
    template: Template = NO_TEMPLATE,
    *,
    n_ctx: int,
    ids: Sequence[str] | None = None,
    truncate: bool = False,
) -> list[Encoded]:
    """Tokenise each text inside the template.

    Args:
        texts: the stimuli.
        n_ctx: longest prompt, in tokens.
        ids: item ids for messages (default: the row number).
        truncate: cut the end of a text that does not fit, instead of refusing it.

    Raises:
        UserError: a prompt is longer than `n_ctx` (names the item), or a chat template is missing.
    """
    names = list(ids) if ids is not None else [str(row) for row in range(len(texts))]
    out = [
        _encode_one(tokenizer, text, template, name)
        for text, name in zip(texts, names, strict=True)
    ]
    for row, item in enumerate(out):
        while len(item) > n_ctx:
            if not truncate:
                raise UserError(
                    f"item {item.id!r} has {len(item)} tokens with its template and the model's "
                    f"context holds {n_ctx}; shorten it, or allow --truncate"
                )
            item = out[row] = _cut(tokenizer, texts[row], template, item, len(item) - n_ctx)
    return out


def _encode_one(tokenizer: Any, text: str, template: Template, name: str) -> Encoded:
    prompt, start = template.render(text, tokenizer)
    # A chat template writes its own special tokens; anything else gets the tokenizer's.
    coded = tokenizer(
        prompt,
        add_special_tokens=template.pattern is not None,
        return_offsets_mapping=True,
        return_special_tokens_mask=True,
        verbose=False,
    )
    marks = set(tokenizer.all_special_ids)
    ids = tuple(coded["input_ids"])
    special = tuple(
        bool(flag) or token in marks
        for flag, token in zip(coded["special_tokens_mask"], ids, strict=True)
    )
    offsets = tuple((int(a), int(b)) for a, b in coded["offset_mapping"])
    return Encoded(name, ids, special, offsets, start, start + len(text))


def _cut(tokenizer: Any, text: str, template: Template, item: Encoded, excess: int) -> Encoded:
    """The item again with the last `excess` tokens of its text cut off."""
    inside = item.tokens_of(0, len(text))
    end = item.offsets[inside[-excess]][0] - item.text_start if excess < len(inside) else 0
    if end < 1:  # Several tokens may share the text's first character.
        raise UserError(f"item {item.id!r}: the template alone fills the model's context")
    return _encode_one(tokenizer, text[:end], template, item.id)
