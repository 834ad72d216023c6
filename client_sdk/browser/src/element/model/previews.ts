/** Small pictures of images, drawn anew here from decrypted files: what a peer sent is never shown itself. */

import type { FileItem, RoomApi } from "../../api.ts";
import { Observable } from "./observable.ts";

/** Kinds that the browser decodes to pixels. No SVG: it is a document, with scripts and links. */
const RASTER: ReadonlySet<string> = new Set([
  "image/png",
  "image/jpeg",
  "image/webp",
  "image/gif",
  "image/avif",
  "image/bmp",
]);
/** Fetched and shown without asking; larger ones when the person wants it. */
const UNASKED_BYTES = 3_000_000;
/** A picture of more bytes, or more pixels on a side, is not decoded: memory is bounded. */
const MOST_BYTES = 50_000_000;
const MOST_SIDE = 20_000;
const THUMBNAIL = 640;
const FULL = 2560;
/** More than are ever drawn at once, on the tallest screen: what is forgotten while it is drawn is fetched again. */
const MOST_KEPT = 300;

export interface Picture {
  readonly url: string;
  readonly width: number;
  readonly height: number;
}

export type Preview = Picture | "loading" | "failed";

export const isImage = (item: { readonly mediaType: string; readonly size: number }): boolean =>
  RASTER.has(item.mediaType.toLowerCase()) && item.size <= MOST_BYTES;

/** Decoded, made smaller, encoded as PNG or JPEG: only pixels remain. The caller revokes the URL. */
export async function redraw(blob: Blob, side: number): Promise<Picture> {
  const bitmap = await createImageBitmap(blob);
  try {
    const { width, height } = bitmap;
    if (width < 1 || height < 1 || width > MOST_SIDE || height > MOST_SIDE)
      throw new RangeError("Too large.");
    const scale = Math.min(1, side / Math.max(width, height));
    const canvas = document.createElement("canvas");
    canvas.width = Math.max(1, Math.round(width * scale));
    canvas.height = Math.max(1, Math.round(height * scale));
    const context = canvas.getContext("2d");
    if (context === null) throw new RangeError("No canvas.");
    context.drawImage(bitmap, 0, 0, canvas.width, canvas.height);
    const drawn = await new Promise<Blob | null>((done) => canvas.toBlob(done, "image/webp", 0.85));
    if (drawn === null) throw new RangeError("No picture.");
    return { url: URL.createObjectURL(drawn), width: canvas.width, height: canvas.height };
  } finally {
    bitmap.close();
  }
}

export const thumbnail = (blob: Blob): Promise<Picture> => redraw(blob, THUMBNAIL);

export class Previews extends Observable {
  readonly #room: RoomApi;
  readonly #kept = new Map<string, Preview>();
  #closed = false;

  constructor(room: RoomApi) {
    super();
    this.#room = room;
  }

  /** What there is; starts to fetch small ones. Undefined: on request only. */
  of(item: FileItem): Preview | undefined {
    const kept = this.#kept.get(item.id);
    if (kept !== undefined) this.#touch(item.id, kept);
    const unasked = kept === undefined && isImage(item) && item.size <= UNASKED_BYTES && item.seq !== 0;
    if (unasked) void this.make(item);
    return unasked ? "loading" : kept;
  }

  async make(item: FileItem): Promise<void> {
    if (this.#closed || !isImage(item)) return;
    this.#keep(item.id, "loading");
    try {
      const blob = await this.#room.openFile(item.id);
      this.#keep(item.id, await thumbnail(new Blob([blob], { type: item.mediaType.toLowerCase() })));
    } catch {
      // Whatever the reason (not an image, gone, offline): it is said beside the file, which can still be saved.
      this.#keep(item.id, "failed");
    }
    queueMicrotask(() => this.changed());
  }

  /** The picture in full, for the viewer, who revokes it. */
  async full(item: FileItem): Promise<Picture> {
    const blob = await this.#room.openFile(item.id);
    return redraw(new Blob([blob], { type: item.mediaType.toLowerCase() }), FULL);
  }

  forget(id: string): void {
    const kept = this.#kept.get(id);
    if (typeof kept === "object") URL.revokeObjectURL(kept.url);
    this.#kept.delete(id);
  }

  close(): void {
    this.#closed = true;
    for (const id of [...this.#kept.keys()]) this.forget(id);
  }

  /** What was drawn last is forgotten last. */
  #touch(id: string, preview: Preview): void {
    this.#kept.delete(id);
    this.#kept.set(id, preview);
  }

  #keep(id: string, preview: Preview): void {
    this.forget(id);
    if (this.#closed) {
      if (typeof preview === "object") URL.revokeObjectURL(preview.url);
      return;
    }
    this.#kept.set(id, preview);
    const oldest = this.#kept.keys().next().value;
    if (this.#kept.size > MOST_KEPT && oldest !== undefined) this.forget(oldest);
  }
}
