// Starts the browser, and says what is wrong with a page.

import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { chromium } from "playwright-core";

const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");

/** A fresh browser with a fresh profile. */
export const launch = (executablePath, more = []) =>
  chromium.launch({
    executablePath,
    args: [
      "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
      "--disable-background-networking", "--disable-component-update", "--disable-sync", ...more,
    ],
  });

/** Collects what a page complains about. `forgiven` are patterns of what the test itself causes. */
export function complaints(page, forgiven = []) {
  const said = [];
  const add = (text) => {
    if (!forgiven.some((pattern) => pattern.test(text))) said.push(text);
  };
  page.on("console", (message) => {
    if (["error", "warning"].includes(message.type())) add(`console: ${message.text()} ${message.location().url}`);
  });
  page.on("pageerror", (error) => add(`error: ${error.stack ?? error}`));
  return said;
}

/** How far a page is wider than its window, in pixels. */
export const overflow = (page) =>
  page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);

/** What axe finds serious or critical. */
export async function violations(page) {
  await page.evaluate(axe);
  const found = await page.evaluate(async () => {
    const { violations } = await axe.run(document, { resultTypes: ["violations"] });
    return violations
      .filter(({ impact }) => impact === "serious" || impact === "critical")
      .flatMap(({ id, nodes }) => nodes.slice(0, 3).map((node) => `${id}: ${node.html.slice(0, 200)} (${node.failureSummary.slice(0, 300)})`));
  });
  return found;
}
