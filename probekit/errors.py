"""The one exception a user is meant to read."""


class UserError(ValueError):
    """Bad input, in one line: what was given, what is accepted, what to do.

    The command line prints the message alone and exits with code 2; everything else keeps its
    traceback, because it is a bug.
    """


def unknown(what: str, given: object, accepted: object) -> UserError:
    """`UserError` for a name that is not one of a closed list."""
    names = [str(name) for name in accepted] if isinstance(accepted, (list, tuple)) else [accepted]
    return UserError(f"unknown {what} {given!r}: accepted are {', '.join(map(str, names))}")
