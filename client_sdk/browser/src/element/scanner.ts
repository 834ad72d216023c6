/** Reads a QR code with the camera, where the browser can (BarcodeDetector); what it reads stays here. */

import { html, nothing } from "lit";
import type { Reason } from "./media.ts";
import { whyNoCamera } from "./media.ts";
import { Plain } from "./plain.ts";
import { words } from "./words.ts";

const EVERY_MS = 250;

interface Detector {
  detect(source: HTMLVideoElement): Promise<readonly { readonly rawValue: string }[]>;
}

interface DetectorClass {
  new (options: { formats: readonly string[] }): Detector;
  getSupportedFormats(): Promise<readonly string[]>;
}

const detectorClass = (): DetectorClass | undefined =>
  (globalThis as { BarcodeDetector?: DetectorClass }).BarcodeDetector;

/** Whether this browser reads QR codes. */
export async function canScan(): Promise<boolean> {
  const formats = (await detectorClass()?.getSupportedFormats()) ?? [];
  return formats.includes("qr_code") && navigator.mediaDevices !== undefined;
}

/** Raises `scanned` (detail: the text) once for each text that it sees. */
export class Scanner extends Plain {
  static override properties = { trouble: { state: true } };
  declare trouble: Reason | undefined;
  #stream: MediaStream | undefined;
  #timer: ReturnType<typeof setInterval> | undefined;
  #last = "";

  override connectedCallback(): void {
    super.connectedCallback();
    void this.#start();
  }

  override disconnectedCallback(): void {
    super.disconnectedCallback();
    this.#stop();
  }

  async #start(): Promise<void> {
    try {
      this.#stream = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "environment" } });
    } catch {
      this.trouble = await whyNoCamera();
      return;
    }
    const video = this.querySelector("video");
    if (!this.isConnected || video === null) {
      this.#stop();
      return;
    }
    video.srcObject = this.#stream;
    const detector = new (detectorClass() as DetectorClass)({ formats: ["qr_code"] });
    this.#timer = setInterval(() => void this.#look(detector, video), EVERY_MS);
  }

  async #look(detector: Detector, video: HTMLVideoElement): Promise<void> {
    if (video.readyState < HTMLMediaElement.HAVE_CURRENT_DATA) return;
    const [code] = await detector.detect(video);
    if (code === undefined || code.rawValue === this.#last) return;
    this.#last = code.rawValue;
    this.dispatchEvent(new CustomEvent("scanned", { detail: code.rawValue }));
  }

  #stop(): void {
    clearInterval(this.#timer);
    for (const track of this.#stream?.getTracks() ?? []) track.stop();
  }

  protected override render() {
    if (this.trouble)
      return html`<p class="trouble" role="alert">${this.trouble.person}</p>${reasonForPortal(this.trouble.portal)}`;
    return html`<video class="scan" autoplay muted playsinline aria-label=${words.verify.scanning}></video>
      <p class="hint" role="status">${words.verify.scanning}</p>`;
  }
}

/** What the portal's developer has to mend, folded away. */
const reasonForPortal = (portal: string | undefined) =>
  portal === undefined
    ? nothing
    : html`<details class="portal"><summary>${words.call.portalTitle}</summary><p class="code">${portal}</p></details>`;
