"""Reading and writing sites in a forward pass, with plain PyTorch hooks that are always removed."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from torch import Tensor

from probekit.sites import Site, SiteMap

Change = Callable[[Tensor], Tensor]


class _DeepEnough(Exception):
    """Raised by the hook of the last site that is wanted, to leave the forward pass."""


@contextmanager
def reading(
    sites: SiteMap, wanted: Sequence[Site], receive: Callable[[Site, Tensor], None]
) -> Iterator[None]:
    """Within the block, each forward pass hands every wanted site's value to `receive`.

    Args:
        receive: called with the site and its value `[row, token, d]` when the site's module ends
            (`resid_pre` with its block); the tensor is the model's own, so copy what is kept.
    """
    handles = []
    try:
        for site in wanted:
            tap = sites.tap(site)

            def hook(
                _: Any, args: Any, kwargs: Any, output: Any, tap: Any = tap, site: Site = site
            ) -> None:
                receive(site, tap.read(args, kwargs, output))

            handles.append(tap.module.register_forward_hook(hook, with_kwargs=True))
        yield
    finally:
        for handle in handles:
            handle.remove()


@contextmanager
def writing(sites: SiteMap, changes: Sequence[tuple[Site, Change]]) -> Iterator[None]:
    """Within the block, each forward pass goes on with `change(value)` at every named site.

    Args:
        changes: sites and what is done there, `[row, token, d]` -> the same shape; several at one
            site act in their order. The function must not write into the tensor it is given.
    """
    handles = []
    try:
        for site, change in changes:
            handles.append(sites.tap(site).register(change))
        yield
    finally:
        for handle in handles:
            handle.remove()


@contextmanager
def stopping_after(sites: SiteMap, layer: int) -> Iterator[None]:
    """Within the block, a forward pass ends after block `layer`: nothing above it is computed."""

    def stop(*_: Any) -> None:
        raise _DeepEnough

    handle = sites.tap(Site("resid_post", layer)).module.register_forward_hook(stop)
    try:
        yield
    except _DeepEnough:
        return
    finally:
        handle.remove()
