// Looks at every page that a server offers under /pages.json, in two widths and both themes, and says
// what is wrong with each: complaints of the console, sideways scrolling, what axe finds.
//
//   node look.mjs CHROMIUM PICTURES BASE

import { mkdirSync } from "node:fs";
import { complaints, launch, overflow, violations } from "./browser.mjs";

const [, , chromium, pictures, base] = process.argv;
mkdirSync(pictures, { recursive: true });
const paths = await (await fetch(`${base}/pages.json`)).json();
const browser = await launch(chromium);
const findings = [];

/** Pages with thousands of rows: looked at in one theme, and not by axe, which sees the same markup on
 *  the smaller ones. */
const isHeavy = (path) => /\/(full|long|big)$/.test(path);

async function look(theme, width, path) {
  const context = await browser.newContext({
    viewport: { width, height: width < 500 ? 844 : 800 },
    colorScheme: theme,
    reducedMotion: "reduce",
  });
  const page = await context.newPage();
  page.setDefaultTimeout(180_000);
  const said = complaints(page, [/\/stream/]);
  await page.goto(`${base}/${theme}${path}`);
  const name = `${path.slice(1).replaceAll("/", "-")}-${width}-${theme}`;
  const wider = await overflow(page);
  if (wider > 0) said.push(`the page is ${wider} pixels wider than its window`);
  if (!isHeavy(path)) said.push(...(await violations(page)));
  await page.screenshot({ path: `${pictures}/${name}.png` });
  findings.push(...said.map((text) => `${name}: ${text}`));
  await context.close();
}

const work = ["light", "dark"].flatMap((theme) =>
  [390, 1280].flatMap((width) => paths.map((path) => [theme, width, path])),
).filter(([theme, , path]) => theme === "light" || !isHeavy(path));
const n = work.length;
await Promise.all([0, 1].map(async () => {
  for (let next = work.pop(); next; next = work.pop()) await look(...next);
}));
await browser.close();
for (const finding of findings) console.log(finding);
console.log(`${n} pages looked at, ${findings.length} findings`);
process.exitCode = findings.length > 0 || n === 0 ? 1 : 0;
