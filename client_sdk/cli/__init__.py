"""The `coach` command: a participant in a terminal."""

__all__: list[str] = []
