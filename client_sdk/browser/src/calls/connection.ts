/** One connection of one attempt: an RTCPeerConnection that keeps to our rules. */

import type { Media } from "../content/messages.ts";
import { picturesOf } from "./pictures.ts";
import type { Look } from "./quality.ts";
import { lookAt } from "./quality.ts";
import type { IceServer } from "./told.ts";

/** The description waits so long for addresses; those that are found later follow one by one. */
const GATHER_MS = 1500;
/** With TURN alone there is no other address: its round trips may take longer. */
const GATHER_RELAYED_MS = 6000;
/** A connection that fails or closes is most likely a hang-up whose message is still on its way. */
const GRACE_MS = 1000;
/** One that is disconnected often comes back by itself. */
const DISCONNECTED_MS = 2500;
const MAX_TRICKLED = 32;
/** Browsers slow down with more, whatever a relay says. */
const MAX_SERVERS = 8;
const URI = /^(?:stuns?|turns?):[^\s]{1,256}$/;

export interface ConnectionOptions {
  readonly attempt: number;
  readonly ice: readonly IceServer[];
  /** Never show this device's addresses to the other one. */
  readonly relayOnly: boolean;
  readonly kinds: readonly Media[];
  /** What goes out. */
  track(kind: Media): MediaStreamTrack | null;
  readonly local: MediaStream;
}

export interface ConnectionListener {
  up(): void;
  lost(): void;
  candidate(candidate: RTCIceCandidate): void;
  track(track: MediaStreamTrack): void;
}

export class Connection {
  readonly attempt: number;
  readonly #options: ConnectionOptions;
  readonly #listener: ConnectionListener;
  readonly #peer: RTCPeerConnection;
  readonly #senders = new Map<Media, RTCRtpSender>();
  #described = false;
  #trickled = 0;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #closed = false;

  constructor(options: ConnectionOptions, listener: ConnectionListener) {
    this.attempt = options.attempt;
    this.#options = options;
    this.#listener = listener;
    this.#peer = new RTCPeerConnection({
      iceServers: options.ice.filter(isUsable).slice(0, MAX_SERVERS).map(serverOf),
      iceTransportPolicy: options.relayOnly ? "relay" : "all",
      bundlePolicy: "max-bundle",
      rtcpMuxPolicy: "require",
    });
    this.#peer.addEventListener("track", ({ track }) => this.#closed || listener.track(track));
    this.#peer.addEventListener("connectionstatechange", () => this.#changed());
    this.#peer.addEventListener("icecandidate", ({ candidate }) => this.#found(candidate));
  }

  /** The description to offer, with the addresses that were found in time. */
  async offer(): Promise<string> {
    const { kinds, local } = this.#options;
    for (const kind of (["audio", "video"] as const).filter((one) => kinds.includes(one))) {
      const made = this.#peer.addTransceiver(this.#options.track(kind) ?? kind, {
        direction: "sendrecv",
        streams: [local],
      });
      this.#senders.set(kind, made.sender);
    }
    return this.#describe(await this.#peer.createOffer());
  }

  /** The answer to an offer, likewise. */
  async answer(sdp: string): Promise<string> {
    await this.#peer.setRemoteDescription({ type: "offer", sdp });
    for (const made of this.#peer.getTransceivers()) {
      const kind = made.receiver.track.kind as Media;
      made.direction = "sendrecv"; // what is off now may be switched on later, without another negotiation
      made.sender.setStreams(this.#options.local);
      this.#senders.set(kind, made.sender);
      await made.sender.replaceTrack(this.#options.track(kind));
    }
    return this.#describe(await this.#peer.createAnswer());
  }

  async takeAnswer(sdp: string): Promise<void> {
    await this.#peer.setRemoteDescription({ type: "answer", sdp });
  }

  /** An address of the other side; one that makes no sense is of no use, and does no harm. */
  async addCandidate(candidate: string, mid: string, index: number): Promise<void> {
    const init = { candidate, sdpMid: mid, sdpMLineIndex: index };
    await this.#peer.addIceCandidate(init).catch(() => undefined);
  }

  /** Send this from now on; the other side notices nothing but the picture. */
  async send(kind: Media, track: MediaStreamTrack | null): Promise<void> {
    if (!this.#closed) await this.#senders.get(kind)?.replaceTrack(track);
  }

  /** How it goes, and how many pictures came so far. */
  async look(): Promise<Look & { readonly pictures: number }> {
    const report = await this.#peer.getStats();
    return { ...lookAt(report), pictures: picturesOf(report) };
  }

  close(): void {
    this.#closed = true;
    clearTimeout(this.#timer);
    this.#peer.close();
  }

  async #describe(description: RTCSessionDescriptionInit): Promise<string> {
    const gathered = this.#gathered();
    await this.#peer.setLocalDescription(description);
    await gathered;
    this.#described = true;
    return this.#peer.localDescription?.sdp ?? "";
  }

  #gathered(): Promise<void> {
    const { relayOnly } = this.#options;
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, relayOnly ? GATHER_RELAYED_MS : GATHER_MS);
      this.#peer.addEventListener("icegatheringstatechange", () => {
        if (this.#peer.iceGatheringState !== "complete") return;
        clearTimeout(timer);
        resolve();
      });
    });
  }

  #found(candidate: RTCIceCandidate | null): void {
    if (!this.#described || candidate === null || candidate.candidate === "" || this.#closed) return;
    if (++this.#trickled <= MAX_TRICKLED) this.#listener.candidate(candidate);
  }

  #changed(): void {
    if (this.#closed) return;
    clearTimeout(this.#timer);
    const { connectionState: state } = this.#peer;
    if (state === "connected") this.#listener.up();
    const wait = state === "disconnected" ? DISCONNECTED_MS : GRACE_MS;
    if (state === "disconnected" || state === "failed" || state === "closed") {
      this.#timer = setTimeout(() => this.#listener.lost(), wait);
    }
  }
}

/** One that a browser would refuse must not cost the call. */
const isUsable = ({ urls, username, credential }: IceServer): boolean =>
  urls.length > 0 &&
  urls.every(
    (url) => URI.test(url) && (url.startsWith("stun") || (username !== null && credential !== null)),
  );

const serverOf = ({ urls, username, credential }: IceServer): RTCIceServer => ({
  urls: [...urls],
  ...(username !== null && { username }),
  ...(credential !== null && { credential }),
});
