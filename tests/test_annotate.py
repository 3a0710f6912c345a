"""The page on which a person reads: what it must not show, and a person's way through it."""

import json
import re

import pytest

from probekit.annotate import deal, write_page
from probekit.cli import run
from probekit.errors import UserError
from probekit.stimuli import Stimulus, StimulusSet, read_readings
from probekit.stimuli.readings import text_hash

ATTACK = 'He typed "</script><script>alert(1)</script>" and <b>waited</b> & waited, <!-- so.'
ARMS = {"keyword_free": "loathing", "keyword_rich": "loathing", "neutral": "neutral"}


def vignettes(n=8):
    """Scenarios of three texts each, with ids that tell everything."""
    rows = [
        Stimulus(
            id=f"row-{scenario}-{arm}", text=f"Text {scenario * 3 + place} of a day.", set="secret",
            arm=arm, emotion=emotion, valence="negative", scenario=f"scene-{scenario}",
            domain="hospital", split=("dev", "test")[scenario % 2], extra={"read_emotion": "rage"},
        )
        for scenario in range(n)
        for place, (arm, emotion) in enumerate(ARMS.items())
    ]  # fmt: skip
    return StimulusSet("vignettes", tuple(rows))


def people():
    """A scene of two people, a text of one, and a scene whose second person is not asked about."""
    return StimulusSet("people", (
        Stimulus("two", "Ada won, Bo lost.", extra={"holder_a": "Ada", "holder_b": "Bo"}),
        Stimulus("one", "She went home."),
        Stimulus("half", "Cy watched.", extra={"holder_a": "Cy"}),
    ))  # fmt: skip


def data_of(path):
    """What a page holds, as its script reads it."""
    found = re.findall(
        r'<script id="data" type="application/json">(.*?)</script>',
        path.read_text(encoding="utf-8"),
        re.DOTALL,
    )
    assert len(found) == 1
    return json.loads(found[0])


# The deal


def test_texts_of_a_scenario_are_dealt_to_different_lists():
    stimuli = vignettes()
    lists = deal(stimuli)
    assert [len(items) for items in lists] == [8, 8, 8]
    scenario = {text_hash(row.text): row.scenario for row in stimuli.rows}
    for items in lists:
        assert len({scenario[item["sha"]] for item in items}) == 8
    dealt = [item["text"] for items in lists for item in items]
    assert sorted(dealt) == sorted(stimuli.texts)
    arms = {text_hash(row.text): row.arm for row in stimuli.rows}
    for items in lists:  # Neither is a list an arm, nor its order the file's.
        assert len({arms[item["sha"]] for item in items}) > 1
        places = [stimuli.texts.index(item["text"]) for item in items]
        assert places != sorted(places)
    assert deal(stimuli) == lists


@pytest.mark.parametrize("column", ["pair", "quad"])
def test_texts_of_a_pair_or_quad_are_apart_too(column):
    rows = [Stimulus(f"{n}", f"Text {n}.", **{column: f"u{n // 2}"}) for n in range(12)]
    lists = deal(StimulusSet("s", tuple(rows)))
    unit = {row.text: getattr(row, column) for row in rows}
    assert [len({unit[item["text"]] for item in items}) for items in lists] == [6, 6]


def test_a_scenario_of_several_pairs_is_dealt_apart_too():
    rows = [
        Stimulus(f"{s}{p}{k}", f"Text {s}{p}{k}.", scenario=f"s{s}", pair=f"p{s}{p}")
        for s in range(8) for p in range(2) for k in "xy"
    ]  # fmt: skip
    scenario = {row.text: row.scenario for row in rows}
    lists = deal(StimulusSet("s", tuple(rows)))
    assert [len({scenario[item["text"]] for item in items}) for items in lists] == [8] * 4
    assert [len(items) for items in lists] == [8] * 4


def test_of_two_people_both_are_asked_about_in_turn():
    (items,) = deal(people())
    asked = [(item["text"], item["about"], item["who"]) for item in items]
    first = asked.index(("Ada won, Bo lost.", "a", "Ada"))
    assert asked[first + 1] == ("Ada won, Bo lost.", "b", "Bo")
    assert set(asked) - set(asked[first : first + 2]) == {
        ("She went home.", "", ""),
        ("Cy watched.", "a", "Cy"),
    }


# The page


def test_the_page_holds_no_id_label_or_arm(tmp_path):
    stimuli, path = vignettes(), tmp_path / "page.html"
    assert write_page(stimuli, path, which=2) == 3
    data = data_of(path)
    assert [set(item) for item in data["items"]] == [{"sha", "text", "about", "who"}] * 8
    assert [item["text"] for item in data["items"]] == [i["text"] for i in deal(stimuli)[1]]
    assert all(item["sha"] == text_hash(item["text"]) for item in data["items"])
    page = path.read_text(encoding="utf-8")
    assert {"loathing", "nothing_much"} < set(data.pop("choices"))  # The same for every text.
    for secret in ("row-", "scene-", "hospital", "keyword", "secret", "negative", "read_emotion"):
        assert secret not in page
    for label in ("loathing", "neutral", "rage"):
        assert label not in json.dumps(data)
    assert not re.search(r"(?:src|href)=|https?://|@import|url\(", page)


def test_a_page_may_hold_one_split(tmp_path):
    path = tmp_path / "page.html"
    assert write_page(vignettes(), path, split="test") == 3
    data = data_of(path)
    test = set(vignettes().select(split="test").texts)
    assert len(data["items"]) == 4
    assert {item["text"] for item in data["items"]} <= test
    write_page(vignettes(), path)
    assert data_of(path)["key"] != data["key"]  # Answers of one are not those of the other.


def test_markup_in_a_text_stays_text(tmp_path):
    path = tmp_path / "page.html"
    text = f"{ATTACK} \u2028 __DATA__ \\u003c"
    write_page(StimulusSet("s</script>", (Stimulus("a", text),)), path)
    page = path.read_text(encoding="utf-8")
    assert page.count("</script>") == 2  # Its own.
    assert "<!--" not in page
    assert "alert(1)" in page
    data = data_of(path)
    assert data["items"][0]["text"] == text
    assert data["set"] == "s</script>"


def test_pages_that_cannot_be_are_refused(tmp_path):
    path = tmp_path / "page.html"
    for which in (0, 4, -1):
        with pytest.raises(UserError, match=f"no list {which}: vignettes has the lists 1 to 3"):
            write_page(vignettes(), path, which=which)
    with pytest.raises(UserError, match="no row of vignettes is left at split='train'"):
        write_page(vignettes(), path, split="train")
    assert not path.exists()


# The command


@pytest.fixture
def own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rows = [{"id": row.id, "text": row.text, "scenario": row.scenario} for row in vignettes().rows]
    file = tmp_path / "own.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return file


def test_the_command_writes_a_page(own, tmp_path, capsys):
    assert run(["annotate", str(own)]) == 0
    captured = capsys.readouterr()
    assert captured.out.strip() == "own-1.html"
    assert "list 1 of 3" in captured.err
    assert len(data_of(tmp_path / "own-1.html")["items"]) == 8
    assert run(["annotate", str(own), "--list", "3", "--out", "third.html"]) == 0
    assert data_of(tmp_path / "third.html")["list"] == 3
    assert run(["annotate", str(own), "--list", "4"]) == 2
    assert "error: no list 4" in capsys.readouterr().err


def test_the_command_counts_saved_readings(own, tmp_path, capsys):
    head = "text_sha256,reader,emotion\n"
    texts = [row.text for row in vignettes().rows]
    saved = [tmp_path / f"{name}.csv" for name in "ab"]
    saved[0].write_text(f"{head}{text_hash(texts[0])},A,rage\n{text_hash(texts[1])},A,rage\n")
    saved[1].write_text(f"{head}{text_hash(texts[1])},B,grief\n")
    checks = [part for file in saved for part in ("--check", str(file))]
    assert run(["annotate", str(own), *checks]) == 0
    assert capsys.readouterr().out.strip() == "2 of 24 texts of own have readings"
    assert not list(tmp_path.glob("*.html"))
    saved[0].write_text(f"{head}{text_hash('Of another set.')},A,rage\n")
    assert run(["annotate", str(own), "--check", str(saved[0])]) == 2
    assert "holds no reading of a text of own" in capsys.readouterr().err


# In a browser


@pytest.fixture
def opened(browser, tmp_path):
    """Opens a set's page offline; a complaint, or a request for anything else, fails the test."""
    complaints, requests, contexts = [], [], []

    def open_page(stimuli):
        path = tmp_path / "page.html"
        write_page(stimuli, path)
        context = browser.new_context(offline=True)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(60_000)
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("dialog", lambda d: (complaints.append(f"dialog {d.message}"), d.dismiss()))
        page.on("request", lambda request: requests.append(request.url))
        page.goto(path.as_uri())
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert complaints == []
    assert {url for url in requests if not url.startswith("blob:")} == {
        (tmp_path / "page.html").as_uri()
    }


def answer(page, emotion, valence, arousal):
    for name, value in (("emotion", emotion), ("valence", valence), ("arousal", arousal)):
        page.locator(f"input[name={name}][value='{value}']").check()
    page.get_by_role("button", name="Next").click()


def shown(page):
    return page.locator("#text").inner_text()


def said(page):
    return page.locator("#said").inner_text()


def given(page, name):
    found = page.locator(f"input[name={name}]:checked")
    return found.get_attribute("value") if found.count() else None


def save(page, path):
    with page.expect_download() as download:
        page.get_by_role("button", name="Save the file").click()
    download.value.save_as(path)
    return download.value.suggested_filename


def test_a_person_reads_goes_back_reloads_and_saves(opened, tmp_path):
    texts = {"a": ATTACK, "b": "She put the key down.", "c": "The bus was late, as ever."}
    stimuli = StimulusSet("mine", tuple(Stimulus(*row) for row in texts.items()))
    order = [item["text"] for item in deal(stimuli)[0]]
    page = opened(stimuli)
    assert shown(page) == order[0]
    assert page.locator("#question").inner_text() == "What does the person feel?"
    assert page.get_by_role("button", name="Back").is_disabled()
    page.get_by_label("Your code name").fill('heron "7", x')
    page.locator("#second").select_option("relief")
    page.locator("#note").fill('odd, "quoted"\tnote')
    answer(page, "grief", 2, 7)
    assert shown(page) == order[1]
    assert given(page, "emotion") is None
    assert page.locator("#note").input_value() == ""
    answer(page, "rage", 3, 8)
    assert page.locator("#count").inner_text() == "3 of 3, 2 answered"

    # Back, and another mind.
    page.get_by_role("button", name="Back").click()
    assert shown(page) == order[1]
    assert [given(page, name) for name in ("emotion", "valence", "arousal")] == ["rage", "3", "8"]
    page.locator("input[name=emotion][value=nothing_much]").check()
    page.get_by_role("button", name="Back").click()
    assert shown(page) == order[0]
    assert [given(page, name) for name in ("emotion", "valence", "arousal")] == ["grief", "2", "7"]
    assert page.locator("#second").input_value() == "relief"
    assert page.locator("#note").input_value() == 'odd, "quoted"\tnote'
    page.get_by_role("button", name="Next").click()
    page.wait_for_function("place => JSON.parse(localStorage[store]).place === place", arg=1)
    page.wait_for_timeout(2000)  # The browser stores in a process of its own.

    page.reload()
    assert shown(page) == order[1]
    kept = [given(page, name) for name in ("emotion", "valence", "arousal")]
    assert kept == ["nothing_much", "3", "8"]
    assert page.get_by_label("Your code name").input_value() == 'heron "7", x'
    assert page.locator("#count").inner_text() == "2 of 3, 2 answered"
    assert page.locator("#bar").get_attribute("value") == "2"

    file = tmp_path / "saved.csv"
    assert save(page, file).startswith("readings-mine-heron")
    assert said(page) == "2 readings saved."
    first, second = read_readings(file)
    assert (first.text_sha256, second.text_sha256) == tuple(map(text_hash, order[:2]))
    assert (first.reader, first.kind, first.round) == ('heron "7", x', "person", 1)
    assert (first.emotion, first.second, first.valence, first.arousal) == ("grief", "relief", 2, 7)
    assert first.note == 'odd, "quoted"\tnote'
    assert (second.emotion, second.second, second.valence) == ("nothing_much", "", 3)
    merged = stimuli.with_readings(file)
    added = {row.text: dict(row.extra) for row in merged.rows}
    assert added == {
        order[0]: {"read_emotion": "grief", "readers": 1, "read_valence": 2, "read_arousal": 7},
        order[1]: {
            "read_emotion": "nothing_much", "readers": 1, "read_valence": 3, "read_arousal": 8,
        },
        order[2]: {},
    }  # fmt: skip
    assert page.locator("script").count() == 2


def test_nothing_is_saved_without_a_code_name(opened, tmp_path):
    page = opened(people())
    answer(page, "relief", 6, 3)
    downloads = []
    page.on("download", lambda download: downloads.append(download))
    for name in ("", "   "):
        page.get_by_label("Your code name").fill(name)
        page.get_by_role("button", name="Save the file").click()
        assert said(page) == "Give a code name first (not your real name)."
        assert page.evaluate("document.activeElement.id") == "reader"
    page.get_by_label("Your code name").fill(" wren ")
    assert save(page, tmp_path / "saved.csv") == "readings-people-wren.csv"
    assert len(downloads) == 1
    assert [reading.reader for reading in read_readings(tmp_path / "saved.csv")] == ["wren"]


def test_a_text_is_left_by_next_only_with_all_three_answers(opened):
    page = opened(people())
    first = page.locator("#count").inner_text()
    for name, value in (("emotion", "relief"), ("valence", 6)):
        page.locator(f"input[name={name}][value='{value}']").check()
        page.get_by_role("button", name="Next").click()
        assert said(page) == "Choose a feeling and both numbers first, or go back."
        assert page.locator("#count").inner_text() == first
    page.locator("input[name=arousal][value='1']").check()
    page.get_by_role("button", name="Next").click()
    assert page.locator("#count").inner_text() == "2 of 4, 1 answered"
    assert said(page) == ""


def test_a_text_without_all_three_answers_is_neither_counted_nor_saved(opened, tmp_path):
    page = opened(people())
    page.get_by_label("Your code name").fill("wren")
    answer(page, "relief", 6, 3)
    for name, value in (("emotion", "grief"), ("valence", 2)):
        page.locator(f"input[name={name}][value='{value}']").check()
        page.get_by_role("button", name="Back").click()
        assert page.locator("#count").inner_text() == "1 of 4, 1 answered"
        page.get_by_role("button", name="Next").click()
    save(page, tmp_path / "saved.csv")
    assert [reading.emotion for reading in read_readings(tmp_path / "saved.csv")] == ["relief"]


def test_a_choice_is_kept_before_next(opened):
    page = opened(people())
    page.locator("input[name=emotion][value=relief]").check()
    page.locator("input[name=valence][value='6']").check()
    kept: list[str | None] = []
    for _ in range(50):  # The browser stores in a process of its own, late on a busy machine.
        page.wait_for_timeout(200)
        page.reload()
        kept = [given(page, name) for name in ("emotion", "valence", "arousal")]
        if kept == ["relief", "6", None]:
            break
    assert kept == ["relief", "6", None]


def test_two_people_of_a_text_get_answers_of_their_own(opened, tmp_path):
    stimuli = people()
    page = opened(stimuli)
    page.get_by_label("Your code name").fill("wren")
    emotions = {"Ada": "ecstasy", "Bo": "grief", "Cy": "other", "": "nothing_much"}
    (items,) = deal(stimuli)
    for item in items:
        who = f"What does “{item['who']}” feel?" if item["who"] else "What does the person feel?"
        assert page.locator("#question").inner_text() == who
        answer(page, emotions[item["who"]], 5, 5)
    assert said(page) == "That was the last text: save the file."
    save(page, tmp_path / "saved.csv")
    merged = {row.id: row.extra for row in stimuli.with_readings(tmp_path / "saved.csv").rows}
    assert merged["two"]["read_emotion_a"] == "ecstasy"
    assert merged["two"]["read_emotion_b"] == "grief"
    assert merged["one"]["read_emotion"] == "nothing_much"
    assert merged["half"]["read_emotion_a"] == "other"


def test_answers_of_one_page_are_not_anothers(opened, tmp_path):
    page = opened(people())
    answer(page, "relief", 6, 3)
    changed = StimulusSet("people", (*people().rows[:2], Stimulus("half", "Cy looked on.")))
    write_page(changed, tmp_path / "page.html")
    page.reload()
    assert page.locator("#count").inner_text() == "1 of 4, 0 answered"
