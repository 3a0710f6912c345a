"""Scorecard: what methods of making a model express an emotion achieve, and what they cost.

1. Of each text: `fluency` (perplexity given the plain prompt), `repetition`, `coherence` (the rule
   that calls a text incoherent, and its test against readers in `validity`), `relevance`, `words`.
2. Of the model while it is steered: `side_effects` (next tokens of neutral texts, a small quiz,
   refusals).
3. `scores` brings them together with a judge's probabilities; `cells` computes every figure on
   shared draws of prompts; `table` and `curves` turn them into the rows of `results.csv`.
4. `run_scorecard` (`study`, with `stages` and `options`) writes, reads and scores it all.

A miss is a wrong emotion *or* an incoherent text. Chance is what plain texts are judged to be.
"""

from probekit.scorecard.cells import Board
from probekit.scorecard.coherence import Agreement, Rule, validate
from probekit.scorecard.fluency import reply_nats
from probekit.scorecard.options import Scorecard
from probekit.scorecard.scores import Scores, score
from probekit.scorecard.side_effects import measure_side_effects, quiz, refuses
from probekit.scorecard.study import run_scorecard
from probekit.scorecard.validity import rule_validity

__all__ = [
    "Agreement",
    "Board",
    "Rule",
    "Scorecard",
    "Scores",
    "measure_side_effects",
    "quiz",
    "refuses",
    "reply_nats",
    "rule_validity",
    "run_scorecard",
    "score",
    "validate",
]
