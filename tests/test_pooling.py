"""Poolings against averages made by hand from the raw values of a hook."""

import pytest
import torch
from families import TEXTS, build, tokenizer

from probekit.activations import capture
from probekit.errors import UserError
from probekit.hooks import reading
from probekit.pooling import parse, tokens, weights
from probekit.prompts import TEMPLATES, Encoded, encode

WORD = (4, 8)
"""The characters of the second word of "The rain fell"."""


def prompt_of(text: str, template: str = "none", *, bos: bool = True) -> Encoded:
    return encode(tokenizer(bos=bos), [text], TEMPLATES[template], n_ctx=999, ids=["it"])[0]


PROMPTS = {
    "none": "{}The rain fell",
    "feeling": "{}The rain fell The feeling here is",
    "chat": "<|im_start|>user\nThe rain fell<|im_end|>\n<|im_start|>assistant\n",
}


def characters_of(prompt: Encoded, string: str) -> list[range]:
    """The characters of each token, counted from its own length: no offsets are used."""
    pieces, spans, start = tokenizer().convert_ids_to_tokens(prompt.input_ids), [], 0
    assert len("".join(pieces)) == len(string)  # One symbol a byte, one byte an ASCII character.
    for piece in pieces:
        spans.append(range(start, start + len(piece)))
        start += len(piece)
    return spans


@pytest.mark.parametrize("template", PROMPTS)
@pytest.mark.parametrize("bos", [True, False])
def test_poolings_equal_averages_made_by_hand(template, bos):
    model, raw = build("llama", bos=bos), {}
    prompt = model.encode(["The rain fell"], TEMPLATES[template])[0]
    sites = model.sites.expand(["resid_post"])
    with reading(model.sites, sites, lambda site, value: raw.update({site.layer: value[0]})):
        model.body(model.collate([prompt]))

    string = PROMPTS[template].format("<s>" if bos else "")
    places = characters_of(prompt, string)
    text = range(string.index("The rain"), string.index("The rain") + len("The rain fell"))

    def overlapping(start: int, end: int) -> list[int]:
        wanted = set(text[start:end])
        return [i for i, place in enumerate(places) if i > 0 and wanted & set(place)]

    by_hand = {
        "mean": overlapping(0, len(text)),
        "span": overlapping(*WORD),
        "last": [len(prompt) - 1],
        "0": [0],
        "-2": [len(prompt) - 2],
    }
    got = capture(
        model,
        ["The rain fell"],
        ["resid_post"],
        ["mean", "span", "last", 0, -2],
        template=TEMPLATES[template],
        spans=[WORD],
    )
    for pooling, found in by_hand.items():
        for layer, value in raw.items():
            expected = sum(value[index] for index in found) / len(found)
            pooled = torch.tensor(got.layer("resid_post", layer, pooling)[0])
            torch.testing.assert_close(pooled, expected, rtol=1e-5, atol=1e-5)


def test_first_and_special_tokens_are_left_out():
    with_bos, without = prompt_of(TEXTS[0]), prompt_of(TEXTS[0], bos=False)
    assert tokens(with_bos, "mean") == list(range(1, len(with_bos)))
    assert tokens(without, "mean") == list(range(1, len(without)))
    assert tokens(without, "span", (0, 4)) == [i for i in without.tokens_of(0, 4) if i > 0]
    chat = prompt_of(TEXTS[0], "chat")
    assert not any(chat.special[index] for index in tokens(chat, "mean"))


def test_template_is_not_in_the_mean_but_holds_the_last_token():
    prompt = prompt_of("she smiled", "two-shot")
    mean = tokens(prompt, "mean")
    assert tokenizer().decode([prompt.input_ids[i] for i in mean]).strip() == "she smiled"
    assert tokens(prompt, "last") == [len(prompt) - 1] != mean[-1:]


def test_last_skips_special_tokens_at_the_end():
    prompt = prompt_of("she</s></s>", bos=False)
    assert prompt.special[-2:] == (True, True)
    assert tokens(prompt, "last") == [len(prompt) - 3]


def test_an_index_counts_special_tokens_from_either_end():
    prompt = prompt_of(TEXTS[0])
    assert tokens(prompt, "0") == [0]
    assert tokens(prompt, "-1") == [len(prompt) - 1]
    assert tokens(prompt, str(-len(prompt))) == [0]
    for beyond in (len(prompt), -len(prompt) - 1):
        with pytest.raises(UserError, match=f"item 'it': pooling '{beyond}' finds no token"):
            tokens(prompt, str(beyond))


@pytest.mark.parametrize("pooling", ["mean", "span"])
def test_a_text_of_one_token_is_refused_and_gives_no_nan(pooling):
    model = build("llama", bos=False)
    assert len(model.encode(["s"])[0]) == 1
    with pytest.raises(UserError, match=rf"item 'b': pooling '{pooling}' finds no token in its 1"):
        capture(model, [("a", "she ran"), ("b", "s")], ["z"], [pooling], spans=[(0, 7), (0, 1)])
    assert capture(model, ["s"], ["z"], ["last", 0]).arrays["z/0"].shape == (3, 1, 32)


def test_a_span_without_token_or_characters_is_refused():
    with pytest.raises(UserError, match="item 'it': pooling 'span' finds no token"):
        tokens(prompt_of("she"), "span", (7, 9))
    with pytest.raises(UserError, match="item 'it': pooling 'span' needs a character span"):
        tokens(prompt_of("she"), "span")


@pytest.mark.parametrize("name", ["median", "--3", "1.5", "", "²"])
def test_unknown_pooling_is_refused_in_one_line(name):
    with pytest.raises(UserError, match=r"unknown pooling .*accepted are last, mean, span") as said:
        parse(["last", name])
    assert "\n" not in str(said.value)


def test_poolings_are_named_once_in_order():
    assert parse([-1, "mean", "-1", 3]) == ("-1", "mean", "3")
    with pytest.raises(UserError, match="no pooling given"):
        parse([])


@pytest.mark.parametrize("left", [True, False])
def test_weights_sum_to_one_on_real_tokens_only(left):
    prompts = [prompt_of(text) for text in TEXTS]
    width = max(map(len, prompts)) + 3
    out = weights(prompts, ("last", "mean"), [None] * len(prompts), width, left=left)
    assert out.shape == (len(prompts), 2, width)
    assert out.dtype == torch.float32
    torch.testing.assert_close(out.sum(-1), torch.ones(len(prompts), 2))
    for row, prompt in enumerate(prompts):
        pads = out[row, :, : width - len(prompt)] if left else out[row, :, len(prompt) :]
        assert pads.abs().sum() == 0
