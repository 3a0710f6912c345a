"""Sites: the places inside a decoder block that can be read, in TransformerLens's words.

Sequential blocks: `resid_mid = resid_pre + attn_out`, `resid_post = resid_mid + mlp_out`.
Parallel blocks (GPT-NeoX): `resid_post = resid_pre + attn_out + mlp_out`; there is no `resid_mid`.
`attn_out` and `mlp_out` are what is *added* to the stream: after a post-norm (Gemma 2 and 3,
OLMo 2) and after a residual multiplier (Granite). `z` is the input of the attention's output
projection (heads side by side), `mlp_post` the input of the MLP's. The last `resid_post` is
*before* the final norm.

Where a site lives comes from TransformerLens's architecture adapters, which name the plain
Hugging Face modules; the model itself is not wrapped.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from probekit.errors import UserError, unknown

ACCEPTED = "use a decoder family such as Llama, Mistral, Gemma, Qwen, OLMo 2, Granite or GPT-2"
Kind = Literal["resid_pre", "resid_mid", "resid_post", "attn_out", "mlp_out", "z", "mlp_post"]
KINDS: tuple[Kind, ...] = (
    "resid_pre",
    "resid_mid",
    "resid_post",
    "attn_out",
    "mlp_out",
    "z",
    "mlp_post",
)

_SUBLAYERS = {"attn_out": ("attn", "ln1_post"), "mlp_out": ("mlp", "ln2_post")}
"""Part of a block and the norm behind it, in the adapters' words."""


@dataclass(frozen=True, order=True)
class Site:
    """One place: a kind and the number of its layer, counted from 0."""

    kind: Kind
    layer: int

    def __str__(self) -> str:
        return f"{self.kind}.{self.layer}"

    @staticmethod
    def parse(text: str) -> tuple["Site", int | None]:
        """A site and, where one is named, its head or neuron, from "resid_post.3" or "z.3.5".

        Raises:
            UserError: not a kind with a layer.
        """
        kind, *numbers = text.split(".")
        if (
            kind not in KINDS
            or not 1 <= len(numbers) <= 2
            or not all(n.isdecimal() for n in numbers)
        ):
            raise unknown(
                "site", text, [*KINDS, "each with a layer, such as resid_post.3 or z.3.5"]
            )
        return Site(kind, int(numbers[0])), int(numbers[1]) if numbers[1:] else None


@dataclass(frozen=True)
class Tap:
    """Where a site lives: a module, which side of it, and what the stream multiplies it by."""

    module: nn.Module
    side: Literal["input", "output"]
    scale: float = 1.0
    in_place: bool = False

    def read(self, args: tuple[Any, ...], kwargs: Mapping[str, Any], output: Any) -> Tensor:
        """The site's value `[row, token, d]` in one call of the module."""
        if self.side == "input":
            value = args[0] if args else kwargs["hidden_states"]
        else:
            value = output[0] if isinstance(output, tuple) else output
        return value if self.scale == 1.0 else value * self.scale

    def register(self, change: Callable[[Tensor], Tensor]) -> Any:
        """A hook that puts `change(value)` in the site's place; returns its handle.

        An input that the block also adds to its stream (`in_place`) is overwritten where it lies,
        so that the stream goes on with the new value too.
        """

        def before(_: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
            old = self.read(args, kwargs, None)
            new = change(old)
            if self.in_place:
                old.copy_(new)
                return None
            if args:
                return (new, *args[1:]), kwargs
            return args, {**kwargs, "hidden_states": new}

        def after(_: Any, __: Any, output: Any) -> Any:
            old = self.read((), {}, output)
            new = change(old)
            if self.scale != 1.0:  # What was not changed keeps its very bits, and its gradient.
                raw = output[0] if isinstance(output, tuple) else output
                new = torch.where(new == old, raw + (new - old) / self.scale, new / self.scale)
            return (new, *output[1:]) if isinstance(output, tuple) else new

        if self.side == "input":
            return self.module.register_forward_pre_hook(before, with_kwargs=True)
        return self.module.register_forward_hook(after)


class SiteMap:
    """The taps of one Hugging Face model.

    Args:
        hf: a causal language model of an architecture that TransformerLens has an adapter for.

    Attributes:
        n_layers: number of blocks.
        refused: kind -> reason, for kinds that this architecture cannot give.

    Raises:
        UserError: no adapter for the architecture, or no attention and MLP in each of its blocks.
    """

    def __init__(self, hf: nn.Module) -> None:
        self.hf = hf
        self._adapter = _adapter(hf)
        blocks = self._adapter.component_mapping.get("blocks")
        if blocks is None:
            raise UserError(f"{type(hf).__name__} is no single stack of decoder blocks; {ACCEPTED}")
        self._parts = {name: part.submodules for name, part in blocks.submodules.items()}
        self.n_layers = len(self._adapter.get_component(hf, "blocks"))
        self.refused: dict[Kind, str] = {}
        for kind in KINDS:
            try:
                for layer in range(self.n_layers):
                    self.tap(Site(kind, layer))
            except UserError as error:
                if kind in ("attn_out", "mlp_out"):
                    raise
                self.refused[kind] = str(error)

    @property
    def parallel(self) -> bool:
        """Whether attention and MLP read the same stream side by side."""
        config: Any = self.hf.config
        flag = getattr(config, "use_parallel_residual", getattr(config, "parallel_attn", False))
        return bool(flag) or bool(getattr(self._adapter.cfg, "parallel_attn_mlp", False))

    @property
    def kinds(self) -> tuple[Kind, ...]:
        """The kinds of site that this model gives."""
        return tuple(kind for kind in KINDS if kind not in self.refused)

    def tap(self, site: Site) -> Tap:
        """Where `site` is read.

        Raises:
            UserError: unknown kind, layer out of range, or a site this architecture lacks.
        """
        if site.kind not in KINDS:
            raise unknown("site", site.kind, KINDS)
        if not 0 <= site.layer < self.n_layers:
            raise UserError(
                f"site {site}: this model has layers 0 to {self.n_layers - 1}; give one of them"
            )
        if reason := self.refused.get(site.kind):
            raise UserError(reason)
        return self._locate(site.kind, site.layer)

    def width(self, site: Site) -> int:
        """Size of the site's last axis."""
        if site.kind not in ("z", "mlp_post"):
            return int(self._text.hidden_size)
        module: Any = self.tap(site).module
        # GPT-2's Conv1D keeps its weight `[in, out]`; a Linear `[out, in]`.
        return int(getattr(module, "in_features", None) or module.weight.shape[0])

    def units(self, kind: Kind) -> int:
        """Number of heads in `z`, of neurons in `mlp_post`; other sites have none.

        Raises:
            UserError: the kind has no units.
        """
        if kind == "z":
            return int(self._text.num_attention_heads)
        if kind == "mlp_post":
            return self.width(Site(kind, 0))
        raise UserError(f"site {kind} has no heads or neurons: those of z and mlp_post can be told")

    def block(self, layer: int) -> nn.Module:
        """The module of a decoder block."""
        return self._module(layer, "")

    def post_norm(self, site: Site) -> nn.Module | None:
        """The norm between an `attn_out` or `mlp_out` and its projection; None without one."""
        norm = _SUBLAYERS[site.kind][1]
        return self._module(site.layer, norm) if norm in self._parts else None

    @property
    def multiplier(self) -> float:
        """What attention and MLP outputs are multiplied by before the stream takes them."""
        return float(getattr(self.hf.config, "residual_multiplier", 1.0))

    @property
    def final_norm(self) -> nn.Module:
        """The norm between the last `resid_post` and the unembedding."""
        return self._adapter.get_component(self.hf, "ln_final")

    @property
    def _text(self) -> Any:
        config: Any = self.hf.config
        return config.get_text_config()

    def expand(self, wanted: Iterable[str | Site]) -> tuple[Site, ...]:
        """Sites from `Site`s, kinds ("resid_post": every layer) and "kind.layer" strings.

        Raises:
            UserError: nothing wanted, an unknown kind, or a layer that does not exist.
        """
        sites: dict[Site, None] = {}
        for want in wanted:
            for site in [want] if isinstance(want, Site) else self._parse(want):
                self.tap(site)
                sites[site] = None
        if not sites:
            raise UserError(f"no site given: choose from {', '.join(self.kinds)}")
        return tuple(sites)

    def _parse(self, text: str) -> list[Site]:
        kind, _, layer = text.partition(".")
        if kind not in KINDS or (layer and not re.fullmatch(r"-?\d+", layer)):
            raise unknown("site", text, [*KINDS, "or a kind with a layer such as resid_post.3"])
        return [Site(kind, n) for n in ([int(layer)] if layer else range(self.n_layers))]

    def _locate(self, kind: Kind, layer: int) -> Tap:
        match kind:
            case "resid_pre":
                return Tap(self._module(layer, ""), "input")
            case "resid_post":
                return Tap(self._module(layer, ""), "output")
            case "resid_mid" if self.parallel:
                raise UserError(
                    "site resid_mid: this architecture runs attention and MLP in parallel, so "
                    "there is no stream between them; use resid_pre or resid_post"
                )
            case "resid_mid":
                # OLMo 2 has no norm before its MLP: the MLP itself reads the stream.
                module = self._module(layer, "ln2" if "ln2" in self._parts else "mlp")
                return Tap(module, "input", in_place=True)
            case "attn_out" | "mlp_out":
                part, norm = _SUBLAYERS[kind]
                name = norm if norm in self._parts else part
                return Tap(self._module(layer, name), "output", self.multiplier)
            case "z" | "mlp_post":
                part, inner = ("attn", "o") if kind == "z" else ("mlp", "out")
                if inner not in self._parts.get(part, {}):
                    raise UserError(
                        f"site {kind}: the adapter of {type(self.hf).__name__} names no "
                        f"{part}.{inner} module; use another site"
                    )
                return Tap(self._module(layer, f"{part}.{inner}"), "input")

    def _module(self, layer: int, name: str) -> nn.Module:
        path = f"blocks.{layer}.{name}".rstrip(".")
        try:
            return self._adapter.get_component(self.hf, path)
        except (AttributeError, ValueError) as error:  # What it raises where there is no such part.
            raise UserError(
                f"TransformerLens's adapter finds no {name} in block {layer} of "
                f"{type(self.hf).__name__} (recurrent and hybrid models are not supported); "
                f"{ACCEPTED}"
            ) from error


def _adapter(hf: nn.Module) -> Any:
    """TransformerLens's adapter for a Hugging Face model, built from its config alone."""
    from transformer_lens.factories.architecture_adapter_factory import ArchitectureAdapterFactory
    from transformer_lens.model_bridge.sources._bridge_builder import build_bridge_config_from_hf

    name = type(hf).__name__
    try:
        config = build_bridge_config_from_hf(hf.config, name, name, torch.float32)
        return ArchitectureAdapterFactory.select_architecture_adapter(config)
    except ValueError as error:
        raise UserError(
            f"architecture {name} has no TransformerLens adapter ({error}); {ACCEPTED}"
        ) from error
