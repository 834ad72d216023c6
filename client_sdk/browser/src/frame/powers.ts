/** Whether the pages around this frame let it use camera, microphone and screen. */

interface PolicyDocument {
  readonly featurePolicy?: { allowsFeature(feature: string): boolean };
}

const NEEDED = ["camera", "microphone", "display-capture"] as const;

/** What of it they deny; nothing where the browser does not tell. */
export function deniedPowers(): readonly string[] {
  const policy = (document as PolicyDocument).featurePolicy;
  return policy === undefined ? [] : NEEDED.filter((power) => !policy.allowsFeature(power));
}

/** For the portal's developer; whoever calls gets a sentence of their own. */
export const powersDenied = (denied: readonly string[]) => ({
  code: "permission_policy",
  message:
    `This page, or one around it, denies ${location.origin} the use of ${denied.join(", ")}: its Permissions-Policy ` +
    `has to allow it (${denied.map((power) => `${power}=(self "${location.origin}")`).join(", ")}), and a frame ` +
    "around it needs allow.",
});
