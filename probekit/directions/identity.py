"""`Identity`: which model directions belong to."""

from dataclasses import dataclass

from probekit.errors import UserError
from probekit.models import Model


@dataclass(frozen=True)
class Identity:
    """The model that directions belong to.

    Attributes:
        name: what the user called it; no path of a machine.
        fingerprint: digest of config, tokenizer and every weight as loaded; see `Model`.
        revision: commit of a Hub model, "" for others.
        dtype: of the weights.
        d_model: width of the stream.
        n_layers: number of blocks.
        architecture: the Hugging Face class, such as "LlamaForCausalLM".
        model_type: Hugging Face's word for the family, such as "llama".
    """

    name: str
    fingerprint: str
    revision: str
    dtype: str
    d_model: int
    n_layers: int
    architecture: str
    model_type: str

    @classmethod
    def of(cls, model: Model) -> "Identity":
        """Of a loaded model."""
        told = model.describe()
        own = ("name", "fingerprint", "dtype", "d_model", "n_layers", "architecture")
        return cls(
            **{name: told[name] for name in own},
            revision=str(getattr(model.hf.config, "_commit_hash", None) or ""),
            model_type=str(model.config.model_type),
        )

    def require(self, model: Model, said: str) -> None:
        """Raise a `UserError` unless a model is this one.

        Args:
            said: the message, with places for this one, {own}, and the model, {here}.
        """
        if model.fingerprint != self.fingerprint:
            raise UserError(said.format(own=self, here=Identity.of(model)))

    def __str__(self) -> str:
        return f"{self.name} ({self.dtype}, fingerprint {self.fingerprint[:12]})"
