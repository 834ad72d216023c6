/** A file in the history: its name, a preview made here, how far it has come, and how to save it. */

import { html, nothing } from "lit";
import type { FileItem, Transfer } from "../api.ts";
import { shownFileName, sizeOf } from "./format.ts";
import { icon } from "./icons.ts";
import { isImage } from "./model/previews.ts";
import type { Room } from "./model/room.ts";
import { Plain } from "./plain.ts";
import { words } from "./words.ts";

/** No picture in the history is higher. */
const MOST_HIGH_PX = 320;

export class FileView extends Plain {
  static override properties = {
    room: { attribute: false },
    item: { attribute: false },
    tab: { attribute: false },
  };
  declare room: Room;
  declare item: FileItem;
  declare tab: boolean;

  protected override followed() {
    return [this.room, this.room?.previews];
  }

  protected override render() {
    const { item, room } = this;
    const name = shownFileName(item.name);
    const transfer = room.transfers.find((one) => one.id === item.id);
    return html`${isImage(item) ? this.#preview(name) : nothing}
      <div class="file">
        ${icon("file")}
        <div class="file-text"><bdi class="file-name">${name}</bdi><span class="hint">${sizeOf(item.size)}</span></div>
        ${
          transfer !== undefined || item.seq === 0
            ? nothing
            : html`<button type="button" class="quiet round" tabindex=${this.tab ? 0 : -1}
          aria-label=${words.file.save(name)} title=${words.file.saveShort} @click=${this.#save}>${icon("save")}</button>`
        }
      </div>
      ${transfer === undefined ? nothing : transferRow(room, transfer, this.tab)}`;
  }

  #preview(name: string) {
    const { item, room } = this;
    const preview = room.previews.of(item);
    const tab = this.tab ? 0 : -1;
    if (preview === "loading")
      return html`<div class="picture loading" role="img" aria-label=${words.file.image(name)}></div>`;
    if (preview === "failed") return html`<p class="hint">${words.file.imageFailed}</p>`;
    if (preview === undefined) {
      return html`<button type="button" tabindex=${tab} aria-label=${words.file.previewOf(name)}
        @click=${() => void room.previews.make(item)}>${words.file.preview}</button>`;
    }
    // Its place is as large as it will be from the first moment on: nothing around it moves when it is loaded.
    const scale = Math.min(1, MOST_HIGH_PX / preview.height);
    const [width, height] = [preview.width * scale, preview.height * scale].map(Math.round);
    return html`<button type="button" class="picture" tabindex=${tab} aria-label=${words.file.open(name)}
      @click=${() => room.set({ open: { what: "image", item } })}>
      <img src=${preview.url} width=${width} height=${height} alt=${words.file.image(name)}></button>`;
  }

  /** To the person's disk, with a type that no browser opens as a page. */
  #save = async (): Promise<void> => {
    const { room, item } = this;
    const blob = await room.attempt(() => room.api.openFile(item.id));
    if (blob === undefined) return;
    saveAs(new Blob([blob], { type: "application/octet-stream" }), shownFileName(item.name));
  };
}

/**
 * Firefox takes a download in a frame for something that is shown in it, and asks what is around: the portal's page,
 * whose frame-src does not know it. So an embedded page has it in a frame of its own, which its own policy allows.
 */
function saveAs(blob: Blob, name: string): void {
  const inner = window === window.top ? null : document.createElement("iframe");
  if (inner !== null) {
    inner.hidden = true;
    document.body.append(inner);
  }
  const within = inner?.contentDocument ?? document;
  const url = URL.createObjectURL(blob);
  const link = within.createElement("a");
  link.href = url;
  link.download = name;
  within.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => {
    inner?.remove();
    URL.revokeObjectURL(url);
  }, KEPT_MS);
}

/** A browser may ask its person first where to put it. */
const KEPT_MS = 60_000;

const GOING: ReadonlySet<Transfer["state"]> = new Set(["moving", "waiting", "sealing"]);
/** What is said aloud: that it does not go on; how far it is can be asked of the progress bar. */
const STANDING: ReadonlySet<Transfer["state"]> = new Set(["paused", "waiting", "failed"]);

const percentOf = ({ done, size }: Transfer): number =>
  size <= 0 ? 0 : Math.min(100, Math.max(0, Math.floor((done / size) * 100)));

/** How far a file has come, and pause, resume, cancel. */
export function transferRow(room: Room, transfer: Transfer, tab = true) {
  const { id, state, failure, done, size } = transfer;
  const name = shownFileName(transfer.name);
  const percent = percentOf(transfer);
  const act = (action: "pause" | "resume" | "cancel") => () => room.attempt(() => room.api[action](id));
  const button = (action: "pause" | "resume" | "cancel", sign: "pause" | "play" | "close") =>
    html`<button type="button" class="quiet round" tabindex=${tab ? 0 : -1} aria-label=${words.file[action](name)} @click=${act(action)}>${icon(sign)}</button>`;
  // Its turn comes in a moment; only what really keeps it waiting is said.
  const begins = state === "waiting" && failure === null && room.online;
  const told =
    state === "failed"
      ? (failure?.message ?? words.file.states.failed)
      : begins
        ? ""
        : words.file.states[state];
  const share = words.file.share(sizeOf(Math.min(done, size)), sizeOf(size), percent);
  return html`<div class="transfer ${state}" part="transfer">
    <progress max="100" value=${percent} aria-label=${words.file.progress(name)}></progress>
    <div class="transfer-line">
      <span class="hint">${state === "failed" ? told : `${told} ${share}`.trim()}</span>
      <span class="sr" role="status">${STANDING.has(state) && told !== "" ? words.file.stands(name, told) : ""}</span>
      ${GOING.has(state) ? button("pause", "pause") : state === "paused" || state === "failed" ? button("resume", "play") : nothing}
      ${button("cancel", "close")}
    </div>
  </div>`;
}

/** Files that are on their way and have no message yet. */
export class Transfers extends Plain {
  static override properties = { room: { attribute: false } };
  declare room: Room;

  protected override followed() {
    return [this.room, this.room?.history];
  }

  protected override render() {
    const pending = this.room.transfers.filter(
      ({ id, state }) => state !== "done" && !this.room.history.find(id),
    );
    if (pending.length === 0) return nothing;
    return html`<section class="transfers" aria-label=${words.file.onTheirWay}>
      ${pending.map(
        (one) => html`<div class="pending">
        <div class="file">${icon(one.direction === "up" ? "attach" : "save")}
          <div class="file-text"><bdi class="file-name">${shownFileName(one.name)}</bdi></div></div>
        ${transferRow(this.room, one)}</div>`,
      )}
    </section>`;
  }
}
