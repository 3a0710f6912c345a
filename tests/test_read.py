"""A text along directions: the unit, the controls, what is shown of it, and what is refused."""

import json
import unicodedata
from dataclasses import replace

import numpy as np
import pytest
from families import TEXTS, build
from test_cli import refused as refused_by_command
from test_direction_files import made
from test_directions import refused
from test_report import ATTACK, Page

from probekit import runs
from probekit.bundled import DEFAULT
from probekit.cli import run
from probekit.directions import Directions, Reference, read_text, score_tokens, sources
from probekit.directions.pieces import pieces, written
from probekit.directions.reference import Band, at_layer, text_scores, with_peers
from probekit.prompts import TEMPLATES
from probekit.report.read import Told, reading_page, write_reading
from probekit.stimuli import Stimulus, StimulusSet

pytestmark = pytest.mark.usefixtures("one_thread")
NEUTRAL = StimulusSet("calm", tuple(Stimulus(f"n{n}", text) for n, text in enumerate(TEXTS)))
ODD = "She\t“no”\n\nשלום 😢👩‍👧🏽 e\u0301 🇫🇷 twice"


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("PROBEKIT_CACHE", str(tmp_path / "cache"))


@pytest.fixture(scope="module")
def model():
    return build("llama")


def measured(model, layer=2, **options) -> Reference:
    return Reference.measure(model, made(model), NEUTRAL, layer, **options)


# The unit and the controls


@pytest.mark.parametrize("template", ["none", "feeling"])
def test_neutral_tokens_have_mean_0_and_deviation_1_along_every_direction(model, template):
    template = TEMPLATES[template]
    reference = measured(model, template=template)
    raw = [text_scores(model, reference.panel, text, template)[2] for text in TEXTS]
    scores = reference.standardise(np.concatenate(raw))
    assert scores.shape == (reference.n_tokens, 2 + 20 * 2)
    assert np.allclose(scores.mean(0), 0, atol=1e-9)
    assert np.allclose(scores.std(0), 1, atol=1e-9)
    # Of the text's own tokens, not the template's nor the first.
    n_own = sum(len(model.encode([text])[0]) - 1 for text in TEXTS)
    assert reference.n_tokens == n_own
    assert np.allclose(np.concatenate(reference.texts), scores[:, :2], atol=1e-4)


def test_a_reading_is_the_projection_in_that_unit(model):
    reference = measured(model)
    text = "the rain held on and on"
    reading = read_text(model, reference, text)
    raw = score_tokens(model, made(model), text).values[1:, :, 1]
    expected = (raw - reference.mean[:2]) / reference.deviation[:2]
    assert np.allclose(reading.values, expected)
    assert np.allclose(reading.means, expected.mean(0))
    assert "".join(text[p.start : p.end] for p in reading.pieces) == text
    assert reading.n_random == 40
    random = score_tokens(model, at_layer(made(model), 2).peer(0), text).values[1:, 0, 0]
    assert np.allclose(reading.random, (random - reference.mean[2]) / reference.deviation[2])
    strongest = reading.strongest(0, 3)
    assert strongest == np.argsort(-expected[:, 0])[:3].tolist()
    assert reading.ranked()[0] == int(expected.mean(0).argmax())


def test_the_neutral_control_is_cut_to_the_texts_length(model):
    reference = measured(model)
    three = np.stack([text[:3].mean(0) for text in reference.texts])
    for place, band in enumerate(reference.bands(3)):
        assert band == pytest.approx(Band.of(three[:, place].astype(np.float64)), abs=1e-5)
    assert reference.bands(10**6) == reference.bands(max(map(len, reference.texts)))
    wide = [np.ptp(reference.bands(n)[0]) for n in (1, 10**6)]
    assert wide[0] > wide[1]


def test_a_mean_stands_out_only_beyond_both_controls(model):
    reading = read_text(model, measured(model), TEXTS[2])
    for mean, side in ((3.0, 1), (1.5, 0), (0.0, 0), (-1.5, 0), (-3.0, -1)):
        given = replace(
            reading,
            means=np.array([mean, 0.0]),
            neutral_bands=(Band(-1, 1), Band(-1, 1)),
            random_band=Band(-2, 2),
        )
        assert given.side(0) == side
    crossing = replace(given, means=np.array([0.0, 0.0]), neutral_bands=(Band(1, 2),) * 2)
    assert replace(crossing, random_band=Band(-2, -1)).side(0) == 0, "above one, below the other"


def test_the_reference_is_kept_and_belongs_to_its_directions(model, monkeypatch):
    counted = []
    first = measured(model, advance=counted.append)
    again = measured(model, advance=counted.append)
    assert len(counted) == len(TEXTS)
    assert np.array_equal(first.deviation, again.deviation)
    assert all(np.array_equal(a, b) for a, b in zip(first.texts, again.texts, strict=True))
    Reference.measure(model, made(model, seed=1), NEUTRAL, 2, advance=counted.append)
    measured(model, layer=1, advance=counted.append)
    assert len(counted) == 3 * len(TEXTS)


def test_some_emotions_are_measured_by_the_controls_of_all(model):
    whole = read_text(model, measured(model), TEXTS[2])
    joy = whole.only(["joy"])
    assert joy.emotions == ("joy",)
    assert np.array_equal(joy.values[:, 0], whole.values[:, 1], equal_nan=True)
    assert (joy.random_band, joy.n_random) == (whole.random_band, whole.n_random)
    assert joy.neutral_bands == whole.neutral_bands[1:]
    refused(lambda: whole.only(["joi"]), "unknown emotion 'joi': accepted are fear, joy")


def test_one_pass_scores_peers_as_they_score_alone(model):
    panel = with_peers(at_layer(made(model), 1))
    assert panel.emotions[:3] == ("fear", "joy", "random 1 fear")
    assert len(set(panel.emotions)) == 42


def test_texts_that_cannot_be_read_are_refused(model):
    reference = measured(model)
    refused(lambda: read_text(model, reference, " \n"), "the text is empty")
    refused(lambda: read_text(model, reference, "word " * 99), "the context of llama holds 64")
    bare = build("llama", bos=False)
    alone = Reference.measure(bare, made(bare), NEUTRAL, 2)
    refused(lambda: read_text(bare, alone, "t"), "the text is one token")
    refused(lambda: measured(model, layer=0), "unknown layer 0: accepted are 1, 2")
    refused(lambda: measured(build("gpt2")).measure(model, made(build("gpt2")), NEUTRAL, 2), "not")
    one = StimulusSet("one", (Stimulus("a", "t"),))
    refused(lambda: Reference.measure(model, made(model), one, 2), "score all the same")


# Pieces


@pytest.mark.parametrize("bos", [True, False])
@pytest.mark.parametrize("text", [ODD, ATTACK, *TEXTS, "\n", " a", "a ", "</s> a<s>"])
def test_pieces_cover_the_text_and_hold_whole_characters(bos, text):
    prompt = build("llama", bos=bos).encode([text])[0]
    found = pieces(prompt, text)
    assert "".join(text[p.start : p.end] for p in found) == text
    assert all(p.start < p.end for p in found)
    held = [token for piece in found for token in piece.tokens]
    assert held == prompt.tokens_of(0, len(text))
    for piece in found:
        assert not unicodedata.category(text[piece.start]).startswith("M")
        assert "\u200d" not in (text[piece.start], text[piece.end - 1])


def test_what_is_one_character_to_the_eye_is_one_piece():
    prompt = build("llama").encode([ODD])[0]
    shown = [ODD[p.start : p.end].strip() for p in pieces(prompt, ODD)]
    assert {"😢👩‍👧🏽", "🇫🇷"} & set(shown) or {"👩‍👧🏽", "🇫🇷"} <= set(shown)
    assert any(piece.endswith("e\u0301") for piece in shown)


def test_pieces_stand_on_one_line():
    assert written(" word") == "word"
    assert written("\n\t") == "↵⇥"
    assert written("  ") == "␣␣"
    assert written("\x1b[31m") == "\ufffd[31m"
    assert written("\u202eabc") == "abc"
    assert written("\u200b") == "U+200B"


# The page


@pytest.fixture
def page_file(model, tmp_path):
    def write(text, **told):
        path = tmp_path / "read.html"
        write_reading(path, model, read_text(model, measured(model), text), "as asked for", **told)
        return path

    return write


def test_the_page_says_what_was_read_and_by_what(page_file, model):
    html = page_file(TEXTS[2], notes=["a note of its own"]).read_text(encoding="utf-8")
    page = Page(html)
    assert TEXTS[2] in page.text
    for part in ("A text read by llama", "2 of 0 to 2, as asked for", "a note of its own", "calm"):
        assert part in page.text, part
    assert "40 random directions" in page.text
    assert "a random direction" in page.text
    ids = [given["id"] for _, given in page.tags if "id" in given]
    assert len(ids) == len(set(ids))
    assert len(html) < 200_000, "without figures there is no plotly"
    linked = [v for _, a in page.tags for k, v in a.items() if k in ("src", "href")]
    assert all(link.startswith("#") for link in linked)


def test_the_page_escapes_what_it_shows(page_file, model):
    text = f"{ATTACK} he said"
    path = page_file(text, notes=[ATTACK])
    page = Page(path.read_text(encoding="utf-8"))
    assert text in page.text
    assert [s.get("id") for s in page.named("script")] == ["figures", "dark", "reading", None, None]
    told = Told({**model.describe(), "name": ATTACK}, ATTACK, None, ATTACK)
    page = Page(reading_page(read_text(model, measured(model), text), told))
    assert page.text.count(ATTACK) >= 5
    assert len(page.named("script")) == 5


def test_directions_outside_of_the_stream_write_no_words(model, tmp_path):
    directions = made(model, kind="z")
    reference = Reference.measure(model, directions, NEUTRAL, 2)
    write_reading(tmp_path / "z.html", model, read_text(model, reference, TEXTS[0]), "why")
    assert "Missing: site z is not of the stream" in (tmp_path / "z.html").read_text("utf-8")


def test_in_a_browser_the_choice_changes_the_text(browser, page_file, model):
    reading = read_text(model, measured(model), f"a\n {ATTACK}")
    path = page_file(reading.text)
    complaints = []
    context = browser.new_context(offline=True, viewport={"width": 360, "height": 800})
    page = context.new_page()
    page.on("console", lambda m: complaints.append(m.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("dialog", lambda d: (complaints.append(d.message), d.dismiss()))
    page.goto(path.as_uri())
    spans = page.locator("[data-piece]")

    def state():
        seen = (
            "s => s.map(e => [e.dataset.piece, e.dataset.score, e.style.cssText, e.dataset.side])"
        )
        return spans.evaluate_all(seen)

    def checked(column):
        """Every piece shows its own figure of the chosen direction."""
        for place, score, _, side in state():
            value = column[int(place)]
            assert float(score.replace("−", "-")) == pytest.approx(value, abs=0.006)
            assert side == ("inside", "above", "below")[reading.token_band.side(value)]

    first, second = reading.ranked()
    written_by_python = state()
    checked(reading.values[:, first])
    page.get_by_role("button", name=reading.emotions[second]).click()
    checked(reading.values[:, second])
    assert page.locator("[data-choice][aria-pressed=true]").count() == 1
    page.get_by_role("button", name="a random direction").click()
    checked(reading.random)
    page.get_by_role("button", name=reading.emotions[first]).click()
    assert [row[:2] for row in state()] == [row[:2] for row in written_by_python]
    spans.first.focus()
    page.keyboard.press("ArrowRight")
    assert page.evaluate("document.activeElement.dataset.piece") == state()[1][0]
    label = spans.nth(1).get_attribute("aria-label")
    assert page.locator("#readout").inner_text().startswith(label.strip())
    assert page.locator("[data-piece][tabindex='0']").count() == 1
    page.get_by_label("Write the scores").check()
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    for scheme, ground in (("dark", "rgb(20, 22, 26)"), ("light", "rgb(253, 252, 250)")):
        page.emulate_media(color_scheme=scheme)
        assert page.evaluate("getComputedStyle(document.body).backgroundColor") == ground
    context.close()
    assert complaints == []


# Where directions come from


def test_a_run_folder_gives_its_one_file_and_its_layer(model, tmp_path):
    inside = tmp_path / "run" / "directions"
    made(model).save(inside / "grouped.resid_post.mean.keyword_free.safetensors")
    assert sources.from_path(tmp_path / "run")[1] is None
    (file,) = inside.iterdir()
    entry, other = ({"file": f"directions/{name}", "layer": 1} for name in (file.name, "x"))
    for told, layer in (
        ({"directions": [{**other, "layer": 2}, entry]}, 1),
        ({"directions": [{**entry, "layer": 9}]}, None),
        ({"directions": [other]}, None),
        ({}, None),
    ):
        runs.write_json(tmp_path / "run" / runs.MANIFEST, told)
        found, chosen = sources.from_path(tmp_path / "run")
        assert (found.emotions, chosen) == (("fear", "joy"), layer)
    runs.write_json(tmp_path / "run" / runs.MANIFEST, {"directions": [entry]})
    assert sources.from_path(file)[1] == 1
    made(model).save(inside / "lda.resid_post.mean.keyword_free.safetensors")
    names = ("2 files of directions: give one of", f"directions/{file.name}, directions/lda.")
    refused(lambda: sources.from_path(tmp_path / "run"), *names)
    (tmp_path / "empty").mkdir()
    refused(lambda: sources.from_path(tmp_path / "empty"), "holds no file of directions")


def test_the_layer_is_chosen_or_stands_two_thirds_up(model):
    directions = made(model)
    assert sources.pick_layer(directions, model, 1) == (1, "chosen by its run")
    whole = replace(
        directions,
        vectors=directions.vectors[:, [0, 0, 1]],
        norms=directions.norms[:, [0, 0, 1]],
        layers=(0, 1, 2),
    )
    assert sources.pick_layer(whole, model, None) == (1, "two thirds of depth")
    one = at_layer(whole, 2)
    why = "the nearest to two thirds of depth that the file has"
    assert sources.pick_layer(one, model, None) == (2, why)


def test_texts_that_made_the_directions_are_named():
    assert sources.notes("Some other text.") == []
    assert "dev split of vignettes" in sources.notes(sources.neutral_texts().texts[0] + "\n")[0]


# The command


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([], "no text: give the words, or --file"),
        ([" ", "\n"], "the text is empty"),
        (["a", "--file", "b"], "both a text and --file"),
        (["--file", "no-such-file"], "no such file"),
        (["--file", "empty.txt"], "empty.txt is empty"),
        (["--file", "latin.txt"], "is not UTF-8"),
        (["some words", "--directions", "empty.txt"], "holds no directions"),
        (["some words", "--directions", "nowhere"], "nowhere is no file"),
        (["some words", "--out", "."], "is a folder"),
        (["some words", "--template", "song"], "unknown template"),
    ],
)
def test_bad_input_is_one_line_before_a_model_is_loaded(
    capsys, tmp_path, monkeypatch, arguments, says
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty.txt").write_text(" \n")
    (tmp_path / "latin.txt").write_bytes(b"caf\xe9")
    assert says in refused_by_command(capsys, "read", "no-such-model", *arguments)


@pytest.mark.slow
class TestOnTheDefaultModel:
    """Plumbing: which emotion one text shows is this small model's affair, and no test's."""

    @pytest.fixture
    def at_home(self, tmp_path, monkeypatch):
        # The user's cache: directions and neutral tokens are read once.
        monkeypatch.delenv("PROBEKIT_CACHE")
        monkeypatch.chdir(tmp_path)

    @pytest.mark.usefixtures("at_home")
    def test_a_text_is_read_shown_and_written(self, capsys, tmp_path):
        (tmp_path / "text.txt").write_text("The siren howls at noon 😢\n", encoding="utf-8")
        command = ["read", DEFAULT, "--file", "text.txt", "--emotions", "grief,terror"]
        assert run([*command, "--layer", "9"]) == 0
        shown = capsys.readouterr().out
        assert "\x1b" not in shown
        assert f"{DEFAULT}, layer 9 (as asked for), resid_post; grouped directions" in shown
        assert "160 random directions" in shown
        assert "rage" not in shown
        page = (tmp_path / "runs" / "read" / f"{DEFAULT}.html").read_text(encoding="utf-8")
        data = json.loads(page.split('id="reading">')[1].split("</script>")[0])
        assert sorted(data["names"]) == ["a random direction", "grief", "terror"]
        for options, says in (
            (["--layer", "99"], "unknown layer 99"),
            (["--emotions", "gref"], "unknown emotion 'gref': accepted are admiration"),
        ):
            given = ["read", DEFAULT, "some words", "--layer", "9", *options]
            assert says in refused_by_words(capsys, *given)
        made(build("llama")).save(tmp_path / "other.safetensors")
        given = ["read", DEFAULT, "some words", "--directions", "other.safetensors"]
        assert "are not those of" in refused_by_words(capsys, *given)
        assert isinstance(Directions.load(tmp_path / "other.safetensors"), Directions)


def refused_by_words(capsys, *arguments) -> str:
    """The error line of a command that may have shown progress before it."""
    capsys.readouterr()
    assert run(list(arguments)) == 2
    said = capsys.readouterr().err
    assert "Traceback" not in said
    (line,) = [line for line in said.splitlines() if line.startswith("error: ")]
    return line
