"""The `coach-relay` command: one file a command."""

__all__: list[str] = []
