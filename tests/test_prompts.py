"""Templates, special tokens and character spans on a real byte-level tokenizer."""

import pytest
from families import CONTEXT, TEXTS, tokenizer

from probekit.errors import UserError
from probekit.prompts import NO_TEMPLATE, TEMPLATES, Encoded, Template, encode

LONG = "the rain fell on the roof and she smiled " * 20


def one(text: str, template: Template = NO_TEMPLATE, *, bos: bool = True) -> Encoded:
    return encode(tokenizer(bos=bos), [text], template, n_ctx=4096)[0]


def said_by(item: Encoded, found: list[int]) -> str:
    """The text of tokens, decoded by the tokenizer that made them."""
    return tokenizer().decode([item.input_ids[index] for index in found])


@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize("template", ["none", "feeling", "two-shot", "chat"])
@pytest.mark.parametrize("bos", [True, False])
def test_tokens_of_a_text_are_its_own(text, template, bos):
    item = one(text, TEMPLATES[template], bos=bos)
    found = item.tokens_of(0, len(text))
    assert said_by(item, found).strip() == text
    assert found == list(range(found[0], found[-1] + 1))
    assert not any(item.special[index] for index in found)
    assert len(item) == len(item.input_ids) == len(item.special) == len(item.offsets)


def test_bos_is_special_and_only_there_if_the_tokenizer_adds_it():
    with_bos, without = one(TEXTS[0]), one(TEXTS[0], bos=False)
    assert with_bos.input_ids == (0, *without.input_ids)
    assert with_bos.special == (True, *without.special)
    assert not any(without.special)


def test_tokens_of_a_character_span():
    item = one("naïve café 😢 roof", TEMPLATES["feeling"])
    assert said_by(item, item.tokens_of(6, 10)).strip() == "café"
    assert said_by(item, item.tokens_of(11, 12)).strip() == "😢"
    assert item.tokens_of(12, 999)[-1] < len(item) - 1, "a span ends with the text"
    assert item.tokens_of(3, 3) == []


def test_chat_markers_are_special_and_bos_is_not_doubled():
    item = one("she smiled", TEMPLATES["chat"])
    marks = [item.input_ids[index] for index, flag in enumerate(item.special) if flag]
    assert marks == [2, 3, 2]  # <|im_start|> <|im_end|> <|im_start|>, and no <s> before them


@pytest.mark.parametrize("text", ["user", "assistant", "a", "s"])
def test_a_text_that_is_a_word_of_the_chat_template_is_found_in_its_place(text):
    item = one(text, TEMPLATES["chat"])
    assert item.text_start == len("<|im_start|>user\n")
    assert said_by(item, item.tokens_of(0, len(text))) == text


def test_chat_template_that_strips_white_space_is_refused():
    stripping = tokenizer()
    stripping.chat_template = stripping.chat_template.replace("m['content']", "m['content'] | trim")
    assert encode(stripping, ["she smiled"], TEMPLATES["chat"], n_ctx=99)
    with pytest.raises(UserError, match="chat template rewrites ' she'; strip its white space"):
        encode(stripping, [" she"], TEMPLATES["chat"], n_ctx=99)


def test_model_without_a_chat_template_is_refused():
    with pytest.raises(UserError, match="template 'chat': this model has no chat template"):
        encode(tokenizer(chat=False), ["she"], TEMPLATES["chat"], n_ctx=99)


# Length


def test_text_longer_than_the_context_is_refused_by_item():
    with pytest.raises(UserError) as refusal:
        encode(tokenizer(), ["she", LONG], n_ctx=CONTEXT, ids=["short", "long"])
    tokens = len(one(LONG))
    assert f"item 'long' has {tokens} tokens" in str(refusal.value)
    assert f"holds {CONTEXT}" in str(refusal.value)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("template", ["none", "feeling", "chat"])
def test_truncation_cuts_the_end_of_the_text_and_keeps_the_template(template):
    pattern = TEMPLATES[template]
    kept, cut = encode(tokenizer(), ["she", LONG], pattern, n_ctx=CONTEXT, truncate=True)
    assert kept == encode(tokenizer(), ["she"], pattern, n_ctx=CONTEXT)[0]
    assert CONTEXT - 3 <= len(cut) <= CONTEXT
    text = LONG[: cut.text_end - cut.text_start]
    whole = one(text, pattern)
    assert cut.input_ids == whole.input_ids
    assert len(text) > 40


@pytest.mark.parametrize("text", [LONG, "😢", "x"])
def test_template_that_fills_the_context_is_refused(text):
    template = Template("long", LONG + "{text}")
    with pytest.raises(UserError, match="item '0': the template alone fills"):
        encode(tokenizer(), [text], template, n_ctx=CONTEXT, truncate=True)


def test_one_character_of_several_tokens_cannot_be_cut():
    item = one("🦉")
    assert len(item) == 5
    with pytest.raises(UserError, match="item '0': the template alone fills"):
        encode(tokenizer(), ["🦉"], n_ctx=4, truncate=True)


# Templates by name and from files


def test_template_from_a_file(tmp_path):
    path = tmp_path / "mine.txt"
    path.write_text("Read: {text}\nFelt:\n", encoding="utf-8")
    template = Template.load(str(path))
    assert template == Template("mine", "Read: {text}\nFelt:")
    assert template.render("{text} she", None) == ("Read: {text} she\nFelt:", 6)
    assert template.describe() == {"name": "mine", "pattern": "Read: {text}\nFelt:"}


def test_template_by_name():
    assert Template.load("feeling").render("She ran.", None) == (
        "She ran. The feeling here is",
        0,
    )


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"no slot", r"\{text\} must stand in it exactly once, it stands 0 times"),
        (b"{text} {text}", "exactly once, it stands 2 times"),
        ("é {text}".encode("latin-1"), "is not UTF-8"),
    ],
)
def test_wrong_template_file_is_refused_in_one_line(tmp_path, content, says):
    path = tmp_path / "mine.txt"
    path.write_bytes(content)
    with pytest.raises(UserError, match=says) as refusal:
        Template.load(str(path))
    assert "\n" not in str(refusal.value)


def test_unknown_template_is_refused():
    with pytest.raises(UserError, match="unknown template 'feelings': accepted are none, chat"):
        Template.load("feelings")
