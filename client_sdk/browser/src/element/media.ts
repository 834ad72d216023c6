/** Why there is no camera or microphone, as far as the page can find out: what a person can do, and what the portal. */

import { words } from "./words.ts";

export type Medium = "microphone" | "camera" | "display-capture";

export interface Reason {
  readonly person: string;
  /** For whoever runs the page: which header or attribute is missing. */
  readonly portal?: string;
}

interface PolicyDocument {
  readonly featurePolicy?: { allowsFeature(name: string): boolean };
  readonly permissionsPolicy?: { allowsFeature(name: string): boolean };
}

/** All that a frame of ours has to be allowed, as the value of `allow`. */
export const ALLOW = "camera; microphone; display-capture; autoplay; fullscreen";

const allows = (medium: Medium): boolean => {
  const { permissionsPolicy, featurePolicy } = document as PolicyDocument;
  return (permissionsPolicy ?? featurePolicy)?.allowsFeature(medium) ?? true;
};

async function denied(medium: Medium): Promise<boolean> {
  if (medium === "display-capture") return false;
  try {
    return (await navigator.permissions.query({ name: medium as PermissionName })).state === "denied";
  } catch {
    // Some browsers do not know the permission by this name: then nothing can be said about it.
    return false;
  }
}

async function missing(medium: Medium): Promise<boolean> {
  const kind = medium === "microphone" ? "audioinput" : "videoinput";
  const found = (await navigator.mediaDevices?.enumerateDevices?.()) ?? [];
  return medium !== "display-capture" && !found.some((device) => device.kind === kind);
}

/** The first of these that holds: an insecure page, a frame without the right, a refusal, no such device. */
export async function whyNot(medium: Medium): Promise<Reason | null> {
  const name = words.media.names[medium];
  if (!isSecureContext) return { person: words.media.insecure, portal: words.media.insecurePortal };
  if (!allows(medium)) {
    const header = `${medium}=(self "${location.origin}")`;
    return { person: words.media.frame(name), portal: words.media.framePortal(ALLOW, header) };
  }
  if (await denied(medium)) return { person: words.media.blocked(name) };
  return (await missing(medium)) ? { person: words.media.nothing(name) } : null;
}
