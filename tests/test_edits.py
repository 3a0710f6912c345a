"""Edits during ordinary passes: they do what they say, where they say it, and leave no trace."""

from contextlib import ExitStack

import plain
import pytest
import torch
from families import FAMILIES, HEADS, LAYERS, TEXTS, WIDTH, build, hooks_on
from test_sites import read_all

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
from probekit.hooks import writing
from probekit.sites import Site

pytestmark = pytest.mark.usefixtures("one_thread")
EACH = WIDTH // HEADS


def numbers(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    made = torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return made.to(dtype)


def oblique(rank: int, width: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Factors `[rank, width]` of a projection that is not orthogonal, in float64."""
    read, write = (numbers(rank, width, seed=s, dtype=torch.float64) for s in (5, 6))
    return torch.linalg.solve(read @ write.T, read), write


def assert_close(left: torch.Tensor, right: torch.Tensor, tolerance: float = 1e-5) -> None:
    assert left.shape == right.shape
    assert float((left - right).abs().max()) <= tolerance * float(right.abs().max())


def alone(model, text: str):
    """One prompt, so that no pad stands between the test and the model."""
    return model.collate(model.encode([text]))


def logits_of(model, batch) -> torch.Tensor:
    with torch.no_grad():
        return model.hf(**batch.inputs(), use_cache=False).logits


# Sites are written where they are read


@pytest.mark.parametrize("family", FAMILIES)
def test_every_site_goes_on_with_the_new_value_and_nothing_else_moves(family):
    model = build(family)
    inputs = alone(model, TEXTS[2]).inputs()
    before = read_all(model, inputs)
    for kind in model.sites.kinds:
        site, token = Site(kind, 1), 5
        vector = numbers(model.sites.width(site), seed=3)
        with model.edited([Edit(site, token, Add(vector))]):
            after = read_all(model, inputs)
        assert_close(after[site][0, token], before[site][0, token] + vector)
        others = [n for n in range(before[site].shape[1]) if n != token]
        assert torch.equal(after[site][0, others], before[site][0, others]), "only that token"
        for other in before:
            if other.layer == 0:
                assert torch.equal(after[other], before[other]), "nothing below it"
        top = Site("resid_post", 2)
        assert not torch.allclose(after[top][0, token:], before[top][0, token:], atol=1e-3)
        assert torch.equal(after[top][0, :token], before[top][0, :token]), "nothing before it"


@pytest.mark.parametrize("family", FAMILIES)
def test_an_edited_block_still_sums_its_parts(family):
    """The stream and the part that reads it see the same new value, `resid_mid` above all."""
    model = build(family)
    inputs = alone(model, TEXTS[2]).inputs()
    before = read_all(model, inputs)
    for kind in model.sites.kinds:
        site = Site(kind, 1)
        with model.edited([Edit(site, "all", Scale(-0.5))]):
            at = {s.kind: v for s, v in read_all(model, inputs).items() if s.layer == 1}
        assert not torch.allclose(at[kind], before[site], atol=1e-3)
        if kind == "resid_post":
            continue  # What follows the block's own sum.
        if kind == "resid_mid":
            assert_close(at["resid_mid"], -0.5 * (at["resid_pre"] + at["attn_out"]))
            assert_close(at["resid_mid"] + at["mlp_out"], at["resid_post"])
        else:
            whole = at["resid_pre"] + at["attn_out"] + at["mlp_out"]
            assert_close(whole, at["resid_post"])


def test_what_an_edit_passes_over_keeps_its_very_bits_under_a_multiplier():
    model = build("granite")  # Its parts are multiplied by 0.3 before they enter the stream.
    inputs, top = alone(model, TEXTS[2]).inputs(), Site("resid_post", 2)

    def run(edits) -> tuple[torch.Tensor, torch.Tensor]:
        outputs = []
        with model.edited(edits):
            handle = plain.block(model, 2).mlp.register_forward_hook(
                lambda _, __, output: outputs.append(output[0])
            )
            stream = read_all(model, inputs)[top][0]
            handle.remove()
        return outputs[0], stream

    raw, stream = run([])
    edited, after = run([Edit("mlp_out.2", 3, Zero())])
    others = [n for n in range(len(raw)) if n != 3]
    assert torch.equal(edited[others], raw[others])
    assert torch.equal(after[others], stream[others])
    assert float(edited[3].abs().max()) < 1e-6 * float(raw[3].abs().max())
    assert_close(after[3], read_all(model, inputs)[Site("resid_mid", 2)][0, 3])
    with model.edited([Edit("attn_out.1", "all", Scale(1.0))]):
        assert torch.equal(read_all(model, inputs)[top][0], stream)


def test_writing_twice_at_a_site_acts_in_order():
    model = build("llama")
    inputs = alone(model, TEXTS[0]).inputs()
    before = read_all(model, inputs)
    for kind in model.sites.kinds:
        site = Site(kind, 1)
        with writing(model.sites, [(site, lambda v: v + 1.0), (site, lambda v: v * 2.0)]):
            after = read_all(model, inputs)[site]
        assert_close(after, (before[site] + 1.0) * 2.0)


def test_edits_act_in_the_order_they_are_given():
    model = build("llama")
    inputs, vector = alone(model, TEXTS[0]).inputs(), numbers(WIDTH)
    site = Site("attn_out", 1)
    old = read_all(model, inputs)[site][0, -1]
    first, second = Edit(site, -1, Add(vector)), Edit(site, -1, Scale(3.0))
    with model.edited([first, second]):
        assert_close(read_all(model, inputs)[site][0, -1], (old + vector) * 3.0)
    with model.edited([second, first]):
        assert_close(read_all(model, inputs)[site][0, -1], old * 3.0 + vector)


# Parts and operations


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("kind", ["z", "mlp_post"])
def test_units_write_the_whole_output_through_their_columns(family, kind):
    """Contributions of all heads, or neurons, sum to the output before bias and post-norm."""
    model = build(family, torch.float64)
    inputs = alone(model, TEXTS[2]).inputs()
    module = plain.projection(model, kind, 1)
    part = plain.attention(model, 1) if kind == "z" else plain.block(model, 1).mlp
    count = model.sites.units(kind)
    assert count == (HEADS if kind == "z" else module.weight.numel() // WIDTH)
    entered, outputs = [], []
    handles = [
        module.register_forward_pre_hook(lambda _, args: entered.append(args[0][0])),
        part.register_forward_hook(
            lambda _, __, out: outputs.append(
                (out[0][0] if isinstance(out, tuple) else out[0]).clone()  # Falcon adds to its own.
            )
        ),
    ]
    model.body(alone(model, TEXTS[2]))
    inside, clean = entered[0], outputs[0]
    bias = 0.0 if module.bias is None else module.bias
    each, weight = inside.shape[-1] // count, plain.weight(module)
    contributions = torch.stack(
        [
            inside[:, n * each : (n + 1) * each] @ weight[:, n * each : (n + 1) * each].T
            for n in range(count)
        ]
    )
    assert_close(contributions.sum(0), clean - bias, 1e-12)
    for unit in range(0, count, 1 if kind == "z" else 7):
        with model.edited([Edit(f"{kind}.1.{unit}", "all", Zero())]):
            model.hf(**inputs)
        assert_close(clean - outputs[-1], contributions[unit], 1e-10)
    for handle in handles:
        handle.remove()


def test_part_alone_is_changed():
    model = build("gemma3")
    inputs = alone(model, TEXTS[2]).inputs()
    old = read_all(model, inputs)
    direction, vector = numbers(WIDTH, seed=1), numbers(WIDTH, seed=2)
    unit = direction / direction.norm()

    def new(edit: Edit) -> torch.Tensor:
        with model.edited([edit]):
            return read_all(model, inputs)[edit.site][0, -1]

    z, post, stream = (old[Site(kind, 1)][0, -1] for kind in ("z", "mlp_post", "resid_post"))
    two = new(Edit("z.1", -1, Scale(2.0), units=(3, 1)))
    for head in range(HEADS):
        columns = slice(head * EACH, (head + 1) * EACH)
        assert_close(two[columns], z[columns] * (2.0 if head in (1, 3) else 1.0))
    expected = post.clone()
    expected[[40, 7]] = torch.tensor([-1.0, 2.0])
    assert torch.equal(new(Edit("mlp_post.1", -1, Set([-1.0, 2.0]), units=(40, 7))), expected), (
        "values follow the units as they are named"
    )
    assert_close(new(Edit("resid_post.1", -1, Zero(), direction=direction)),
                 stream - (stream @ unit) * unit)  # fmt: skip
    assert_close(new(Edit("resid_post.1", -1, Add(5.0), direction=direction)), stream + 5.0 * unit)
    # A whole vector's part is its coordinate.
    assert_close(new(Edit("resid_post.1", -1, Set(vector), direction=direction)),
                 stream + (vector @ unit - stream @ unit) * unit)  # fmt: skip
    assert_close(new(Edit("resid_post.1", -1, Clamp(-0.1, 0.1), direction=direction)),
                 stream + ((stream @ unit).clamp(-0.1, 0.1) - stream @ unit) * unit)  # fmt: skip


def test_values_as_wide_as_the_site_are_cut_to_the_part():
    model = build("llama")
    batch, values = model.collate(model.encode(TEXTS)), numbers(len(TEXTS), WIDTH)
    for whole, cut in [
        (values[0], values[0, EACH : 2 * EACH]),
        (values, values[:, EACH : 2 * EACH]),
        (values[:, None].expand(-1, 2, -1), values[:, None, EACH : 2 * EACH].expand(-1, 2, -1)),
    ]:
        positions = (0, -1) if whole.dim() == 3 else -1
        with model.edited([Edit("z.1.1", positions, Set(whole))]):
            left = logits_of(model, batch)
        with model.edited([Edit("z.1.1", positions, Set(cut))]):
            assert torch.equal(logits_of(model, batch), left)
        assert not torch.equal(logits_of(model, batch), left)


@pytest.mark.parametrize("shape", [(len(TEXTS), WIDTH), (len(TEXTS), 2, WIDTH)])
def test_whole_vectors_of_each_item_give_their_coordinates(shape):
    model = build("llama")
    values, direction = numbers(*shape), numbers(WIDTH, seed=1)
    unit = direction / direction.norm()
    inputs = model.collate(model.encode(TEXTS)).inputs()
    with model.edited([Edit("resid_post.1", (0, 1), Set(values), direction=direction)]):
        new = read_all(model, inputs)[Site("resid_post", 1)]
    wanted = values if len(shape) == 3 else values[:, None].expand(-1, 2, -1)
    assert_close(new[:, :2] @ unit, wanted @ unit)


def test_operations_do_what_they_say():
    part, values = numbers(5, 6, dtype=torch.float64), numbers(4, 6, dtype=torch.float64)
    kept = part.clone()
    assert torch.equal(Zero()(part), torch.zeros(5, 6))
    assert torch.equal(Set(values[0])(part, values[0]), values[0].expand(5, 6))
    assert torch.equal(Add(values[0])(part, values[0]), part + values[0])
    assert torch.equal(Scale(-2)(part, *Scale(-2).values), -2 * part)
    clamp = Clamp(-0.5, 0.25)
    assert torch.equal(clamp(part, *clamp.values), part.clamp(-0.5, 0.25))
    assert torch.equal(Clamp(low=0)(part, *Clamp(low=0).values), part.relu())
    once = ProjectOut(values[:2])(part)
    assert float((once @ values[:2].T).abs().max()) < 1e-12
    assert_close(ProjectOut(values[:2])(once), once, 1e-12)
    unit = values[2] / values[2].norm()
    assert_close(ProjectOut(values[2])(part), part - (part @ unit)[:, None] * unit, 1e-12)
    read, write = oblique(2, 6)
    erased = Erase(read, write, values[3])
    assert_close(erased(part), part - (part - values[3]) @ read.T @ write, 1e-12)
    assert_close(erased(erased(part)), erased(part), 1e-12)
    assert_close(erased(values[3:4]), values[3:4], 1e-12)
    assert_close(erased(part) @ read.T, (values[3] @ read.T).expand(5, 2), 1e-12)
    assert torch.equal(part, kept), "an operation writes nothing into what it is given"


@pytest.mark.parametrize(
    "of",
    [
        Zero(),
        Set(numbers(6)),
        Add(numbers(6)),
        Scale(3.0),
        ProjectOut(numbers(6)),
        Erase(*oblique(2, 6), numbers(6)),
    ],
)
def test_a_placebo_is_the_same_change_turned(of):
    part = numbers(5, 6, seed=1)
    placebo = Rotated(of, seed=4)
    change, moved = of(part, *of.values) - part, placebo(part, *placebo.values) - part
    # Lengths, and angles between the changes of several texts.
    assert_close(moved @ moved.T, change @ change.T)
    assert float((moved - change).abs().max()) > 0.1
    assert not torch.allclose(moved, Rotated(of, seed=5)(part, *of.values) - part, atol=0.1)
    assert placebo.explain() == f"changed as if {of.explain()}, but in a random direction"


def test_rotations_are_orthogonal_random_and_the_same_on_every_call():
    turned = torch.stack([rotation(6, seed) for seed in range(400)])
    assert_close(turned @ turned.mT, torch.eye(6, dtype=torch.float64).expand(400, 6, 6), 1e-12)
    # Uniform: entries of mean 0 and variance 1 / width.
    assert float(turned.mean(0).abs().max()) < 0.1
    assert_close((turned**2).mean(0), torch.full((6, 6), 1 / 6, dtype=torch.float64), 0.3)
    rotation.cache_clear()
    assert torch.equal(rotation(6, 3), turned[3])


def test_the_placebo_of_no_change_is_no_change():
    placebo = Rotated(Scale(1.0))
    assert torch.equal(placebo(numbers(5, 6), *placebo.values), numbers(5, 6))


def test_directions_that_are_nearly_one_are_projected_out_as_one():
    direction = numbers(6, dtype=torch.float64)
    twice = ProjectOut(torch.stack([direction, direction * 3 + 1e-12]))
    assert len(twice.basis) == 1
    part = numbers(5, 6, seed=2, dtype=torch.float64)
    assert_close(twice(part), ProjectOut(direction)(part), 1e-9)
    assert twice.explain() == "1 direction(s) projected out"


def test_erasing_in_half_precision_is_off_by_one_rounding_of_the_result():
    part, (read, write) = 100 * numbers(5, 6, seed=2), oblique(2, 6)
    erased = Erase(read, write, 100 * numbers(6))
    exact = erased(part.bfloat16().double())
    got = erased(part.bfloat16())
    assert got.dtype == torch.bfloat16
    assert torch.equal(got, exact.bfloat16())


def test_mean_is_taken_in_float64_and_resampled_values_are_the_donors():
    table = torch.ones(1000, 2)
    table[0], table[-1] = 1e8, -1e8
    assert torch.equal(Set.mean(table).values[0], torch.tensor([0.998, 0.998]))
    values = numbers(3, 4)
    assert torch.equal(Set.resample(values, [2, 0, 0]).values[0], values[[2, 0, 0]])


def test_making_and_running_an_edit_leaves_its_values_alone():
    model, values = build("llama"), numbers(len(TEXTS), WIDTH)
    kept = values.clone()
    batch = model.collate(model.encode(TEXTS))
    erase = Erase(*oblique(2, WIDTH), values[0])
    for operation in (Set(values), Add(values), ProjectOut(values[:2]), erase):
        with model.edited([Edit("resid_mid.1", "all", operation)]):
            logits_of(model, batch)
    assert torch.equal(values, kept)


# Positions, rows and items


@pytest.mark.parametrize("side", ["left", "right"])
def test_each_row_is_changed_at_its_own_tokens_whatever_the_padding(side):
    model = build("qwen3")
    prompts = model.encode(TEXTS)
    batch = model.collate(prompts, side=side)
    per_row = tuple((n % 3, -1) for n in range(len(prompts)))
    for positions, tokens in [
        ("all", lambda n: range(len(prompts[n]))),
        (-1, lambda n: [len(prompts[n]) - 1]),
        (2, lambda _: [2]),
        ((0, -2, 3), lambda n: [0, len(prompts[n]) - 2, 3]),
        (per_row, lambda n: [n % 3, len(prompts[n]) - 1]),
        ((), lambda _: []),
    ]:
        with model.edited([Edit("z.1.2", positions, Scale(-1.5))]):
            got = model.body(batch)
        for row, prompt in enumerate(prompts):
            flip = plain.on_columns(range(2 * EACH, 3 * EACH), lambda part: part * -1.5)
            with plain.changed(model, "z", 1, tokens(row), flip):
                expected = model.body(model.collate([prompt]))[0]
            assert_close(got[row][batch.attention_mask[row] > 0], expected)


def test_rows_that_are_not_named_keep_their_very_bits():
    model = build("llama")
    batch = model.collate(model.encode(TEXTS))
    clean = model.body(batch)
    with model.edited([Edit("resid_pre.1", "all", Scale(2.0), rows=(1, 4))]):
        got = model.body(batch)
    with model.edited([Edit("resid_pre.1", "all", Scale(2.0))]):
        every = model.body(batch)
    for row in range(len(TEXTS)):
        assert torch.equal(got[row], (every if row in (1, 4) else clean)[row])


def test_values_of_items_and_positions_reach_theirs():
    model = build("llama")
    inputs = model.collate(model.encode(TEXTS), side="left").inputs()
    width = inputs["input_ids"].shape[1]
    places, values = (-1, 0, 3), numbers(len(TEXTS), 3, WIDTH)
    with model.edited([Edit("resid_post.0", places, Set(values))]):
        got = read_all(model, inputs)[Site("resid_post", 0)]
    with model.edited([Edit("resid_post.0", -1, Set(values[:, 0]))]):
        by_item = read_all(model, inputs)[Site("resid_post", 0)]
    for row, length in enumerate(inputs["attention_mask"].sum(-1).tolist()):
        columns = [width - length + place % length for place in places]
        assert torch.equal(got[row, columns], values[row])
        assert torch.equal(by_item[row, -1], values[row, 0])


# Leaving the model as it was


class Planted(Exception):
    pass


class Breaking(Operation):
    """Raises on its `count`-th use."""

    def __init__(self, count: int) -> None:
        self.left = count

    def __call__(self, part, *_):
        self.left -= 1
        if self.left == 0:
            raise Planted
        return part

    def explain(self) -> str:
        return "broken"


def test_nested_edits_add_up_and_are_undone_one_by_one():
    model = build("llama")
    batch = model.collate(model.encode(TEXTS))
    outer, inner = Edit("z.0.1", -1, Zero()), Edit("mlp_out.2", "all", Scale(0.5))
    clean = logits_of(model, batch)
    with model.edited([outer, inner]):
        both = logits_of(model, batch)
    with model.edited([outer]):
        first = logits_of(model, batch)
        with model.edited([inner]):
            assert torch.equal(logits_of(model, batch), both)
        assert torch.equal(logits_of(model, batch), first)
    assert torch.equal(logits_of(model, batch), clean)
    assert hooks_on(model) == 0
    assert not torch.equal(first, both)
    assert not torch.equal(first, clean)


@pytest.mark.parametrize("kind", ["resid_pre", "resid_mid", "resid_post", "attn_out", "z"])
def test_model_is_as_it_was_after_an_exception(kind):
    model = build("gemma2")
    batch = model.collate(model.encode(TEXTS))
    clean = logits_of(model, batch)
    edits = [Edit("z.0.1", -1, Zero()), Edit(f"{kind}.1", "all", Breaking(2))]
    outer = model.edited([Edit("resid_mid.0", 0, Zero())])
    with pytest.raises(Planted), outer, model.edited(edits):
        [logits_of(model, batch) for _ in range(2)]
    assert hooks_on(model) == 0
    assert torch.equal(logits_of(model, batch), clean)


def test_hooks_are_gone_when_an_edit_is_refused():
    model = build("llama")
    batch = model.collate(model.encode(TEXTS))
    clean = logits_of(model, batch)
    with (
        pytest.raises(UserError, match="head 9"),
        model.edited([Edit("z.0", -1, Zero()), Edit("z.1.9", -1, Zero())]),
    ):
        pytest.fail("it was let in")
    with pytest.raises(UserError, match="position 99"), model.edited([Edit("z.0", 99, Zero())]):
        logits_of(model, batch)
    assert hooks_on(model) == 0
    assert torch.equal(logits_of(model, batch), clean)


# Generation

NEW = 6


def generated(model, batch, *, use_cache: bool = True):
    out = model.hf.generate(
        input_ids=batch.input_ids,
        attention_mask=batch.attention_mask,
        max_new_tokens=NEW,
        min_new_tokens=NEW,
        do_sample=False,
        use_cache=use_cache,
        return_dict_in_generate=True,
        output_logits=True,
        pad_token_id=1,
    )
    return out.sequences[:, -NEW:], torch.stack(out.logits, 1)


def by_hand(model, prompt, tokens, change):
    """Greedy steps without a cache: `tokens(length)` of a pass over `length` tokens are edited."""
    ids, steps = list(prompt.input_ids), []
    for _ in range(NEW):
        with plain.changed(model, "resid_post", 1, tokens(len(ids)), change):
            step = plain.logits(model, ids)[-1]
        steps.append(step)
        step = step.clone()
        step[1] = -torch.inf  # The end of the text is not to come before its time.
        ids.append(int(step.argmax()))
    return torch.tensor(ids[-NEW:]), torch.stack(steps)


@pytest.mark.parametrize("family", FAMILIES)
def test_generated_tokens_are_edited_under_a_cache_as_without_one(family):
    model = build(family)
    prompts = model.encode(TEXTS[:3])
    batch = model.collate(prompts, side="left")
    vector = numbers(WIDTH) * 3
    clean, _ = generated(model, batch)
    with model.edited([Edit("resid_post.1", "all", Add(vector))]):
        cached = generated(model, batch)
        whole = generated(model, batch, use_cache=False)
    assert torch.equal(cached[0], whole[0])
    assert_close(cached[1], whole[1], 1e-4)
    for row, prompt in enumerate(prompts):
        ids, steps = by_hand(model, prompt, range, lambda old: old + vector)
        assert torch.equal(cached[0][row], ids)
        assert_close(cached[1][row], steps, 1e-4)
    assert not torch.equal(clean, cached[0])
    assert hooks_on(model) == 0


@pytest.mark.parametrize("family", ["llama", "gemma3", "gpt2", "neox-parallel"])
@pytest.mark.parametrize("position", [-1, 2])
def test_a_numbered_position_never_reaches_generated_tokens(family, position):
    model = build(family)
    prompts = model.encode(TEXTS[:3])
    vector = numbers(WIDTH) * 3
    with model.edited([Edit("resid_post.1", position, Add(vector))]):
        ids, logits = generated(model, model.collate(prompts, side="left"))
    for row, prompt in enumerate(prompts):
        token = position % len(prompt)
        expected, steps = by_hand(model, prompt, lambda _, t=token: [t], lambda old: old + vector)
        assert torch.equal(ids[row], expected)
        assert_close(logits[row], steps, 1e-4)


def test_a_second_prompt_in_the_block_is_counted_anew():
    model = build("llama")
    batches = [model.collate(model.encode(texts), side="left") for texts in (TEXTS[:2], TEXTS[2:])]
    edits = [Edit("resid_post.1", -1, Zero()), Edit("z.2.1", (0, -2), Zero(), rows=(1,))]
    apart = []
    for batch in batches:
        with model.edited(edits):
            apart.append(generated(model, batch)[1])
    with model.edited(edits):
        for batch, expected in zip(batches, apart, strict=True):
            assert torch.equal(generated(model, batch)[1], expected)


def test_tokens_behind_a_cache_that_was_filled_before_are_edited_too():
    model = build("llama")
    ids = torch.tensor([model.encode(TEXTS[2:3])[0].input_ids])
    edits = [Edit("resid_post.1", "all", Scale(3.0))]
    with torch.no_grad():
        past = model.hf(input_ids=ids[:, :5], use_cache=True).past_key_values
        with model.edited(edits):
            got = model.hf(input_ids=ids[:, 5:], past_key_values=past).logits[0, -1]
    with plain.changed(model, "resid_post", 1, range(5, ids.shape[1]), lambda old: old * 3.0):
        assert_close(got, plain.logits(model, ids[0].tolist())[-1], 1e-4)


def test_values_of_positions_stay_with_their_tokens_under_a_cache():
    model = build("llama")
    batch = model.collate(model.encode(TEXTS[1:2]))
    length = batch.input_ids.shape[1]
    values = numbers(1, length + NEW, WIDTH)
    with model.edited([Edit("resid_post.1", "all", Set(values))]):
        cached, whole = (generated(model, batch, use_cache=flag)[1] for flag in (True, False))
    assert_close(cached, whole, 1e-4)


def test_a_pass_without_a_mask_counts_every_token():
    model = build("llama")
    ids = torch.tensor([model.encode(TEXTS[2:3])[0].input_ids] * 2)
    with model.edited([Edit("z.1", (-1, 0), Zero())]), torch.no_grad():
        got = model.hf(input_ids=ids).logits
        positional = model.hf(ids, attention_mask=torch.ones_like(ids)).logits
        embedded = model.hf(inputs_embeds=model.hf.get_input_embeddings()(ids)).logits
    with plain.changed(model, "z", 1, [0, -1], torch.zeros_like):
        expected = plain.logits(model, ids[0].tolist())
    for logits in (got, positional, embedded):
        assert_close(logits[1], expected)
    with (
        pytest.raises(UserError, match=r"needs input_ids, and a mask \[row, token\]"),
        model.edited([Edit("z.1", -1, Zero())]),
    ):
        model.hf(input_ids=ids, attention_mask=torch.zeros(2, 1, ids.shape[1], ids.shape[1]))


# Words


@pytest.mark.parametrize(
    ("edit", "words"),
    [
        (
            Edit("z.7.12", -1, Zero()),
            "layer 7, z, head 12, the last token of the prompt, every row: set to zero",
        ),
        (
            Edit("mlp_post.0", "all", Scale(0.5), units=(3, 17)),
            "layer 0, mlp_post, neurons 3, 17, every token, every row: multiplied by 0.5",
        ),
        (
            Edit("resid_post.3", 4, Add([3.0, 4.0]), rows=(0, 2)),
            "layer 3, resid_post, the whole vector, token 4, rows 0, 2: "
            "given values of norm 5 added",
        ),
        (
            Edit("attn_out.1", (0, -1), Clamp(-1, 2), direction=[1.0, 0.0]),
            "layer 1, attn_out, the part along a direction, tokens 0, -1, every row: "
            "kept within -1 and 2",
        ),
        (
            Edit("resid_mid.2", [[0, 1], [2]], ProjectOut([[1.0, 0.0], [0.0, 1.0]])),
            "layer 2, resid_mid, the whole vector, tokens of its own in each row, every row: "
            "2 direction(s) projected out",
        ),
        (
            Edit("resid_post.2", "all", Erase([[1.0, 0.0]], [[1.0, 5.0]], [0.0, 3.0])),
            "layer 2, resid_post, the whole vector, every token, every row: "
            "1 direction(s) erased, the mean kept",
        ),
        (
            Edit("z.1", -1, Set.mean(torch.zeros(40, 8)), units=[0]),
            "layer 1, z, head 0, the last token of the prompt, every row: "
            "set to the mean of 40 items",
        ),
        (
            Edit("resid_pre.1", -1, Set.resample(torch.zeros(2, 8), [1, 0])),
            "layer 1, resid_pre, the whole vector, the last token of the prompt, every row: "
            "set to the values of other items",
        ),
        (
            Edit(Site("mlp_out", 2), -1, Set(0.0)),
            "layer 2, mlp_out, the whole vector, the last token of the prompt, every row: "
            "set to given values",
        ),
    ],
)
def test_an_edit_says_what_it_does(edit, words):
    assert edit.explain() == words


def test_sites_are_parsed_with_and_without_a_unit():
    assert Site.parse("resid_post.3") == (Site("resid_post", 3), None)
    assert Site.parse("z.3.5") == (Site("z", 3), 5)
    assert Site.parse("mlp_post.10.1535") == (Site("mlp_post", 10), 1535)
    for text in ("z", "z.", "z.1.2.3", "z.-1", "z.1.-2", "z.one", "head.1.2", "", ".1", "z.²"):
        with pytest.raises(UserError, match="unknown site") as refusal:
            Site.parse(text)
        assert "\n" not in str(refusal.value)


def test_numpy_and_lists_are_taken_for_positions_and_units():
    import numpy as np

    edit = Edit("z.1", np.array([1, -1]), Zero(), units=np.array([2, 0]), rows=np.array([3]))
    assert (edit.positions, edit.units, edit.rows) == ((1, -1), (2, 0), (3,))
    assert Edit("z.1", np.int64(4), Zero()).positions == 4
    assert Edit("z.1", [[1], np.array([2, 3])], Zero()).positions == ((1,), (2, 3))


# Bad input


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: Edit("hidden.1", -1, Zero()), "unknown site 'hidden.1'.*resid_pre"),
        (lambda: Edit("z", -1, Zero()), r"unknown site 'z'.*with a layer.*z\.3\.5"),
        (lambda: Edit("z.1.2", -1, Zero(), units=[1]), "z.1.2 names a unit already"),
        (
            lambda: Edit("z.1.2", -1, Zero(), direction=[1.0]),
            "units or the part along a direction, not both",
        ),
        (
            lambda: Edit("z.1", -1, Zero(), units=[1], direction=[1.0]),
            "units or the part along a direction, not both",
        ),
        (lambda: Edit("z.1", -1, Zero(), direction=[0.0, 0.0]), r"one vector \[d\].*not zero"),
        (lambda: Edit("z.1", -1, Zero(), direction=[[1.0, 0.0]]), r"one vector \[d\].*not zero"),
        (lambda: Edit("z.1", -1, Zero(), direction=[torch.nan, 0.0]), "not zero"),
        (lambda: Edit("z.1", "last", Zero()), "positions 'last': give 'all'"),
        (lambda: Clamp(2.0, 1.0), "clamp from 2.0 to 1.0"),
        (lambda: Clamp(torch.nan, 1.0), "clamp from nan to 1.0"),
        (lambda: ProjectOut([[1.0, 0.0], [0.0, 0.0]]), "none of them zero"),
        (lambda: ProjectOut(torch.ones(2, 2, 2)), r"directions \[k, width\]"),
        (
            lambda: Erase([[1.0, 0.0]], [[1.0, 0.0, 0.0]], [0.0, 0.0]),
            r"read, write, mean are \[1, 2\], \[1, 3\], \[2\]: give \[rank, d\] twice and \[d\]",
        ),
        (lambda: Erase([[1.0, 0.0]], [[1.0, 0.0]], 0.0), r"\[1, 2\], \[1, 2\], \[\]: give"),
        (lambda: Erase([[2.0, 0.0]], [[2.0, 0.0]], [0.0, 0.0]), "not the identity.*ProjectOut"),
        (lambda: Erase([torch.nan, 1.0], [0.0, 1.0], [0.0, 0.0]), "not the identity"),
        (lambda: Erase([1.0, 0.0], [1.0, 0.0], [0.0, torch.inf]), "mean.*NaN or infinity"),
    ],
)
def test_edits_that_cannot_be_are_refused_in_one_line(make, says):
    with pytest.raises(UserError, match=says) as refusal:
        make()
    assert "\n" not in str(refusal.value)


REFUSED = [
    (lambda: Edit("z.3", -1, Zero()), r"site z\.3: this model has layers 0 to 2"),
    (lambda: Edit("z.1.4", -1, Zero()), "head 4 of layer 1: this model has heads 0 to 3"),
    (lambda: Edit("z.1", -1, Zero(), units=[0, -1]), "head -1 of layer 1"),
    (lambda: Edit("mlp_post.2.48", -1, Zero()), "neuron 48 of layer 2.*neurons 0 to 47"),
    (lambda: Edit("resid_post.1.3", -1, Zero()), "site resid_post has no heads or neurons"),
    (
        lambda: Edit("resid_post.1", -1, Zero(), direction=numbers(8)),
        r"resid_post\.1 is 32 wide, the direction 8",
    ),
    (
        lambda: Edit("mlp_post.1", -1, Zero(), direction=numbers(32)),
        r"mlp_post\.1 is 48 wide, the direction 32",
    ),
    (
        lambda: Edit("z.1.0", -1, Set(numbers(7))),
        r"values for z\.1 are 7 wide: give 8 \(its part\) or 32",
    ),
    (lambda: Edit("resid_mid.1", -1, Add(numbers(48))), "48 wide: give 32"),
    (
        lambda: Edit("z.1.0", -1, Rotated(ProjectOut(numbers(32)))),
        r"values for z\.1 are 32 wide: give 8",
    ),
    (lambda: Edit("resid_mid.1", -1, Add(numbers(6, 31))), "31 wide: give 32"),
    (lambda: Edit("resid_post.1", -1, ProjectOut(numbers(2, 31))), "31 wide: give 32"),
    (
        lambda: Edit("resid_post.1", -1, Erase(*oblique(2, 31), numbers(31))),
        r"resid_post\.1 are 31 wide: give 32",
    ),
    (lambda: Edit("z.1.0", -1, Erase(*oblique(2, 32), numbers(32))), "32 wide: give 8"),
    (
        lambda: Edit("z.1.0", -1, Rotated(Erase(*oblique(2, 32), numbers(32)))),
        "32 wide: give 8",
    ),
    # What is projected out must lie in the part itself: it cannot be cut.
    (lambda: Edit("z.1.0", -1, ProjectOut(numbers(2, 32))), "z.1.*32 wide: give 8"),
    (lambda: Edit("z.1.0", -1, ProjectOut(numbers(1, 1))), "z.1.*1 wide: give 8"),
    (
        lambda: Edit("resid_post.1", -1, ProjectOut(numbers(2, 32)), direction=numbers(32)),
        "32 wide: give 1",
    ),
]


@pytest.mark.parametrize(("make", "says"), REFUSED)
def test_edits_that_the_model_cannot_have_are_refused_in_one_line(make, says):
    model = build("llama")
    with pytest.raises(UserError, match=says) as refusal, model.edited([make()]):
        pytest.fail("it was let in")
    assert "\n" not in str(refusal.value)
    assert hooks_on(model) == 0


def test_a_site_that_the_architecture_lacks_is_refused():
    model = build("neox-parallel")
    with (
        pytest.raises(UserError, match=r"resid_mid.*parallel.*use resid_pre or resid_post"),
        model.edited([Edit("resid_mid.1", -1, Zero())]),
    ):
        pytest.fail("it was let in")


@pytest.mark.parametrize(
    ("edit", "says"),
    [
        (Edit("z.1", 8, Zero()), "position 8: row 1 has 8 tokens, 0 to 7"),
        (Edit("z.1", (0, -9), Zero()), "position -9: row 1 has 8 tokens"),
        (Edit("z.1", ((0,), (8,), (0,)), Zero()), "position 8: row 1 has 8 tokens"),
        (Edit("z.1", ((0,), (1,)), Zero()), "positions for 2 rows, and row 2 is asked for"),
        (Edit("z.1", -1, Zero(), rows=(0, 3)), "row 3: the batch has rows 0 to 2"),
        (Edit("z.1", -1, Zero(), rows=(-1,)), "row -1"),
        (Edit("z.1", -1, Set(numbers(2, WIDTH))), "item|row"),
        (Edit("z.1", (0, 1), Set(numbers(3, 1, WIDTH))), "position"),
    ],
)
def test_places_that_the_batch_lacks_are_refused_in_one_line(edit, says):
    model = build("llama")
    batch = model.collate(model.encode(TEXTS[:3]))
    assert batch.attention_mask.sum(-1).tolist()[1] == 8
    with pytest.raises(UserError, match=says) as refusal, model.edited([edit]):
        model.body(batch)
    assert "\n" not in str(refusal.value)
    assert hooks_on(model) == 0


def test_every_layer_can_be_edited_at_once():
    """Every head of every layer set to zero leaves what the biases and MLPs write."""
    model = build("llama")
    prompt = model.encode(TEXTS[2:3])[0]
    with model.edited([Edit(f"z.{n}", "all", Zero()) for n in range(LAYERS)]):
        got = logits_of(model, model.collate([prompt]))[0, -1]
    with ExitStack() as stack:
        for layer in range(LAYERS):
            every = range(len(prompt))
            stack.enter_context(plain.changed(model, "z", layer, every, torch.zeros_like))
        expected = plain.logits(model, prompt.input_ids)[-1]
    assert_close(got, expected)
    # Without attention the last token is all that the last logits depend on.
    assert_close(got, plain_last_token(model, prompt))


def plain_last_token(model, prompt):
    with ExitStack() as stack:
        for layer in range(LAYERS):
            stack.enter_context(plain.changed(model, "z", layer, [0], torch.zeros_like))
        return plain.logits(model, prompt.input_ids[-1:])[-1]
