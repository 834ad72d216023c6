"""The protocol's bounds, each with its reason. Both sides enforce them."""

from __future__ import annotations

from typing import Final

KIB: Final = 1024
MIB: Final = 1024 * KIB

PROTOCOL_VERSION: Final = 1
SUPPORTED_VERSIONS: Final = (PROTOCOL_VERSION,)
MAX_VERSIONS: Final = 16  # a Hello that lists more is not from a client of ours

# Integers stay below 2^63 so that every store and language can hold them as a signed 64-bit number.
MAX_UINT: Final = 2**63 - 1

# One websocket message: a commit bundle with everything that happens to be coalesced with it.
MAX_MESSAGE_BYTES: Final = 2 * MIB
# Nobody has proved anything yet: only Hello and Authenticate are due, which together stay far below this.
MAX_HANDSHAKE_MESSAGE_BYTES: Final = 16 * KIB
# The largest entry body plus the fields around it.
MAX_FRAME_BYTES: Final = MIB + 4 * KIB
# Bounds the work that one websocket message can ask for; 256 frames already amortise everything.
MAX_FRAMES_PER_MESSAGE: Final = 512
# Engagements -> list -> engagement -> participants -> participant.
MAX_NESTING: Final = 5

NONCE_BYTES: Final = 32
DEVICE_ID_BYTES: Final = 16
DEVICE_KEY_BYTES: Final = 32
SIGNATURE_BYTES: Final = 64
INCARNATION_BYTES: Final = 16

MAX_TOKEN_CHARS: Final = 4096  # a JWT of ten times the claims we require still fits
MAX_DETAIL_CHARS: Final = 256  # one sentence
MAX_CODE_CHARS: Final = 64

MAX_MESSAGE_BODY_BYTES: Final = 64 * KIB
MAX_COMMIT_BODY_BYTES: Final = MIB
MAX_CALL_PATH_CHARS: Final = 16  # host, srflx, relay, failed, or a later word
MAX_EPHEMERAL_BODY_BYTES: Final = 32 * KIB  # an SDP offer with candidates is about 8 KiB
MAX_BLOBS_PER_ENTRY: Final = 16

MAX_MEMBER_DEVICES: Final = 32  # devices in one conversation
MAX_DEVICES_PER_USER: Final = 8
MAX_PARTICIPANTS: Final = 32  # nobody takes part without a device
MAX_ENGAGEMENTS_PER_USER: Final = 256  # so that Engagements is one frame

MAX_KEY_PACKAGE_BYTES: Final = 8 * KIB
MAX_KEY_PACKAGES: Final = 100  # single-use ones that a device may have at the relay
KEY_PACKAGES_LOW: Final = 10  # at or below this the owner is told to publish more
MAX_CLAIMED_DEVICES: Final = 32

CHANNEL_BYTES: Final = 16
MAX_RENDEZVOUS_BODY_BYTES: Final = 64 * KIB  # what one linking device tells another at once
MAX_RENDEZVOUS_DEVICES: Final = 2
MAX_RENDEZVOUS_CHANNELS_PER_USER: Final = 16  # all devices one after the other, with failed attempts between
RENDEZVOUS_SECONDS: Final = 15 * 60  # a channel at which nothing was said for so long is forgotten
MAX_MANIFEST_BYTES: Final = 2 * KIB

WINDOW_ENTRIES: Final = 256  # larger delivery windows gain nothing
WINDOW_BYTES: Final = MIB
COUNTER_WINDOW: Final = 64  # counters whose answers the relay remembers, a device and stream
COUNTER_WINDOW_SECONDS: Final = 24 * 3600

HANDSHAKE_SECONDS: Final = 10  # greeting and authenticating together
PING_INTERVAL_SECONDS: Final = 25  # below the idle time-out of common proxies

DEFAULT_RETENTION_HOURS: Final = 30 * 24
MAX_RETENTION_HOURS: Final = 180 * 24

BLOB_TOKEN_SECONDS: Final = 15 * 60
MAX_BLOB_BYTES: Final = 2 * 1024 * MIB
UNNAMED_BLOB_SECONDS: Final = 24 * 3600  # an upload that no entry names is erased after this

MAX_ICE_SERVERS: Final = 16
MAX_URLS_PER_ICE_SERVER: Final = 16
MAX_ICE_FIELD_CHARS: Final = 1024

# A user's archive of one engagement: some hundred thousand messages. A part holds what a minute brought.
ARCHIVE_SERIES_BYTES: Final = 16
MAX_ARCHIVE_SERIES: Final = 32  # one a device that keeps it, and one more after each recovery
MAX_ARCHIVE_PART_BYTES: Final = 512 * KIB  # a message of 64 KiB with its proof, and others beside it
MAX_ARCHIVE_PARTS: Final = 65_536
MAX_ARCHIVE_BYTES: Final = 128 * MIB
MAX_ARCHIVE_PARTS_READ: Final = 256
ARCHIVE_ANSWER_BYTES: Final = 512 * KIB  # half a frame; one part is always given
