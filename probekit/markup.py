"""HTML that is escaped unless it was made here."""

import html
import json
from typing import Any


class Html(str):
    """Text that is already HTML; any other string is escaped by `tag`."""


def tag(name: str, *children: str, **attributes: str | bool | None) -> Html:
    """`<name …>children</name>`.

    Args:
        name: name of the element.
        children: contents; a plain string is text and is escaped, `Html` is not.
        attributes: `class_` for `class`, `aria_label` for `aria-label`; `True` gives the bare
            name, `None` and `False` nothing.
    """
    written = "".join(
        f" {key.rstrip('_').replace('_', '-')}"
        + ("" if value is True else f'="{html.escape(str(value))}"')
        for key, value in attributes.items()
        if value is not None and value is not False
    )
    return Html(f"<{name}{written}>{joined(*children)}</{name}>")


def joined(*children: str) -> Html:
    """The children one after the other, text among them escaped."""
    return Html("".join(c if isinstance(c, Html) else html.escape(c) for c in children))


def json_script(identifier: str, value: Any) -> Html:
    """A `<script type="application/json">` that no text inside `value` can end.

    `<`, `>` and `&` are written as JSON escapes (so neither `</script>` nor `<!--` can occur), and
    so are the line separators that JSON allows and JavaScript once did not.
    """
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return Html(f'<script type="application/json" id="{html.escape(identifier)}">{text}</script>')
