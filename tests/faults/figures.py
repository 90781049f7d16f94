"""Figures that a test shows: pytest prints them with `-rP`, and where a test fails."""


def say(text: str) -> None:
    """Show a line of figures."""
    print(text)  # noqa: T201 - pytest keeps what is printed with its test
