/** What this person sends: microphone, camera, screen. Switched off means off: the camera's light goes out. */

import type { Notice } from "../api.ts";
import type { Media } from "../content/messages.ts";
import type { Refusal, Source } from "./trouble.ts";
import { explain, FEATURES, LOST } from "./trouble.ts";

type Kind = "audioinput" | "videoinput" | "audiooutput";
type Device = "microphone" | "camera";

const PICTURE = { width: { ideal: 1280 }, height: { ideal: 720 }, frameRate: { ideal: 30 } };
const SOUND = { echoCancellation: true, noiseSuppression: true, autoGainControl: true };

/** `changed`: something is sent or not, or there is trouble; `sent`: this track now goes out for this kind. */
export interface LocalListener {
  changed(): void;
  sent(kind: Media, track: MediaStreamTrack | null): void;
}

export class LocalMedia {
  readonly stream = new MediaStream();
  readonly chosen = new Map<MediaDeviceKind, string>();
  readonly #listener: LocalListener;
  readonly #tracks = new Map<Source, MediaStreamTrack>();
  /** Unplugged while they were in use: whoever chooses another one wants to go on with it. */
  readonly #gone = new Set<Source>();
  #muted = false;
  #closed = false;
  trouble: Notice | null = null;

  constructor(listener: LocalListener) {
    this.#listener = listener;
  }

  get microphone(): boolean {
    return this.#tracks.has("microphone") && !this.#muted;
  }

  get camera(): boolean {
    return this.#tracks.has("camera");
  }

  get screen(): boolean {
    return this.#tracks.has("screen");
  }

  /** What goes out for this kind of media now. */
  track(kind: Media): MediaStreamTrack | null {
    const found = kind === "audio" ? ["microphone"] : ["screen", "camera"];
    return found.map((source) => this.#tracks.get(source as Source)).find((one) => one !== undefined) ?? null;
  }

  /** Ask for both at once, so that the browser asks the person once; what is refused is trouble, not the end. */
  async open(camera: boolean): Promise<void> {
    const wanted: readonly Device[] = camera ? ["microphone", "camera"] : ["microphone"];
    const [asked, hopeless] = [wanted.filter(canAsk), wanted.filter((device) => !canAsk(device))];
    const refusals = hopeless.map((device) => refusal(device, "NotAllowedError"));
    if (asked.length > 0) refusals.push(...(await this.#ask(asked)));
    this.#trouble(refusals);
  }

  async #ask(devices: readonly Device[]): Promise<Refusal[]> {
    try {
      this.#take(await navigator.mediaDevices.getUserMedia(await this.#constraints(devices)));
      return [];
    } catch (error) {
      if (devices.length === 1) return devices.map((device) => refusal(device, error));
    }
    // One of them may be there.
    const refusals: Refusal[] = [];
    for (const device of devices) {
      if (await isDenied(device)) refusals.push(refusal(device, "NotAllowedError"));
      else refusals.push(...(await this.#ask([device])));
    }
    return refusals;
  }

  /** A device that was chosen and is gone is not insisted on. */
  async #constraints(devices: readonly Device[]): Promise<MediaStreamConstraints> {
    const there = new Set((await navigator.mediaDevices.enumerateDevices()).map(({ deviceId }) => deviceId));
    const exact = (kind: Kind) => {
      const id = this.chosen.get(kind);
      return id !== undefined && there.has(id) ? { deviceId: { exact: id } } : {};
    };
    return {
      ...(devices.includes("microphone") && { audio: { ...SOUND, ...exact("audioinput") } }),
      ...(devices.includes("camera") && { video: { ...PICTURE, ...exact("videoinput") } }),
    };
  }

  #take(given: MediaStream): void {
    for (const track of given.getTracks()) {
      if (this.#closed) track.stop();
      else this.#use(track.kind === "audio" ? "microphone" : "camera", track);
    }
  }

  #use(source: Source, track: MediaStreamTrack): void {
    this.#drop(source);
    this.#tracks.set(source, track);
    this.#gone.delete(source);
    if (source === "microphone") track.enabled = !this.#muted;
    if (source === "screen") track.contentHint = "detail";
    track.addEventListener("ended", () => this.#lost(source, track));
    this.#send(source);
  }

  /** The device was unplugged, the permission taken back, or the person stopped sharing from outside. */
  #lost(source: Source, track: MediaStreamTrack): void {
    if (this.#tracks.get(source) !== track) return;
    this.#drop(source);
    this.#send(source);
    if (source === "screen") {
      this.#listener.changed();
    } else {
      this.#gone.add(source);
      this.#trouble([...this.#gone].map((gone) => refusal(gone, LOST)));
    }
  }

  #drop(source: Source): void {
    this.#tracks.get(source)?.stop();
    this.#tracks.delete(source);
  }

  /** The stream that the person sees of themselves, and what goes out, follow. */
  #send(source: Source): void {
    const kind = source === "microphone" ? "audio" : "video";
    const track = this.track(kind);
    const shown = this.stream.getTracks().filter((one) => one.kind === kind && one !== track);
    for (const one of shown) this.stream.removeTrack(one);
    if (track !== null) this.stream.addTrack(track);
    this.#listener.sent(kind, track);
  }

  #trouble(refusals: readonly Refusal[]): void {
    this.trouble = explain(refusals);
    this.#listener.changed();
  }

  async setMicrophone(on: boolean): Promise<void> {
    this.#muted = !on;
    const track = this.#tracks.get("microphone");
    if (track !== undefined) track.enabled = on;
    else if (on) return this.#trouble(await this.#askFor("microphone"));
    this.#listener.changed();
  }

  async setCamera(on: boolean): Promise<void> {
    if (on && !this.camera) return this.#trouble(await this.#askFor("camera"));
    if (!on) {
      this.#gone.delete("camera");
      this.#drop("camera");
      this.#send("camera");
    }
    this.#listener.changed();
  }

  async #askFor(device: Device): Promise<Refusal[]> {
    if (canAsk(device)) return this.#ask([device]);
    return [refusal(device, "NotAllowedError")];
  }

  async shareScreen(on: boolean): Promise<void> {
    if (!on) this.#drop("screen");
    else if (!canAsk("screen")) {
      return this.#trouble([refusal("screen", "NotAllowedError")]);
    } else {
      try {
        const given = await navigator.mediaDevices.getDisplayMedia({ video: { frameRate: { max: 30 } } });
        const [track] = given.getVideoTracks();
        if (this.#closed) track?.stop();
        else if (track !== undefined) this.#use("screen", track);
        this.trouble = null;
      } catch (error) {
        return this.#trouble([refusal("screen", error)]);
      }
    }
    this.#send("screen");
    this.#listener.changed();
  }

  /** Use this device from now on; what is switched off stays so until it is switched on. */
  async choose(kind: MediaDeviceKind, id: string): Promise<void> {
    this.chosen.set(kind, id);
    const device = kind === "audioinput" ? "microphone" : kind === "videoinput" ? "camera" : null;
    if (device !== null && (this.#tracks.has(device) || this.#gone.has(device)))
      this.#trouble(await this.#ask([device]));
    else this.#listener.changed();
  }

  /** Which device is used, of each kind. */
  inUse(kind: MediaDeviceKind): string {
    const device = kind === "audioinput" ? "microphone" : "camera";
    const used = kind === "audiooutput" ? undefined : this.#tracks.get(device)?.getSettings().deviceId;
    return used ?? this.chosen.get(kind) ?? "default";
  }

  close(): void {
    this.#closed = true;
    for (const source of [...this.#tracks.keys()]) this.#drop(source);
    for (const track of this.stream.getTracks()) this.stream.removeTrack(track);
  }
}

/** Whether asking the browser can lead to anything; where it cannot, it would not even say why. */
function canAsk(source: Source): boolean {
  const { secure, able, allowed } = circumstances(source, "");
  return secure && able && allowed;
}

function refusal(source: Source, error: unknown): Refusal {
  return { source, why: circumstances(source, error) };
}

function circumstances(source: Source, error: unknown) {
  const devices = navigator.mediaDevices as MediaDevices | undefined;
  const asked = source === "screen" ? devices?.getDisplayMedia : devices?.getUserMedia;
  return {
    secure: isSecureContext,
    able: asked !== undefined,
    allowed: isAllowed(FEATURES[source]),
    framed: self !== top,
    error: typeof error === "string" ? error : error instanceof Error ? error.name : "",
  };
}

/** Where the browser does not tell (Firefox, Safari), asking it does. */
function isAllowed(feature: string): boolean {
  const known = document as {
    permissionsPolicy?: { allowsFeature(name: string): boolean };
    featurePolicy?: { allowsFeature(name: string): boolean };
  };
  return (known.permissionsPolicy ?? known.featurePolicy)?.allowsFeature(feature) ?? true;
}

/** Whether the person has refused it before: asking again would be in vain. */
async function isDenied(device: Device): Promise<boolean> {
  try {
    const { state } = await navigator.permissions.query({ name: device as PermissionName });
    return state === "denied";
  } catch {
    return false; // a browser that does not tell: it is asked
  }
}

/** The devices that there are, as far as the browser tells; they have names once one may be used. */
export async function listDevices(local: LocalMedia) {
  const found = (await navigator.mediaDevices?.enumerateDevices?.()) ?? [];
  return found
    .filter(({ deviceId }) => deviceId !== "")
    .map(({ deviceId, kind, label }) => ({
      id: deviceId,
      kind,
      label,
      chosen: local.inUse(kind) === deviceId,
    }));
}
