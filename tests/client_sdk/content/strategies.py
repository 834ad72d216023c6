"""Hypothesis strategies for everything that can be said."""

from __future__ import annotations

from hypothesis import strategies as st

from client_sdk.content import (
    REACTIONS,
    Attest,
    CallEnded,
    CallInvite,
    CheckIn,
    CheckInAnswer,
    Content,
    Edit,
    Envelope,
    File,
    Profile,
    Question,
    Reaction,
    Receipt,
    Retract,
    Text,
    Unknown,
)
from client_sdk.content.packing import MAX_COUNT, Value, pack

uints = st.integers(0, MAX_COUNT)
words = st.text(min_size=1, max_size=50)
# Ids of questions are the shortest of these: 64 bytes. A character has at most 4.
names = st.text(st.characters(min_codepoint=32, exclude_categories=["Cs", "Cc"]), min_size=1, max_size=16)
bytes16 = st.binary(min_size=16, max_size=16)
bytes32 = st.binary(min_size=32, max_size=32)

values: st.SearchStrategy[Value] = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.text(max_size=20)
    | st.binary(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


def extras() -> st.SearchStrategy[dict[str, Value]]:
    return st.dictionaries(st.text(max_size=6).map(lambda key: f"x-{key}"), values, max_size=3)


scales = st.builds(
    lambda id, text, low, span, extra: Question(id, text, min=low, max=low + span, extra=extra),
    names,
    words,
    st.integers(0, 50),
    st.integers(1, 50),
    extras(),
)
choices = st.builds(
    lambda id, text, options: Question(id, text, answer="choice", choices=tuple(options)),
    names,
    words,
    st.lists(names, min_size=2, max_size=5, unique=True),
)
in_words = st.builds(lambda id, text: Question(id, text, answer="text"), names, words)
questions = st.lists(scales | choices | in_words, min_size=1, max_size=5, unique_by=lambda q: q.id)

known = st.one_of(
    st.builds(Text, words, reply_to=st.none() | bytes16, extra=extras()),
    st.builds(Edit, bytes16, words, extra=extras()),
    st.builds(Retract, bytes16, extra=extras()),
    st.builds(Reaction, bytes16, st.sampled_from(list(REACTIONS)), st.booleans(), extra=extras()),
    st.builds(Profile, names, extra=extras()),
    st.builds(Receipt, st.none() | st.integers(1, MAX_COUNT), extra=extras()),
    st.builds(CheckIn, words, questions.map(tuple), extra=extras()),
    st.builds(
        CheckInAnswer,
        bytes16,
        st.dictionaries(names, st.integers(0, 100) | words, min_size=1, max_size=5),
        extra=extras(),
    ),
    st.builds(
        File,
        name=names,
        media_type=st.sampled_from(["application/pdf", "text/plain", "image/svg+xml"]),
        size=uints,
        blob=st.sampled_from(["AAAAAAAAAAAAAAAAAAAAAA", "q_-0123456789abcdefghw"]),
        key=bytes32,
        sealed_size=st.integers(1, MAX_COUNT),
        sealed_hash=bytes32,
        extra=extras(),
    ),
    st.builds(CallInvite, bytes16, st.sampled_from([("audio",), ("audio", "video")]), extra=extras()),
    st.builds(
        CallEnded,
        bytes16,
        st.sampled_from(["answered", "declined", "missed", "cancelled", "failed"]),
        st.none() | names,
        uints,
        device=st.none() | bytes16,
        extra=extras(),
    ),
)
unknown = st.builds(
    Unknown,
    kind=words.map(lambda w: f"later.{w}"[:16]),
    kind_version=st.integers(1, MAX_COUNT),
    critical=st.booleans(),
    fallback=st.text(max_size=60),
    body=st.dictionaries(st.text(max_size=6), values, max_size=4).map(pack),
)
attests = st.builds(Attest, uints, uints, bytes32)


def envelopes(content: st.SearchStrategy[Content]) -> st.SearchStrategy[Envelope]:
    return st.builds(
        Envelope,
        id=bytes16,
        counter=st.integers(1, MAX_COUNT),
        attest=attests,
        closings=st.lists(attests, max_size=8).map(tuple),
        sent_ms=uints,
        content=content,
    )
