"""GGUF to a plain Hugging Face folder, once: loading a GGUF takes most of a minute each time."""

from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr
from io import StringIO
from pathlib import Path

CONVERTER_VERSION = 1
"""Raised when the conversion changes what it writes; part of the folder's name."""
DTYPE = "bfloat16"
SAMPLE = "When her mother died, she felt empty. Três cafés, 42 €!"


def convert(gguf: Path, target: Path) -> None:
    """Write the weights (`DTYPE`, safetensors) and tokenizer of `gguf` as the folder `target`.

    Raises:
        RuntimeError: the folder does not load to exactly what was saved.
    """
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    dtype = getattr(torch, DTYPE)
    with quiet_transformers():
        tokenizer = AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name)
        loaded = AutoModelForCausalLM.from_pretrained(gguf.parent, gguf_file=gguf.name, dtype=dtype)
        # A model that came from a GGUF refuses to be saved: its weights go into a fresh one. On
        # the meta device that takes no second copy and draws no random numbers.
        vars(loaded.config).pop("quantization_config")
        with torch.device("meta"):
            fresh = AutoModelForCausalLM.from_config(loaded.config, dtype=dtype)
        fresh.load_state_dict(loaded.state_dict(), assign=True)
        fresh.tie_weights()
        fresh.save_pretrained(target)
        tokenizer.save_pretrained(target)

        again = AutoModelForCausalLM.from_pretrained(
            target, dtype=dtype, use_safetensors=True, local_files_only=True
        )
        tokenizer_again = AutoTokenizer.from_pretrained(target, local_files_only=True)
    was, now = loaded.state_dict(), again.state_dict()
    if was.keys() != now.keys() or not all(torch.equal(was[key], now[key]) for key in was):
        raise RuntimeError(f"converted, {gguf.name} does not load to the weights it has")
    if tokenizer(SAMPLE)["input_ids"] != tokenizer_again(SAMPLE)["input_ids"]:
        raise RuntimeError(f"converted, the tokenizer of {gguf.name} splits text differently")


@contextmanager
def quiet_transformers() -> Iterator[None]:
    """Keep the progress bars and warnings of a conversion from the terminal, inside only."""
    from transformers.utils import logging

    verbosity = logging.get_verbosity()
    logging.set_verbosity_error()
    try:
        with redirect_stderr(StringIO()):  # the bar of de-quantising has no switch
            yield
    finally:
        logging.set_verbosity(verbosity)
