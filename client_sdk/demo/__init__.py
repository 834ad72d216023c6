"""The whole story in one command: a coach and a client meet over a relay that cannot read them."""

__all__: list[str] = []
