/**
 * Trusted Types: the one address of code that this page ever makes from a text is its own Worker's, a blob of the
 * script that the page was checked to be. Lit brings its own policy for its templates.
 */

interface PolicyFactory {
  createPolicy(name: string, rules: { createScriptURL(text: string): string }): unknown;
}

/** Before any Worker is made. Browsers without Trusted Types have nothing to allow. */
export function trustOwnWorker(): void {
  const factory = (globalThis as { trustedTypes?: PolicyFactory }).trustedTypes;
  factory?.createPolicy("default", {
    createScriptURL(text) {
      if (text.startsWith(`blob:${location.origin}/`)) return text;
      throw new TypeError("this page loads no other script");
    },
  });
}
