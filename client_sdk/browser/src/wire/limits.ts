/** The protocol's bounds, each with its reason (as in the relay's own). Both sides enforce them. */

const KIB = 1024;
const MIB = 1024 * KIB;

export const PROTOCOL_VERSION = 1;
export const MAX_VERSIONS = 16; // a Hello that lists more is not from a client of ours
/** One websocket message: a commit bundle with everything that happens to be coalesced with it. */
export const MAX_MESSAGE_BYTES = 2 * MIB;
/** Nobody has proved anything yet: only the handshake's frames are due. */
export const MAX_HANDSHAKE_MESSAGE_BYTES = 16 * KIB;
/** The largest entry body plus the fields around it. */
export const MAX_FRAME_BYTES = MIB + 4 * KIB;
/** Bounds the work that one websocket message can ask for. */
export const MAX_FRAMES_PER_MESSAGE = 512;
/** Engagements -> list -> engagement -> participants -> participant. */
export const MAX_NESTING = 5;
/** A list costs far more than the byte that announces it; the bound covers a full Engagements frame. */
export const MAX_ARRAYS_PER_MESSAGE = 128 * KIB;

export const NONCE_BYTES = 32;
export const DEVICE_ID_BYTES = 16;
export const DEVICE_KEY_BYTES = 32;
export const SIGNATURE_BYTES = 64;
export const INCARNATION_BYTES = 16;

export const MAX_TOKEN_CHARS = 4096;
export const MAX_DETAIL_CHARS = 256; // one sentence
export const MAX_CODE_CHARS = 64;

export const MAX_COMMIT_BODY_BYTES = MIB;
export const MAX_CALL_PATH_CHARS = 16; // host, srflx, relay, failed, or a later word
export const MAX_EPHEMERAL_BODY_BYTES = 32 * KIB; // an SDP offer with candidates is about 8 KiB
export const MAX_BLOBS_PER_ENTRY = 16;

export const MAX_MEMBER_DEVICES = 32;
export const MAX_DEVICES_PER_USER = 8;
export const MAX_PARTICIPANTS = 32; // nobody takes part without a device
export const MAX_ENGAGEMENTS_PER_USER = 256;

export const MAX_KEY_PACKAGE_BYTES = 8 * KIB;
export const MAX_KEY_PACKAGES = 100; // single-use ones that a device may have at the relay
export const MAX_CLAIMED_DEVICES = 32;

export const WINDOW_ENTRIES = 256;
export const HANDSHAKE_SECONDS = 10; // greeting and authenticating together

export const MAX_BLOB_BYTES = 2 * 1024 * MIB;

export const MAX_ICE_SERVERS = 16;
export const MAX_URLS_PER_ICE_SERVER = 16;
export const MAX_ICE_FIELD_CHARS = 1024;

/** Which nobody else can guess. */
export const CHANNEL_BYTES = 16;
export const MAX_RENDEZVOUS_BODY_BYTES = 64 * KIB;
export const MAX_MANIFEST_BYTES = 2 * KIB;

export const ARCHIVE_SERIES_BYTES = 16;
/** One a device that keeps an archive, and one more after each recovery. */
export const MAX_ARCHIVE_SERIES = 32;
export const MAX_ARCHIVE_PARTS = 65_536;
export const MAX_ARCHIVE_PART_BYTES = 512 * KIB;
export const MAX_ARCHIVE_PARTS_READ = 256;
