"""The `coach-relay` command: one file a command."""
