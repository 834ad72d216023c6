/** Where the frame's page is, whether it may be there, and whether it is the one of this release. */

// Put in by the build: what this release's frame.html has to be; empty where there is no release.
declare const FRAME_INTEGRITY: string | undefined;

/** A fault of how the element is embedded; the message is for the portal's developer. */
export class LoaderError extends Error {
  override readonly name = "CoachRelayLoaderError";
  readonly code: string;

  constructor(code: string, message: string) {
    super(message);
    this.code = code;
  }
}

/** The frame's address, which has another origin than the page. Raises LoaderError. */
export function frameAddress(attribute: string | null, script: string, sameOrigin: boolean): URL {
  if (!attribute && !script)
    throw new LoaderError(
      "attribute_missing",
      '<coach-relay> needs the attribute "frame": where frame.html is.',
    );
  const address = attribute ? parsed(attribute, document.baseURI) : parsed("frame.html", script);
  if (address.origin === location.origin && !sameOrigin)
    throw new LoaderError(
      "same_origin",
      `The frame has this page's own origin (${location.origin}), so every script of the page could read what is ` +
        "said. Serve it from another origin, or set the attribute same-origin while you develop.",
    );
  address.searchParams.set("parent", location.origin);
  return address;
}

function parsed(text: string, base: string): URL {
  const address = URL.canParse(text, base) ? new URL(text, base) : null;
  if (address === null || !/^https?:$/.test(address.protocol))
    throw new LoaderError("frame_invalid", `The frame's address “${text}” is no https address.`);
  return address;
}

/** Resolves when what is served there is this release's frame.html. Raises LoaderError. */
export async function pinned(address: URL): Promise<void> {
  const integrity = typeof FRAME_INTEGRITY === "string" ? FRAME_INTEGRITY : "";
  if (integrity === "") return;
  try {
    await fetch(address, { integrity, mode: "cors", credentials: "omit", referrerPolicy: "no-referrer" });
  } catch {
    throw new LoaderError(
      "frame_not_pinned",
      `The frame at ${address.origin}${address.pathname} could not be checked, or is not the one of this release. ` +
        `Serve frame.html and this script from one release; a Content-Security-Policy of this page must allow ` +
        `connect-src ${address.origin}, and this page's origin must be one of the portal's ` +
        `(coach-relay portal set-origins).`,
    );
  }
}
