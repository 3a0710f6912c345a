"""The judges that work without a network, by the names that the command line knows."""

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Literal

from probekit.depth import headline_layer
from probekit.errors import unknown
from probekit.judges.calibrated import Calibrated
from probekit.judges.encoder import SentenceEncoder
from probekit.judges.ensemble import Ensemble
from probekit.judges.features import Embedding, Features, States, Words
from probekit.judges.judge import Judge
from probekit.judges.lexicon import LexiconJudge
from probekit.judges.likelihood import LikelihoodJudge
from probekit.judges.readings import GeneratedReadings
from probekit.judges.trained import Lesson, TrainedJudge
from probekit.models import Model, load_model

TRAINED = ("words", "embedding", "probe")
JUDGES = ("lexicon", *TRAINED, "ensemble", "likelihood")
DEFAULT = "ensemble"
"""Chosen on readings that no figure is told of: on the dev half its kappa is .51 (.50 where the
mean is calibrated and not its parts), probe .48, embedding .44, lexicon .42, words .41."""
READER = "gemma3-270m"
"""The bundled model that judges read with: another one than the default that is steered, and the
quickest of the others."""


class Bench:
    """Makes judges by name, and what several of them share only once.

    Args:
        reader: the model that "probe", "ensemble" and "likelihood" read with: a name for
            `load_model`, or a loaded one.
        lesson: what the trained ones learn from; default the shipped `TRAINING_SETS`, and the
            training texts of the shipped readings.
        say: receives a line whenever something is fetched.
        calibrate: readings that tell the trained ones how often nothing is expressed (see
            `Calibrated`); "dev" is that half of the shipped ones, where there are any, None none.
    """

    def __init__(
        self,
        reader: str | Model = READER,
        lesson: Lesson | None = None,
        say: Callable[[str], None] = lambda _: None,
        calibrate: GeneratedReadings | Literal["dev"] | None = "dev",
    ) -> None:
        self._reader, self._lesson, self.say = reader, lesson, say
        self._calibrate = calibrate
        self._made: dict[str, Judge] = {}

    @cached_property
    def model(self) -> Model:
        """The model that is read with."""
        named = self._reader
        return load_model(named, say=self.say) if isinstance(named, str) else named

    @cached_property
    def _shipped(self) -> GeneratedReadings | None:
        """The shipped readings, where there are any."""
        return GeneratedReadings.load() if GeneratedReadings.are_shipped() else None

    @cached_property
    def lesson(self) -> Lesson:
        """What the trained judges learn from."""
        if self._lesson:
            return self._lesson
        written = Lesson.shipped()
        return written + Lesson.read(self._shipped.training()) if self._shipped else written

    @cached_property
    def readings(self) -> GeneratedReadings | None:
        """What the trained judges are calibrated with."""
        if not isinstance(self._calibrate, str):
            return self._calibrate
        return self._shipped.half("dev") if self._shipped else None

    def _features(self, name: str) -> Features:
        match name:
            case "words":
                return Words()
            case "embedding":
                return Embedding(SentenceEncoder(say=self.say))
            case _:
                return States(self.model, headline_layer(self.model.n_layers))

    def _trained(self, name: str) -> Judge:
        judge = TrainedJudge(self._features(name), self.lesson)
        return Calibrated(judge, self.readings) if self.readings else judge

    def judge(self, name: str) -> Judge:
        """The judge of a name.

        Raises:
            UserError: not one of `JUDGES`.
        """
        if name not in self._made:
            self._made[name] = self._make(name)
        return self._made[name]

    def _make(self, name: str) -> Judge:
        match name:
            case "lexicon":
                return LexiconJudge()
            case "words" | "embedding" | "probe":
                return self._trained(name)
            case "ensemble":
                return Ensemble([*map(self.judge, TRAINED)], "ensemble")
            case "likelihood":
                return LikelihoodJudge(self.model)
            case _:
                raise unknown("judge", name, JUDGES)


def by_name(
    name: str, reader: str | Model = READER, say: Callable[[str], None] = lambda _: None
) -> Judge:
    """One judge; see `Bench`, which shares what several need.

    Raises:
        UserError: not one of `JUDGES`.
    """
    return Bench(reader, say=say).judge(name)


def by_names(
    names: Sequence[str], reader: str | Model = READER, say: Callable[[str], None] = lambda _: None
) -> list[Judge]:
    """Several judges, in their order."""
    bench = Bench(reader, say=say)
    return [bench.judge(name) for name in names]
