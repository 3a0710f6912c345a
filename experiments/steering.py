"""Methods × emotions × doses on held-out scenarios, by a judge that was held against readers.

    python experiments/steering.py smollm2-135m
    python experiments/steering.py qwen2.5-coder-1.5b --chat --dtype bfloat16

Compared, with one decoding: the plain model; asking for the emotion; asking with two examples; and
steering along directions from three sources: *reading* (dev vignettes), *expressing* (replies that
the model was asked to give in the emotion, accepted by the judge) and *stories* (that it was asked
to tell without a word of the emotion), at the middle third of depth, at one layer, and by holding
the coordinate instead of adding; beside random directions. Directions come from dev scenarios, the
score from test scenarios. Killed, the same command goes on.
"""

import argparse
import json
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from generated_texts import BRIEF, OPENERS
from numpy.typing import NDArray

from probekit.cli.application import bars, load
from probekit.depth import headline_layer
from probekit.directions import Directions, sources
from probekit.errors import UserError
from probekit.judges import GeneratedReadings, Judge, SentenceEncoder, kept_kappa, require_kappa
from probekit.judges.naming import by_name
from probekit.models import Model
from probekit.report import headline_table, write_report
from probekit.runs import write_json
from probekit.scorecard import Scorecard, rule_validity, run_scorecard
from probekit.steering import (
    Decoding,
    FewShot,
    Method,
    Plain,
    Prompted,
    Random,
    Sample,
    Setting,
    Steered,
    elicit,
)
from probekit.steering.eliciting import Accept
from probekit.steering.methods import held_out
from probekit.stimuli import emotion_words, lexicon

DECODING = Decoding(max_new_tokens=32, temperature=0.8, top_p=0.9)


def prompts(count: int, split: str, chat: bool) -> list[tuple[str, str]]:
    """Indifferent scenarios; a text that is written on gets the words its reply begins with."""
    found = held_out(count, split)
    if chat:
        return found
    return [(id_, text + OPENERS[n % len(OPENERS)]) for n, (id_, text) in enumerate(found)]


def by_judge(judge: Judge) -> Accept:
    """Replies that the judge, who sees the text alone, takes for the emotion asked for."""

    def accept(samples: Sequence[Sample]) -> NDArray[np.bool_]:
        said = judge.judge([sample.text for sample in samples])
        return np.array([a == s.emotion for a, s in zip(said, samples, strict=True)])

    return accept


def unnamed(samples: Sequence[Sample]) -> NDArray[np.bool_]:
    """Stories without a word of the emotion that they are of."""
    named = [{lexicon()[form] for form in emotion_words(sample.text)} for sample in samples]
    return np.array([s.emotion not in kinds for s, kinds in zip(samples, named, strict=True)])


def elicited(
    model: Model, judge: Judge, options: argparse.Namespace, out: Path
) -> dict[str, Directions]:
    """Directions of each source that could be made; files and acceptance rates stay in `out`."""
    found = {"reading": sources.from_vignettes(model)}
    setting = Setting(options.chat, BRIEF)
    given = prompts(options.eliciting, "dev", options.chat)
    for source, accept in (("expressing", by_judge(judge)), ("stories", unnamed)):
        file, rates = out / f"{source}.safetensors", out / f"{source}.json"
        if source not in options.sources:
            continue
        if not rates.exists():
            made = elicit(
                model, options.emotions, given, accept, source, chat=options.chat, decoding=DECODING
            )
            told = {"texts": len(made.samples), "accepted": made.rates()}
            try:
                made.directions(model, setting).save(file)
            except UserError as error:
                told["no directions"] = str(error)
            write_json(rates, told)
        print(source, json.dumps(json.loads(rates.read_text())))
        if file.exists():
            found[source] = Directions.load(file, model)
    return found


def agreement(found: dict[str, Directions], emotions: Sequence[str], layer: int) -> None:
    """Cosines between the sources' directions of one emotion, at one layer."""
    names = list(found)
    for place, one in enumerate(names):
        for other in names[place + 1 :]:
            cosines = [
                float(found[one].of(e, layer).astype(float) @ found[other].of(e, layer))
                for e in emotions
            ]
            told = ", ".join(f"{e} {c:+.2f}" for e, c in zip(emotions, cosines, strict=True))
            print(f"cosine {one}, {other}, layer {layer}: mean {np.mean(cosines):+.2f} ({told})")


def methods(model: Model, found: dict[str, Directions], chat: bool, wanted: Sequence[str]) -> list:
    setting, reading = Setting(chat, BRIEF), found["reading"]
    one = (headline_layer(model.n_layers) * 3 // 4,)
    made: list[Method] = [Plain(setting), Prompted(setting), FewShot(setting)]
    made += [
        Steered(setting, "steer" if name == "reading" else f"steer {name}", model, directions)
        for name, directions in found.items()
    ]
    made += [
        Steered(setting, "steer one layer", model, reading, one),
        Steered(setting, "steer clamp", model, reading, options={"how": "clamp"}),
        Random(setting, "random", model, reading),
    ]
    return [each for each in made if each.name == "plain" or not wanted or each.name in wanted]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model")
    parser.add_argument("--chat", action="store_true")
    parser.add_argument("--dtype", default="auto")
    parser.add_argument("--judge", default="ensemble")
    parser.add_argument("--reader", default="qwen2.5-coder-0.5b")
    parser.add_argument("--other", default="gemma3-270m")
    parser.add_argument("--emotions", nargs="+", default=list(sources.emotions()))
    parser.add_argument("--sources", nargs="*", default=["expressing", "stories"])
    parser.add_argument("--methods", nargs="*", default=[])
    parser.add_argument("--doses", type=float, nargs="+", default=[0.02, 0.04, 0.08, 0.16])
    parser.add_argument("--prompts", type=int, default=16)
    parser.add_argument("--eliciting", type=int, default=16)
    parser.add_argument("--effects", nargs="*", help="emotions whose side effects are measured")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--force", action="store_true")
    options = parser.parse_args()
    out = options.out or Path("runs/steering") / options.model
    model = load(options.model, "auto", options.dtype)
    judge = by_name(options.judge, options.reader)
    readings = GeneratedReadings.load()
    kappa = require_kappa(
        judge.name, kept_kappa(judge, readings.half("report")), forced=options.force
    )
    found = elicited(model, judge, options, out.with_name(out.name + "_sources"))
    agreement(found, options.emotions, headline_layer(model.n_layers) * 3 // 4)
    card = Scorecard(
        tuple(options.emotions),
        doses=tuple(options.doses),
        decoding=DECODING,
        effects_of=tuple(options.emotions[:1] if options.effects is None else options.effects),
    )
    other = load(options.other, "auto", "auto")
    validity = {"judge_kappa": kappa.cells, **rule_validity(card.rule, readings, other)}
    with bars() as progress:
        run_scorecard(
            model,
            out,
            card,
            methods=methods(model, found, options.chat, options.methods),
            judge=judge,
            prompts=prompts(options.prompts, "test", options.chat),
            prompts_name="scenarios",
            other=other,
            encode=SentenceEncoder().encode,
            validity=validity,
            command=shlex.join(sys.argv),
            progress=progress,
        )
    print(write_report(out))
    title, columns, rows = headline_table(out)
    print(title, "|".join(columns), *("|".join(map(str, row)) for row in rows), sep="\n")


if __name__ == "__main__":
    main()
