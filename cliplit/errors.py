"""What a user can put right: one sentence that names the file or key and the fix."""


class UserError(Exception):
    """Bad input. The command line prints its one sentence and exits with code 2, without a traceback."""


class ConfigError(UserError):
    """A key of params.yaml is unknown, missing, of the wrong type or out of range."""


class PhotoError(UserError):
    """A photo cannot be read or written; ``path`` names it, ``reason`` says why in one sentence."""

    def __init__(self, path: object, reason: str) -> None:
        super().__init__(f"{shown(path)}: {reason}")
        self.path = str(path)
        self.reason = reason


def shown(name: object) -> str:
    """``name`` on one line that every terminal can print: line breaks and bytes that are no text are escaped."""
    return "".join(sign if sign.isprintable() else sign.encode("unicode_escape").decode() for sign in str(name))
