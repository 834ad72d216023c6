"""Hypothesis strategies for every frame of the protocol."""

from __future__ import annotations

import base64
from typing import Any

from hypothesis import strategies as st

from relay.wire import frames as fr
from relay.wire.frames import EntryKind
from relay.wire.ids import Role
from relay.wire.limits import MAX_UINT

uints = st.integers(0, MAX_UINT)
positives = st.integers(1, MAX_UINT)
b16 = st.binary(min_size=16, max_size=16)
b32 = st.binary(min_size=32, max_size=32)
b64 = st.binary(min_size=64, max_size=64)
bodies = st.binary(max_size=200)
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=60)
random_ids = b16.map(lambda raw: base64.urlsafe_b64encode(raw).rstrip(b"=").decode())
streams = random_ids.map(lambda text: f"eng_{text}")
portals = st.from_regex(r"[a-z][a-z0-9-]{0,31}", fullmatch=True)
users = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._:@~-]{0,63}", fullmatch=True)
kinds = st.sampled_from(EntryKind)


def tuples_of(strategy: st.SearchStrategy[Any], *, least: int = 0, most: int = 5) -> st.SearchStrategy[Any]:
    return st.lists(strategy, min_size=least, max_size=most).map(tuple)


entries = st.builds(fr.Entry, positives, kinds, uints, uints, uints, st.none() | bodies)
engagements = st.builds(
    fr.Engagement,
    streams,
    st.sampled_from(["active", "ended"]),
    uints,
    uints,
    tuples_of(st.builds(fr.Participant, users, st.sampled_from(Role))),
    tuples_of(st.builds(fr.EngagementDevice, users, b16, st.booleans(), st.booleans())),
    uints,
)
claimed = st.builds(fr.ClaimedKeyPackage, b16, st.none() | bodies, st.booleans())
ice_servers = st.builds(fr.IceServer, tuples_of(texts), st.none() | texts, st.none() | texts)

DEVICE_FRAMES: dict[type, st.SearchStrategy[Any]] = {
    fr.Hello: st.builds(fr.Hello, tuples_of(uints, least=1, most=16), b32),
    fr.Authenticate: st.builds(fr.Authenticate, texts, b32, b64),
    fr.Renew: st.builds(fr.Renew, positives, texts),
    fr.Append: st.builds(fr.Append, streams, positives, kinds, uints, bodies, tuples_of(random_ids)),
    fr.Open: st.builds(fr.Open, positives, streams, uints),
    fr.Ack: st.builds(fr.Ack, streams, uints),
    fr.Ephemeral: st.builds(fr.Ephemeral, streams, bodies),
    fr.PublishKeyPackages: st.builds(fr.PublishKeyPackages, positives, tuples_of(bodies), st.none() | bodies),
    fr.ClaimKeyPackages: st.builds(fr.ClaimKeyPackages, positives, streams, tuples_of(b16, least=1)),
    fr.ListEngagements: st.builds(fr.ListEngagements, positives),
    fr.RequestBlobAccess: st.builds(fr.RequestBlobAccess, positives, streams),
    fr.RequestIceServers: st.builds(fr.RequestIceServers, positives, streams),
    fr.PutArchive: st.builds(fr.PutArchive, positives, streams, b16, positives, bodies),
    fr.ListArchive: st.builds(fr.ListArchive, positives, streams),
    fr.ReadArchive: st.builds(fr.ReadArchive, positives, streams, b16, uints),
    fr.EraseArchive: st.builds(fr.EraseArchive, positives, streams, st.none() | b16),
    fr.CallOutcome: st.builds(fr.CallOutcome, st.text(max_size=16)),
    fr.Rendezvous: st.builds(fr.Rendezvous, positives, b16, bodies),
    fr.PutManifest: st.builds(fr.PutManifest, positives, st.none() | bodies),
}
RELAY_FRAMES: dict[type, st.SearchStrategy[Any]] = {
    fr.Challenge: st.builds(fr.Challenge, uints, b32),
    fr.Ready: st.builds(fr.Ready, b16, portals, users, uints, uints, positives, positives, uints),
    fr.Renewed: st.builds(fr.Renewed, positives, uints),
    fr.Error: st.builds(fr.Error, uints, texts, texts),
    fr.Goodbye: st.builds(fr.Goodbye, texts, texts, uints),
    fr.Appended: st.builds(
        fr.Appended, streams, tuples_of(st.builds(fr.AppendResult, positives, positives), least=1)
    ),
    fr.Refused: st.builds(fr.Refused, streams, positives, texts, uints),
    fr.Opened: st.builds(
        fr.Opened, positives, streams, b16, uints, uints, uints, uints, uints, st.booleans()
    ),
    fr.Entries: st.builds(fr.Entries, streams, tuples_of(entries, least=1)),
    fr.EphemeralFrom: st.builds(fr.EphemeralFrom, streams, bodies),
    fr.Published: st.builds(fr.Published, positives, uints),
    fr.KeyPackages: st.builds(fr.KeyPackages, positives, tuples_of(claimed)),
    fr.Engagements: st.builds(fr.Engagements, positives, tuples_of(engagements, most=3)),
    fr.EngagementChanged: st.builds(fr.EngagementChanged, engagements),
    fr.BlobAccess: st.builds(fr.BlobAccess, positives, texts, uints),
    fr.IceServers: st.builds(fr.IceServers, positives, tuples_of(ice_servers), uints),
    fr.KeyPackagesLow: st.builds(fr.KeyPackagesLow, uints),
    fr.ArchiveStored: st.builds(fr.ArchiveStored, positives, uints),
    fr.ArchiveListed: st.builds(
        fr.ArchiveListed, positives, tuples_of(st.builds(fr.ArchiveSeries, b16, positives))
    ),
    fr.ArchiveParts: st.builds(fr.ArchiveParts, positives, tuples_of(bodies)),
    fr.Met: st.builds(fr.Met, positives, st.booleans()),
    fr.RendezvousFrom: st.builds(fr.RendezvousFrom, b16, bodies),
    fr.HeldManifest: st.builds(fr.HeldManifest, positives, st.none() | bodies),
}
device_frames = st.one_of(*DEVICE_FRAMES.values())
relay_frames = st.one_of(*RELAY_FRAMES.values())
