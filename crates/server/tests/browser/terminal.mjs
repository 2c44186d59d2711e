// A person at a terminal in a page: creates an environment, opens its terminal, types, sees the answer,
// uses an editor's screen, pastes, makes the window smaller, and signs out in another window, which cuts
// the terminal.
//
//   node terminal.mjs CHROMIUM PICTURES SIGN_IN_LINK

import assert from "node:assert/strict";
import { mkdirSync } from "node:fs";
import { complaints, launch, overflow, violations } from "./browser.mjs";

const [, , chromium, pictures, link] = process.argv;
mkdirSync(pictures, { recursive: true });
const base = new URL(link).origin;
const browser = await launch(chromium);
let step = "begin";
try {
  const context = await browser.newContext({ viewport: { width: 1280, height: 800 } });
  const page = await context.newPage();
  page.setDefaultTimeout(60_000);
  const said = complaints(page);

  step = "sign in and create an environment";
  await page.goto(link);
  await page.click("main button");
  await page.goto(`${base}/environments`);
  await page.fill("#create [name=name]", "from-a-page");
  await page.click("#create button");
  await page.waitForSelector("text=Terminal >> visible=true");
  assert.match(await page.textContent("#journal"), /created it/);
  assert.equal(await overflow(page), 0);
  assert.deepEqual(await violations(page), []);

  step = "type a command";
  await page.click("#head a.button.primary");
  await page.waitForSelector("#terminal-state[data-state=live]");
  const shows = (text) => page.waitForFunction((text) => document.getElementById("terminal-screen").textContent.includes(text), text);
  await page.keyboard.type("echo $((6 * 7))-is-it; test -t 0 && stty size\n");
  await shows("42-is-it");
  const size = await page.evaluate(() => /\n?(\d+) (\d+)\s*\S*[$#]/.exec([...document.querySelectorAll("#terminal-screen .line")].map((row) => row.textContent).join("\n"))?.slice(1, 3));
  assert.ok(size && Number(size[1]) > 80, `the size is known inside: ${size}`);
  assert.deepEqual(await violations(page), []);

  step = "colours, and another screen";
  await page.keyboard.type("printf '\\033[31mred\\033[0m \\033[?1049h\\033[2J\\033[3;5Hother-screen'; read x; printf '\\033[?1049l'; echo ba''ck\n");
  await shows("other-screen");
  await page.screenshot({ path: `${pictures}/terminal-alternate.png` });
  await page.keyboard.press("Enter");
  await shows("back");
  assert.equal(await page.locator("#terminal-screen .fg-1", { hasText: "red" }).count(), 1);

  step = "end a program by Ctrl C, and paste";
  await page.keyboard.type("echo begun-$((1 + 1)); sleep 1000; echo not-$((1 + 1))\n");
  await shows("begun-2");
  await page.keyboard.press("Control+c");
  await page.evaluate(() => {
    const data = new DataTransfer();
    data.setData("text/plain", "echo pasted-$((2 + 3))");
    document.getElementById("terminal-keys").dispatchEvent(new ClipboardEvent("paste", { clipboardData: data, bubbles: true, cancelable: true }));
  });
  await page.keyboard.press("Enter");
  await shows("pasted-5");
  assert.equal(await page.locator("#terminal-screen", { hasText: "not-2" }).count(), 0);

  step = "another size";
  await page.setViewportSize({ width: 390, height: 700 });
  assert.equal(await overflow(page), 0);
  await page.keyboard.type("clear; echo size-$(stty size | cut -d' ' -f2)-\n");
  await page.waitForFunction(() => /size-(\d+)-/.exec(document.getElementById("terminal-screen").textContent)?.[1] < 80);
  await page.screenshot({ path: `${pictures}/terminal-phone.png` });

  step = "a key in the settings";
  const settings = await context.newPage();
  await settings.goto(`${base}/settings`);
  await settings.fill("[name=public_key]", "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGXk6B1R0yN0hW7u0rSdrRj0H0ZVb0ZsnCk0hCk2Jv9C ada at home");
  await settings.click("text=Add the key");
  await settings.waitForSelector("text=The key is added.");
  await settings.click("[aria-label='Remove the key ada at home']");
  await settings.waitForSelector("text=The key is removed");
  await settings.close();

  step = "leave by the keyboard";
  await page.keyboard.press("Shift+Escape");
  assert.equal(await page.evaluate(() => document.activeElement.id), "terminal-leave");
  assert.deepEqual(said, []);

  step = "signed out elsewhere";
  const other = await context.newPage();
  await other.goto(`${base}/`);
  await other.click("summary");
  await other.click("text=Sign out");
  await page.waitForSelector("#terminal-state[data-state=stale]");
  assert.equal(await page.textContent("#terminal-state"), "The connection was cut");
} catch (error) {
  console.error(`while: ${step}`);
  console.error(error);
  process.exitCode = 1;
} finally {
  await browser.close();
}
