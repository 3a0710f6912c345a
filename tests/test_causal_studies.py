"""Patching and ablation studies on tiny models: sources, controls, halves, run folders."""

import csv
import itertools
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
import torch
from families import build, hooks_on

from probekit import stats
from probekit.ablation import Ablation, run_ablation
from probekit.ablation.replacing import Replacing
from probekit.causal import Sizes, Subject, log_odds, norm_matched, spoken
from probekit.errors import UserError
from probekit.patching import Patching, aligned_pairs, run_patching, shifts
from probekit.patching.last_token import LastToken
from probekit.patching.pairs import token_states
from probekit.runs import read_json
from probekit.sites import Site
from probekit.stimuli import StimulusSet
from probekit.sweep import Swept

EMOTIONS = ("joy", "fear", "anger")
PLACES = ("roof", "house", "letter", "name", "home", "tear", "café", "rain")
SIZES = Sizes(bootstraps=50, permutations=99)


def write_set(
    folder: Path, *, splits: bool = True, rich: bool = False, emotions: tuple[str, ...] = EMOTIONS
) -> StimulusSet:
    """24 scenarios of three emotions, each with a neutral text that differs in one word."""
    words = dict(zip(emotions, ("smiled", "empty", "nobody"), strict=True))
    path = folder / "tiny_set.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "text", "arm", "emotion", "scenario", "pair", "split"])
        for n, (place, emotion) in enumerate(itertools.product(PLACES, emotions)):
            split = ("test" if n % 8 >= 4 else "dev") if splits else ""
            common = [f"s{n}", "" if rich else f"p{n}", split]
            text = f"the {place} was {words[emotion]} when she came, rain on row {n}"
            writer.writerow([f"e{n}", text, "keyword_free", emotion, *common])
            plain = text.replace(words[emotion], "held")
            writer.writerow([f"n{n}", plain, "neutral", "neutral", *common])
            if rich:
                writer.writerow([f"r{n}", f"{text}, {emotion}", "keyword_rich", emotion, *common])
    return StimulusSet.load(path)


def results(folder: Path) -> list[dict[str, str]]:
    with (folder / "results.csv").open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def chosen(rows: list[dict[str, str]], **wanted: object) -> list[dict[str, str]]:
    return [r for r in rows if all(r[name] == str(value) for name, value in wanted.items())]


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory):
    """A cache of this module's own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PROBEKIT_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="module")
def patched(tmp_path_factory):
    folder = tmp_path_factory.mktemp("patch")
    model = build("llama")
    stimuli = write_set(folder)
    run_patching(model, stimuli, folder / "run", Patching(heads=True, sizes=SIZES))
    assert hooks_on(model) == 0
    return folder / "run"


@pytest.fixture(scope="module")
def ablated(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ablate")
    model = build("llama")
    options = Ablation(
        ("heads", "sublayers", "layers"), ("zero", "mean", "resample", "project"), sizes=SIZES
    )
    run_ablation(model, write_set(folder), folder / "run", options)
    return folder / "run"


def test_every_source_stands_beside_its_controls_at_every_layer(patched):
    rows = results(patched)
    for arm, sources in (
        ("keyword_free", {"same", "other", "neutral", "random", "shuffled"}),
        ("neutral", {"partner", "neutral", "random", "shuffled"}),
    ):
        for site in ("resid_post", "attn_out", "mlp_out"):
            found = chosen(rows, target=arm, site=site, unit="", method="", metric="source_shift")
            assert {r["source"] for r in found} == sources
            assert {(r["source"], r["layer"]) for r in found} == {
                (source, str(layer)) for source in sources for layer in range(3)
            }
            kinds = {r["source"]: r["condition"] for r in found}
            assert {s for s, kind in kinds.items() if kind == "control"} == {
                "neutral",
                "random",
                "shuffled",
            }
    assert chosen(rows, metric="flip", source="none"), "base rates stand in the same table"
    assert {r["metric"] for r in chosen(rows, condition="baseline")} >= {"top1", "flip"}
    assert len(chosen(rows, site="z", metric="source_shift", method="")) == 2 * 2 * 12


def test_a_patch_across_arms_brings_the_same_emotion_from_the_other_arm(tmp_path):
    model, stimuli = build("llama"), write_set(tmp_path, rich=True)
    options = Patching(sites=("resid_post",), sizes=SIZES)
    run_patching(model, stimuli, tmp_path / "run", options)
    rows = results(tmp_path / "run")
    for arm in ("keyword_free", "keyword_rich"):
        found = chosen(rows, target=arm, source="across", metric="source_shift", method="")
        assert [r["layer"] for r in found] == ["0", "1", "2"]
        assert all(r["condition"] == "patch" for r in found)
    subject = Subject(model, stimuli, SIZES, lambda *_: None)
    targets = subject.rows("keyword_free", learned=False)
    donors = LastToken(
        subject, "keyword_free", targets, ["resid_post"], False, tmp_path / "kept"
    ).donors
    assert set(subject.arm[donors["across"]]) == {"keyword_rich"}
    assert (subject.emotion[donors["across"]] == subject.emotion[donors["other"]]).all()
    assert (subject.scenario[donors["across"]] != subject.scenario[targets]).all()


def test_a_difference_from_random_is_the_difference_of_the_two_rows(patched):
    rows = results(patched)
    for site, layer in (("resid_post", 1), ("attn_out", 0)):
        place = {"target": "keyword_free", "site": site, "layer": layer, "unit": ""}
        for metric in ("source_shift", "reception_shift"):
            value = {
                (r["source"], r["method"]): float(r["value"])
                for r in chosen(rows, metric=metric, **place)
            }
            difference = value["other", ""] - value["random", ""]
            assert value["other", "above_random"] == pytest.approx(difference, abs=1e-4)
    tested = chosen(rows, method="above_random")
    assert all(r["p"] and r["q"] and float(r["q"]) >= float(r["p"]) - 1e-9 for r in tested)


def test_overwriting_the_last_stream_copies_the_sources_own_read_out(tmp_path):
    """The trivial bound: at the last block the read-out becomes that of the source exactly."""
    model = build("qwen2")
    stimuli = write_set(tmp_path)
    subject = Subject(model, stimuli, SIZES, lambda *_: None)
    run_patching(model, stimuli, tmp_path / "run", Patching(sites=("resid_post",), sizes=SIZES))
    flips = chosen(
        results(tmp_path / "run"), metric="flip", source="other", target="keyword_free", layer=2
    )
    rows = subject.rows("keyword_free", learned=False)
    from probekit.edits import Edit, Scale

    clean = subject.sweep(rows, [Edit("resid_post.0", -1, Scale(1.0))]).clean["labels"]
    emotion = subject.emotion[rows]
    rng = np.random.default_rng(0)
    donors = {}
    for kind, fits in (("same", np.equal), ("other", np.not_equal)):
        donors[kind] = []
        for place, row in enumerate(rows):
            there = [
                s
                for s in rows
                if subject.scenario[s] != subject.scenario[row]
                and fits(subject.emotion[s], emotion[place])
            ]
            donors[kind].append(rng.choice(there))
    at = {row: place for place, row in enumerate(rows)}
    first = clean.argmax(-1)
    hits = [first[at[s]] == subject.emotion[s] for s in donors["other"]]
    assert float(flips[0]["value"]) == pytest.approx(np.mean(hits), abs=1e-6)


def test_log_odds_are_against_all_other_labels():
    scores = np.log(np.array([[[0.2, 0.3, 0.5]], [[0.5, 0.25, 0.25]]]))
    found = log_odds(scores, np.array([2]))
    np.testing.assert_allclose(found, np.log([[0.5 / 0.5], [0.25 / 0.75]]))
    np.testing.assert_allclose(log_odds(scores + 7.0, np.array([2])), found)


def test_shifts_are_changes_of_log_odds_and_flips_are_rates():
    clean = np.log(np.array([[0.6, 0.4], [0.5, 0.5]]))
    after = np.log(np.array([[[0.1, 0.9], [0.5, 0.5]]]))
    swept = Swept({"labels": after}, {"labels": clean}, {}, ("a", "b"), True, ())
    found = shifts(swept, np.array([1, 1]), np.array([0, 0]))
    step = np.log(0.9 / 0.1) - np.log(0.4 / 0.6)
    np.testing.assert_allclose(found["source_shift"], [[step, 0]], atol=1e-12)
    np.testing.assert_allclose(found["target_shift"], [[-step, 0]], atol=1e-12)
    np.testing.assert_array_equal(found["flip"], [[1, 0]])
    assert set(found) == {"source_shift", "target_shift", "flip"}


def test_random_vectors_are_as_long_as_what_they_stand_for():
    reference = np.random.default_rng(0).standard_normal((5, 8)).astype(np.float32) * 3
    drawn = norm_matched(reference, np.random.default_rng(1))
    np.testing.assert_allclose(
        np.linalg.norm(drawn, axis=1), np.linalg.norm(reference, axis=1), rtol=1e-5
    )
    assert np.abs(drawn - reference).min() > 1e-4


def test_the_words_are_plutchiks_basic_emotions_where_the_labels_are_his():
    assert spoken(("rage", "loathing", "vigilance")) == ("anger", "disgust", "anticipation")
    assert spoken(("rage", "anger")) == ("rage", "anger"), "two labels of one word"
    assert spoken(("pride", "rage")) == ("pride", "rage")


def test_pairs_are_aligned_on_the_words_that_differ(tmp_path):
    model = build("llama")
    subject = Subject(model, write_set(tmp_path), SIZES, lambda *_: None)
    pairs = aligned_pairs(subject)
    for pair in pairs:
        a = subject.prompts[pair.target].input_ids
        b = subject.prompts[pair.source].input_ids
        assert len(a) == len(b)
        assert a[: pair.first] == b[: pair.first]
        assert a[pair.first] != b[pair.first]
        assert a[pair.last + 1 :] == b[pair.last + 1 :]
        parts = [t for part in ("changed", "after", "readout") for t in pair.tokens(part, len(a))]
        assert parts == list(range(pair.first, len(a)))
    of_pair = subject.stimuli.column("pair")
    assert all(of_pair[p.target] == of_pair[p.source] for p in pairs)


def test_states_of_tokens_are_those_of_a_run_alone(tmp_path):
    model = build("gpt2")
    subject = Subject(model, write_set(tmp_path), SIZES, lambda *_: None)
    states = token_states(model, subject.prompts[:2], [Site("resid_post", 1)])
    last = subject.state(Site("resid_post", 1))
    for row, found in enumerate(states[Site("resid_post", 1)]):
        assert found.shape == (len(subject.prompts[row]), model.d_model)
        np.testing.assert_allclose(found[-1], last[row], atol=1e-5)


def test_probes_are_fitted_on_dev_and_scored_on_test(patched):
    rows = chosen(results(patched), metric="auroc", condition="baseline")
    assert {r["task"] for r in rows} == {"category", "reception"}
    assert all(r["clusters"] == "12" for r in rows), "half of 24 scenarios"
    manifest = read_json(patched / "manifest.json")
    assert manifest["complete"]
    assert manifest["read_at"] == "resid_post.2"
    assert manifest["words"] == ["anger", "fear", "joy"]


def test_units_are_ranked_on_dev_and_measured_on_test(ablated):
    rows = results(ablated)
    heads = chosen(rows, site="z", metric="own_label", k="", source="")
    assert {(r["split"], r["method"]) for r in heads} == {
        ("dev", "mean"),
        *(("test", method) for method in ("zero", "mean", "resample")),
    }
    assert all(bool(r["p"]) == (r["split"] == "test") for r in heads)
    assert len(chosen(heads, split="test", method="zero")) == 12
    assert not chosen(rows, site="z", method="project"), "no direction of a head"
    assert len(chosen(rows, site="resid_post", method="project", metric="kl", source="")) == 3
    bounds = chosen(rows, metric="smallest_p", source="heads")
    assert float(bounds[0]["value"]) == pytest.approx(0.01), "99 flips"
    assert float(chosen(rows, metric="fdr_bound", source="heads")[0]["value"]) == (
        pytest.approx(0.05 / 12, rel=1e-4)
    )


def test_the_half_that_fitted_the_probe_has_no_effect_on_it(ablated):
    rows = chosen(results(ablated), metric="reception_shift")
    assert {r["split"] for r in rows} == {"test"}


def test_no_text_is_resampled_by_itself_and_sublayers_get_noise_of_their_own(tmp_path):
    kinds = ["attn_out", "mlp_out", "z"]
    subject = Subject(build("llama"), write_set(tmp_path), SIZES, lambda *_: None, kinds)
    replacing = Replacing(subject, "last")
    dev, test = (subject.rows("keyword_free", learned=half) for half in (True, False))
    for rows in (dev, test):
        donors = replacing.others(rows)
        assert len(donors) == len(rows)
        assert all(donor != row for donor, row in zip(donors, rows, strict=True))
        assert set(donors) <= set(dev.tolist())
    first, second = (replacing._noise(Site(k, 1), None).standard_normal(8) for k in kinds[:2])
    assert np.abs(first - second).min() > 1e-3


@pytest.mark.parametrize("positions", ["last", "all"])
def test_every_ablation_stands_beside_its_placebo_and_their_difference(
    ablated, positions, tmp_path
):
    if positions == "all":
        ablated = tmp_path / "all"
        options = Ablation(("layers",), ("zero", "project"), "all", sizes=SIZES)
        run_ablation(build("llama"), write_set(tmp_path), ablated, options)
    whole = {"split": "test", "site": "resid_post", "position": positions}
    for metric in ("own_label", "reception_shift"):
        rows = chosen(results(ablated), metric=metric, **whole)
        places = {(r["layer"], r["method"]) for r in rows}
        assert len(rows) == 3 * len(places)
        for layer, method in places:
            effect, placebo, difference = (
                chosen(rows, layer=layer, method=method, condition=condition, source=source)[0]
                for condition, source in (
                    ("ablation", ""),
                    ("control", "random"),
                    ("difference", "random"),
                )
            )
            # What the last layer does to earlier tokens is never read.
            unread = positions == "all" and layer == "2"
            apart = abs(float(effect["value"]) - float(placebo["value"]))
            assert (apart < 1e-5) == unread
            assert float(difference["value"]) == pytest.approx(
                float(effect["value"]) - float(placebo["value"]), abs=1e-5
            )
            assert all(each["p"] and each["q"] for each in (effect, placebo, difference))


def test_neurons_are_picked_by_attribution_where_the_words_begin_with_tokens_of_their_own(
    tmp_path, monkeypatch
):
    stimuli = write_set(tmp_path, emotions=("roof", "home", "was"))
    options = Ablation(("neurons",), ("mean",), sizes=SIZES)
    model = build("llama")
    everyone = run_ablation(model, stimuli, tmp_path / "all", options)
    monkeypatch.setattr("probekit.ablation.study.CANDIDATES", 36)
    some = run_ablation(model, stimuli, tmp_path / "some", options)
    r = chosen(results(some), metric="attribution_r", source="neurons")
    assert float(r[0]["value"]) > 0.9
    assert r[0]["n"] == "64"
    exact, picked = (
        {
            (row["layer"], row["unit"]): float(row["value"])
            for row in chosen(results(run), metric="own_label", split="dev", site="mlp_post")
        }
        for run in (everyone, some)
    )
    assert (len(exact), len(picked)) == (64, 36)
    best = sorted(exact, key=lambda place: exact[place])[:8]
    assert set(best) <= set(picked), "what exact effects rank first is among the candidates"
    assert not chosen(results(some), site="mlp_post", source="random", k="")


def test_neurons_are_drawn_at_random_where_attribution_cannot_read_the_words(tmp_path):
    options = Ablation(("neurons",), ("mean",), sizes=SIZES)
    run = run_ablation(build("llama"), write_set(tmp_path), tmp_path / "run", options)
    assert any(
        "neurons were drawn at random" in note and "begin with the same token" in note
        for note in read_json(run / "manifest.json")["notes"]
    )
    assert not chosen(results(run), metric="attribution_r")
    assert len(chosen(results(run), metric="own_label", split="test", site="mlp_post", k="")) == 64


def test_the_best_heads_of_dev_are_what_is_ablated_together(ablated):
    rows = results(ablated)
    measured = {"site": "z", "metric": "own_label", "split": "test", "source": "", "k": ""}
    single = {
        (r["layer"], r["unit"]): float(r["value"]) for r in chosen(rows, method="mean", **measured)
    }
    ranking = {
        (r["layer"], r["unit"]): float(r["value"])
        for r in chosen(rows, site="z", metric="own_label", split="dev", method="mean")
    }
    best = min(ranking, key=lambda place: ranking[place])
    together = chosen(rows, site="z", metric="own_label", method="top", k=1)
    assert float(together[0]["value"]) == pytest.approx(single[best], abs=1e-4)
    control = chosen(rows, site="z", metric="own_label", method="random_k", k=1)[0]
    assert float(control["low"]) <= float(control["value"]) <= float(control["high"])
    assert {r["k"] for r in chosen(rows, method="top", metric="kl")} == {"1", "2", "4", "8"}


def test_a_head_that_is_set_to_zero_does_what_the_model_does_without_it(ablated, tmp_path):
    from probekit.edits import Edit, Zero

    model = build("llama")
    subject = Subject(model, write_set(tmp_path), SIZES, lambda *_: None)
    rows = subject.rows("keyword_free", learned=False)
    found = []
    for row in rows:
        scores = []
        for edits in ([], [Edit("z.1.2", -1, Zero())]):
            batch = model.collate([subject.prompts[row]])
            with model.edited(edits):
                logits = model.hf(**batch.inputs(), use_cache=False).logits[0, -1]
            ids = [
                model.tokenizer(" " + w, add_special_tokens=False)["input_ids"]
                for w in subject.words
            ]
            tail = []
            for tokens in ids:
                total, prefix = float(logits[tokens[0]]), list(subject.prompts[row].input_ids)
                tail.append((total, prefix, tokens))
            scores.append(_whole_words(model, edits, tail))
        own = subject.emotion[[row]]
        both = log_odds(np.array(scores)[:, None], own)[:, 0]
        found.append(both[1] - both[0])
    stored = chosen(
        results(ablated),
        site="z",
        layer=1,
        unit=2,
        method="zero",
        metric="own_label",
        split="test",
        source="",
    )
    assert float(stored[0]["value"]) == pytest.approx(float(np.mean(found)), abs=1e-4)


def _whole_words(model, edits, words) -> list[float]:
    """First logit plus the log-probabilities of what follows, each word run by itself."""

    out = []
    for first, prefix, tokens in words:
        total = first
        for n in range(1, len(tokens)):
            ids = torch.tensor([prefix + list(tokens[:n])])
            from probekit.edits import Edit

            moved = [Edit(e.site, len(prefix) - 1, e.operation, units=e.units) for e in edits]
            with model.edited(moved):
                logits = model.hf(input_ids=ids, use_cache=False).logits[0, -1]
            total += float(logits.log_softmax(-1)[tokens[n]])
        out.append(total)
    return out


def test_sign_flips_find_a_shift_and_not_its_absence():
    rng = np.random.default_rng(0)
    clusters = [f"c{n // 2}" for n in range(80)]
    values = np.stack([rng.standard_normal(80) + 1.0, rng.standard_normal(80)], 1)
    p = stats.sign_flip_p(values, clusters, 999, 0)
    assert p[0] == pytest.approx(0.001)
    assert p[1] > 0.05
    assert np.isnan(stats.sign_flip_p(values * np.nan, clusters, 9, 0)).all()


def test_sign_flips_are_of_whole_clusters():
    """One cluster of many equal values is one observation: p stays 1."""
    p = stats.sign_flip_p(np.ones((50, 1)), ["one"] * 50, 199, 0)
    assert p[0] == 1.0
    null = [
        stats.sign_flip_p(
            np.repeat(np.random.default_rng(seed).standard_normal(12), 5)[:, None],
            [f"c{n // 5}" for n in range(60)],
            199,
            seed,
        )[0]
        for seed in range(200)
    ]
    assert np.mean(np.array(null) <= 0.05) < 0.1


def test_the_same_seed_writes_the_same_results(patched, tmp_path):
    run_patching(
        build("llama"), write_set(tmp_path), tmp_path / "run", Patching(heads=True, sizes=SIZES)
    )
    assert (tmp_path / "run" / "results.csv").read_bytes() == (patched / "results.csv").read_bytes()


def test_a_set_without_a_split_learns_from_half_of_its_scenarios(tmp_path):
    subject = Subject(build("llama"), write_set(tmp_path, splits=False), SIZES, lambda *_: None)
    assert 0.3 < subject.learned.mean() < 0.7
    of = {s: {bool(x) for x in subject.learned[subject.scenario == s]} for s in subject.scenario}
    assert all(len(sides) == 1 for sides in of.values()), "a scenario is never parted"


def test_what_cannot_be_patched_is_one_clear_line(tmp_path):
    model, stimuli = build("neox-parallel"), write_set(tmp_path)
    with pytest.raises(UserError, match="resid_mid: this architecture runs attention and MLP in"):
        run_patching(model, stimuli, tmp_path / "a", Patching(sites=("resid_mid",)))
    with pytest.raises(UserError, match="unknown kind of unit 'circuits': accepted are heads"):
        run_ablation(model, stimuli, tmp_path / "b", Ablation(units=("circuits",)))
    with pytest.raises(UserError, match="unknown positions 'first': accepted are last, all"):
        run_ablation(model, stimuli, tmp_path / "b", Ablation(positions="first"))
    assert not (tmp_path / "a").exists()
    assert not (tmp_path / "b").exists()
    plain = tmp_path / "plain.csv"
    plain.write_text("text,arm\nthe roof held,neutral\nshe smiled,neutral\n", encoding="utf-8")
    with pytest.raises(UserError, match="names fewer than two emotions"):
        run_patching(model, StimulusSet.load(plain), tmp_path / "c", Patching())


def test_a_killed_study_goes_on_and_ends_the_same(tmp_path, ablated):
    """SIGKILL while parts are being written; the second run reuses them."""
    script = textwrap.dedent(
        f"""
        import os, sys
        sys.path.insert(0, {str(Path(__file__).parent)!r})
        from pathlib import Path
        from test_causal_studies import *
        from probekit.sweep.kept import Kept
        write, count = Kept.write, [0]
        def dying(self, key, figures):
            write(self, key, figures)
            count[0] += 1
            if count[0] == 3:
                os.kill(os.getpid(), 9)
        Kept.write = dying
        options = Ablation(("heads", "sublayers", "layers"),
                           ("zero", "mean", "resample", "project"), sizes=SIZES)
        run_ablation(build("llama"), write_set(Path({str(tmp_path)!r})),
                     Path({str(tmp_path / "run")!r}), options)
        """
    )
    done = subprocess.run(
        [sys.executable, "-c", script], env=dict(os.environ), capture_output=True, check=False
    )
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()
    kept = list((tmp_path / "run" / "stages").rglob("*.safetensors"))
    assert len(kept) == 3
    before = {path: path.stat().st_mtime_ns for path in kept}
    options = Ablation(
        ("heads", "sublayers", "layers"), ("zero", "mean", "resample", "project"), sizes=SIZES
    )
    run_ablation(build("llama"), write_set(tmp_path), tmp_path / "run", options)
    assert {path: path.stat().st_mtime_ns for path in kept} == before
    assert (tmp_path / "run" / "results.csv").read_bytes() == (ablated / "results.csv").read_bytes()
