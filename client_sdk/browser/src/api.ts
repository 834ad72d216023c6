/**
 * What a page sees of the SDK, as types alone: the element builds on these, and a test may put a double in their
 * place. Everything here can be cloned from the Worker to the page, but for calls, which live in the page.
 */

/** How far a message has come; `read` only where the others tell. */
export type Delivery = "waiting" | "sent" | "delivered" | "read";

export interface Reactions {
  readonly emoji: string;
  /** The users who gave it. */
  readonly users: readonly string[];
}

/** What every item of a history has. `id` is the same at each delivery and on each device. */
export interface ItemBase {
  readonly id: string;
  readonly engagement: string;
  /** The user who said it; empty for what this device notes itself (gaps). */
  readonly sender: string;
  readonly mine: boolean;
  /** By the sender's clock. */
  readonly sentMs: number;
  /** Its position in the conversation; 0 while it waits on this device. */
  readonly seq: number;
  readonly state: Delivery;
  readonly edited: boolean;
  readonly reactions: readonly Reactions[];
}

export interface TextItem extends ItemBase {
  readonly kind: "text";
  readonly text: string;
  /** The id of what it answers. */
  readonly replyTo: string | null;
}

export interface FileItem extends ItemBase {
  readonly kind: "file";
  readonly name: string;
  readonly mediaType: string;
  readonly size: number;
}

/** On a scale (`min` to `max`), by one of `choices`, or in words. */
export interface Question {
  readonly id: string;
  readonly text: string;
  readonly answer: "scale" | "choice" | "text";
  readonly min: number | null;
  readonly max: number | null;
  readonly choices: readonly string[];
}

export interface CheckInItem extends ItemBase {
  readonly kind: "checkin";
  readonly prompt: string;
  readonly questions: readonly Question[];
}

export interface CheckInAnswerItem extends ItemBase {
  readonly kind: "checkin.answer";
  /** The id of the check-in. */
  readonly checkIn: string;
  readonly answers: Readonly<Record<string, number | string>>;
}

export interface CallInviteItem extends ItemBase {
  readonly kind: "call.invite";
  readonly call: string;
  readonly media: readonly ("audio" | "video")[];
}

export interface CallEndedItem extends ItemBase {
  readonly kind: "call.ended";
  readonly call: string;
  readonly outcome: "answered" | "declined" | "missed" | "cancelled" | "failed";
  readonly seconds: number;
  /** Somebody called and this user did not take it. */
  readonly missed: boolean;
}

export interface ProfileItem extends ItemBase {
  readonly kind: "profile";
  readonly name: string;
}

/** Its author took it back: nothing of what it said is here any more. */
export interface RetractedItem extends ItemBase {
  readonly kind: "retracted";
}

/** Here something is missing from this device's history; `text` is the sentence to show. */
export interface GapItem extends ItemBase {
  readonly kind: "gap";
  readonly reason: string;
  readonly text: string;
}

/** Something that this version does not know: show `text`. */
export interface UnknownItem extends ItemBase {
  readonly kind: "unknown";
  readonly text: string;
  readonly critical: boolean;
}

export type Item =
  | TextItem
  | FileItem
  | CheckInItem
  | CheckInAnswerItem
  | CallInviteItem
  | CallEndedItem
  | ProfileItem
  | RetractedItem
  | GapItem
  | UnknownItem;

export interface Person {
  readonly user: string;
  readonly name: string;
  readonly role: string;
  readonly me: boolean;
  readonly devices: number;
  readonly trust: "me" | "unverified" | "verified" | "changed";
  /** Takes part; false: invited and not here yet. */
  readonly member: boolean;
  /** On the portal's list, but somebody here has to let them in (`Room.admit`). */
  readonly waitsForAdmission: boolean;
}

export interface Device {
  readonly id: string;
  readonly name: string;
  readonly isThis: boolean;
  readonly mayLink: boolean;
}

/** A sentence for a person, and a stable code. */
export interface Notice {
  readonly code: string;
  readonly message: string;
  /** Whom it is about, if anybody. */
  readonly user?: string;
  /** The relay's own code, where it refused this device (docs/PROTOCOL.md section 2.3). */
  readonly reason?: string;
}

/** A file on its way, out or in. `id` is the message's once there is one. */
export interface Transfer {
  readonly id: string;
  readonly engagement: string;
  readonly direction: "up" | "down";
  readonly name: string;
  readonly size: number;
  readonly done: number;
  readonly state: "sealing" | "moving" | "paused" | "waiting" | "done" | "cancelled" | "failed";
  readonly failure: Notice | null;
}

/** What was begun and not sent, and the id of what it answers. */
export interface Draft {
  readonly text: string;
  readonly replyTo: string | null;
}

/** Who is typing now. */
export interface Typing {
  readonly user: string;
  readonly on: boolean;
}

export interface RoomEvents {
  /** A new item, or one that changed (its state, an edit, a reaction, taken back). */
  message: Item;
  /** An item that is gone without a trace (it had never left this device). */
  removed: { readonly id: string };
  /** People, devices, membership, verification, waiting state. */
  changed: null;
  /** What was said before this device was linked has come: read the history anew. */
  history: null;
  alarm: Notice;
  typing: Typing;
  transfer: Transfer;
  ring: Ring;
}

/** Why what was said does not go out, in words; null: it does. */
export interface RoomState {
  readonly member: boolean;
  readonly ended: boolean;
  readonly caughtUp: boolean;
  readonly waiting: Notice | null;
  readonly alarm: Notice | null;
  /** What a quantum computer could read of it later, in a sentence. */
  readonly protection: string;
  /** Up to which position this user has read, on any device. */
  readonly readTo: number;
}

/** One conversation. */
export interface RoomApi {
  readonly id: string;
  on<E extends keyof RoomEvents>(event: E, listener: (detail: RoomEvents[E]) => void): () => void;

  state(): Promise<RoomState>;
  people(): Promise<readonly Person[]>;
  /** At most `limit` items, oldest first: the newest, or those before an item. */
  history(options?: { readonly limit?: number; readonly before?: string }): Promise<readonly Item[]>;
  item(id: string): Promise<Item | null>;

  /** Each resolves with the item's id when it is safe on this device. */
  send(text: string, options?: { readonly replyTo?: string }): Promise<string>;
  checkIn(prompt: string, questions: readonly Question[]): Promise<string>;
  answer(checkIn: string, answers: Readonly<Record<string, number | string>>): Promise<string>;
  edit(id: string, text: string): Promise<void>;
  retract(id: string): Promise<void>;
  react(id: string, emoji: string, on: boolean): Promise<void>;
  markRead(id: string): Promise<void>;
  typing(on: boolean): void;
  /** What was begun here and not sent; it is sealed in this browser's vault, and goes nowhere else. */
  draft(): Promise<Draft | null>;
  /** Keep it (at most 64 KiB), or with null erase it; sending does not. */
  keepDraft(draft: Draft | null): Promise<void>;

  sendFile(file: File): Promise<string>;
  /** Download (or go on with it), check and open a file. */
  openFile(id: string): Promise<Blob>;
  transfers(): Promise<readonly Transfer[]>;
  pause(transfer: string): Promise<void>;
  resume(transfer: string): Promise<void>;
  cancel(transfer: string): Promise<void>;

  safetyNumber(user: string): Promise<string>;
  /** What this person's QR code says when shown to `user`. */
  verificationCode(user: string): Promise<string>;
  verify(user: string, number: string): Promise<void>;
  verifyScanned(user: string, code: string): Promise<void>;
  /** Let somebody's new key in without having compared it. */
  acceptIdentity(user: string): Promise<void>;
  admit(user: string): Promise<void>;
  goOn(): Promise<void>;

  call(options: { readonly video: boolean }): Promise<CallApi>;
}

/** Somebody calls; or a call that this person was in when they left the page waits for them. */
export interface Ring {
  readonly call: string;
  readonly user: string;
  /** It is such a call: `accept` returns to it, `decline` ends it. */
  readonly returns: boolean;
  readonly media: readonly ("audio" | "video")[];
  accept(options: { readonly video: boolean }): Promise<CallApi>;
  decline(): Promise<void>;
  /** When it stops ringing without this device: why, as a sentence. */
  readonly over: Promise<string>;
}

export type CallState = "ringing" | "connecting" | "connected" | "reconnecting" | "ended";

export interface CallEvents {
  /** State, words, quality, media or mutes have changed: read them anew. */
  changed: null;
}

/** One call; lives in the page. Its sound and picture go from device to device. */
export interface CallApi {
  readonly id: string;
  readonly user: string;
  /** What it can carry: a call that began with sound alone stays so. */
  readonly media: readonly ("audio" | "video")[];
  readonly state: CallState;
  readonly local: MediaStream | null;
  readonly remote: MediaStream | null;
  /** Whether pictures come from there; false: the camera there is off, and `remote` has at most an old one. */
  readonly picture: boolean;
  /** The five words that both read aloud; empty before they are known. */
  readonly words: readonly string[];
  readonly quality: "good" | "weak" | "poor" | "unknown";
  readonly microphone: boolean;
  readonly camera: boolean;
  readonly screen: boolean;
  readonly startedMs: number | null;
  /** When ended: why, as a sentence; what a person can do about a missing permission included. */
  readonly ended: Notice | null;
  /** What does not work though the call goes on (no camera, refused microphone), as a sentence. */
  readonly trouble: Notice | null;
  on<E extends keyof CallEvents>(event: E, listener: (detail: CallEvents[E]) => void): () => void;
  setMicrophone(on: boolean): Promise<void>;
  setCamera(on: boolean): Promise<void>;
  shareScreen(on: boolean): Promise<void>;
  devices(): Promise<
    readonly {
      readonly id: string;
      readonly kind: MediaDeviceKind;
      readonly label: string;
      readonly chosen: boolean;
    }[]
  >;
  choose(kind: MediaDeviceKind, id: string): Promise<void>;
  /** Both have read the words aloud and they are the same: the others are verified. */
  wordsMatch(): Promise<void>;
  hangUp(): Promise<void>;
}

export interface RelayEvents {
  online: null;
  offline: Notice | null;
  /** Another tab of this browser has the device; this one works through it or takes over when it closes. */
  waiting: null;
  /** What this browser had stored is gone, or the device was removed: link it anew, or recover. */
  failed: Notice;
  /** The list of engagements has changed. */
  engagements: null;
  /** The access token ends soon and the provider was asked for another; the detail is its end. */
  "token-expiring": { readonly endsMs: number };
  /** Another device of this person was added, removed or renamed. */
  devices: null;
}

/** The new device that was found by its words. */
export interface Newcomer {
  readonly id: string;
  readonly name: string;
}

export interface RecoveryKit {
  /** The twelve words. */
  readonly words: readonly string[];
  /** The page to print, as text. */
  readonly text: string;
  /** Which two words (1 to 12) to type back for `kitMade`. */
  readonly asked: readonly number[];
}

/** How a browser that has no device yet begins. */
export type FirstUse =
  | { readonly kind: "new" }
  | {
      readonly kind: "link";
      readonly deviceName: string;
      /** Show these words and this QR code's text until another device has linked this one. */
      show(code: { readonly words: readonly string[]; readonly qr: string }): void;
      progress?(done: number, of: number): void;
    }
  | {
      readonly kind: "recover";
      readonly words: readonly string[];
      /**
       * After `recovery_refused`: go on although no earlier device at the relay belongs to these words, because the
       * person is sure of them and of the account, and suspects that somebody hides their devices.
       */
      readonly unchecked?: boolean;
      progress?(done: number, of: number): void;
    };

export interface Me {
  readonly portal: string;
  readonly user: string;
  readonly name: string;
  readonly safetyNumber: string;
}

/** This person's device in this browser. */
export interface RelayApi {
  readonly me: Me;
  readonly online: boolean;
  on<E extends keyof RelayEvents>(event: E, listener: (detail: RelayEvents[E]) => void): () => void;
  engagements(): Promise<readonly { readonly id: string; readonly status: string }[]>;
  engagement(id: string): Promise<RoomApi>;
  setName(name: string): Promise<void>;
  readReceipts(): Promise<boolean>;
  setReadReceipts(on: boolean): Promise<void>;

  devices(): Promise<readonly Device[]>;
  renameDevice(id: string, name: string): Promise<void>;
  removeDevice(id: string): Promise<void>;
  /** Wait for the new device that shows these words (or this QR code's text). */
  findNewcomer(shown: string): Promise<Newcomer>;
  linkNewcomer(
    newcomer: Newcomer,
    options: { readonly mayLink: boolean; readonly progress?: (done: number, of: number) => void },
  ): Promise<void>;
  refuseNewcomer(newcomer: Newcomer): Promise<void>;

  recoveryKitDue(): Promise<boolean>;
  recoveryKit(): Promise<RecoveryKit>;
  /** The person has the page: its words leave this device for good. */
  kitMade(words: Readonly<Record<number, string>>): Promise<void>;
  archive(): Promise<boolean>;
  setArchive(on: boolean): Promise<void>;
  /** Bring everything that is new into the archive now. */
  waitArchived(): Promise<void>;

  /** Whether calls hide this device's network address: they go through the relay's TURN servers alone. */
  readonly addressHidden: boolean;
  /** `relayOnlyCalls` hides it for good; else the person chooses. */
  readonly addressAlwaysHidden: boolean;
  /** From the next call on, in this browser. */
  setAddressHidden(on: boolean): Promise<void>;

  destroy(): Promise<void>;
}

export interface CoachRelayOptions {
  /** The relay's https URL (http on this machine alone). */
  readonly url: string;
  /** Asks the portal for an access token of its user; called again before the last one ends. */
  readonly tokenProvider: () => Promise<string> | string;
  /** What this person wants to be called. */
  readonly name?: string;
  /** Calls go through the relay's TURN servers alone: the others never learn this device's addresses. */
  readonly relayOnlyCalls?: boolean;
  /**
   * Asked when this browser has no device of this user yet. `elsewhere`: the relay knows other devices of the
   * user; `failure`: why what was chosen before did not work, so it is asked again. Without it a new device is
   * made, and somebody who has others is told so by an error.
   */
  readonly firstUse?: (known: {
    readonly elsewhere: boolean;
    readonly failure: Notice | null;
  }) => Promise<FirstUse>;
}
