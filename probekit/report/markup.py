"""The markup of the pages, which is that of the whole house: `probekit.markup`."""

from probekit.markup import Html, joined, json_script, tag

__all__ = ["Html", "joined", "json_script", "tag"]
