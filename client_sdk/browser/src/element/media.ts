/** Why there is no camera to scan a code with: what a person can do, and what the portal has to mend. */

import { words } from "./words.ts";

export interface Reason {
  readonly person: string;
  /** For whoever runs the page: which header or attribute is missing. */
  readonly portal?: string;
}

interface PolicyDocument {
  readonly featurePolicy?: { allowsFeature(name: string): boolean };
  readonly permissionsPolicy?: { allowsFeature(name: string): boolean };
}

function allowed(): boolean {
  const { permissionsPolicy, featurePolicy } = document as PolicyDocument;
  return (permissionsPolicy ?? featurePolicy)?.allowsFeature("camera") ?? true;
}

/** The first of these that holds: an insecure page, a frame without the right, no camera, a refusal. */
export async function whyNoCamera(): Promise<Reason> {
  const { insecure, insecurePortal, frame, framePortal, nothing, blocked } = words.media;
  if (!isSecureContext) return { person: insecure, portal: insecurePortal };
  if (!allowed()) return { person: frame, portal: framePortal(`camera=(self "${location.origin}")`) };
  const devices = (await navigator.mediaDevices?.enumerateDevices?.()) ?? [];
  return { person: devices.some(({ kind }) => kind === "videoinput") ? blocked : nothing };
}
