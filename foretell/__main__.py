"""`python -m foretell` is `foretell`."""

from .cli import main

main()
