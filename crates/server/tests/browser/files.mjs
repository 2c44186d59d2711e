// A person among the files of an environment that runs: browses, opens a file, edits it, is warned before
// leaving, saves, meets somebody who was faster, makes and removes a folder, and looks at the changes; at
// two widths, and without scripts.
//
//   node files.mjs CHROMIUM PICTURES SIGN_IN_LINK ENVIRONMENT WINDLASS DATA

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdirSync } from "node:fs";
import { complaints, launch, overflow, violations } from "./browser.mjs";

const [, , chromium, pictures, link, id, windlass, data] = process.argv;
mkdirSync(pictures, { recursive: true });
const base = new URL(link).origin;
const here = `${base}/environments/${id}`;
const browser = await launch(chromium);
const said = [];
let step = "begin";

async function sound(page, name) {
  for (const width of [390, 1280]) {
    await page.setViewportSize({ width, height: 800 });
    await page.screenshot({ path: `${pictures}/files-${name}-${width}.png`, fullPage: true });
    assert.equal(await overflow(page), 0, `${name} scrolls sideways at ${width}`);
    assert.deepEqual(await violations(page), [], name);
  }
}

/** Executes a command in the environment, as somebody else would. */
const inside = (script) =>
  execFileSync(windlass, ["env", "exec", id, "--", "sh", "-c", script], { env: { ...process.env, WINDLASS_DATA_DIR: data } });

try {
  const context = await browser.newContext({ viewport: { width: 1280, height: 800 }, reducedMotion: "reduce" });
  const page = await context.newPage();
  page.setDefaultTimeout(60_000);
  said.push(complaints(page, [/status of 412/]));
  await page.goto(link);
  await page.click("main button");

  step = "from the environment to its files";
  await page.goto(here);
  await page.click("#head >> text=Files");
  await page.waitForSelector("table.files");
  const names = await page.locator("table.files td.main a").allTextContents();
  assert.deepEqual(names, [".git", ".windlass", "src", "greeting.txt", "old.md"]);
  await sound(page, "folder");
  await page.click("table.files >> text=src");
  await page.click("table.files >> text=main.rs");
  assert.equal(await page.locator("table.code .hk").first().textContent(), "fn");
  await sound(page, "file");

  step = "edit, and be warned before leaving";
  await page.goto(`${here}/file?path=greeting.txt`);
  await page.click("text=Edit");
  const text = page.locator("textarea[name=text]");
  assert.equal(await text.inputValue(), "good day\n");
  await text.fill("\ngood day\nand <good> night\n");
  let asked = 0;
  const stay = (dialog) => {
    asked += 1;
    return dialog.dismiss();
  };
  page.on("dialog", stay);
  await page.click("text=Leave without saving").catch(() => {});
  assert.equal(asked, 1, "the browser asks");
  page.off("dialog", stay);
  assert.equal(await text.inputValue(), "\ngood day\nand <good> night\n");
  await sound(page, "edit");
  await text.press("Control+s");
  await page.waitForSelector("text=The file is saved.");
  assert.equal(inside("cat greeting.txt").toString(), "\ngood day\nand <good> night\n");

  step = "somebody else is faster";
  await page.click("text=Edit");
  await text.fill("mine\n");
  inside("echo theirs > greeting.txt");
  await page.click("form.editor button.primary");
  await page.waitForSelector("text=What is there now, and what you wrote");
  assert.match(await page.textContent(".diff"), /theirs[^]*mine/);
  assert.equal(await text.inputValue(), "mine\n");
  await sound(page, "conflict");
  await page.click("button:has-text('Save over it')");
  await page.waitForSelector("text=The file is saved.");
  assert.equal(inside("cat greeting.txt").toString(), "mine\n");

  step = "a folder is made and removed, and what is not empty needs a word more";
  await page.goto(`${here}/files`);
  await page.click("text=New folder");
  await page.fill("[action$='/files/folder'] [name=name]", "notes");
  await page.click("text=Make it");
  await page.waitForSelector("text=Nothing is in it.");
  await page.click("text=New file");
  await page.fill("[action$='/files/new'] [name=name]", "<b>.md");
  await page.click("text=Write it");
  await text.fill("# A note\n");
  await page.click("form.editor button.primary");
  await page.waitForSelector("text=The file is saved.");
  await page.goto(`${here}/files?path=notes`);
  await page.click("text=Remove this folder");
  await page.check("[name=recursive]");
  await page.click("text=Remove for good");
  await page.waitForSelector("table.files >> text=greeting.txt");
  assert.equal(await page.locator("table.files >> text=notes").count(), 0);

  step = "what changed";
  await page.click("nav.tabs >> text=Changes");
  assert.match(await page.textContent(".diff"), /good day[^]*mine/);
  await sound(page, "changes");
  await page.click("text=One column");
  await page.waitForSelector("table.code.unified");

  step = "services and tasks";
  await page.click("nav.tabs >> text=Services");
  assert.match(await page.textContent("#services tbody tr"), /web.*ready/);
  await page.click("#services >> text=web");
  await page.waitForSelector("#log-text:has-text('web serves')");
  await page.click("[aria-label='Restart web']");
  await page.waitForFunction(() => document.getElementById("log-text")?.textContent.match(/web serves/g)?.length === 2);
  assert.equal(await page.locator("#services tbody td:nth-child(3)").textContent(), "1");
  await sound(page, "services");
  await page.click("[aria-label='Run count']");
  await page.waitForSelector("#tasks >> text=n = 42");
  await page.waitForSelector("#log-text:has-text('counting')");
  await sound(page, "task");

  step = "without scripts";
  const plain = await browser.newContext({ javaScriptEnabled: false, storageState: await context.storageState() });
  const still = await plain.newPage();
  await still.goto(`${here}/file/edit?path=src/main.rs`);
  await still.fill("textarea[name=text]", "fn main() { println!(); }\n");
  await still.click("form.editor button.primary");
  assert.match(await still.textContent("main"), /The file is saved/);
  assert.equal(inside("cat src/main.rs").toString(), "fn main() { println!(); }\n");
  assert.deepEqual(said.flat(), []);
} catch (error) {
  console.error(`while: ${step}`);
  console.error(error);
  process.exitCode = 1;
} finally {
  await browser.close();
}
