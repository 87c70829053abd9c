"""What is wrong with a value although every field of it is well-formed."""

import msgspec


class Fault(msgspec.Struct, frozen=True):
    """``path`` leads to where it is, through fields and positions in lists; ``text`` says what, to people."""

    path: tuple[str | int, ...]
    text: str
