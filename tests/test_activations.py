"""Capture: nothing but the text decides its numbers, and failures name what failed."""

import itertools
import random

import numpy as np
import pytest
import torch
from families import FAMILIES, LAYERS, TEXTS, WIDTH, build, hooks_on

from probekit.activations import capture
from probekit.errors import UserError
from probekit.sites import Site
from probekit.store import Activations

POOLINGS = ("last", "mean", 0, -2)
LONG = " the rain fell on the roof and she smiled" * 40


def assert_close(left: Activations, right: Activations, relative: float = 1e-5) -> None:
    assert left.ids == right.ids
    assert left.layers == right.layers
    assert left.arrays.keys() == right.arrays.keys()
    for name, value in left.arrays.items():
        difference = np.abs(value - right.arrays[name]).max() / np.abs(value).max()
        assert difference < relative, name


def reordered(activations: Activations, ids: tuple[str, ...]) -> Activations:
    rows = [activations.ids.index(id_) for id_ in ids]
    arrays = {name: value[:, rows] for name, value in activations.arrays.items()}
    return Activations(ids, activations.layers, arrays)


@pytest.mark.parametrize("family", FAMILIES)
def test_padding_side_batch_and_order_change_nothing(family):
    model = build(family)
    items = [(f"item{n}", text) for n, text in enumerate(TEXTS)]
    shuffled = random.Random(1).sample(items, len(items))
    # One forward pass a text, without any padding, is the truth.
    alone = capture(model, items, model.sites.kinds, POOLINGS, batch_tokens=1)
    for side, budget, order in itertools.product(("left", "right"), (60, 9999), (items, shuffled)):
        got = capture(
            model,
            order,
            model.sites.kinds,
            POOLINGS,
            side=side,
            batch_tokens=budget,
            shard_items=4 if order is shuffled else 256,
        )
        assert_close(alone, reordered(got, alone.ids))


def test_batches_hold_the_budget_and_every_row_once():
    model, seen = build("llama"), []
    model.hf.base_model.register_forward_pre_hook(
        lambda _, __, kwargs: seen.append(tuple(kwargs["input_ids"].shape)), with_kwargs=True
    )
    finished = []
    capture(model, TEXTS, ["z.0"], batch_tokens=60, advance=finished.append)
    assert sum(rows for rows, _ in seen) == sum(finished) == len(TEXTS)
    assert all(rows * width <= 60 or rows == 1 for rows, width in seen)
    assert max(rows for rows, _ in seen) > 1


def test_layers_come_back_by_their_number():
    model = build("llama")
    everything = capture(model, TEXTS, ["resid_post"], ["last"])
    some = capture(model, TEXTS, ["resid_post.2", "resid_post.0", Site("z", 1)], ["last"])
    assert some.layers == {"resid_post": (2, 0), "z": (1,)}
    for layer in (2, 0):
        np.testing.assert_array_equal(
            some.layer("resid_post", layer, "last"), everything.layer("resid_post", layer, "last")
        )
    np.testing.assert_array_equal(
        some.stack("resid_post", "last")[:, 1], everything.layer("resid_post", 0, "last")
    )
    with pytest.raises(UserError, match="uncaptured layer of resid_post 1: accepted are 2, 0"):
        some.layer("resid_post", 1, "last")
    with pytest.raises(UserError, match="site and pooling 'mlp_out/last'"):
        some.layer("mlp_out", 0, "last")


def test_shapes_ids_and_dtype():
    model = build("gpt2")
    got = capture(model, iter(TEXTS), ["mlp_post", "resid_mid.1"], ["last", "mean"])
    assert got.ids == tuple(str(n) for n in range(len(TEXTS)))
    assert got.arrays["mlp_post/mean"].shape == (LAYERS, len(TEXTS), 4 * WIDTH)
    assert got.arrays["resid_mid/last"].shape == (1, len(TEXTS), WIDTH)
    assert all(value.dtype == np.float32 for value in got.arrays.values())


# Out of memory


class SmallDevice:
    """Refuses batches of more than `rows` rows as a device without memory does."""

    def __init__(self, model, rows: int, error: Exception) -> None:
        self.rows, self.error, self.ran = rows, error, []
        model.hf.base_model.register_forward_pre_hook(self, with_kwargs=True)

    def __call__(self, _, __, kwargs) -> None:
        rows, width = kwargs["input_ids"].shape
        if rows > self.rows:
            raise self.error
        self.ran.append((rows, width))


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB."),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"),
        torch.OutOfMemoryError("no room"),
        MemoryError(),
    ],
)
def test_out_of_memory_halves_the_batch_at_the_same_width(error, side):
    model = build("llama")
    uncut = capture(model, TEXTS, ["resid_post", "z"], side=side, batch_tokens=9999)
    device = SmallDevice(model, 2, error)
    cut = capture(model, TEXTS, ["resid_post", "z"], side=side, batch_tokens=9999)
    assert sorted(rows for rows, _ in device.ran) == [1, 1, 2, 2]
    widest = max(len(prompt) for prompt in model.encode(TEXTS))
    assert {width for _, width in device.ran} == {widest}, "padding must not depend on memory"
    assert_close(uncut, cut, 1e-6)


def test_a_row_that_does_not_fit_alone_is_named():
    model = build("llama")
    SmallDevice(model, 0, RuntimeError("CUDA out of memory"))
    with pytest.raises(UserError, match=r"out of memory on item 'b' alone \(\d+ tokens\)") as said:
        capture(model, [("a", TEXTS[2]), ("b", TEXTS[1])], ["z"])
    assert "\n" not in str(said.value)


def test_another_error_is_not_taken_for_memory():
    model = build("llama")
    SmallDevice(model, 2, RuntimeError("the sizes do not match"))
    with pytest.raises(RuntimeError, match="the sizes do not match"):
        capture(model, TEXTS, ["z"], batch_tokens=9999)


# Bad numbers and bad input


def test_nan_names_the_item_and_the_first_site():
    model = build("llama")
    items = [(f"item{n}", text) for n, text in enumerate(TEXTS)]
    owl = model.encode(["🦉"])[0].input_ids[-1]
    assert not any(owl in prompt.input_ids for prompt in model.encode(TEXTS))
    model.hf.get_input_embeddings().weight[owl] = torch.nan
    capture(model, items, ["resid_post"])
    with pytest.raises(UserError, match=r"NaN or infinity at resid_pre\.0 on item 'owl'") as said:
        capture(model, [*items, ("owl", "she smiled at the 🦉")], ["resid_pre", "resid_post"])
    assert "\n" not in str(said.value)
    assert hooks_on(model) == 0


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_nan_or_infinity_in_a_layer_names_that_layer(value):
    model = build("llama")
    model.sites.tap(Site("mlp_post", 1)).module.weight[3, 5] = value
    lengths = [len(prompt) for prompt in model.encode(TEXTS)]
    first = lengths.index(min(lengths))  # The shortest leads its batch.
    with pytest.raises(UserError, match=rf"NaN or infinity at resid_post\.1 on item '{first}'"):
        capture(model, TEXTS, ["resid_post"])
    capture(model, TEXTS, ["resid_post.0", "mlp_post.1"])


@pytest.mark.parametrize(
    ("texts", "says"),
    [
        ([], "no text given"),
        (["she", "  "], "item '1' has no text"),
        ([("x", None)], "item 'x' has no text"),
        ([("x", "she"), ("long", LONG)], r"item 'long' has \d+ tokens .* context holds 64"),
    ],
)
def test_wrong_texts_are_refused_in_one_line(texts, says):
    with pytest.raises(UserError, match=says) as refusal:
        capture(build("llama"), texts, ["z"])
    assert "\n" not in str(refusal.value)


def test_truncation_makes_a_long_text_fit():
    model = build("gpt2")
    got = capture(model, [TEXTS[0], LONG], ["z.0"], ["mean"], truncate=True)
    assert np.isfinite(got.arrays["z/mean"]).all()
    np.testing.assert_allclose(
        got.arrays["z/mean"][0, 0],
        capture(model, TEXTS[:1], ["z.0"], ["mean"]).arrays["z/mean"][0, 0],
        atol=1e-6,
    )


def test_too_few_spans_are_refused():
    with pytest.raises(UserError, match="1 spans for more texts; give one span a text"):
        capture(build("llama"), TEXTS, ["z"], ["span"], spans=[(0, 3)])


def test_unknown_site_and_pooling_are_refused_before_any_work(tmp_path):
    model = build("llama")
    with pytest.raises(UserError, match="unknown site 'residual'"):
        capture(model, TEXTS, ["residual"], store=tmp_path / "store")
    with pytest.raises(UserError, match="unknown pooling 'max'"):
        capture(model, TEXTS, ["z"], ["max"], store=tmp_path / "store")
    assert not (tmp_path / "store").exists()
