"""Tiny random models of every decoder family, and a small real tokenizer, built in memory."""

from collections.abc import Callable
from functools import cache
from typing import Any

import torch
import transformers as hf
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers

from probekit.models import Model, from_parts

LAYERS, WIDTH, HEADS, CONTEXT, VOCABULARY, WINDOW = 3, 32, 4, 64, 320, 4
TEXTS = (
    "rain fell on the roof",
    "she smiled",
    "He could not believe it: the letter had come, and his name was on it!",
    "naïve café, twice – and a tear 😢",
    "the roof held",
    "nobody had told her, and the house was empty when she came home at last",
)
"""Texts of 2 to about 50 tokens; all but the shortest are longer than the sliding window."""
CHAT = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
NORMS = {
    "gpt2": "ln_f",
    "falcon-parallel": "ln_f",
    "neox-parallel": "final_layer_norm",
    "neox-sequential": "final_layer_norm",
}
"""Where a family keeps its final norm in the decoder body, if not in `norm`."""

_BASE: dict[str, Any] = {
    "hidden_size": WIDTH,
    "num_hidden_layers": LAYERS,
    "num_attention_heads": HEADS,
    "intermediate_size": 48,
    "vocab_size": VOCABULARY,
    "max_position_embeddings": CONTEXT,
    # Ten times the usual spread: every part writes enough to the stream to be missed.
    "initializer_range": 0.2,
    "bos_token_id": 0,
    "eos_token_id": 1,
    "pad_token_id": 1,  # Not 0: an embedding's padding row is zero, and 0 is <s>.
}
_GQA = {**_BASE, "num_key_value_heads": 2}
_SLIDING = {
    "sliding_window": WINDOW,
    "layer_types": ["sliding_attention", "full_attention", "sliding_attention"],
}
_GEMMA = {**_GQA, **_SLIDING, "head_dim": 8, "query_pre_attn_scalar": 8}
_QWEN = {**_GQA, **_SLIDING, "use_sliding_window": True}

CONFIGS: dict[str, Callable[[], Any]] = {
    "llama": lambda: hf.LlamaConfig(**_GQA),
    "mistral": lambda: hf.MistralConfig(**_GQA, sliding_window=WINDOW),
    "gemma": lambda: hf.GemmaConfig(**_GQA, head_dim=8),
    "gemma2": lambda: hf.Gemma2Config(**_GEMMA, attn_logit_softcapping=1.0),
    "gemma3": lambda: hf.Gemma3TextConfig(**_GEMMA),
    "qwen2": lambda: hf.Qwen2Config(**_QWEN),
    "qwen3": lambda: hf.Qwen3Config(**_QWEN, head_dim=8),
    "olmo2": lambda: hf.Olmo2Config(**_GQA),
    "granite": lambda: hf.GraniteConfig(
        **_GQA, residual_multiplier=0.3, embedding_multiplier=2.0, attention_multiplier=0.2
    ),
    "gpt2": lambda: hf.GPT2Config(
        n_embd=WIDTH,
        n_layer=LAYERS,
        n_head=HEADS,
        n_positions=CONTEXT,
        **{
            k: _BASE[k] for k in ("vocab_size", "initializer_range", "bos_token_id", "pad_token_id")
        },
        eos_token_id=1,
    ),
    "neox-parallel": lambda: hf.GPTNeoXConfig(**_BASE, use_parallel_residual=True),
    "neox-sequential": lambda: hf.GPTNeoXConfig(**_BASE, use_parallel_residual=False),
    "stablelm": lambda: hf.StableLmConfig(**_GQA, qk_layernorm=True, use_qkv_bias=True),
    "stablelm-parallel": lambda: hf.StableLmConfig(**_GQA, use_parallel_residual=True),
    "falcon-parallel": lambda: hf.FalconConfig(
        **_BASE, ffn_hidden_size=48, multi_query=True, parallel_attn=True, bias=False
    ),
    "exaone4": lambda: hf.Exaone4Config(**_GQA, **_SLIDING, head_dim=8),
}
FAMILIES = tuple(CONFIGS)
REFUSED: dict[str, Callable[[], Any]] = {
    "mamba": lambda: hf.MambaConfig(**_BASE, state_size=4),
    "lfm2": lambda: hf.Lfm2Config(
        **_GQA, layer_types=["full_attention", "conv", "full_attention"], block_multiple_of=16
    ),
    "llama4": lambda: hf.Llama4TextConfig(
        **_GQA, head_dim=8, intermediate_size_mlp=48, num_local_experts=2
    ),
    "opt": lambda: hf.OPTConfig(**_BASE, ffn_dim=48, word_embed_proj_dim=WIDTH),
    "openai-gpt": lambda: hf.OpenAIGPTConfig(
        n_embd=WIDTH, n_layer=LAYERS, n_head=HEADS, n_positions=CONTEXT, vocab_size=VOCABULARY
    ),
    # Their defaults are the heads of the family's own size, here 16 and 32.
    "gemma-heads": lambda: hf.GemmaConfig(**_BASE, head_dim=8),
    "stablelm-heads": lambda: hf.StableLmConfig(**_BASE),
}
"""Causal models that load in Hugging Face and whose sites cannot be told, or that cannot run."""


@cache
def _trained() -> str:
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=300,
        special_tokens=["<s>", "</s>", "<|im_start|>", "<|im_end|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    bpe.train_from_iterator(TEXTS, trainer)
    return bpe.to_str()


def tokenizer(*, bos: bool = True, chat: bool = True) -> Any:
    """A byte-level BPE trained on `TEXTS`; with `bos`, `<s>` opens every prompt."""
    bpe = Tokenizer.from_str(_trained())
    if bos:
        bpe.post_processor = processors.TemplateProcessing(
            single="<s> $A", special_tokens=[("<s>", 0)]
        )
    fast = hf.PreTrainedTokenizerFast(
        tokenizer_object=bpe,
        bos_token="<s>",
        eos_token="</s>",
        additional_special_tokens=["<|im_start|>", "<|im_end|>"],
    )
    fast.chat_template = CHAT if chat else None
    return fast


def network(family: str, dtype: torch.dtype = torch.float32) -> Any:
    """A tiny Hugging Face model with the same random weights on every call."""
    torch.manual_seed(0)
    network = hf.AutoModelForCausalLM.from_config((CONFIGS | REFUSED)[family]())
    network = network.eval().requires_grad_(False)
    for parameter in network.parameters():
        if parameter.dim() == 1:  # Norms and biases start at one and zero, and would hide errors.
            parameter.add_(torch.randn_like(parameter) * 0.1)
    assert sum(p.numel() for p in network.parameters()) < 100_000, "test models must be tiny"
    return network.to(dtype)


def build(family: str, dtype: torch.dtype = torch.float32, *, bos: bool = True) -> Model:
    """A fresh tiny model of a family with its tokenizer, validated as any model is."""
    return from_parts(network(family, dtype), tokenizer(bos=bos), family)


def hooks_on(model: Model) -> int:
    """Number of forward hooks that are registered anywhere in a model."""
    return sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.hf.modules())
