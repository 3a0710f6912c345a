"""Circuits: a planted one is found exactly, scores do not depend on batches, files are checked."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from families import FAMILIES, TEXTS, build, hooks_on

from probekit.circuits import (
    Circuit,
    Component,
    Graph,
    ReadOut,
    ablation,
    activity,
    assemble,
    complement,
    connect,
    jaccard,
    learn,
    modulate,
    random_like,
    random_modulation,
    score,
    writing,
)
from probekit.circuits.activities import POOLING, SCALED
from probekit.circuits.assembly import Spread, budgets, by_influence, spread_out
from probekit.circuits.components import INNER, OUTER, columns
from probekit.circuits.edges import Material, path_effects
from probekit.circuits.heads import ablate_heads
from probekit.circuits.modulation import Ablated
from probekit.circuits.scores import halves
from probekit.directions.identity import Identity
from probekit.errors import UserError
from probekit.hooks import reading
from probekit.prompts import Encoded
from probekit.readouts import LabelLogOdds
from probekit.scorecard.likelihood import continuation_nats
from probekit.sites import Site
from probekit.stages import Made, Stages
from probekit.steering import Decoding, Setting, edits_of, generate
from probekit.stimuli import Stimulus, StimulusSet
from probekit.sweep import sweep

pytestmark = pytest.mark.usefixtures("one_thread")
EMOTIONS = ("anger", "fear", "joy")
LABELS = ["the", "on", "roof"]
"""One word for each emotion; the tokenizer has a token for each."""
HEAD = Component("z", 0, 2)
NEURONS = tuple(Component("mlp_post", 1, 5 + place) for place in range(3))
SCENARIOS = 12


def planted():
    """A model in which one head moves an emotion to the last token, and three neurons name it.

    Dimensions 0 to 2 hold the emotion at its own token, 3 to 5 where the head has moved it, 6 to 8
    the label that a neuron writes. Everything else reads and writes dimensions 9 to 30 alone, and
    is felt elsewhere only by the scale of the norms.
    """
    model = build("llama", torch.float64)
    rng = torch.Generator().manual_seed(0)
    own, rest = slice(0, 9), slice(9, 31)
    with torch.no_grad():
        embedding, head = model.hf.model.embed_tokens.weight, model.hf.lm_head.weight
        embedding[:, own] = 0
        embedding[:, 31] = 0
        for place in range(3):
            embedding[200 + place] = 0
            embedding[200 + place, place] = 1.0
        embedding[203] = 0
        embedding[203, 31] = 1.0  # A neutral word of equal length, that nothing reads.
        head[:, own] = 0
        head[:, 31] = 0
        for layer in model.hf.model.layers:
            attention, mlp = layer.self_attn, layer.mlp
            for part in (
                attention.q_proj,
                attention.k_proj,
                attention.v_proj,
                mlp.gate_proj,
                mlp.up_proj,
            ):
                part.weight.zero_()
                part.weight[:, rest] = 0.05 * torch.randn(
                    part.weight[:, rest].shape, generator=rng, dtype=torch.float64
                )
            for part in (attention.o_proj, mlp.down_proj):
                part.weight[own] = 0
                part.weight[31] = 0
        attention, mlp = model.hf.model.layers[0].self_attn, model.hf.model.layers[1].mlp
        # Query heads 2 and 3 share keys and values 1: the planted head is one of them alone.
        attention.q_proj.weight[16:24] = 0
        for place in range(3):
            attention.v_proj.weight[8 + place] = 0
            attention.v_proj.weight[8 + place, place] = 1.0
            attention.o_proj.weight[:, 24 + place] = 0
            attention.o_proj.weight[:, 16 + place] = 0
            attention.o_proj.weight[3 + place, 16 + place] = 8.0
            for part in (mlp.gate_proj, mlp.up_proj):
                part.weight[5 + place] = 0
                part.weight[5 + place, 3 + place] = 2.0
            mlp.down_proj.weight[:, 5 + place] = 0
            mlp.down_proj.weight[6 + place, 5 + place] = 2.0
            (token,) = model.tokenizer(" " + LABELS[place], add_special_tokens=False)["input_ids"]
            head[token] = 0
            head[token, 6 + place] = 10.0
    return model


def texts(count: int = SCENARIOS) -> tuple[StimulusSet, list[ReadOut]]:
    """Every emotion and neutral in each scenario: the same tokens but one."""
    rng = np.random.default_rng(0)
    rows, where = [], []
    for scenario in range(count):
        ids = rng.integers(210, 300, size=6 + scenario % 4).tolist()
        for place, emotion in enumerate((*EMOTIONS, "neutral")):
            name = f"s{scenario}-{emotion}"
            arm = "neutral" if emotion == "neutral" else "keyword_free"
            row = Stimulus(name, name, arm=arm, emotion=emotion, scenario=f"s{scenario}")
            rows.append(replace(row, domain=f"theme{scenario % 3}"))
            tokens = (0, *ids[:3], 200 + place, *ids[3:])
            prompt = Encoded(name, tokens, (False,) * len(tokens), ((0, 0),) * len(tokens), 0, 0)
            where.append(ReadOut(prompt, (len(tokens) - 1,)))
    return StimulusSet("planted", tuple(rows)), where


@pytest.fixture(scope="module")
def found():
    """The planted model, its texts, and what is learned from them."""
    model = planted()
    stimuli, where = texts()
    states = activity(model, where)
    return model, stimuli, where, states, learn(model, stimuli, states)


def circuits(model, stimuli, states):
    scores = score(model, stimuli, states)
    return {
        emotion: assemble(model, emotion, scores.of(emotion), 4, allocation="global")
        for emotion in EMOTIONS
    }


def log_odds(model, where, edits=()):
    """`[item, label]`, unedited or under edits."""
    prompts = [each.prompt for each in where]
    swept = sweep(model, prompts, [list(edits)], {"labels": LabelLogOdds(model, LABELS)})
    return swept.values["labels"][0]


def test_the_planted_circuit_is_found_exactly(found):
    model, stimuli, _, states, _ = found
    scores = score(model, stimuli, states)
    for place, emotion in enumerate(EMOTIONS):
        circuit = circuits(model, stimuli, states)[emotion]
        # The other emotions' neurons are part of it: that they are silent tells as well.
        assert set(circuit.components) == {HEAD, *NEURONS}
        assert next(c for c in circuit.components if c.kind == "mlp_post") == NEURONS[place]
        for kind, own in (("z", HEAD), ("mlp_post", NEURONS[place])):
            values = np.abs(scores.of(emotion)[kind])
            best = values[own.layer, own.unit]
            values[own.layer, own.unit] = 0
            for other in NEURONS if kind == "mlp_post" else ():
                values[other.layer, other.unit] = 0
            assert best > 0.1
            assert values.max() < 0.01 * best, "nothing else tells emotions apart"


def test_heads_ablated_one_by_one_find_the_planted_one(found):
    model, stimuli, where, states, _ = found
    sides = halves(stimuli)
    learned = tuple(learn(model, stimuli, states, rows=side) for side in sides)
    drops = ablate_heads(model, stimuli, where, learned, sides)
    for place in range(3):
        best = np.unravel_index(drops[place].argmax(), drops[place].shape)
        assert best == (HEAD.layer, HEAD.unit)
        rest = drops[place].copy()
        rest[best] = 0
        assert np.abs(rest).max() < 0.02 * drops[place].max()


def test_ablating_the_circuit_takes_the_label_away_and_random_components_do_nothing(found):
    model, stimuli, where, states, learned = found
    emotion = stimuli.column("emotion")
    before = log_odds(model, where)
    for place, (name, circuit) in enumerate(circuits(model, stimuli, states).items()):
        own = emotion == name
        assert before[own, place].min() > 1
        after = log_odds(model, where, circuit.ablation(learned.neutral))
        assert np.abs(after[own, place] - np.log(1 / 2)).max() < 0.05, "at chance"
        for seed in range(3):
            drawn = random_like(model, circuit.components, seed, without=[HEAD, *NEURONS])
            assert not {HEAD, *NEURONS} & set(drawn)
            other = log_odds(model, where, ablation(drawn, learned.neutral))
            assert np.abs(other - before).max() < 1e-3 * before.max()
        rest = complement(model, [HEAD, *NEURONS])
        kept = log_odds(model, where, ablation(rest, learned.neutral))
        np.testing.assert_allclose(kept[own, place], before[own, place], rtol=0.25)


def test_modulation_moves_the_label_and_a_random_one_does_not(found):
    model, stimuli, where, states, learned = found
    neutral = [
        each
        for each, name in zip(where, stimuli.column("emotion"), strict=True)
        if name == "neutral"
    ]
    before = log_odds(model, neutral)
    for place, (name, circuit) in enumerate(circuits(model, stimuli, states).items()):
        effects = {kind: learned.effects[kind][EMOTIONS.index(name)] for kind in INNER}
        edits = _of_rows(edits_of(model, [modulate(model, circuit, effects)]), len(neutral))
        after = log_odds(model, neutral, edits)
        assert (after[:, place] - before[:, place]).min() > 0.5
        assert modulate(model, circuit, effects, 0.0).idle
        control = random_modulation(model, circuit, effects, 1.0, seed=0)
        drawn = log_odds(model, neutral, _of_rows(edits_of(model, [control]), len(neutral)))
        assert np.abs(drawn - before).max() < 1e-3


def _of_rows(edits, count):
    """Edits of one row, done to many."""
    return [
        replace_operation(edit, type(edit.operation)(edit.operation.values[0].expand(count, -1)))
        for edit in edits
    ]


def replace_operation(edit, operation):
    return type(edit)(edit.site, -1, operation, units=edit.units)


def test_paths_lead_from_the_planted_head_to_the_planted_neurons(found):
    model, stimuli, where, _, learned = found
    neutral = {kind: learned.neutral[kind] for kind in INNER}
    others = (Component("z", 0, 0), Component("z", 0, 3), Component("z", 1, 2))
    for place, name in enumerate(EMOTIONS):
        rows = np.flatnonzero(stimuli.column("emotion") == name).tolist()
        given = Material.of(
            model,
            [where[row] for row in rows],
            [stimuli.rows[row].scenario for row in rows],
            neutral,
            learned.directions,
        )
        effects = path_effects(given, name, (HEAD, *others), NEURONS)
        own = effects[HEAD, NEURONS[place]]
        assert own.min() > 0
        for (head, neuron), values in effects.items():
            if (head, neuron) != (HEAD, NEURONS[place]):
                assert np.abs(values).max() < 0.05 * own.min(), (head, neuron)
        # All that the neuron writes comes along this path: taking it out is taking all.
        activation = given.states.layer("mlp_post", 1, POOLING)[:, NEURONS[place].unit]
        np.testing.assert_allclose(own, activation * given.worth(NEURONS[place], name), rtol=0.02)


def test_a_graph_holds_the_planted_path_and_comes_back_from_its_file(found, tmp_path):
    model, stimuli, where, states, learned = found
    rows = np.flatnonzero(stimuli.column("emotion") == "joy").tolist()
    given = Material.of(
        model, [where[r] for r in rows], [stimuli.rows[r].scenario for r in rows],
        learned.neutral, learned.directions,
    )  # fmt: skip
    circuit = circuits(model, stimuli, states)["joy"]
    graph = connect(given, circuit, 2, (stimuli, states), bootstraps=50)
    assert {node.name for node in graph.nodes} >= {str(HEAD), str(NEURONS[2])}
    (edge,) = graph.strong()
    assert (edge.source, edge.target) == (str(HEAD), str(NEURONS[2]))
    assert edge.low <= edge.weight <= edge.high
    assert graph.null is not None
    assert graph.null < 0.02 * edge.weight
    neuron = next(node for node in graph.nodes if node.kind == "mlp_post")
    assert neuron.tokens[0].strip() == LABELS[2]
    assert {emotion for _, emotion, _ in neuron.texts} == {"joy"}
    graph.save(tmp_path / "graph.json")
    assert Graph.load(tmp_path / "graph.json") == graph
    (tmp_path / "other.json").write_text("[]")
    with pytest.raises(UserError, match="holds no circuit graph"):
        Graph.load(tmp_path / "other.json")


@pytest.mark.parametrize("family", FAMILIES)
def test_writes_sum_to_what_the_sublayer_adds(family):
    model = build(family)
    prompts = model.encode(list(TEXTS))
    states = activity(model, [ReadOut(p, tuple(range(1, len(p)))) for p in prompts])
    for kind in INNER:
        for layer in range(model.n_layers):
            site = Site(kind, layer)
            ours = states.layer(kind, layer, SCALED) @ writing(model, site).numpy()
            bias = getattr(model.sites.tap(site).module, "bias", None)
            added = [] if bias is None else bias.detach().numpy() * model.sites.multiplier
            for row, prompt in enumerate(prompts):
                seen = {}
                outer = Site(OUTER[kind], layer)
                with reading(
                    model.sites, [outer], lambda s, v, seen=seen: seen.update({s: v.clone()})
                ):
                    model.body(model.collate([prompt]))
                total = seen[outer][0, 1:].mean(0).numpy()
                total = total - added if bias is not None else total
                np.testing.assert_allclose(ours[row], total, atol=2e-6 * np.abs(total).max())
    assert hooks_on(model) == 0


def test_scores_do_not_depend_on_batch_or_padding(found, monkeypatch):
    model, stimuli, where, states, _ = found
    monkeypatch.setattr("probekit.circuits.activities.BATCH_TOKENS", 1)
    alone = activity(model, where)
    for kind in INNER:
        np.testing.assert_allclose(
            score(model, stimuli, alone).values[kind], score(model, stimuli, states).values[kind],
            atol=1e-6,
        )  # fmt: skip
    order = np.random.default_rng(1).permutation(len(where))
    shuffled = activity(model, [where[n] for n in order])
    np.testing.assert_allclose(
        shuffled.layer("z", 0, POOLING), states.layer("z", 0, POOLING)[order], atol=1e-6
    )


def test_halves_never_part_a_scenario_and_both_hold_every_emotion():
    stimuli, _ = texts()
    one, other = halves(stimuli, seed=3)
    assert not (one & other).any()
    assert (one | other).all()
    scenario, emotion = stimuli.column("scenario"), stimuli.column("emotion")
    assert not set(scenario[one]) & set(scenario[other])
    assert set(emotion[one]) == set(emotion[other])
    assert abs(int(one.sum()) - int(other.sum())) <= 4
    assert (halves(stimuli, seed=4)[0] != one).any()
    with pytest.raises(UserError, match="halves need two or more"):
        halves(StimulusSet("one", stimuli.rows[:4]))


def test_a_budget_is_spread_by_influence_with_a_least_and_a_cap():
    weights = np.array([1.0, 3.0, -2.0, 0.0])
    given = spread_out(weights, 100, room=1000, least=4, cap=0.4)
    assert given.sum() == 100
    assert given[1] == 40, "the cap"
    assert given.min() >= 4
    assert given[2] < given[0]
    small = spread_out(weights, 6, room=1000, least=4, cap=0.4)
    assert small.sum() == 6
    assert small.min() == 1, "as much of the least as the budget allows"
    assert spread_out(weights, 40, room=10, least=4, cap=0.4).tolist() == [10] * 4
    none = spread_out(np.full(4, -1.0), 20, room=100, least=0, cap=1.0)
    assert none.tolist() == [5] * 4, "where nothing has influence all get alike"


def test_allocations_hold_k_components_and_the_papers_share_of_neurons():
    model = build("llama")
    rng = np.random.default_rng(0)
    scores = {kind: rng.normal(size=(3, model.sites.units(kind))) for kind in INNER}
    influence = {kind: np.array([0.1, 1.0, 0.3]) for kind in INNER}
    counts = by_influence(scores, influence, 20, Spread())
    assert counts["mlp_post"].sum() == 14
    assert counts["z"].sum() == 6
    circuit = assemble(model, "joy", scores, 20, influence=influence)
    assert len(circuit) == 20
    assert list(circuit.scores) == sorted(circuit.scores, reverse=True)
    for (kind, layer), count in circuit.counts().items():
        best = np.sort(scores[kind][layer])[::-1][:count]
        own = [
            s
            for c, s in zip(circuit.components, circuit.scores, strict=True)
            if (c.kind, c.layer) == (kind, layer)
        ]
        np.testing.assert_allclose(sorted(own, reverse=True), best)
    whole = assemble(model, "joy", scores, 3 * (4 + 48), influence=influence)
    assert len(set(whole.components)) == 3 * (4 + 48)


def test_more_components_than_the_model_has_are_refused():
    model = build("llama")
    with pytest.raises(
        UserError, match=r"K 157: llama has 12 heads and 144 neurons; give 1 to 156"
    ):
        budgets(model, (4, 157))
    scores = {kind: np.zeros((3, model.sites.units(kind))) for kind in INNER}
    with pytest.raises(UserError, match="K 0"):
        assemble(model, "joy", scores, 0, allocation="global")
    with pytest.raises(UserError, match="give the influence of each sublayer"):
        assemble(model, "joy", scores, 4)


def test_a_circuit_comes_back_from_its_file_and_refuses_another_model(found, tmp_path):
    model, stimuli, _, states, _ = found
    circuit = circuits(model, stimuli, states)["fear"]
    path = tmp_path / "circuit.json"
    circuit.save(path)
    assert Circuit.load(path, model) == circuit
    with pytest.raises(UserError, match=r"this circuit is of .*, not of .*qwen2"):
        Circuit.load(path, build("qwen2"))
    with pytest.raises(UserError, match="is no file"):
        Circuit.load(tmp_path / "none.json")
    path.write_text(json.dumps({"format": "something"}))
    with pytest.raises(UserError, match="holds no circuit"):
        Circuit.load(path)


def test_random_components_are_as_many_in_each_sublayer():
    model = build("llama")
    own = (Component("z", 0, 1), Component("z", 0, 2), Component("mlp_post", 2, 7))
    drawn = random_like(model, own, 0, without=own)
    assert [(c.kind, c.layer) for c in drawn] == sorted((c.kind, c.layer) for c in own)
    assert not set(drawn) & set(own)
    assert random_like(model, own, 0, without=own) == drawn
    assert len({random_like(model, own, seed) for seed in range(8)}) > 1
    assert jaccard(own, own) == 1
    assert jaccard(own, drawn) == 0
    assert np.isnan(jaccard((), ()))


def test_columns_are_those_of_the_units():
    model = build("llama")
    assert columns(model, Site("z", 0), (1, 3)).tolist() == [*range(8, 16), *range(24, 32)]
    assert columns(model, Site("mlp_post", 0), (7,)).tolist() == [7]


def test_edits_leave_the_first_token_alone():
    model = build("llama")
    (prompt,) = model.encode([TEXTS[2]])
    everything = {kind: np.zeros((3, model.sites.width(Site(kind, 0)))) for kind in INNER}
    edits = ablation([Component("z", 0, 0)], everything)
    seen = {}
    with (
        model.edited(edits),
        reading(model.sites, [Site("z", 0)], lambda s, v: seen.update({s: v})),
    ):
        model.body(model.collate([prompt]))
    value = seen[Site("z", 0)][0, :, :8]
    assert float(value[0].abs().max()) > 0
    assert float(value[1:].abs().max()) == 0
    ids = list(prompt.input_ids[1:])
    first = replace(prompt, input_ids=prompt.input_ids[:1])
    plain, edited = (continuation_nats(model, [first], [ids], e)[0] for e in ((), edits))
    assert plain[0] == pytest.approx(edited[0]), "what the first token predicts"
    assert np.abs(plain[1:] - edited[1:]).max() > 1e-4


@pytest.mark.parametrize("family", ["llama", "gemma3", "gpt2"])
def test_a_row_is_modulated_alone_as_it_is_beside_others(family):
    model, rng = build(family), np.random.default_rng(0)
    components = (Component("z", 0, 1), Component("mlp_post", 1, 3), Component("mlp_post", 2, 40))
    told = {"emotion": "joy", "components": components, "scores": (1.0,) * 3}
    told |= {"allocation": "global", "source": "", "stimuli": {}, "options": {}}
    circuit = Circuit(**told, model=Identity.of(model))
    effects = {kind: rng.normal(size=(3, model.sites.width(Site(kind, 0)))) * 20 for kind in INNER}
    neutral = {kind: np.zeros_like(each) for kind, each in effects.items()}
    held = Ablated(
        Setting(False), "ablated", model=model, circuits={"joy": circuit}, neutral=neutral
    ).steering("joy", None)
    drives = [
        None,
        modulate(model, circuit, effects),
        modulate(model, circuit, effects, 2.0),
        random_modulation(model, circuit, effects, 1.0, 0),
        held,
        modulate(model, circuit, effects, 0.0),
    ]
    prompts = model.encode([TEXTS[2]] * 3 + [TEXTS[0]] * 2 + [TEXTS[2]])
    together = generate(model, prompts, drives, Decoding(6))
    for prompt, drive, reply in zip(prompts, drives, together, strict=True):
        assert generate(model, [prompt], drive, Decoding(6))[0].ids == reply.ids
    assert together[0].ids == together[5].ids, "a dose of 0 is no modulation"
    assert together[1].ids != together[0].ids, "a dose of 1 is one"
    with pytest.raises(UserError, match="give 0 or a positive number"):
        modulate(model, circuit, effects, -1.0)
    with pytest.raises(UserError, match="belong to another model"):
        generate(build("qwen2"), prompts[:1], drives[1], Decoding(6))


def test_stages_are_made_once_and_anew_where_something_before_them_changed(tmp_path):
    made, said = [], []

    def run(seed, wanted=("one", "two")):
        stages = Stages(tmp_path, wanted, said.append)

        def make(name):
            made.append(name)
            return Made({"seed": seed}, {"values": np.full(3, float(seed))})

        stages.run("one", {"seed": seed}, (), lambda: make("one"))
        return stages.run("two", {"size": 3}, ("one",), lambda: make("two"))

    assert run(0).told == {"seed": 0}
    assert made == ["one", "two"]
    again = run(0)
    assert made == ["one", "two"], "from their files"
    np.testing.assert_array_equal(again.arrays["values"], np.zeros(3))
    np.testing.assert_array_equal(run(1).arrays["values"], np.ones(3))
    assert made == ["one", "two", "one", "two"]
    assert said == ["one is made anew: seed changed", "two is made anew: one changed"]
    with pytest.raises(
        UserError, match=r"stage one was made with other seed in .*add it to --stages"
    ):
        run(2, wanted=("two",))
    (tmp_path / "stages" / "one.safetensors").unlink()
    with pytest.raises(UserError, match=r"stage one has not been made in .*: add it to --stages"):
        run(1, wanted=("two",))
    (tmp_path / "stages" / "two.safetensors").write_bytes(b"half")
    with pytest.raises(UserError, match=r"two\.safetensors is broken .*delete it"):
        run(1)
