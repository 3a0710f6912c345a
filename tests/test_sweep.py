"""The exact engine: equal to the whole model run for every edit, whatever is edited and read."""

import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import plain
import pytest
import torch
import transformers
from families import FAMILIES, HEADS, LAYERS, TEXTS, WIDTH, WINDOW, build, hooks_on, tokenizer
from test_edits import Breaking, Planted, numbers, oblique
from test_sites import read_all

import probekit.sweep as engine
from probekit.edits import (
    Add,
    Clamp,
    Edit,
    Erase,
    Operation,
    ProjectOut,
    Rotated,
    Scale,
    Set,
    Zero,
)
from probekit.edits.operations import rotation
from probekit.errors import UserError
from probekit.models import Model, from_parts, load_model
from probekit.readouts import LabelLogits, NextTokenKL, Projection
from probekit.sites import Site
from probekit.sweep import naive, sweep, trunk
from probekit.sweep.packing import Packed
from probekit.sweep.panel import Panel
from probekit.sweep.trunk import Trunk

pytestmark = pytest.mark.usefixtures("one_thread")
LABELS, SPLIT = ["the", "on", "roof"], ["the", "rain", "she"]
"""Labels of one token; and of one to four tokens."""
EACH = WIDTH // HEADS
TOLERANCE = {torch.float32: 1e-4, torch.float64: 1e-10}


def tolerance_of(family: str, dtype: torch.dtype) -> float:
    """Gemma 2 has no fast attention for its soft cap: the eager one takes softmax in float32."""
    return 1e-6 if (family, dtype) == ("gemma2", torch.float64) else TOLERANCE[dtype]


def largest(left, right) -> float:
    """Difference relative to the largest figure."""
    assert left.shape == right.shape
    return float(np.abs(left - right).max() / np.abs(right).max())


def assert_same(left, right, tolerance: float = 1e-4) -> None:
    """Two sweeps found the same, edited and unedited."""
    assert left.columns == right.columns
    assert left.items == right.items
    for name in right.values:
        assert largest(left.values[name], right.values[name]) <= tolerance, name
        now, was = left.clean[name], right.clean[name]
        assert np.abs(now - was).max() <= tolerance * np.abs(right.values[name]).max(), name


def labels_of(model: Model) -> dict[str, Any]:
    return {"labels": LabelLogits(model, LABELS)}


def both(model: Model, prompts, edits, readouts=None):
    """A shared sweep, after it was found equal to the whole model's; and it shared."""
    readouts = readouts or labels_of(model)
    shared = sweep(model, prompts, edits, readouts)
    assert_same(shared, sweep(model, prompts, edits, readouts, share=False))
    assert shared.shared, shared.notes
    return shared


# Every operation at every part of every family


def cases(width: int, across: int, dtype: torch.dtype) -> dict[str, tuple[Operation, Any]]:
    """Operations for a part, each with what it does to one item's part written out."""
    table = numbers(len(TEXTS), width, seed=across, dtype=dtype)
    basis = numbers(min(2, width), width, seed=across + 1, dtype=dtype)
    donors = [*range(1, len(TEXTS)), 0]
    low, high = (torch.tensor(bound, dtype=dtype) for bound in (-0.0625, 0.03125))

    def out(_, part):
        return part - basis.T @ torch.linalg.lstsq(basis.T, part[:, None]).solution[:, 0]

    read, write = oblique(min(2, width), width)

    def erased(_, part):
        return part - write.T.to(dtype) @ (read.to(dtype) @ (part - table[5]))

    def turned(_, part):
        return part - 1.5 * part @ rotation(width, 3).to(dtype)

    return {
        "Zero": (Zero(), lambda _, part: torch.zeros_like(part)),
        "Set": (Set(table[2]), lambda *_: table[2]),
        "Add": (Add(table), lambda item, part: part + table[item]),
        "Scale": (Scale(-0.5), lambda _, part: -0.5 * part),
        "Clamp": (Clamp(-0.0625, 0.03125), lambda _, part: part.minimum(high).maximum(low)),
        "ProjectOut": (ProjectOut(basis), out),
        "Set.mean": (Set.mean(table), lambda *_: table.double().mean(0).to(dtype)),
        "Set.resample": (Set.resample(table, donors), lambda item, _: table[donors[item]]),
        "Erase": (Erase(read, write, table[5]), erased),
        "Rotated": (Rotated(Scale(-0.5), seed=3), turned),
    }


def grid(model: Model, lengths: list[int]) -> dict[str, Any]:
    """Name -> an edit, and how a plain run makes it: place, tokens of an item, change of it."""
    direction = numbers(WIDTH, seed=9, dtype=torch.float64)
    unit = (direction / direction.norm()).to(model.dtype)
    parts = {
        "heads": ("z", {"units": (3, 1)}, [*range(24, 32), *range(8, 16)]),
        "neurons": ("mlp_post", {"units": (5, 17, 40)}, [5, 17, 40]),
        "direction": ("resid_post", {"direction": direction}, None),
    }
    per_row = tuple((n % 2, -2, -1) for n in range(len(lengths)))
    # The last token is among them all: the last layers carry nothing else to it.
    places = [
        (-1, lambda n: [lengths[n] - 1]),
        ("all", lambda n: range(lengths[n])),
        ((0, -3, -1), lambda n: [0, lengths[n] - 3, lengths[n] - 1]),
        (per_row, lambda n: [n % 2, lengths[n] - 2, lengths[n] - 1]),
        ((2, -1), lambda n: [2, lengths[n] - 1]),
    ]
    out = {}
    for p, (part, (kind, options, columns)) in enumerate(parts.items()):
        width = 1 if columns is None else len(columns)
        for o, (name, (operation, formula)) in enumerate(cases(width, p, model.dtype).items()):
            layer, (positions, tokens) = (o + p) % LAYERS, places[(o + 2 * p) % len(places)]
            wrap = plain.along if columns is None else plain.on_columns
            whole = unit if columns is None else columns

            def change(item, wrap=wrap, whole=whole, formula=formula):
                return wrap(whole, partial(formula, item))

            edit = Edit(f"{kind}.{layer}", positions, operation, **options)
            out[f"{part} {name}"] = (edit, (kind, layer, tokens, change))
    return out


def readouts_of(model: Model) -> dict[str, Any]:
    return {
        "labels": LabelLogits(model, LABELS),
        "odds": LabelLogits(model, SPLIT),
        "kl": NextTokenKL(model),
        "stream": Projection("resid_post.1", numbers(2, WIDTH), ["a", "b"]),
    }


@cache
def outcome(family: str, dtype: torch.dtype) -> SimpleNamespace:
    """Every edit of the grid, run in all four ways."""
    model = build(family, dtype)
    # In float64 eager attention gives NaN at pads that see no token: one prompt has none.
    texts = TEXTS[2:3] if (family, dtype) == ("gemma2", torch.float64) else TEXTS
    prompts, readouts = model.encode(texts), readouts_of(model)
    made = grid(model, [len(prompt) for prompt in prompts])
    edits = [edit for edit, _ in made.values()]
    shared = sweep(model, prompts, edits, readouts)
    whole = sweep(model, prompts, edits, readouts, share=False)

    panel = Panel(readouts, model.sites)
    clean = naive.states(model, prompts, panel, [], side="left")
    left: dict[str, list[Any]] = {name: [] for name in readouts}
    for edit in edits:
        states = naive.states(model, prompts, panel, [edit], side="left")
        for name, value in panel.read(states, clean).items():
            left[name].append(value.double().numpy())

    ids = [model.tokenizer(" " + label, add_special_tokens=False)["input_ids"] for label in LABELS]
    by_hand = np.zeros((len(edits), len(prompts), len(LABELS)))
    for number, (_, (kind, layer, tokens, change)) in enumerate(made.values()):
        for item, prompt in enumerate(prompts):
            with plain.changed(model, kind, layer, tokens(item), change(item)):
                logits = plain.logits(model, prompt.input_ids)[-1]
            by_hand[number, item] = [logits[one].item() for (one,) in ids]
    return SimpleNamespace(
        names=list(made),
        shared=shared,
        whole=whole,
        left={name: np.stack(value) for name, value in left.items()},
        by_hand=by_hand,
        tolerance=tolerance_of(family, dtype),
        hooks=hooks_on(model),
    )


every_family = pytest.mark.parametrize("family", FAMILIES)
every_dtype = pytest.mark.parametrize("dtype", list(TOLERANCE), ids=["float32", "float64"])


@every_family
@every_dtype
def test_shared_run_equals_the_whole_models(family, dtype):
    got = outcome(family, dtype)
    assert got.shared.shared, got.shared.notes
    assert not got.whole.shared
    assert_same(got.shared, got.whole, got.tolerance)
    assert got.hooks == 0
    # Every edit does something to what is compared.
    moved = np.abs(got.whole.effects("labels")).max((1, 2)) / np.abs(got.by_hand).max()
    assert not [n for n, size in zip(got.names, moved, strict=True) if size < 10 * 1e-4]


@every_family
@every_dtype
def test_shared_run_equals_the_whole_models_with_pads_on_the_left(family, dtype):
    got = outcome(family, dtype)
    for name, value in got.left.items():
        assert largest(got.shared.values[name], value) <= got.tolerance, name


@every_family
@every_dtype
def test_shared_run_equals_a_plain_run_written_out_by_hand(family, dtype):
    got = outcome(family, dtype)
    for number, name in enumerate(got.names):
        gap = np.abs(got.shared.values["labels"][number] - got.by_hand[number]).max()
        assert gap <= got.tolerance * np.abs(got.by_hand).max(), name


@every_family
def test_every_site_and_layer_is_edited_exactly(family):
    model = build(family)
    edits = [
        # Not a factor: a norm behind the site would take it out again.
        Edit(Site(kind, layer), positions, Add(numbers(model.sites.width(Site(kind, layer)))))
        for kind in model.sites.kinds
        for layer in range(LAYERS)
        for positions in (-1, (1, -2))
    ]
    readouts = {name: readouts_of(model)[name] for name in ("labels", "stream")}
    swept = both(model, model.encode(TEXTS), edits, readouts)
    moved = np.abs(swept.effects("labels")).max((1, 2))
    for edit, size in zip(edits, moved, strict=True):
        # What stands at earlier tokens after the last attention no longer reaches the last one.
        blind = edit.site.layer == LAYERS - 1 and edit.site.kind != "resid_pre"
        if edit.positions == -1 or not blind:
            assert size > 1e-3, edit.explain()
        else:
            assert size < 1e-4, edit.explain()


@pytest.mark.parametrize("family", ["mistral", "gemma2", "gemma3", "qwen2", "qwen3", "exaone4"])
def test_a_sliding_window_sees_to_its_edge_and_no_further(family):
    model = build(family)
    prompts = [prompt for prompt in model.encode(TEXTS) if len(prompt) > 6 * WINDOW]
    assert len(prompts) > 1
    # The last layer slides in all of these; from its start nothing else carries anything on.
    edits = [
        Edit(f"resid_pre.{LAYERS - 1}", -1 - distance, Scale(-1.0))
        for distance in range(3 * WINDOW)
    ]
    moved = np.abs(both(model, prompts, edits, readouts_of(model)).effects("labels")).max(2)
    assert (moved[:WINDOW] > 1e-3).all()
    assert moved[WINDOW:].max() < 1e-4


def test_a_branch_behind_the_prompt_is_windowed_too():
    """What is appended after the prompt sees one token fewer of it than the prompt's last."""
    model = build("gemma3")
    prompts = [prompt for prompt in model.encode(TEXTS) if len(prompt) > 6 * WINDOW]
    edits = [Edit("resid_pre.2", -n, Add(numbers(WIDTH))) for n in range(1, WINDOW + 2)]
    readouts = {"odds": LabelLogits(model, ["", "she"])}  # A space, and a space before " she".
    values = both(model, prompts, edits, readouts).effects("odds")
    last, after = np.abs(values[:, :, 0]).max(1), np.abs(values[:, :, 1] - values[:, :, 0]).max(1)
    assert (last[:WINDOW] > 1e-3).all()
    assert last[WINDOW] < 1e-4
    assert (after[: WINDOW - 1] > 1e-3).all()
    assert after[WINDOW - 1 :].max() < 1e-4


# No edit, and several


@every_family
def test_an_edit_that_changes_nothing_changes_no_figure(family):
    model = build(family)
    prompts = model.encode(TEXTS)
    longest = max(len(prompt) for prompt in prompts)
    own = {}
    for item, prompt in enumerate(prompts):
        for site, value in read_all(model, model.collate([prompt]).inputs()).items():
            table = own.setdefault(site, torch.zeros(len(prompts), longest, value.shape[-1]))
            table[item, : len(prompt)] = value[0]
    edits: list[Any] = [
        Edit(site, "all", operation)
        for site in (Site(kind, layer) for kind in model.sites.kinds for layer in (1, 2))
        for operation in (Scale(1.0), Set(own[site]))
    ]
    edits += [
        Edit("z.1", -1, Set(torch.stack([t[len(p) - 1] for t, p in
                                         zip(own[Site("z", 1)], prompts, strict=True)]))),
        Edit("z.0", (), Zero()),
        Edit("z.0", "all", Zero(), rows=()),
        [],
    ]  # fmt: skip
    readouts = readouts_of(model)
    swept = sweep(model, prompts, edits, readouts)
    assert np.abs(swept.values["kl"]).max() < 1e-5
    del readouts["kl"], readouts["odds"]
    for found in (swept, sweep(model, prompts, edits, readouts, share=False)):
        for name in readouts:
            assert np.abs(found.effects(name)).max() <= 1e-4 * np.abs(found.clean[name]).max()
    assert swept.shared
    assert np.abs(swept.effects("odds")).max() <= 1e-4 * np.abs(swept.clean["odds"]).max()


@pytest.mark.parametrize("family", ["llama", "gemma2", "gpt2", "granite", "neox-parallel"])
def test_several_edits_act_together(family):
    model = build(family)
    prompts = model.encode(TEXTS)
    direction = numbers(WIDTH)
    one = Edit("z.0.1", -3, Zero())
    two = Edit("mlp_post.1", "all", Set(0.5), units=(3, 4))
    three = Edit("resid_post.0", (0, -1), Add(4.0), direction=direction)
    swept = both(
        model, prompts, [one, two, three, [one, two], [three, one, two], [two, three, one]]
    )
    unit = direction / direction.norm()
    ids = [
        model.tokenizer(" " + label, add_special_tokens=False)["input_ids"][0] for label in LABELS
    ]
    for item, prompt in enumerate(prompts):
        n = len(prompt)
        heads = plain.on_columns(range(8, 16), torch.zeros_like)
        neurons = plain.on_columns([3, 4], lambda part: torch.full_like(part, 0.5))
        with (
            plain.changed(model, "z", 0, [n - 3], heads),
            plain.changed(model, "mlp_post", 1, range(n), neurons),
        ):
            two_of_them = plain.logits(model, prompt.input_ids)[-1, ids]
            with plain.changed(model, "resid_post", 0, [0, n - 1], lambda old: old + 4.0 * unit):
                all_three = plain.logits(model, prompt.input_ids)[-1, ids]
        assert largest(swept.values["labels"][3, item], two_of_them.numpy()) < 1e-4
        assert largest(swept.values["labels"][4, item], all_three.numpy()) < 1e-4
    assert largest(swept.values["labels"][5], swept.values["labels"][4]) < 1e-4
    for single in range(3):
        assert largest(swept.values["labels"][single], swept.values["labels"][4]) > 1e-2


@pytest.mark.parametrize("kind", ["resid_pre", "resid_mid", "resid_post", "attn_out", "z"])
def test_edits_at_one_site_act_in_the_order_they_are_given(kind):
    model = build("granite")
    add, scale = Edit(f"{kind}.1", -1, Add(numbers(WIDTH))), Edit(f"{kind}.1", -1, Scale(-3.0))
    swept = both(model, model.encode(TEXTS), [[add, scale], [scale, add]])
    assert largest(swept.values["labels"][0], swept.values["labels"][1]) > 1e-2


@pytest.mark.parametrize("order", [1, -1])
def test_what_a_block_hands_on_is_changed_before_the_next_block_takes_it(order):
    """`resid_post` of a layer comes before `resid_pre` of the next, however they are listed."""
    model = build("llama")
    prompts, vector = model.encode(TEXTS), numbers(WIDTH)
    handed, taken = Edit("resid_post.1", -1, Scale(3.0)), Edit("resid_pre.2", -1, Set(vector))
    swept = both(model, prompts, [[handed, taken][::order], taken])
    assert largest(swept.values["labels"][0], swept.values["labels"][1]) < 1e-5


# Positions, rows, values


def test_positions_that_say_the_same_do_the_same():
    model = build("qwen2")
    prompts = model.encode(TEXTS)
    lengths = [len(prompt) for prompt in prompts]
    alike = [
        (-1, tuple((n - 1,) for n in lengths), (-1,)),
        ("all", tuple(tuple(range(n)) for n in lengths), [range(-n, 0) for n in lengths]),
        ((1, -2), (-2, 1), tuple((1, n - 2) for n in lengths)),
        (3, (3,), tuple((3 - n,) for n in lengths)),
    ]  # fmt: skip
    edits = [Edit("attn_out.1", p, Scale(-2.0)) for group in alike for p in group]
    values = both(model, prompts, edits, readouts_of(model)).values["odds"]
    for first in range(0, len(edits), 3):
        assert largest(values[first + 1], values[first]) < 1e-5
        assert largest(values[first + 2], values[first]) < 1e-5
        for other in range(first + 3, len(edits), 3):
            assert largest(values[other], values[first]) > 1e-3


def test_rows_that_are_not_named_are_not_changed():
    model = build("llama")
    every, some = (Edit("z.1", "all", Scale(2.0), rows=rows) for rows in (None, (4, 1)))
    swept = both(model, model.encode(TEXTS), [every, some], readouts_of(model))
    values, clean = swept.values["labels"], swept.clean["labels"]
    named = [n in (1, 4) for n in range(len(TEXTS))]
    others = [not flag for flag in named]
    assert largest(values[1, named], values[0, named]) < 1e-5
    assert largest(values[1, others], clean[others]) < 1e-5
    assert largest(values[0, others], clean[others]) > 1e-2


def test_each_item_gets_the_values_of_its_own():
    model = build("llama")
    prompts = model.encode(TEXTS)
    by_item, by_place = numbers(len(TEXTS), EACH), numbers(len(TEXTS), 2, EACH, seed=1)
    places = (-1, 2)
    edits: list[Any] = [
        Edit("z.1.2", -1, Set(by_item)),
        Edit("z.1.2", places, Set(by_place)),
        [Edit("z.1.2", place, Set(by_place[:, n])) for n, place in enumerate(places)],
    ]
    swept = both(model, prompts, edits)
    assert largest(swept.values["labels"][1], swept.values["labels"][2]) < 1e-5
    for item, prompt in enumerate(prompts):
        own = [
            Edit("z.1.2", -1, Set(by_item[item])),
            [Edit("z.1.2", place, Set(by_place[item, n])) for n, place in enumerate(places)],
        ]
        alone = sweep(model, [prompt], own, labels_of(model))
        assert largest(alone.values["labels"][:, 0], swept.values["labels"][:2, item]) < 1e-4


def test_whole_vectors_of_each_item_give_their_coordinates():
    model = build("llama")
    values, direction = numbers(len(TEXTS), WIDTH), numbers(WIDTH, seed=1)
    coordinates = values @ (direction / direction.norm())
    edits = [
        Edit("resid_post.1", -1, Set(given), direction=direction)
        for given in (values, coordinates[:, None])
    ]
    swept = both(model, model.encode(TEXTS), edits)
    assert largest(swept.values["labels"][0], swept.values["labels"][1]) < 1e-4


# Groups, batches, order


def mixed(model: Model) -> list[Any]:
    """Edits whose values, rows and positions belong to items."""
    per_row = tuple((n % 3, -1) for n in range(len(TEXTS)))
    return [
        Edit("z.1.2", -1, Set(numbers(len(TEXTS), EACH))),
        Edit("z.0", per_row, Add(numbers(len(TEXTS), 2, WIDTH))),
        Edit("mlp_out.2", "all", Scale(0.2), rows=(0, 3, 5)),
        [Edit("resid_post.0", -2, Zero()), Edit("mlp_post.2.7", -1, Set(9.0))],
        Edit("resid_pre.0", 1, Scale(2.0)),
    ]


class Counting:
    """Counts the calls of a method, which goes on as it was."""

    def __init__(self, monkeypatch, owner, name: str) -> None:
        self.calls: list[tuple[Any, ...]] = []
        own = getattr(owner, name)

        def counted(*args, **kwargs):
            self.calls.append(args)
            return own(*args, **kwargs)

        monkeypatch.setattr(owner, name, counted)


@pytest.mark.parametrize("share", [True, False])
def test_groups_for_want_of_memory_change_nothing(monkeypatch, share):
    model = build("gemma3")
    prompts, edits, readouts = model.encode(TEXTS), mixed(model), readouts_of(model)
    whole = sweep(model, prompts, edits, readouts, share=share)
    for memory, groups in [(1, len(TEXTS)), (30e3, None)]:
        trunks = Counting(monkeypatch, trunk.Trunk, "_read_prompts")
        monkeypatch.setattr(engine, "GROUP_BYTES", memory)
        split = sweep(model, prompts, edits, readouts, share=share)
        assert_same(split, whole)
        assert split.shared == share
        if share:
            sizes = [len(args[1]) for args in trunks.calls]
            assert sum(sizes) == len(TEXTS)
            assert len(sizes) == groups if groups else 1 < len(sizes) < len(TEXTS)
        monkeypatch.undo()


@pytest.mark.parametrize("budget", [1, 60, 400])
def test_small_batches_change_nothing(monkeypatch, budget):
    model = build("gemma3")
    prompts, edits, readouts = model.encode(TEXTS), mixed(model), readouts_of(model)
    whole = sweep(model, prompts, edits, readouts)
    runs = Counting(monkeypatch, Trunk, "run")
    cut = sweep(model, prompts, edits, readouts, batch_tokens=budget)
    assert_same(cut, whole)
    ran = [len(args[1]) for args in runs.calls]
    assert sum(ran) == len(edits) * len(TEXTS), "every edit on every prompt, once"
    for one, members, _ in runs.calls:
        assert len(members) == 1 or sum(map(one.tails.size, members)) <= budget
    assert budget > 1 or set(ran) == {1}


@pytest.mark.parametrize("rows", [1, 4096])
def test_how_many_members_share_a_row_changes_nothing(monkeypatch, rows):
    model = build("gemma2")
    prompts, edits, readouts = model.encode(TEXTS), mixed(model) * 8, readouts_of(model)
    whole = sweep(model, prompts, edits, readouts)
    monkeypatch.setattr("probekit.sweep.packing.ROW_TOKENS", rows)
    assert_same(sweep(model, prompts, edits, readouts), whole)


@pytest.mark.parametrize("share", [True, False])
def test_order_and_company_of_prompts_change_nothing(share):
    model = build("qwen3")
    prompts, readouts = model.encode(TEXTS, ids=list("abcdef")), readouts_of(model)
    edits = [Edit("z.1.2", -1, Zero()), Edit("resid_post.0", "all", Scale(0.5))]
    whole = sweep(model, prompts, edits, readouts, share=share)
    assert whole.items == tuple("abcdef")
    back = sweep(model, prompts[::-1], edits[::-1], readouts, share=share)
    assert back.items == tuple("fedcba")
    for name in readouts:
        assert largest(back.values[name][::-1, ::-1], whole.values[name]) < 1e-4
        assert largest(back.effects(name)[::-1, ::-1], whole.effects(name)) < 1e-3
    for item, prompt in enumerate(prompts):
        alone = sweep(model, [prompt], edits, readouts, share=share)
        for name in readouts:
            gap = np.abs(alone.values[name][:, 0] - whole.values[name][:, item]).max()
            assert gap < 1e-4 * np.abs(whole.values[name]).max()


@pytest.mark.parametrize("share", [True, False])
def test_progress_counts_every_edit_of_every_prompt(share):
    model, told = build("llama"), []
    sweep(
        model,
        model.encode(TEXTS),
        mixed(model),
        labels_of(model),
        share=share,
        batch_tokens=100,
        progress=lambda *figures: told.append(figures),
    )
    total = len(mixed(model)) * len(TEXTS)
    done = [count for _, count, _ in told]
    assert {(stage, size) for stage, _, size in told} == {("edits", total)}
    assert done == sorted(set(done))
    assert done[-1] == total
    assert len(done) > 3


def test_blocks_below_the_edits_run_once_for_each_prompt():
    model, ran = build("llama"), []
    for layer in range(LAYERS):
        model.sites.block(layer).mlp.register_forward_hook(
            lambda _, __, output, layer=layer: ran.append((layer, output.shape[:2].numel()))
        )
    prompts, readouts = model.encode(TEXTS), labels_of(model)
    edits = [Edit(f"z.{LAYERS - 1}.{head}", -1, Zero()) for head in range(HEADS)]
    ran.clear()
    assert sweep(model, prompts, edits, readouts).shared
    padded = len(prompts) * max(len(prompt) for prompt in prompts)
    assert [tokens for layer, tokens in ran if layer < LAYERS - 1] == [padded] * (LAYERS - 1)
    # Above them no token that comes before an edit is run again.
    above = [tokens for layer, tokens in ran if layer == LAYERS - 1]
    assert above[0] == padded
    assert above[-1] == len(edits) * len(prompts)


def test_edits_above_the_deepest_readout_change_nothing_and_are_shared():
    model = build("llama")
    readouts = {"low": Projection("resid_post.0", numbers(WIDTH), ["v"])}
    above = [Edit("z.2.1", -1, Zero()), Edit("resid_post.1", "all", Scale(2.0))]
    swept = both(model, model.encode(TEXTS), above, readouts)
    assert np.abs(swept.effects("low")).max() < 1e-5 * np.abs(swept.clean["low"]).max()


def test_many_edits_of_all_layers_are_read_at_a_low_one():
    model = build("llama")
    readouts = {"low": Projection("resid_post.1", numbers(WIDTH), ["v"])}
    edits = [
        Edit(f"z.{layer}.{head}", positions, Zero())
        for layer in range(LAYERS)
        for head in range(HEADS)
        for positions in (-1, "all")
    ]
    swept = both(model, model.encode(TEXTS), edits, readouts)
    moved = np.abs(swept.effects("low")).max((1, 2)).reshape(LAYERS, -1)
    assert (moved[:2] > 1e-3).all()
    assert moved[2].max() < 1e-4


# A planted circuit


def planted(model: Model) -> tuple[int, int]:
    """Weights by hand: one head carries a cue to the last token, one neuron writes the label.

    Stream places: 0 is what the label is read from, 4 the cue, 5 what the head writes. All other
    parts write noise elsewhere, and the other labels are read there too.
    """
    hf, made = model.hf, torch.Generator().manual_seed(4)
    cue = model.tokenizer(" roof", add_special_tokens=False)["input_ids"][0]
    hf.get_input_embeddings().weight[:, [0, 4, 5]] = 0
    hf.get_input_embeddings().weight[cue, 4] = 4.0
    for layer in hf.base_model.layers:
        for norm in (layer.input_layernorm, layer.post_attention_layernorm):
            norm.weight.fill_(1.0)
        attention, mlp = layer.self_attn, layer.mlp
        for module in (attention.q_proj, attention.k_proj):
            module.weight.zero_()  # Every token attends alike to all before it.
        for module in (attention.v_proj, attention.o_proj, mlp.gate_proj, mlp.up_proj,
                       mlp.down_proj):  # fmt: skip
            module.weight.copy_(torch.randn(module.weight.shape, generator=made) * 0.02)
        for module in (attention.o_proj, mlp.down_proj):
            module.weight[[0, 4, 5]] = 0
        for module in (attention.v_proj, mlp.gate_proj, mlp.up_proj):
            module.weight[:, [0, 4, 5]] = 0
    head, neuron = 2, 31
    attention, mlp = hf.base_model.layers[1].self_attn, hf.base_model.layers[2].mlp
    attention.v_proj.weight[head // 2 * EACH] = 0  # Two heads share their values.
    attention.v_proj.weight[head // 2 * EACH, 4] = 8.0
    attention.o_proj.weight[5, head * EACH] = 8.0
    mlp.gate_proj.weight[neuron] = mlp.up_proj.weight[neuron] = 0
    mlp.gate_proj.weight[neuron, 5] = mlp.up_proj.weight[neuron, 5] = 2.0
    mlp.down_proj.weight[0, neuron] = 4.0
    hf.base_model.norm.weight.fill_(1.0)
    label = model.tokenizer(" the", add_special_tokens=False)["input_ids"][0]
    hf.lm_head.weight[:, 0] = 0
    hf.lm_head.weight[label] = 0
    hf.lm_head.weight[label, 0] = 1.0
    return head, neuron


def test_planted_head_and_neuron_are_found_and_nothing_else_is():
    model = build("llama")
    head, neuron = planted(model)
    cued = model.encode(["rain fell on the roof", "the roof held", "she held on to the roof now"])
    plain_texts = model.encode(["she smiled", "rain fell on the house"])
    units = [(k, n, u) for k in ("z", "mlp_post") for n in range(LAYERS)
             for u in range(model.sites.units(k))]  # fmt: skip
    edits = [Edit(f"{kind}.{layer}.{unit}", -1, Zero()) for kind, layer, unit in units]
    swept = both(model, [*cued, *plain_texts], edits)
    effect = swept.effects("labels")[:, :, 0]
    size = np.abs(effect[:, : len(cued)])
    carried = {("z", 1, head), ("mlp_post", 2, neuron)}
    for number, unit in enumerate(units):
        if unit in carried:
            # Without it the label's own place in the stream is empty.
            bare = swept.values["labels"][number, : len(cued), 0]
            assert np.abs(bare).max() < 1e-3 * swept.clean["labels"][: len(cued), 0].min()
        else:
            assert size[number].max() < 0.02 * size[units.index(("z", 1, head))].min(), unit
    found = {units[n] for n in np.argsort(-size.min(1))[:2]}
    assert found == carried
    assert np.abs(effect[:, len(cued) :]).max() < 1e-3, "no cue, nothing to carry"


# Exceptions and memory


def assert_untouched(model: Model, clean: torch.Tensor, prompts) -> None:
    assert hooks_on(model) == 0
    assert not any("forward" in vars(module) for module in model.hf.modules())
    assert torch.equal(model.body(model.collate(prompts)), clean)


@pytest.mark.parametrize("share", [True, False])
@pytest.mark.parametrize("count", [1, 3])
def test_model_is_as_it_was_after_an_exception_in_mid_sweep(share, count):
    model = build("gemma2")
    prompts = model.encode(TEXTS)
    clean = model.body(model.collate(prompts))
    edits = [Edit(f"z.{1 + n % 2}", -1, Zero()) for n in range(4)]
    edits[2] = Edit("mlp_out.2", -1, Breaking(count))
    with pytest.raises(Planted):
        sweep(model, prompts, edits, readouts_of(model), share=share, batch_tokens=1)
    assert_untouched(model, clean, prompts)


def test_model_is_as_it_was_after_a_sweep():
    model = build("llama")
    prompts = model.encode(TEXTS)
    clean = model.body(model.collate(prompts))
    sweep(model, prompts, mixed(model), readouts_of(model))
    assert_untouched(model, clean, prompts)


@pytest.mark.parametrize("breaks", [False, True])
def test_a_block_that_had_a_forward_of_its_own_has_it_again(breaks):
    model = build("llama")
    prompts, block = model.encode(TEXTS), model.sites.block(0)
    own = type(block).forward.__get__(block)
    block.forward = own  # As accelerate does.
    operation = Breaking(1) if breaks else Zero()
    with pytest.raises(Planted) if breaks else nullcontext():
        sweep(model, prompts, [Edit("z.2", -1, operation)], labels_of(model))
    assert vars(block)["forward"] is own
    assert not any("forward" in vars(model.sites.block(layer)) for layer in (1, 2))


class Scarce:
    """`Trunk.run` on a device without memory for more than `room` members."""

    def __init__(self, monkeypatch, room: int, error: BaseException) -> None:
        self.ran: list[int] = []
        self.refused: list[int] = []
        own = Trunk.run

        def run(trunk, members, edits):
            if len(members) > room:
                self.refused.append(len(members))
                raise error
            self.ran.append(len(members))
            return own(trunk, members, edits)

        monkeypatch.setattr(Trunk, "run", run)


@pytest.mark.parametrize(
    "error", [torch.OutOfMemoryError("no room"), RuntimeError("CUDA out of memory"), MemoryError()]
)
def test_a_chunk_that_does_not_fit_is_halved_and_nothing_is_lost(monkeypatch, tmp_path, error):
    model = build("llama")
    prompts, edits, readouts = model.encode(TEXTS), mixed(model), readouts_of(model)
    whole, told = sweep(model, prompts, edits, readouts), []
    device = Scarce(monkeypatch, 4, error)
    cut = sweep(model, prompts, edits, readouts, keep=tmp_path,
                progress=lambda _, done, total: told.append((done, total)))  # fmt: skip
    assert device.refused
    assert sum(device.ran) == len(edits) * len(prompts)
    assert max(device.ran) <= 4
    assert told[-1] == (len(edits) * len(prompts),) * 2
    assert cut.shared
    assert_same(cut, whole)
    device.ran.clear()
    again = sweep(model, prompts, edits, readouts, keep=tmp_path)
    assert device.ran == [], "the halves were kept"
    assert_same(again, whole)


def test_want_of_memory_for_one_member_is_told(monkeypatch):
    model = build("llama")
    Scarce(monkeypatch, 0, torch.OutOfMemoryError("no room"))
    with pytest.raises(torch.OutOfMemoryError, match="no room"):
        sweep(model, model.encode(TEXTS), mixed(model), labels_of(model))


def test_a_group_too_large_for_memory_is_run_in_halves(monkeypatch):
    model = build("llama")
    prompts, edits, readouts = model.encode(TEXTS), mixed(model), readouts_of(model)
    whole = sweep(model, prompts, edits, readouts)
    own, refused = Trunk._read_prompts, []

    def scarce(self, group, entries):
        if len(group) > 2:
            refused.append(len(group))
            raise torch.OutOfMemoryError("no room")
        own(self, group, entries)

    monkeypatch.setattr(Trunk, "_read_prompts", scarce)
    halved = sweep(model, prompts, edits, readouts)
    assert refused == [6, 3, 3]
    assert halved.shared
    assert_same(halved, whole)


def test_another_error_is_not_taken_for_memory(monkeypatch):
    model = build("llama")
    device = Scarce(monkeypatch, 0, RuntimeError("the sizes do not match"))
    with pytest.raises(RuntimeError, match="the sizes do not match"):
        sweep(model, model.encode(TEXTS), mixed(model), labels_of(model))
    assert len(device.refused) == 1


# Parts on disk

KILLED = """
import sys, time
from pathlib import Path
import torch
torch.set_num_threads(1)
from test_sweep import KEPT, Trunk, build, many, readouts_of, sweep

own = Trunk.run
def slowly(*args):
    time.sleep(0.1)
    return own(*args)
Trunk.run = slowly
model = build("gemma3")
sweep(model, *many(model), readouts_of(model), keep=Path(sys.argv[1]), **KEPT)
"""
KEPT = {"batch_tokens": 80}


def many(model: Model) -> tuple[list[Any], list[Any]]:
    return model.encode(TEXTS), mixed(model) * 2


def parts(folder: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*.safetensors")}


def test_a_killed_sweep_goes_on_where_it_was(monkeypatch, tmp_path):
    model = build("gemma3")
    prompts, edits = many(model)
    readouts = readouts_of(model)
    runs = Counting(monkeypatch, Trunk, "run")
    whole = sweep(model, prompts, edits, readouts, keep=tmp_path / "whole", **KEPT)
    total = len(runs.calls)
    assert total + 1 == len(parts(tmp_path / "whole")) > 10, "every part, and the unedited pass"
    assert_same(whole, sweep(model, prompts, edits, readouts, **KEPT), 0.0)

    here, folder = Path(__file__).parent, tmp_path / "killed"
    paths = os.pathsep.join([str(here), str(here.parent), os.environ.get("PYTHONPATH", "")])
    child = subprocess.Popen(
        [sys.executable, "-c", KILLED, folder],
        env={**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1"},
        stderr=subprocess.PIPE,
    )
    try:
        until = time.monotonic() + 90
        while len(parts(folder)) < 4 and child.poll() is None and time.monotonic() < until:
            time.sleep(0.02)
        child.send_signal(signal.SIGKILL)
        _, said = child.communicate(timeout=30)
    finally:
        child.kill()
    assert child.returncode == -signal.SIGKILL, said.decode()
    finished = parts(folder)
    assert 4 <= len(finished) < total, "the kill did not land in the middle"

    runs.calls.clear()
    resumed = sweep(model, prompts, edits, readouts, keep=folder, **KEPT)
    assert len(runs.calls) == total + 1 - len(finished), "no finished part is done again"
    assert_same(resumed, whole, 1e-6)
    assert finished.items() <= parts(folder).items(), "no finished part is written again"
    runs.calls.clear()
    passes = Counting(monkeypatch, Trunk, "_body")
    assert_same(sweep(model, prompts, edits, readouts, keep=folder, **KEPT), resumed, 0.0)
    assert not runs.calls
    assert not passes.calls, "what is finished needs no pass at all"


def test_parts_of_the_whole_model_are_kept_too(monkeypatch, tmp_path):
    model = build("llama")
    prompts, edits, readouts = model.encode(TEXTS), mixed(model), readouts_of(model)
    whole = sweep(model, prompts, edits, readouts, share=False, keep=tmp_path)
    passes = Counting(monkeypatch, naive, "states")
    again = sweep(model, prompts, edits, readouts, share=False, keep=tmp_path)
    assert len(passes.calls) == 1, "the unedited pass alone"
    assert_same(again, whole, 0.0)
    # What the shared run finds is its own, so that the two can be compared.
    assert_same(sweep(model, prompts, edits, readouts, keep=tmp_path), whole)
    assert len(parts(tmp_path)) > len(edits)


def test_every_part_of_an_edit_tells_its_kept_figures_apart(tmp_path):
    model = build("llama")
    prompts, direction = model.encode(TEXTS[:3]), numbers(WIDTH)
    edits = {
        "scale": Edit("z.1", -1, Scale(2.0)),
        "add": Edit("z.1", -1, Add(2.0)),
        "set": Edit("z.1", -1, Set(2.0)),
        "zero": Edit("z.1", -1, Zero()),
        "value": Edit("z.1", -1, Scale(2.5)),
        "layer": Edit("z.2", -1, Scale(2.0)),
        "site": Edit("attn_out.1", -1, Scale(2.0)),
        "units": Edit("z.1", -1, Scale(2.0), units=(1,)),
        "other units": Edit("z.1", -1, Scale(2.0), units=(2,)),
        "rows": Edit("z.1", -1, Scale(2.0), rows=(1, 2)),
        "positions": Edit("z.1", -2, Scale(2.0)),
        "direction": Edit("attn_out.1", -1, Scale(2.0), direction=direction),
        "other direction": Edit("attn_out.1", -1, Scale(2.0), direction=direction.flip(0)),
        "item's values": Edit("z.1", -1, Add(numbers(3, WIDTH))),
        "other values": Edit("z.1", -1, Add(numbers(3, WIDTH).flip(0))),
        "out": Edit("z.1", -1, ProjectOut(numbers(WIDTH))),
        "bounds": Edit("z.1", -1, Clamp(-2.0, 2.0)),
    }
    wrong = []
    for name, edit in edits.items():
        fresh = sweep(model, prompts, [edit], labels_of(model))
        kept = sweep(model, prompts, [edit], labels_of(model), keep=tmp_path)
        if not np.array_equal(fresh.values["labels"], kept.values["labels"]):
            wrong.append(name)
    assert not wrong


def test_other_prompts_readouts_weights_and_lists_do_not_reuse_parts(monkeypatch, tmp_path):
    model, other = build("llama"), build("llama")
    other.hf.lm_head.weight[270, 3] += 1.0
    prompts = model.encode(TEXTS[:3])
    edits = [Edit("z.1.2", -1, Zero()), Edit("resid_pre.0", (0, 1), Scale(2.0))]
    runs = Counting(monkeypatch, Trunk, "run")
    changed_word = [replace(prompts[0], input_ids=(*prompts[0].input_ids[:-1], 9)), *prompts[1:]]
    for model_, prompts_, edits_, readouts in [
        (model, prompts, edits, labels_of(model)),
        (other, prompts, edits, labels_of(other)),
        (model, changed_word, edits, labels_of(model)),
        (model, prompts, edits[::-1], labels_of(model)),
        (model, prompts, [[*edits]], labels_of(model)),
        (model, prompts, edits, {"labels": LabelLogits(model, LABELS[::-1])}),
        (model, prompts, edits, {"labels": NextTokenKL(model)}),
    ]:
        runs.calls.clear()
        kept = sweep(model_, prompts_, edits_, readouts, keep=tmp_path)
        assert runs.calls
        assert_same(kept, sweep(model_, prompts_, edits_, readouts), 0.0)


# Where nothing can be shared


def local(window: int) -> Model:
    """GPT-Neo masks a local layer inside its attention, whatever mask it is given."""
    torch.manual_seed(0)
    config = transformers.GPTNeoConfig(
        hidden_size=WIDTH,
        num_layers=LAYERS,
        num_heads=HEADS,
        attention_types=[[["global", "local", "global"], 1]],
        window_size=window,
        vocab_size=320,
        max_position_embeddings=512,
        intermediate_size=48,
        initializer_range=0.2,
        bos_token_id=0,
        eos_token_id=1,
    )
    network = transformers.AutoModelForCausalLM.from_config(config).eval().requires_grad_(False)
    return from_parts(network, tokenizer(), "gpt-neo")


def assert_falls_back(model: Model, prompts, edits, says: str) -> None:
    readouts, told = labels_of(model), []
    clean = model.body(model.collate(prompts))
    got = sweep(model, prompts, edits, readouts, progress=lambda _, done, __: told.append(done))
    assert not got.shared
    assert len(got.notes) == 1
    assert got.notes[0].startswith("nothing was shared: ")
    assert says in got.notes[0]
    assert "\n" not in got.notes[0]
    assert_same(got, sweep(model, prompts, edits, readouts, share=False), 1e-6)
    assert told[-1] == len(edits) * len(prompts)
    assert_untouched(model, clean, prompts)


def test_an_architecture_that_masks_by_itself_is_run_whole():
    model = local(WINDOW)
    assert_falls_back(model, model.encode(TEXTS), mixed(model), "an unchanged prompt differs by")


@pytest.mark.parametrize("window", [WINDOW, 12])
def test_prompts_in_groups_of_one_are_run_whole_too(monkeypatch, window):
    model = local(window)
    monkeypatch.setattr(engine, "GROUP_BYTES", 1)
    assert_falls_back(model, model.encode(TEXTS), mixed(model), "an unchanged prompt differs by")


def test_a_later_group_that_cannot_share_is_run_whole(monkeypatch):
    model, own = build("llama"), Packed.seen

    def for_short_prompts(packed, window):
        if packed.prefix > 20:
            raise ValueError("too long")
        return own(packed, window)

    monkeypatch.setattr(Packed, "seen", for_short_prompts)
    monkeypatch.setattr(engine, "GROUP_BYTES", 1)
    prompts = model.encode(TEXTS)
    assert len(prompts[0]) < 20 < len(prompts[2])
    runs = Counting(monkeypatch, Trunk, "run")
    edits = [Edit("z.1.2", -1, Set(numbers(len(TEXTS), EACH))), Edit("z.0", -1, Zero())]
    readouts = labels_of(model)
    got = sweep(model, prompts, edits, readouts)
    assert runs.calls, "the first group was shared"
    assert not got.shared
    assert got.notes == ("nothing was shared: ValueError: too long",)
    assert_same(got, sweep(model, prompts, edits, readouts, share=False))


def test_members_side_by_side_are_checked_where_one_alone_would_pass():
    """A prompt within the window, whose neighbours in its row are beyond it."""
    model = local(12)
    prompts = model.encode(TEXTS[:1])
    assert len(prompts[0]) <= 12
    edits = [
        Edit(f"z.{layer}.{head}", positions, Zero())
        for layer in range(LAYERS)
        for head in range(HEADS)
        for positions in (-1, -3)
    ]
    readouts = labels_of(model)
    assert_same(
        sweep(model, prompts, edits, readouts), sweep(model, prompts, edits, readouts, share=False)
    )


@pytest.mark.parametrize("texts", [TEXTS, TEXTS[:1]], ids=["several", "one"])
def test_a_mask_that_ignores_where_members_start_is_caught(monkeypatch, texts):
    model, own = build("llama"), Packed.seen

    def careless(packed, window):
        late = [replace(member, start=packed.prefix) for member in packed.members]
        return own(replace(packed, members=tuple(late)), window)

    monkeypatch.setattr(Packed, "seen", careless)
    edits = [Edit("z.1.2", positions, Zero()) for positions in (-1, -2, (0, -1))]
    assert_falls_back(model, model.encode(texts), edits, "an unchanged prompt differs by")


def test_a_mask_that_shows_members_their_neighbours_is_caught(monkeypatch):
    model, own = build("llama"), Packed.seen

    def careless(packed, window):
        as_one = replace(packed, members=packed.members[:1], member=np.minimum(packed.member, 0))
        return own(as_one, window)

    monkeypatch.setattr(Packed, "seen", careless)
    edits = [Edit("z.1.2", -1, Scale(factor)) for factor in (0.0, 2.0, -1.0)]
    assert_falls_back(model, model.encode(TEXTS[:1]), edits, "an unchanged prompt differs by")


def test_what_skipped_blocks_hand_on_does_not_matter(monkeypatch):
    """The block that is entered takes the stored stream, whatever lies below hands on."""
    model, own = build("llama"), trunk._skipping

    @contextmanager
    def losing(model, entry):
        with own(model, entry):
            for layer in range(entry):
                model.sites.block(layer).forward = lambda *_, **__: None
            yield

    monkeypatch.setattr(trunk, "_skipping", losing)
    edits = [Edit(f"z.{layer}.1", -1, Scale(n)) for layer in range(LAYERS) for n in range(40)]
    both(model, model.encode(TEXTS), edits)


@pytest.mark.parametrize(
    "error", [ValueError("no such mask\nat all"), NotImplementedError(), TypeError("layers")]
)
def test_an_error_of_the_architecture_becomes_a_note(monkeypatch, error):
    model = build("llama")

    def refused(*_):
        raise error

    monkeypatch.setattr(trunk, "masks", refused)
    assert_falls_back(model, model.encode(TEXTS), mixed(model), type(error).__name__)


@pytest.mark.parametrize("error", [torch.OutOfMemoryError("no room"), UserError("no such")])
def test_want_of_memory_and_bad_input_are_no_reason_to_run_whole(monkeypatch, error):
    model = build("llama")

    def refused(*_):
        raise error

    monkeypatch.setattr(trunk, "masks", refused)
    with pytest.raises(type(error), match="no "):
        sweep(model, model.encode(TEXTS), mixed(model), labels_of(model))
    assert hooks_on(model) == 0


# Bad input


@pytest.mark.parametrize("share", [True, False])
@pytest.mark.parametrize(
    ("edits", "says"),
    [
        ([], "at least one prompt and one edit"),
        ([Edit("z.1.4", -1, Zero())], "head 4 of layer 1"),
        ([Edit("z.9", -1, Zero())], r"z\.9: this model has layers 0 to 2"),
        ([Edit("mlp_post.1.99", -1, Zero())], "neuron 99 of layer 1"),
        ([Edit("z.0", -1, Zero()), Edit("z.1", -1, Set(numbers(5)))], "5 wide: give 32"),
        ([[Edit("z.0", -1, Zero()), Edit("z.3", -1, Zero())]], r"site z\.3: this model has"),
        ([Edit("z.1", 8, Zero())], "position 8: row 1 has 8 tokens, 0 to 7"),
        ([Edit("z.1", ((0,),) * 5, Zero())], "positions for 5 rows, and row 5 is asked for"),
        ([Edit("z.1", -1, Zero(), rows=(0, 6))], "row 6"),
        ([Edit("z.1", -1, Zero(), rows=(-1,))], "row -1"),
        ([Edit("z.1", -1, Set(numbers(5, WIDTH)))], "item|row|prompt"),
    ],
)
def test_wrong_edits_are_refused_in_one_line(edits, says, share):
    model = build("llama")
    with pytest.raises(UserError, match=says) as refusal:
        sweep(model, model.encode(TEXTS), edits, labels_of(model), share=share)
    assert "\n" not in str(refusal.value)
    assert hooks_on(model) == 0


def test_a_sweep_without_prompts_or_readouts_is_refused():
    model = build("llama")
    with pytest.raises(UserError, match="at least one prompt and one edit"):
        sweep(model, [], mixed(model), labels_of(model))
    with pytest.raises(UserError, match="no readout given"):
        sweep(model, model.encode(TEXTS), mixed(model), {})
    wrong = {"it": Projection("resid_post.7", numbers(WIDTH), ["v"])}
    with pytest.raises(UserError, match=r"resid_post\.7: this model has layers 0 to 2"):
        sweep(model, model.encode(TEXTS), mixed(model), wrong)
    with pytest.raises(UserError, match="positions for 2 rows"):
        sweep(model, model.encode(TEXTS), [Edit("z.1", ((0,), (1,)), Zero())], labels_of(model))


def test_a_site_that_the_architecture_lacks_is_refused():
    model = build("neox-parallel")
    prompts = model.encode(TEXTS)
    with pytest.raises(UserError, match=r"resid_mid.*parallel"):
        sweep(model, prompts, [Edit("resid_mid.1", -1, Zero())], labels_of(model))
    with pytest.raises(UserError, match=r"resid_mid.*parallel"):
        sweep(model, prompts, [Edit("z.1", -1, Zero())],
              {"it": Projection("resid_mid.1", numbers(WIDTH), ["v"])})  # fmt: skip


# The real default model


@pytest.mark.slow
def test_real_model_heads_and_patched_positions_equal_the_whole_run():
    model = load_model("smollm2-135m", device="cpu")
    torch.set_num_threads(2)
    texts = [
        "She put the phone down and sat on the stairs for a while. The feeling here is",
        "The letter was exactly what he had hoped for. The feeling here is",
        "Nobody came. The feeling here is",
    ]
    prompts = model.encode(texts)
    readouts = {"labels": LabelLogits(model, ["joy", "sadness", "contentment"]),
                "kl": NextTokenKL(model)}  # fmt: skip
    heads = [
        Edit(f"z.{layer}.{head}", -1, Zero())
        for layer in (3, 15, 27)
        for head in range(model.sites.units("z"))
    ]
    site = Site("resid_post", 12)
    length = min(len(prompt) for prompt in prompts)
    values = torch.stack(
        [read_all(model, model.collate([p]).inputs())[site][0, -length:] for p in prompts]
    )
    donors = [1, 2, 0]
    patched = [
        Edit(site, place - length, Set.resample(values[:, place], donors))
        for place in range(length)
    ]
    shared = sweep(model, prompts, [*heads, *patched], readouts)
    whole = sweep(model, prompts, [*heads, *patched], readouts, share=False)
    assert shared.shared
    assert_same(shared, whole, 1e-4)
    moved = np.abs(shared.effects("labels")).max((1, 2))
    assert moved[: len(heads)].max() > 0.1
    assert moved[len(heads) :].max() > 0.1
