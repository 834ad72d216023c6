"""Coach Relay: the relay, which carries coaching conversations that it cannot read."""
