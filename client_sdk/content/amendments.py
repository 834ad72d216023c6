"""Amendments: messages about an earlier message. An edit, a retraction, a reaction (docs/PROTOCOL.md 9.1)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, Final, Self, cast

from ..errors import ContentInvalid
from .checks import Extra, Fields, check_bytes, check_extra, check_text
from .messages import ID_BYTES, TEXT_BYTES
from .packing import Value

REACTIONS: Final = {
    "👍": "thumbs-up",
    "❤️": "heart",
    "🙏": "thanks",
    "💪": "strength",
    "🎉": "celebrate",
    "😊": "smile",
    "😢": "sad",
    "🤔": "thinking",
}
"""The reactions there are, in the order in which they are shown, and what they are called."""


@dataclass(frozen=True, slots=True)
class Edit:
    """The author says a text anew: `message` is the id of the text, `text` all of its new words."""

    KIND: ClassVar[str] = "edit"

    message: bytes
    text: str = field(repr=False)
    extra: Extra = field(default_factory=dict, kw_only=True, repr=False, hash=False)

    def __post_init__(self) -> None:
        check_bytes("The id of the message", self.message, ID_BYTES)
        check_text("The text", self.text, most=TEXT_BYTES)
        check_extra(self.extra, frozenset({"message", "text"}))

    @property
    def fallback(self) -> str:
        """What a client shows that does not know this kind."""
        return f"I changed a message of mine to: {self.text}"

    def to_body(self) -> dict[str, Value]:
        """The body as a map."""
        return {"message": self.message, "text": self.text, **self.extra}

    @classmethod
    def from_body(cls, body: object) -> Self:
        """Check a received body; raises ContentInvalid."""
        fields = Fields(body, "An edit")
        return cls(cast(bytes, fields.take("message")), cast(str, fields.take("text")), extra=fields.rest())


@dataclass(frozen=True, slots=True)
class Retract:
    """The author takes a message back: what it said, and the key of its file, are to be erased."""

    KIND: ClassVar[str] = "retract"

    message: bytes
    extra: Extra = field(default_factory=dict, kw_only=True, repr=False, hash=False)

    def __post_init__(self) -> None:
        check_bytes("The id of the message", self.message, ID_BYTES)
        check_extra(self.extra, frozenset({"message"}))

    @property
    def fallback(self) -> str:
        """What a client shows that does not know this kind."""
        return "I took back a message. Update the app, and it is erased on your device too."

    def to_body(self) -> dict[str, Value]:
        """The body as a map."""
        return {"message": self.message, **self.extra}

    @classmethod
    def from_body(cls, body: object) -> Self:
        """Check a received body; raises ContentInvalid."""
        fields = Fields(body, "A retraction")
        return cls(cast(bytes, fields.take("message")), extra=fields.rest())


@dataclass(frozen=True, slots=True)
class Reaction:
    """One of `REACTIONS` to a message; with `on` False it is taken back."""

    KIND: ClassVar[str] = "reaction"

    message: bytes
    emoji: str
    on: bool = True
    extra: Extra = field(default_factory=dict, kw_only=True, repr=False, hash=False)

    def __post_init__(self) -> None:
        check_bytes("The id of the message", self.message, ID_BYTES)
        if not isinstance(self.emoji, str) or self.emoji not in REACTIONS:
            raise ContentInvalid(f"The reactions are {' '.join(REACTIONS)}. Take one of them.")
        if not isinstance(self.on, bool):
            raise ContentInvalid("A reaction is there or taken back: on is True or False.")
        check_extra(self.extra, frozenset({"message", "emoji", "on"}))

    @property
    def fallback(self) -> str:
        """What a client shows that does not know this kind."""
        return self.emoji if self.on else f"I took back my {self.emoji}."

    def to_body(self) -> dict[str, Value]:
        """The body as a map."""
        return {"message": self.message, "emoji": self.emoji, "on": self.on, **self.extra}

    @classmethod
    def from_body(cls, body: object) -> Self:
        """Check a received body; raises ContentInvalid."""
        fields = Fields(body, "A reaction")
        return cls(
            message=cast(bytes, fields.take("message")),
            emoji=cast(str, fields.take("emoji")),
            on=cast(bool, fields.take("on")),
            extra=fields.rest(),
        )


Amendment = Edit | Retract | Reaction
AMENDMENT_KINDS: Final = frozenset({Edit.KIND, Retract.KIND, Reaction.KIND})
