// The licences of the packages that a build takes something of: whoever passes the bundle on passes these on too.
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";

const PACKAGE = /^.*\/node_modules\/(?:@[^/]+\/)?[^/]+(?=\/)/;
const LICENSE = /^(?:licen[cs]e|copying|notice)/i;

const folders = new Set();

/** A plugin that notes the package of each module that a build reads. */
export const notePackages = {
  name: "note-packages",
  transform(_code, id) {
    const [folder] = PACKAGE.exec(id) ?? [];
    if (folder !== undefined) folders.add(folder);
  },
};

/** What each script says of it. */
export const WHERE = "/*! The licences of what is in here: licenses.txt, beside this file. */";

/** All of them, as one text; a package without one is a fault. */
export function licenses() {
  const named = new Map();
  for (const folder of folders) {
    const { name, version, license } = JSON.parse(readFileSync(join(folder, "package.json"), "utf8"));
    const files = readdirSync(folder).filter((file) => LICENSE.test(file));
    if (files.length === 0) throw new Error(`${name} has no file with its licence`);
    const text = files.map((file) => readFileSync(join(folder, file), "utf8").trim()).join("\n\n");
    named.set(text, [...(named.get(text) ?? []), `${name} ${version} (${license})`]);
  }
  const parts = [...named].map(([text, packages]) => `${packages.sort().join(", ")}\n\n${text}`).sort();
  const line = `\n\n${"-".repeat(79)}\n\n`;
  const first =
    "Coach Relay is licensed under the Apache License, Version 2.0. It holds parts of these packages:";
  return `${[first, ...parts].join(line)}\n`;
}
