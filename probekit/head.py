"""The unembedding of a model: logits of chosen tokens, and what a vector writes to them."""

from typing import Any

import torch
from torch import Tensor

from probekit.errors import UserError
from probekit.models import Model


class Head:
    """Logits of chosen tokens, without the other rows of the unembedding."""

    def __init__(self, model: Model) -> None:
        self.model, config = model, model.config
        layer: Any = model.hf.get_output_embeddings()
        self.weight, self.bias = layer.weight, getattr(layer, "bias", None)
        self.factor = float(getattr(config, "logit_scale", None) or 1.0)
        self.factor /= float(getattr(config, "logits_scaling", None) or 1.0)
        self.cap = getattr(config, "final_logit_softcapping", None)
        self._check()

    def __call__(self, states: Tensor, tokens: Tensor | None = None) -> Tensor:
        """Logits `[..., token]` of states `[..., d]`; of the whole vocabulary without `tokens`."""
        rows = slice(None) if tokens is None else tokens.to(self.weight.device)
        bias = None if self.bias is None else self.bias[rows]
        # One flat product: over a stack of states torch would pass the weights once a state.
        flat = states.to(self.weight).reshape(-1, states.shape[-1])
        logits = torch.nn.functional.linear(flat, self.weight[rows], bias) * self.factor
        logits = logits.reshape(*states.shape[:-1], logits.shape[-1])
        return logits if self.cap is None else torch.tanh(logits / self.cap) * self.cap

    @torch.no_grad()
    def lens(self, vectors: Tensor) -> Tensor:
        """Logits `[..., vocabulary]` that vectors `[..., d_model]` of the stream write.

        Each vector goes through the final norm as if it were the whole state, so the norm's gain
        counts (and a LayerNorm's centring), while its scale is the vector's own: results do not
        depend on the vector's length. Up to that scale they are the first-order change of the
        logits of any state, its norm's scale held fixed. What the norm adds, the unembedding's
        bias and a soft-cap are left out.
        """
        norm = self.model.sites.final_norm
        stream = vectors.to(self.weight)
        # At a root mean square of one the norm's epsilon is nothing.
        stream = stream / stream.pow(2).mean(-1, keepdim=True).sqrt()
        through = norm(stream) - norm(torch.zeros_like(stream))
        return torch.nn.functional.linear(through, self.weight) * self.factor

    @torch.no_grad()
    def _check(self) -> None:
        """Compare with the model's own logits on a few tokens: families scale them in many ways."""
        ids = torch.arange(3, 7, device=self.model.device)[None] % int(self.model.config.vocab_size)
        own = self.model.hf(input_ids=ids, use_cache=False).logits[0, -1].double()
        state = self.model.hf.base_model(input_ids=ids, use_cache=False).last_hidden_state
        ours = self(state[0, -1]).double()
        loose = self.model.dtype in (torch.bfloat16, torch.float16)
        gap = float((own - ours).abs().max() / own.abs().max())
        if not gap <= (2e-2 if loose else 1e-4):
            raise UserError(
                f"{self.model.name}: its logits are not those of its unembedding (they differ by "
                f"{gap:.2g}); read a projection or a probe instead of labels"
            )
