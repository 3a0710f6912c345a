"""`load_model`: a decoder model as plain Hugging Face, its tokenizer, its sites, its fingerprint.

The model keeps its own numerics (no folding, no centring) and its fast attention; nothing global
is patched. Every forward pass gets an attention mask and explicit `position_ids`, so the padding
side changes nothing.
"""

import copy
import hashlib
import json
import re
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, cast

import torch
from torch import Tensor

from probekit import bundled
from probekit.edits import Edit, applied
from probekit.errors import UserError, unknown
from probekit.prompts import NO_TEMPLATE, Encoded, Template, encode
from probekit.runs import digest
from probekit.shown import card
from probekit.sites import SiteMap
from probekit.validation import validate

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
PaddingSide = Literal["right", "left"]
Say = Callable[[str], None]


@dataclass(frozen=True)
class Batch:
    """Prompts padded to one width, ready for the model; all tensors are `[row, token]`."""

    input_ids: Tensor
    attention_mask: Tensor
    position_ids: Tensor

    def __getitem__(self, rows: slice) -> "Batch":
        return Batch(self.input_ids[rows], self.attention_mask[rows], self.position_ids[rows])

    def inputs(self) -> dict[str, Tensor]:
        """Keyword arguments of the Hugging Face forward call."""
        return {
            "input_ids": self.input_ids,
            "attention_mask": self.attention_mask,
            "position_ids": self.position_ids,
        }


@dataclass(frozen=True)
class Model:
    """A loaded decoder model.

    Attributes:
        name: what the user called it.
        hf: the Hugging Face model, in evaluation mode; its decoder body is `hf.base_model`.
        tokenizer: its fast tokenizer.
        sites: where each site lives, and which kinds the architecture cannot give.
        notes: what a reader of results should know (say, that weights were de-quantised).
    """

    name: str
    hf: Any
    tokenizer: Any
    sites: SiteMap
    notes: tuple[str, ...] = field(default=())

    @property
    def config(self) -> Any:
        """The text decoder's Hugging Face config."""
        return self.hf.config.get_text_config()

    @property
    def device(self) -> torch.device:
        """Where token ids go: the device of the input embedding."""
        return self.hf.get_input_embeddings().weight.device

    @property
    def dtype(self) -> torch.dtype:
        """The dtype of the weights."""
        return self.hf.get_input_embeddings().weight.dtype

    @property
    def n_layers(self) -> int:
        """Number of blocks."""
        return self.sites.n_layers

    @property
    def d_model(self) -> int:
        """Width of the residual stream."""
        return int(self.config.hidden_size)

    @property
    def n_ctx(self) -> int:
        """Longest prompt, in tokens."""
        return int(self.config.max_position_embeddings)

    @property
    def pass_tokens(self) -> int:
        """Tokens of one forward pass, where nothing else is said."""
        return 16384 if self.device.type == "cuda" else 2048

    @property
    def n_heads(self) -> int:
        """Heads of attention in a block."""
        return int(self.config.num_attention_heads)

    @property
    def n_kv_heads(self) -> int:
        """Heads that have keys and values of their own; several heads may share one."""
        return int(getattr(self.config, "num_key_value_heads", None) or self.n_heads)

    @property
    def public_name(self) -> str:
        """The name without the path of this machine."""
        return Path(self.name).name if Path(self.name).exists() else self.name

    @cached_property
    def fingerprint(self) -> str:
        """Hex digest of the config, the tokenizer and every weight, as loaded.

        Each tensor enters with its name, its shape, the sum of its bits read as integers and
        4,096 evenly spaced values: any single changed weight changes the digest.
        """
        # What changes the numbers without changing a weight: rope, multipliers, soft-caps.
        config = self.hf.config.to_dict()
        for passing in ("_name_or_path", "transformers_version"):
            config.pop(passing, None)
        hash_ = hashlib.sha256(digest(json.loads(json.dumps(config, default=str))).encode())
        hash_.update(self.tokenizer.backend_tokenizer.to_str().encode())
        hash_.update(str(self.tokenizer.chat_template).encode())
        for name, tensor in sorted(self.hf.state_dict().items()):
            bits = tensor.detach().contiguous().view(-1).view(torch.uint8)
            words = bits if bits.numel() % 4 else bits.view(torch.int32)
            sample = words[:: max(1, words.numel() // 4096)].cpu().numpy().tobytes()
            hash_.update(f"{name}{tuple(tensor.shape)}{int(words.sum(dtype=torch.int64))}".encode())
            hash_.update(sample)
        return hash_.hexdigest()

    def describe(self) -> dict[str, Any]:
        """What a manifest says of the model; JSON-able, no path of this machine."""
        return {
            "name": self.public_name,
            "architecture": type(self.hf).__name__,
            "n_layers": self.n_layers,
            "d_model": self.d_model,
            "n_heads": self.n_heads,
            "n_kv_heads": self.n_kv_heads,
            "n_ctx": self.n_ctx,
            "dtype": str(self.dtype).removeprefix("torch."),
            "device": self.device.type,
            "fingerprint": self.fingerprint,
            "sites_refused": dict(self.sites.refused),
            "notes": list(self.notes),
        }

    def __repr__(self) -> str:
        size = f"{self.n_layers} layers of {self.d_model}"
        return f"Model({self.public_name!r}, {size}, {self.dtype}, {self.device})"

    def _repr_html_(self) -> str:
        shared = f", {self.n_kv_heads} with keys of their own"
        facts = {
            "architecture": type(self.hf).__name__,
            "layers": self.n_layers,
            "d_model": self.d_model,
            "heads": f"{self.n_heads}{shared if self.n_kv_heads < self.n_heads else ''}",
            "context": f"{self.n_ctx:,} tokens",
            "weights": f"{str(self.dtype).removeprefix('torch.')} on {self.device}",
            "sites": ", ".join(self.sites.kinds),
            **{f"no {kind}": reason for kind, reason in self.sites.refused.items()},
            "notes": "; ".join(self.notes),
        }
        return card(self.public_name, facts)

    def encode(
        self,
        texts: Sequence[str],
        template: Template = NO_TEMPLATE,
        *,
        ids: Sequence[str] | None = None,
        truncate: bool = False,
    ) -> list[Encoded]:
        """Tokenise texts inside a template; see `probekit.prompts.encode`."""
        return encode(self.tokenizer, texts, template, n_ctx=self.n_ctx, ids=ids, truncate=truncate)

    def collate(
        self, prompts: Sequence[Encoded], *, width: int | None = None, side: PaddingSide = "right"
    ) -> Batch:
        """Pad prompts to `width` tokens (default: the longest) and place them on the device."""
        width = width or max(len(prompt) for prompt in prompts)
        ids = torch.zeros(len(prompts), width, dtype=torch.long)
        mask, positions = torch.zeros_like(ids), torch.zeros_like(ids)
        for row, prompt in enumerate(prompts):
            start = width - len(prompt) if side == "left" else 0
            real = slice(start, start + len(prompt))
            ids[row, real] = torch.tensor(prompt.input_ids)
            mask[row, real] = 1
            positions[row, real] = torch.arange(len(prompt))
        return Batch(*(tensor.to(self.device) for tensor in (ids, mask, positions)))

    @torch.no_grad()
    def body(self, batch: Batch) -> Tensor:
        """Run the decoder body; the states after the final norm, `[row, token, d_model]`."""
        return self.hf.base_model(**batch.inputs(), use_cache=False).last_hidden_state

    def edited(self, edits: Sequence[Edit]) -> AbstractContextManager[None]:
        """Within the block, every forward pass is edited, `hf.generate` under a KV cache too.

        May be nested; on leaving, whatever was raised, the model is as it was.

        Raises:
            UserError: a site, unit, width, row or token that this model or batch does not have.
        """
        return applied(self, edits)

    def bridge(self) -> Any:
        """A TransformerLens `TransformerBridge` on the same weights, for its own tools.

        The bridge gets module objects of its own (it replaces submodules in place) that share
        this model's parameters; this model is left as it is.
        """
        from transformer_lens.model_bridge.sources._bridge_builder import build_bridge_from_module

        shared = {id(t): t for t in (*self.hf.parameters(), *self.hf.buffers())}
        twin = copy.deepcopy(self.hf, shared)
        tokenizer = copy.deepcopy(self.tokenizer)
        # Without this TransformerLens loads the tokenizer anew, by name, from the Hub if need be.
        tokenizer.init_kwargs.update(name_or_path=self.name, add_bos_token=True)
        return build_bridge_from_module(
            twin,
            type(self.hf).__name__,
            hf_config=twin.config,
            tokenizer=tokenizer,
            model_name=self.name,
        )


def load_model(
    name_or_path: str | Path,
    *,
    device: str = "auto",
    dtype: str = "auto",
    device_map: str | None = None,
    say: Say = lambda _: None,
) -> Model:
    """Load a bundled model, a local folder or a Hub id, and validate its sites.

    Args:
        name_or_path: a name of `probekit models`, a folder in Hugging Face format, or a Hub id
            (the network is used only for a Hub id or a bundled model that is not in the cache).
        device: "auto" (CUDA, else MPS, else CPU), "cpu", "cuda", "cuda:1", "mps".
        dtype: "auto" (float32 on CPU; on an accelerator what the weights are stored in),
            "float32", "bfloat16" or "float16".
        device_map: passed on to Hugging Face ("auto" spreads layers over devices); then `device`
            is not used.
        say: receives one line whenever something is fetched, and why.

    Raises:
        UserError: unknown name, not a decoder-only model, a checkpoint without safetensors, no
            network, a device that is not there, or a site that fails its identity.
    """
    from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

    name = str(name_or_path)
    if dtype != "auto" and dtype not in DTYPES:
        raise unknown("dtype", dtype, ["auto", *DTYPES])
    target = device_of(device)
    folder = model_folder(name, say)
    try:
        config = AutoConfig.from_pretrained(folder, trust_remote_code=False)
    except ValueError as error:
        raise UserError(f"{name} cannot be loaded: {_first_line(error)}") from error
    _refuse_encoders(config, name)
    if dtype == "auto" and target.type == "cpu" and device_map is None:
        dtype = "float32"
    hf = AutoModelForCausalLM.from_pretrained(
        folder,
        dtype=DTYPES.get(dtype, "auto"),
        use_safetensors=True,
        trust_remote_code=False,
        device_map=device_map,
    )
    if not device_map:
        cast(Any, hf).to(target)
    hf.eval().requires_grad_(False)
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
    except (ValueError, OSError) as error:
        raise UserError(
            f"{name} has no tokenizer that can be loaded ({_first_line(error)}); save a fast "
            "tokenizer (tokenizer.json) into its folder"
        ) from error
    return from_parts(hf, tokenizer, name)


def from_parts(hf: Any, tokenizer: Any, name: str) -> Model:
    """A `Model` from a Hugging Face model and tokenizer that are already in memory.

    Raises:
        UserError: the tokenizer is not a fast one, or the sites fail their identities.
    """
    if not tokenizer.is_fast:
        raise UserError(
            f"model {name}: its tokenizer gives no character offsets; save a fast tokenizer "
            "(tokenizer.json) into its folder"
        )
    notes: tuple[str, ...] = ()
    if name in bundled.BUNDLED:
        kind = bundled.BUNDLED[name].quantisation
        notes = (f"weights were de-quantised from GGUF {kind}; they are not the original ones",)
    model = Model(name, hf, tokenizer, SiteMap(hf), notes)
    validate(model)
    return model


def device_of(device: str) -> torch.device:
    """The device of a name such as "auto" (CUDA, else MPS, else CPU), "cpu" or "cuda:1".

    Raises:
        UserError: no such device on this machine.
    """
    if device == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    there = ["cpu"]
    there += [f"cuda:{n}" for n in range(torch.cuda.device_count())]
    there += ["mps"] if torch.backends.mps.is_available() else []
    if device not in there and not (device == "cuda" and "cuda:0" in there):
        raise unknown("or absent device", device, ["auto", *there])
    return torch.device(device)


def model_folder(name: str, say: Say) -> Path:
    """The local folder of a bundled name, a path or a Hub id; it holds safetensors and a config.

    Raises:
        UserError: no such model, no network, or weights in another format.
    """
    if name in bundled.BUNDLED:
        return bundled.fetch(name, say=say)
    if name in bundled.ENCODERS:
        raise UserError(
            f"{name} is a sentence encoder, with which judges read; it generates nothing and has "
            f"no sites: give one of {', '.join(bundled.BUNDLED)}, a folder or a Hub id"
        )
    path = Path(name).expanduser()
    if not path.exists():
        if re.fullmatch(r"[\w.-]+/[\w.-]+", name) and not name.startswith("."):
            path = _from_hub(name, say)
        else:
            raise UserError(
                f"unknown model {name!r}: accepted are {', '.join(bundled.BUNDLED)}, "
                "a folder in Hugging Face format, or a Hub id such as Qwen/Qwen3-0.6B"
            )
    if not (path / "config.json").is_file():
        raise UserError(f"{name} is no model folder: it holds no config.json")
    try:
        json.loads((path / "config.json").read_text(encoding="utf-8"))
    except ValueError as error:
        raise UserError(f"{path / 'config.json'} is not readable JSON ({error})") from error
    if not any(path.glob("*.safetensors")):
        raise UserError(
            f"{name} holds no safetensors weights (pickled checkpoints are not opened): load it "
            "where you trust it and save it with save_pretrained(folder), then give that folder"
        )
    return path


def _from_hub(name: str, say: Say) -> Path:
    """A Hub snapshot without pickles or code, from the cache if it is there."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    patterns = ["*.safetensors", "*.json", "*.model", "*.jinja", "merges.txt", "vocab.txt"]
    try:
        cached = Path(snapshot_download(name, local_files_only=True))
        if any(cached.glob("*.safetensors")):
            return cached
    except (LocalEntryNotFoundError, FileNotFoundError):
        pass  # Not in the cache: the network is the next place to look.
    say(f"fetching {name} from the Hugging Face Hub: it is not in the cache")
    try:
        return Path(snapshot_download(name, allow_patterns=patterns))
    except (HfHubHTTPError, OSError, RuntimeError) as error:
        raise UserError(
            f"model {name!r} is not in the cache and the Hub could not be reached "
            f"({_first_line(error)}); "
            f"go online, give a local folder, or use one of {', '.join(bundled.BUNDLED)}"
        ) from error


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0][:160]


def _refuse_encoders(config: Any, name: str) -> None:
    from transformers.models.auto.modeling_auto import (
        MODEL_FOR_CAUSAL_LM_MAPPING_NAMES,
        MODEL_FOR_MASKED_LM_MAPPING_NAMES,
    )

    masked = config.model_type in MODEL_FOR_MASKED_LM_MAPPING_NAMES
    causal = config.model_type in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES
    if config.is_encoder_decoder or masked or not causal:
        raise UserError(
            f"{name} is not a decoder-only language model (model type {config.model_type!r}); "
            "give a causal model such as Llama, Gemma, Qwen or GPT-2"
        )
