"""Erasing a concept: the theorem, what is left and lost on planted data, and inside models."""

import csv

import numpy as np
import plain
import pytest
import torch
from families import TEXTS, WIDTH, build, hooks_on

from probekit import runs, stats
from probekit.activations import capture
from probekit.edits import Edit
from probekit.erasure import (
    LEACE,
    Concept,
    Eraser,
    ProjectionEraser,
    evaluate_erasure,
    language_loss,
    random_eraser,
)
from probekit.erasure.closed_form import Metric, shrunk
from probekit.errors import UserError
from probekit.folds import grouped_folds
from probekit.models import load_model
from probekit.probes import LayerProbes
from probekit.stimuli import StimulusSet

pytestmark = pytest.mark.usefixtures("one_thread")
EMOTIONS = np.array(["anger", "fear", "grief", "joy"])
FITTERS = {
    "leace": LEACE,
    "leace without shrinkage": lambda: LEACE(shrinkage=False),
    "projection": ProjectionEraser,
}
every_fitter = pytest.mark.parametrize("fitter", FITTERS.values(), ids=list(FITTERS))


def planted(n, d, k, *, layers=2, strength=3.0, seed=0):
    """Correlated features of very unequal scales and offsets `[n, layer, d]`, and their labels."""
    rng = np.random.default_rng(seed)
    fixed = np.random.default_rng(99)
    y = np.arange(n) % k
    noise = rng.standard_normal((n, layers, d)) @ fixed.standard_normal((d, d))
    x = noise / np.sqrt(d) + strength * fixed.standard_normal((k, layers, d))[y]
    scale = np.exp(1.5 * fixed.standard_normal(d))
    return x * scale + 50 * scale * fixed.standard_normal(d), EMOTIONS[y]


def gap(x, y):
    """Largest distance of a class mean from the mean, in standard deviations of its feature."""
    means = np.stack([x[y == name].mean(0) for name in np.unique(y)])
    return float((np.abs(means - x.mean(0)) / x.std(0)).max())


def matrix(eraser):
    return np.eye(len(eraser.mean)) - eraser.write.T @ eraser.read


def same_map(left: Eraser, right: Eraser, tolerance=1e-9):
    np.testing.assert_allclose(left.mean, right.mean, rtol=1e-10)
    scale = np.abs(matrix(right)).max()
    np.testing.assert_allclose(matrix(left), matrix(right), atol=tolerance * scale)


# The theorem


@every_fitter
@pytest.mark.parametrize("k", [2, 4])
@pytest.mark.parametrize(("n", "d"), [(300, 10), (40, 120), (60, 60)])
def test_class_means_are_equal_after_erasing(fitter, k, n, d):
    x, y = planted(n, d, k)
    erasers = fitter().update(x, y).erasers
    assert len(erasers) == 2
    for layer, eraser in enumerate(erasers):
        states = x[:, layer]
        assert gap(states, y) > 0.5
        erased = eraser(states)
        assert gap(erased, y) < 1e-6
        assert eraser.rank == k - 1
        np.testing.assert_allclose(eraser(erased), erased, atol=1e-6 * np.abs(erased).max())
        np.testing.assert_allclose(eraser.mean, states.mean(0))
        np.testing.assert_allclose(erased.mean(0), states.mean(0))


def test_leace_is_the_theorems_formula_written_out():
    x, y = planted(400, 8, 3)
    x = x[:, 0]
    z = (y[:, None] == np.unique(y)).astype(float)
    centred, z = x - x.mean(0), z - z.mean(0)
    values, vectors = np.linalg.eigh(centred.T @ centred / len(x))
    whitening = vectors / np.sqrt(values) @ vectors.T
    cross = whitening @ centred.T @ z / len(x)
    projection = cross @ np.linalg.pinv(cross, rcond=1e-10)
    wanted = np.eye(8) - np.linalg.inv(whitening) @ projection @ whitening
    (eraser,) = LEACE(shrinkage=False).update(x, y).erasers
    np.testing.assert_allclose(matrix(eraser), wanted, atol=1e-9 * np.abs(wanted).max())


def test_leace_moves_states_less_than_other_maps_whatever_the_ruler():
    x, y = planted(2000, 12, 4, layers=1)
    x = x[:, 0]
    (leace,) = LEACE(shrinkage=False).update(x, y).erasers
    (projection,) = ProjectionEraser().update(x, y).erasers
    # A third map that makes the means equal: it reads a little of something else as well.
    rng = np.random.default_rng(3)
    more = rng.standard_normal((3, 12)) / x.std(0) @ matrix(leace)
    other = Eraser(leace.read + 0.5 * more, leace.write, leace.mean)
    rulers = [np.eye(12), np.linalg.inv(np.cov(x.T))]
    rulers += [m @ m.T for m in rng.standard_normal((5, 12, 12))]

    def moved(eraser, ruler):
        change = eraser(x) - x
        return np.einsum("id,de,ie->", change, ruler, change)

    for eraser in (projection, other):
        assert gap(eraser(x), y) < 1e-6
        for ruler in rulers:
            assert moved(leace, ruler) < 0.97 * moved(eraser, ruler)


def test_rank_is_what_the_classes_and_features_allow():
    x, y = planted(200, 2, 4)
    for fitter in FITTERS.values():
        assert fitter().update(x, y).erasers[0].rank == 2
    # Four classes whose means lie on one line.
    place = np.arange(300) % 4
    line = planted(300, 9, 4)[0][:, 0]
    line -= np.stack([line[place == c].mean(0) for c in range(4)])[place]
    line += place[:, None] * np.linspace(1, 2, 9)
    for fitter in FITTERS.values():
        (eraser,) = fitter().update(line, EMOTIONS[place]).erasers
        assert eraser.rank == 1
        assert gap(eraser(line), EMOTIONS[place]) < 1e-6


@every_fitter
def test_classes_that_do_not_differ_are_left_alone(fitter):
    x, _ = planted(100, 6, 2)
    both, y = np.concatenate([x, x]), np.repeat(["a", "b"], 100)
    (eraser, _) = fitter().update(both, y).erasers
    assert eraser.rank == 0
    assert np.array_equal(eraser(x[:, 0]), x[:, 0])


# Streaming


@every_fitter
@pytest.mark.parametrize(("n", "d"), [(300, 10), (40, 120)])
def test_batches_of_any_size_and_order_give_the_same_eraser(fitter, n, d):
    x, y = planted(n, d, 3)
    whole = fitter().update(x, y).erasers
    order = np.random.default_rng(1).permutation(n)
    order = np.concatenate([order[y[order] == "grief"], order[y[order] != "grief"]])
    streamed = fitter()
    for part in np.split(order, [1, 4, 30]):
        streamed.update(x[part], y[part])
    streamed.update(x[:0], y[:0])
    for left, right in zip(streamed.erasers, whole, strict=True):
        same_map(left, right)


@every_fitter
def test_every_layer_is_fitted_as_if_alone(fitter):
    x, y = planted(80, 20, 3, layers=3)
    for layer, eraser in enumerate(fitter().update(x, y).erasers):
        (alone,) = fitter().update(x[:, layer], y).erasers
        same_map(eraser, alone)


@pytest.mark.parametrize("shrinkage", [True, False])
@pytest.mark.parametrize(("n", "d"), [(300, 10), (40, 120), (60, 60)])
def test_rows_and_their_covariance_give_the_same_metric(n, d, shrinkage):
    x, y = planted(n, d, 3, layers=1)
    rows = torch.as_tensor(x[:, 0])
    centred = rows - rows.mean(0)
    covariance = centred.T @ centred / n
    apart = torch.stack([centred[torch.as_tensor(y == name)].mean(0) for name in np.unique(y)])
    left = Metric.of_rows(rows, shrinkage=shrinkage)
    right = Metric.of_covariance(covariance, rows.mean(0), n, shrinkage=shrinkage)
    maps = [write.T @ read for read, write in (left.oblique(apart), right.oblique(apart))]
    torch.testing.assert_close(maps[0], maps[1], rtol=0, atol=1e-8 * float(maps[1].abs().max()))


def test_shrinkage_is_the_papers_formula_and_fades_with_items():
    rng = np.random.default_rng(0)
    rows = rng.standard_normal((50, 30)) * np.linspace(0.5, 3, 30)
    s = rows.T @ rows / 50
    prior = np.trace(s) / 30 * np.eye(30)
    size = lambda m: np.square(m).sum()  # noqa: E731
    share = 1 - (np.trace(s) ** 2 * size(prior) / 50) / (
        size(s) * size(prior) - np.trace(s @ prior) ** 2
    )
    wanted = np.linalg.eigvalsh(share * s + (1 - share) * np.trace(s @ prior) / size(prior) * prior)
    values = torch.as_tensor(np.linalg.eigvalsh(s))
    np.testing.assert_allclose(shrunk(values, 50, 30), wanted, rtol=1e-12)
    np.testing.assert_allclose(shrunk(values, 50_000_000, 30), values, rtol=1e-4)


def test_shrinkage_keeps_new_states_in_place_where_items_are_as_many_as_features():
    x, y = planted(65, 64, 4, layers=1, strength=0.0)
    new = planted(500, 64, 4, layers=1, strength=0.0, seed=1)[0][:, 0]

    def moved(shrinkage):
        (eraser,) = LEACE(shrinkage=shrinkage).update(x, y).erasers
        return np.square((eraser(new) - new) / new.std(0)).mean()

    assert moved(True) < 0.1
    assert moved(False) > 1


# What is left and what is lost


def test_a_new_probe_finds_nothing_in_new_rows_where_it_found_all():
    """Enough rows that the erased means are those of new rows as well."""
    x, y = planted(4000, 12, 3, layers=1, strength=1.0)
    x = x[:, 0]
    fit, learn, test = slice(0, 3000), slice(3000, 3500), slice(3500, 4000)
    truth = np.unique(y, return_inverse=True)[1][test]

    def found(eraser):
        probe = LayerProbes(C=0.01).fit(eraser(x[learn]), y[learn])
        scores = probe.decision_function(eraser(x[test]))
        return stats.macro_auroc(scores, truth, np.zeros(500, np.int64))[0]

    (leace,) = LEACE().update(x[fit], y[fit]).erasers
    assert found(np.asarray) > 0.98
    assert abs(found(leace) - 0.5) < 0.06
    assert found(random_eraser(2, 12, 0, x.mean(0))) > 0.95


def test_a_second_label_survives_leace_and_not_a_projection_of_the_firsts_read_out():
    rng = np.random.default_rng(0)
    a, b = (rng.integers(0, 2, 3000) for _ in range(2))
    shared = 10 * rng.standard_normal(3000)
    # The first label is read as x0 - x2, the second as x1 - x2.
    x = np.stack([2 * a + shared, 0.5 * b + shared, shared], 1)
    x += 0.05 * rng.standard_normal(x.shape)
    fit, new = slice(0, 2000), slice(2000, 3000)

    def auroc(eraser, labels):
        probe = LayerProbes(C=10.0).fit(eraser(x[fit]), labels[fit])
        return stats.auroc(
            probe.decision_function(eraser(x[new])), labels[new] == 1, np.zeros(1000, np.int64)
        )[0]

    (leace,) = LEACE().update(x[fit], a[fit]).erasers
    wrong = ProjectionEraser.of([1.0, 0.0, -1.0], x[fit].mean(0))
    assert auroc(np.asarray, a) > 0.99
    assert auroc(np.asarray, b) > 0.99
    assert abs(auroc(leace, a) - 0.5) < 0.06
    assert auroc(leace, b) > 0.99
    assert auroc(wrong, b) < 0.85
    # Nor does it erase the first: what is left of x0 - x2 in x0 + x2 - 2 x1 tells it too.
    assert auroc(wrong, a) > 0.9


def study(n=240, d=30, layers=2, strength=1.0, seed=0):
    """States in scenarios of two items, with a concept and another label, both planted."""
    x, emotion = planted(n, d, 3, layers=layers, strength=strength)
    rng = np.random.default_rng(seed)
    scenario = np.array([f"s{i // 6}-{i % 3}" for i in range(n)])
    domain = np.where(rng.random(n) < 0.5, "home", "work")
    x = x + 1.5 * x.std(0) * rng.standard_normal(x.shape[1:]) * (domain == "work")[:, None, None]
    return x, emotion, scenario, domain, grouped_folds(scenario, emotion, 5, 0)


def picked(rows, **cells):
    return [row for row in rows if all(row.get(name) == value for name, value in cells.items())]


def only(rows, **cells):
    (row,) = picked(rows, **cells)
    return row


@pytest.fixture(scope="module")
def evaluated():
    x, emotion, scenario, domain, folds = study()
    erased, kept = Concept("emotion", emotion), Concept("domain", domain, units=np.arange(240))
    return evaluate_erasure(
        x, erased, scenario, folds, kept=[kept], layers=[3, 7], permutations=20, bootstraps=100
    )


@pytest.mark.parametrize("layer", [3, 7])
def test_the_study_finds_the_concept_before_and_after_random_erasing_only(evaluated, layer):
    at = {"layer": layer, "target": "emotion", "metric": "auroc"}
    before = only(evaluated, method="none", condition="baseline", **at)
    assert before["value"] > 0.99
    assert before["p"] == pytest.approx(1 / 21)
    assert (before["n"], before["clusters"], before["k"]) == (240, 120, 0)
    assert only(evaluated, method="random", condition="control", **at)["value"] > 0.9
    for method in ("leace", "projection"):
        after = only(evaluated, method=method, condition="erasure", **at)
        # What eighteen rows a fold leave: less than before, and not nothing.
        assert 0.5 < after["value"] < 0.75
        assert after["k"] == 2
    at["metric"] = "auroc_change"
    for method, least, most in (("leace", -0.5, -0.25), ("random", -0.02, 0.0)):
        change = only(evaluated, method=method, **at)
        assert least < change["value"] < most
        assert change["low"] <= change["value"] <= change["high"]
    assert only(evaluated, method="leace", **at)["p"] == pytest.approx(2 / 101)


@pytest.mark.parametrize("method", ["leace", "projection"])
def test_after_erasing_a_probe_of_the_same_rows_is_at_chance_by_construction(evaluated, method):
    for row in picked(evaluated, target="emotion", method=method, metric="auroc_same_rows"):
        assert row["value"] == 0.5, row
    before = picked(evaluated, target="emotion", method="none", metric="auroc_same_rows")
    assert [row["value"] > 0.95 for row in before if row["condition"] == "baseline"] == [True] * 2


def test_chance_is_near_a_half_and_stands_beside_every_auroc(evaluated):
    nulls = picked(evaluated, condition="null")
    assert len(nulls) == 2 * 2 * 4 * 2  # Concepts, figures, methods, layers.
    for row in nulls:
        assert row["low"] <= row["value"] <= row["high"]
        assert abs(row["value"] - 0.5) < 0.06, row


def test_another_label_is_kept(evaluated):
    for layer in (3, 7):
        at = {"layer": layer, "target": "domain", "metric": "auroc"}
        assert only(evaluated, method="none", condition="baseline", **at)["value"] > 0.9
        assert only(evaluated, method="leace", condition="erasure", **at)["value"] > 0.85


def test_the_study_says_that_means_are_equal_and_how_far_states_moved(evaluated):
    for layer in (3, 7):
        gaps = {m: only(evaluated, layer=layer, method=m, metric="mean_gap")["value"]
                for m in ("none", "leace", "projection", "random")}  # fmt: skip
        assert gaps["leace"] < 1e-6
        assert gaps["projection"] < 1e-6
        assert min(gaps["none"], gaps["random"]) > 0.1
        moved = {m: only(evaluated, layer=layer, method=m, metric="moved") for m in gaps}
        assert moved["none"]["value"] == 0
        assert 0 < moved["leace"]["value"] < moved["projection"]["value"] < 1
        assert moved["leace"]["low"] < moved["leace"]["value"] < moved["leace"]["high"]


def test_rows_are_those_of_results_csv_and_the_same_for_the_same_seed(evaluated, tmp_path):
    runs.write_results(tmp_path / "a.csv", evaluated)
    x, emotion, scenario, domain, folds = study()
    erased, kept = Concept("emotion", emotion), Concept("domain", domain, units=np.arange(240))
    shares: list[float] = []
    again = evaluate_erasure(
        x, erased, scenario, folds, kept=[kept], layers=[3, 7], permutations=20, bootstraps=100,
        advance=shares.append,
    )  # fmt: skip
    runs.write_results(tmp_path / "b.csv", again)
    assert (tmp_path / "a.csv").read_bytes() == (tmp_path / "b.csv").read_bytes()
    assert sum(shares) == 1
    with (tmp_path / "a.csv").open() as file:
        assert {row["condition"] for row in csv.DictReader(file)} == {
            "baseline", "erasure", "control", "null"
        }  # fmt: skip


def test_chunks_of_permutations_change_nothing(monkeypatch, evaluated):
    from probekit import probes

    monkeypatch.setattr(probes, "CHUNK_BYTES", 1e6)
    x, emotion, scenario, _, folds = study()
    cut = evaluate_erasure(
        x, Concept("emotion", emotion), scenario, folds, layers=[3, 7], permutations=20,
        bootstraps=100,
    )  # fmt: skip
    for row in cut:
        same = {k: row[k] for k in ("condition", "method", "metric", "layer", "target")}
        assert row["value"] == pytest.approx(only(evaluated, **same)["value"], abs=1e-6)


def test_nothing_planted_is_nothing_found():
    x, emotion, scenario, _, folds = study(strength=0.0)
    rows = evaluate_erasure(x, Concept("emotion", emotion), scenario, folds, permutations=20,
                            bootstraps=50)  # fmt: skip
    for row in picked(rows, metric="auroc"):
        assert abs(row["value"] - 0.5) < 0.12, row
        assert row["condition"] == "null" or row["p"] > 0.04


def test_held_out_rows_are_predicted_by_one_fit_that_never_saw_them():
    x, emotion, scenario, _, folds = study()
    held = np.array([int(name[1:].split("-")[0]) % 2 == 1 for name in scenario])
    erased = Concept("emotion", emotion)
    options = {"held_out": held, "permutations": 0, "bootstraps": 50}
    rows = evaluate_erasure(x, erased, scenario, folds, **options)
    cells = {"layer": 0, "metric": "auroc"}
    assert only(rows, method="none", **cells)["n"] == held.sum() == 120
    assert only(rows, method="none", **cells)["value"] > 0.9
    # Written out: eraser of the first folds, probe of the others.
    states, test = x[:, 0], held
    fit, learn = ~held & (folds < 3), ~held & (folds >= 3)
    (leace,) = LEACE().update(states[fit], emotion[fit]).erasers
    probe = LayerProbes(C=0.01).fit(leace(states[learn]), emotion[learn])
    scores = probe.predict_proba(leace(states[test]))
    truth = np.unique(emotion, return_inverse=True)[1][test]
    wanted = stats.macro_auroc(scores, truth, np.zeros(120, np.int64))[0]
    assert only(rows, method="leace", **cells)["value"] == pytest.approx(wanted, abs=2e-3)
    assert not picked(rows, condition="null")
    # What they hold cannot matter to the fit: their labels do not change their predictions.
    other = np.where(held, np.roll(emotion, 1), emotion)
    (again,) = LEACE().update(states[fit], other[fit]).erasers
    same_map(again, leace, 1e-12)


def test_rows_without_a_label_are_read_for_the_other_concept_only():
    x, emotion, scenario, domain, folds = study()
    some = np.where(np.arange(240) % 2 == 0, emotion, "")
    rows = evaluate_erasure(
        x, Concept("emotion", some), scenario, folds, permutations=5, bootstraps=20,
        kept=[Concept("domain", domain, units=np.arange(240))],
    )  # fmt: skip
    assert {row["n"] for row in rows if row["target"] == "emotion"} == {120}
    assert {row["n"] for row in rows if row["target"] == "domain"} == {240}


# Random erasing


def test_random_erasers_are_orthonormal_and_the_seeds_own():
    eraser = random_eraser(3, 20, 5)
    np.testing.assert_allclose(eraser.read @ eraser.read.T, np.eye(3), atol=1e-12)
    assert eraser.rank == 3
    assert np.array_equal(eraser.read, random_eraser(3, 20, 5).read)
    assert not np.allclose(eraser.read, random_eraser(3, 20, 6).read)
    x = np.random.default_rng(0).standard_normal((4, 2, 20))
    erased = random_eraser(3, 20, 5, mean=np.ones(20))(x)
    np.testing.assert_allclose((erased - 1) @ eraser.read.T, 0, atol=1e-12)


def test_a_projection_of_directions_removes_their_span():
    directions = np.array([[1.0, 1, 0, 0], [2.0, 2, 0, 0], [0, 1.0, 1, 0]])
    eraser = ProjectionEraser.of(directions, np.arange(4.0))
    assert eraser.rank == 2
    x = np.random.default_rng(0).standard_normal((5, 4))
    np.testing.assert_allclose((eraser(x) - np.arange(4)) @ directions.T, 0, atol=1e-12)
    same_map(ProjectionEraser.of([3.0, 0, 0, 0], np.zeros(4)),
             Eraser(np.eye(4)[:1], np.eye(4)[:1], np.zeros(4)))  # fmt: skip


# Inside a model


@pytest.mark.parametrize("family", ["llama", "gemma2", "gemma3", "olmo2", "exaone4", "gpt2"])
@pytest.mark.parametrize("kind", ["resid_post", "attn_out", "mlp_out", "resid_pre"])
def test_erasing_in_the_model_equals_erasing_what_was_captured(family, kind):
    model = build(family)
    labels = np.array(["a", "b", "a", "b", "a", "b"])
    clean = capture(model, TEXTS, [f"{kind}.1"], ["last", "mean"])
    for pooling in ("last", "mean"):
        states = clean.layer(kind, 1, pooling)
        (eraser,) = LEACE().update(states, labels).erasers
        assert gap(states, labels) > 0.1
        edit = Edit(f"{kind}.1", "all", eraser.operation())
        with model.edited([edit]):
            # An affine map of every token is that map of their mean.
            erased = capture(model, TEXTS, [f"{kind}.1", "resid_post.2"], ["last", "mean"])
        got = erased.layer(kind, 1, pooling)
        wanted = eraser(states)
        np.testing.assert_allclose(got, wanted, atol=1e-5 * np.abs(wanted).max())
        assert gap(got.astype(np.float64), labels) < 1e-4
        above = capture(model, TEXTS, ["resid_post.2"], ["last"]).layer("resid_post", 2, "last")
        assert not np.allclose(erased.layer("resid_post", 2, "last"), above, atol=1e-3)
    assert hooks_on(model) == 0


def by_hand(model, text, change=None, layer=1):
    """Summed loss of one text, and its number of predicted tokens."""
    ids = model.encode([text])[0].input_ids
    if change is None:
        logits = plain.logits(model, ids)
    else:
        with plain.changed(model, "resid_post", layer, range(1, len(ids)), change):
            logits = plain.logits(model, ids)
    nats = -logits[:-1].double().log_softmax(-1)
    return float(nats[range(len(ids) - 1), list(ids[1:])].sum()), len(ids) - 1


@pytest.mark.parametrize("batch", [1, 4])
def test_loss_is_that_of_plain_runs_one_text_at_a_time(batch):
    model = build("gemma2")
    states = capture(model, TEXTS, ["resid_post.1"], ["mean"]).layer("resid_post", 1, "mean")
    (eraser,) = LEACE().update(states, np.array(list("ababab"))).erasers
    rows = language_loss(model, TEXTS, "resid_post.1", eraser, bootstraps=200, batch=batch)

    def erase(vector):
        return torch.as_tensor(eraser(vector.numpy())).to(vector)

    for method, change in (("none", None), ("erased", erase)):
        pairs = [by_hand(model, text, change) for text in TEXTS]
        total, tokens = (sum(side) for side in zip(*pairs, strict=True))
        found = only(rows, method=method, metric="nats_per_token")
        assert found["value"] == pytest.approx(total / tokens, rel=1e-5)
        assert found["low"] <= found["value"] <= found["high"]
    values = {r["method"]: r["value"] for r in picked(rows, metric="nats_per_token")}
    for row in picked(rows, metric="nats_per_token_change"):
        assert row["value"] == pytest.approx(values[row["method"]] - values["none"])
        assert row["value"] != 0
        assert 0 < row["p"] <= 1
    assert {r["method"]: r["condition"] for r in rows} == {
        "none": "baseline", "erased": "erasure", "random": "control", "placebo": "control"
    }  # fmt: skip
    assert {(r["site"], r["layer"], r["n"], r["clusters"]) for r in rows} == {
        ("resid_post", 1, 6, 6)
    }
    assert hooks_on(model) == 0


def test_erasing_nothing_costs_nothing():
    model = build("llama")
    nothing = random_eraser(0, WIDTH, 0)
    rows = language_loss(model, TEXTS, "resid_post.1", nothing, bootstraps=50)
    for row in picked(rows, metric="nats_per_token_change"):
        assert row["value"] == 0


# Refusals


X, Y = planted(40, 6, 2)


def evaluate(labels=Y, groups=Y, folds=np.arange(40) % 4, **options):  # noqa: B008
    return evaluate_erasure(X, Concept("e", labels), groups, folds, **options)


def loss_of(texts, d=WIDTH, **options):
    return language_loss(
        build("llama", bos=False), texts, "resid_post.1", random_eraser(1, d, 0), **options
    )


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: LEACE().update(np.where(X > 0, X, np.nan), Y), "NaN or infinity.*item"),
        (lambda: LEACE().update(X, np.full(40, "joy")).erasers, "classes seen: joy; .*two"),
        (lambda: LEACE().erasers, "classes seen: none"),
        (lambda: LEACE().update(X, Y[:-1]), r"shape \(39,\) for 40 rows"),
        (lambda: LEACE().update(X, np.linspace(0, 1, 40)), "labels of type float64"),
        (
            lambda: LEACE().update(X, Y).update(X[..., :5], Y),
            "2 layers of 5, those before 2 layers",
        ),
        (lambda: LEACE().update(X[:, 0], Y).update(X, Y), "2 layers of 6, those before 1"),
        (lambda: LEACE().update(X, Y).erasers[0](X[:, 0, :5]), r"6 features.*\(40, 5\)"),
        (lambda: random_eraser(7, 6, 0), "7 random directions of 6 features"),
        (lambda: ProjectionEraser.of(np.zeros(6), np.zeros(6)), "none of them zero"),
        (lambda: ProjectionEraser.of(np.full(6, np.nan), np.zeros(6)), "zero or NaN"),
        (lambda: ProjectionEraser.of(np.ones(6), np.zeros(5)), r"give \[k, d\], \[d\]"),
        (lambda: evaluate(np.full(40, "a")), "classes of e: a; give two"),
        (lambda: evaluate(Y[:9]), "9 e for 40"),
        (lambda: evaluate(groups=Y[:9]), "9 groups for 40"),
        (lambda: evaluate(folds=np.arange(40) % 2), "2 folds: give three"),
        (lambda: evaluate(held_out=np.ones(40, bool)), "0 folds: give three"),
        (lambda: evaluate(layers=[1]), "1 layer numbers for 2 layers"),
        (lambda: evaluate(held_out=np.ones(9, bool)), "9 held_out for 40"),
        (lambda: loss_of(["a", "the roof"]), "text '0' has one token"),
        (lambda: loss_of(TEXTS, d=5), "5 wide: give 32"),
        (lambda: loss_of(TEXTS, clusters=["a"]), "1 clusters for 6 texts"),
        (lambda: loss_of(TEXTS[:1]), "1 clusters for 1 texts"),
    ],
)
def test_bad_input_is_refused_in_one_line(make, says):
    with pytest.raises(UserError, match=says) as refusal:
        make()
    assert "\n" not in str(refusal.value)


# The real default model


@pytest.mark.slow
def test_real_model_reception_is_erased_where_the_eraser_was_fitted():
    model = load_model("smollm2-135m", device="cpu")
    stimuli = StimulusSet.load("vignettes").select(arm=["keyword_rich", "neutral"], split="dev")
    stimuli = stimuli.select(domain="family")
    labels, scenario = stimuli.column("arm"), stimuli.column("scenario")
    states = capture(model, stimuli, ["resid_post.6"], ["mean"]).stack("resid_post", "mean")
    folds = grouped_folds(scenario, labels, 4, 0)
    reception = Concept("reception", labels, "within")
    rows = evaluate_erasure(
        states, reception, scenario, folds, layers=[6], permutations=10, bootstraps=100
    )
    at = {"metric": "auroc_same_rows"}
    assert only(rows, method="none", condition="baseline", **at)["value"] > 0.75
    assert only(rows, method="random", condition="control", **at)["value"] > 0.75
    assert only(rows, method="leace", condition="erasure", **at)["value"] == 0.5
    assert only(rows, method="leace", metric="mean_gap")["value"] < 1e-6
    # A probe that learns from rows that the eraser has not seen still finds much of it.
    left = only(rows, method="leace", condition="erasure", metric="auroc")["value"]
    assert 0.5 < left < only(rows, method="none", condition="baseline", metric="auroc")["value"]

    (eraser,) = LEACE().update(states, labels).erasers
    some = stimuli.texts[:3]
    with model.edited([Edit("resid_post.6", "all", eraser.operation())]):
        edited = capture(model, some, ["resid_post.6"], ["mean"]).layer("resid_post", 6, "mean")
    wanted = eraser(states[:3, 0])
    np.testing.assert_allclose(edited, wanted, atol=1e-4 * np.abs(wanted).max())
    neutral = [text for text, arm in zip(stimuli.texts, labels, strict=True) if arm == "neutral"]
    loss = language_loss(model, neutral[:2], "resid_post.6", eraser, bootstraps=100)
    before = only(loss, method="none", metric="nats_per_token")["value"]
    assert 2 < before < 6
    assert abs(only(loss, method="erased", metric="nats_per_token_change")["value"]) < 0.5
