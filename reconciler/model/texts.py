"""Texts for people, made short. Pure."""


def cut(text: str, most: int) -> str:
    """A text of at most ``most`` characters, whose end shows that it was longer."""
    return text if len(text) <= most else f"{text[: most - 1]}…"
