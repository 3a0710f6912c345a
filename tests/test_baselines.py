"""Text baselines: counts by hand, embeddings and surprisal against direct computations."""

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from probekit import baselines
from probekit.baselines import NAMES, static_embeddings, text_baselines, token_surprisals
from probekit.crossval import cross_validate
from probekit.folds import grouped_folds
from probekit.models import from_parts
from probekit.stats import macro_auroc

WORDS = "the dog barked i was glad so very no one came . !"
VOCABULARY = ["<s>", "<unk>", *WORDS.split()]
TEXTS = ["the dog barked .", "i was so very very glad !", "no one came", "dog"]


def tiny(special):
    """A random Llama of 2 layers whose tokenizer knows a dozen words, with <s> or without."""
    core = Tokenizer(models.WordLevel({w: i for i, w in enumerate(VOCABULARY)}, unk_token="<unk>"))
    core.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    if special:
        core.post_processor = processors.TemplateProcessing(
            single="<s> $A", special_tokens=[("<s>", 0)]
        )
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=core, bos_token="<s>" if special else None, unk_token="<unk>"
    )
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(VOCABULARY),
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=32,
        initializer_range=0.5,
    )
    hf = LlamaForCausalLM(config).eval()
    assert sum(p.numel() for p in hf.parameters()) < 20_000
    return from_parts(hf, tokenizer, "tiny")


@pytest.fixture(scope="module", params=[True, False], ids=["bos", "no_bos"])
def model(request):
    return tiny(request.param)


def ids_of(model, text):
    words = [VOCABULARY.index(word) for word in text.split()]
    return [0, *words] if model.tokenizer.bos_token else words


@torch.no_grad()
def direct_surprisal(model, text):
    """One text alone, no padding, one token at a time."""
    ids = ids_of(model, text)
    logits = model.hf(torch.tensor([ids])).logits[0].double()
    nats = -logits.log_softmax(-1)
    return np.array([nats[t, ids[t + 1]].item() for t in range(len(ids) - 1)])


def test_all_baselines_in_order_with_finite_rows(model):
    found = text_baselines(TEXTS, model)
    assert [each.name for each in found] == list(NAMES)
    width = {each.name: each.features.shape[1] for each in found}
    assert all(each.features.shape[0] == len(TEXTS) for each in found)
    assert all(np.isfinite(each.features).all() for each in found)
    assert all(each.features.dtype == np.float64 for each in found)
    assert width["bag_of_words"] == 11
    assert width["ngrams"] == 11 + 3 - 1 + 6 - 1 + 3 - 1
    assert (width["lexicon"], width["static_embedding"], width["surprisal"]) == (4, 16, 5)
    assert {each.name for each in found if not each.standardize} == {
        "bag_of_words",
        "ngrams",
        "char_ngrams",
        "stop_words",
    }


def test_counts_by_hand():
    words = sorted({"a", "dog", "saw", "i", "you"})
    texts = ["I saw a dog; I, I saw!", "you"]
    counts = dict(zip(words, baselines._counts(texts).T, strict=True))
    assert {word: count.tolist() for word, count in counts.items()} == {
        "a": [1, 0],
        "dog": [1, 0],
        "i": [3, 0],
        "saw": [2, 0],
        "you": [0, 1],
    }
    pairs = baselines._counts(texts, ngram_range=(1, 2))
    # Beside the five words: "i saw" twice, "saw a", "a dog", "dog i", "i i".
    assert pairs.sum(1).tolist() == [7 + 6, 1]
    assert pairs.shape == (2, 5 + 5)
    assert baselines._stop_words(texts).sum(1).tolist() == [4, 1]  # I, a; you.
    assert baselines._stop_words(["Dog barked"]).sum() == 0


def test_texts_without_stop_words_have_a_baseline_that_tells_nothing():
    """French texts, say: their table of English stop words is all zeros."""
    words = [f"mot{n} chat{n % 3}" for n in range(12)]
    stop = {each.name: each for each in baselines.word_baselines(words)}["stop_words"]
    assert not stop.features.any()
    assert stop.compact.shape == (12, 1)
    labels = np.arange(12) % 2
    folds = grouped_folds(words, labels.astype(str), 3, 0)
    result = cross_validate(stop.compact, labels, folds, standardize=False)[0]
    assert macro_auroc(result.nested, labels, folds)[0] == 0.5


def test_surface_by_hand():
    text = 'Oh, no! The "XII" dogs - 3 of the dogs - ran... Why?'
    words = ["Oh", "no", "The", "XII", "dogs", "3", "of", "the", "dogs", "ran", "Why"]
    letters = sum(map(len, words))
    marks = {",": 1, ".": 3, "?": 1, "!": 1, ";": 0, ":": 0, "'": 0, '"': 2, "-": 2}
    assert baselines._surface(text) == pytest.approx(
        [len(text), 11, 3, 11 / 3, letters / 11, 4, 9 / 11, 6, 1, *marks.values()]
    )
    assert baselines._surface("?!")[:9] == [2, 0, 1, 0, 0, 0, 0, 0, 0]


def test_the_lexicon_knows_good_from_bad(model):
    good, bad, flat = baselines._valence(["What a wonderful, lovely day", "I hate this", "A table"])
    assert good[0] > 0.5 > 0 > bad[0]
    assert flat.tolist() == [0, 0, 1, 0]
    assert good[3] > 0
    assert bad[1] > 0
    for row in (good, bad):
        assert row[1:].sum() == pytest.approx(1, abs=2e-3)


def test_static_embedding_is_the_mean_row_without_special_tokens(model):
    table = model.hf.get_input_embeddings().weight.detach().double().numpy()
    want = [table[[VOCABULARY.index(word) for word in text.split()]].mean(0) for text in TEXTS]
    np.testing.assert_allclose(static_embeddings(model, TEXTS), want, atol=1e-6)


def test_surprisal_is_a_direct_log_softmax(model):
    seen = []
    found = token_surprisals(model, TEXTS, seen.append)
    assert sum(seen) == len(TEXTS)
    for text, values in zip(TEXTS, found, strict=True):
        np.testing.assert_allclose(values, direct_surprisal(model, text), atol=1e-5)
    assert len(found[3]) == (1 if model.tokenizer.bos_token else 0)


def test_surprisal_does_not_depend_on_the_batch(model, monkeypatch):
    whole, seen = token_surprisals(model, TEXTS), []
    monkeypatch.setattr(baselines, "SURPRISAL_LOGITS", 1)
    for one, other in zip(token_surprisals(model, TEXTS, seen.append), whole, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)
    assert seen == [1] * len(TEXTS)


def test_surprisal_features_are_its_summary(model):
    table = text_baselines(TEXTS, model)[-1].features
    for text, row in zip(TEXTS, table, strict=True):
        nats = direct_surprisal(model, text)
        want = [nats.mean(), nats.std(), nats.max(), nats[-1], nats.sum()] if len(nats) else [0] * 5
        np.testing.assert_allclose(row, want, atol=1e-4)
    given = text_baselines(TEXTS, model, [np.array([1.0, 3.0])] * len(TEXTS))[-1].features
    np.testing.assert_allclose(given, [[2, 1, 3, 3, 4]] * len(TEXTS))


# What words alone achieve


def words_alone(texts, labels, groups, model):
    """AUROC of each baseline, on the folds of a probe."""
    labels = np.array(labels)
    folds = grouped_folds(groups, labels.astype(str), 4, 0)
    found = {}
    for each in text_baselines(texts, model):
        (result,) = cross_validate(each.features, labels, folds, standardize=each.standardize)
        found[each.name] = macro_auroc(result.nested, labels, folds)[0]
    return found


@pytest.mark.parametrize("model", [True], indirect=True)
def test_a_bag_of_words_solves_a_leaky_set(model):
    fillers = VOCABULARY[2:10]
    texts = [
        f"{fillers[i % 8]} {fillers[i * 3 % 8]} {leak}" for i in range(24) for leak in ("came", "!")
    ]
    groups = [f"s{i}" for i in range(24) for _ in range(2)]
    found = words_alone(texts, [1, 0] * 24, groups, model)
    assert found["bag_of_words"] > 0.99
    assert found["ngrams"] > 0.99
    assert found["stop_words"] < 0.6  # "came" is no function word.


@pytest.mark.parametrize("model", [True], indirect=True)
def test_a_bag_of_words_does_not_solve_a_crossed_set(model):
    """Two contexts by two outcomes: each word stands with either label equally often."""
    crossed = [(c, o, int(i == j)) for i, c in enumerate(["glad", "barked"])
               for j, o in enumerate(["came", "dog"])]  # fmt: skip
    texts = [f"the {c} {o} so" for _ in range(12) for c, o, _ in crossed]
    labels = [label for _ in range(12) for *_, label in crossed]
    groups = [f"q{i}" for i in range(12) for _ in range(4)]
    found = words_alone(texts, labels, groups, model)
    assert abs(found["bag_of_words"] - 0.5) < 0.1
    assert abs(found["static_embedding"] - 0.5) < 0.1
    assert found["ngrams"] > 0.99  # The same phrases in every quad: a pair of words tells.
