import { html, nothing } from "lit";
import { Dialog } from "./dialog.ts";
import { shownFileName } from "./format.ts";
import type { Picture } from "./model/previews.ts";
import { words } from "./words.ts";

/** One image in full, drawn anew here. */
export class ImageDialog extends Dialog {
  static override properties = { ...Dialog.properties, picture: { state: true } };
  declare picture: Picture | "failed" | undefined;

  get #item() {
    const open = this.room.open;
    return open?.what === "image" && open.item.kind === "file" ? open.item : undefined;
  }

  protected override wide(): boolean {
    return true;
  }

  protected override heading(): string {
    return shownFileName(this.#item?.name ?? "");
  }

  override connectedCallback(): void {
    super.connectedCallback();
    void this.#load();
  }

  override disconnectedCallback(): void {
    super.disconnectedCallback();
    if (typeof this.picture === "object") URL.revokeObjectURL(this.picture.url);
  }

  async #load(): Promise<void> {
    const item = this.#item;
    if (item === undefined) return;
    try {
      const picture = await this.room.previews.full(item);
      if (this.isConnected) this.picture = picture;
      else URL.revokeObjectURL(picture.url);
    } catch {
      this.picture = "failed";
    }
  }

  protected override body() {
    const { picture } = this;
    if (picture === "failed") return html`<p>${words.file.imageFailed}</p>`;
    return html`<div class="full-image">${
      picture === undefined
        ? nothing
        : html`<img src=${picture.url} width=${picture.width} height=${picture.height} alt=${words.file.image(this.heading())}>`
    }</div>`;
  }
}
