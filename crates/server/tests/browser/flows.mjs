// A person at work on a real server: signs in, starts a task, watches it live, comments on a line, sends
// that to the agent, sees the next round, approves, merges; then the same by keyboard, on a phone, and
// without scripts. Whoever started this script plays the runner meanwhile, and waits for the line `go on`
// before it says its last word.
//
//   node flows.mjs CHROMIUM PICTURES SIGN_IN_LINK

import assert from "node:assert/strict";
import { mkdirSync } from "node:fs";
import { complaints, launch, overflow, violations } from "./browser.mjs";

const [, , chromium, pictures, link] = process.argv;
mkdirSync(pictures, { recursive: true });
const base = new URL(link).origin;
const browser = await launch(chromium);
const said = [];
let step = "begin";

/** Names what comes next, so that a failure says where it was. */
function begin(name) {
  step = name;
  console.log(name);
}

async function newPage(context, forgiven) {
  const page = await context.newPage();
  page.setDefaultTimeout(60_000);
  said.push(complaints(page, forgiven));
  return page;
}

async function sound(page, name) {
  await page.screenshot({ path: `${pictures}/flow-${name}.png`, fullPage: true });
  assert.equal(await overflow(page), 0, `${name} scrolls sideways`);
  assert.deepEqual(await violations(page), [], name);
}

try {
  const context = await browser.newContext({ viewport: { width: 1280, height: 800 }, reducedMotion: "reduce" });
  // The console says of a form that was refused that its answer had the status 422: it had.
  const page = await newPage(context, [/status of 422/, /status of 400 .*secrets/]);

  begin("somebody who is not signed in is sent to sign in, and comes back");
  await page.goto(`${base}/runs?state=failed`);
  assert.equal(new URL(page.url()).pathname, "/sign-in");
  await sound(page, "sign-in");
  await page.goto(link);
  await page.getByRole("button", { name: "Sign in" }).click();
  await page.waitForURL(`${base}/`);
  await page.getByRole("heading", { name: "Needs you" }).waitFor();

  begin("the first load is small");
  const fresh = await browser.newContext({ storageState: await context.storageState() });
  const first = await newPage(fresh);
  let bytes = 0;
  const wire = await fresh.newCDPSession(first);
  await wire.send("Network.enable");
  wire.on("Network.loadingFinished", ({ encodedDataLength }) => (bytes += encodedDataLength));
  await first.goto(`${base}/`, { waitUntil: "networkidle" });
  assert.ok(bytes > 5_000 && bytes < 100 * 1024, `the first load is ${bytes} bytes`);
  console.log(`  ${bytes} bytes`);
  await fresh.close();

  begin("a wrong task is refused where it was written, and nothing is lost");
  await page.getByLabel("What should be done?").fill("Greet more warmly\n\nKeep it short.");
  await page.getByText("Branch, model, network, limits").click();
  await page.getByLabel("Base branch").fill("mian");
  await page.getByRole("button", { name: "Start the task" }).click();
  await page.getByRole("alert").getByText("missing-branch").waitFor();
  assert.equal(await page.getByLabel("What should be done?").inputValue(), "Greet more warmly\n\nKeep it short.");
  await sound(page, "wrong-task");

  begin("a task is started and watched live");
  await page.getByLabel("Base branch").fill("");
  await page.getByLabel("Checks").fill("cat greeting.txt");
  await page.getByRole("button", { name: "Start the task" }).click();
  await page.waitForURL(/\/runs\/run_/);
  await page.getByText("The task is started.").waitFor();
  await page.locator("#live[data-state=live]").waitFor();
  const marker = await page.evaluate(() => (window.stillHere = Math.random()));
  await page.getByText("I will make the greeting").waitFor();
  await page.getByText("cat greeting.txt").first().waitFor();
  await page.locator("#job-head").getByText("Running").waitFor();
  await page.locator("#job-head .scripted").waitFor();
  await sound(page, "live");

  begin("what is hostile is shown, not obeyed");
  const hidden = page.locator(".session .hidden-char").first();
  await hidden.waitFor();
  assert.equal(await page.evaluate(() => window.owned), undefined);
  assert.equal(await page.locator(".session script, .session img").count(), 0);

  begin("the page does not jump while it grows");
  await page.evaluate(() => window.scrollTo({ top: 40 }));
  console.log("go on");
  await page.getByText("The last word.").waitFor();
  assert.equal(await page.evaluate(() => window.scrollY), 40);

  begin("the end arrives without a reload");
  const review = page.locator("#job-head").getByRole("link", { name: /Review change/ });
  await review.waitFor();
  await page.locator("#live[data-state=over]").waitFor();
  assert.equal(await page.evaluate(() => window.stillHere), marker);
  await sound(page, "job-over");

  begin("the log has its colours");
  await page.getByRole("link", { name: "Log", exact: true }).click();
  await page.locator(".log .fg2").first().waitFor();
  await page.goBack();

  begin("the change is read, and a line is commented on");
  await page.locator("#job-head").getByRole("link", { name: /Review change/ }).click();
  await page.waitForURL(/\/changes\/shop\/1/);
  await page.getByText("Keep it short.").first().waitFor();
  await page.locator(".scripted").first().waitFor();
  await sound(page, "change");
  await page.getByRole("button", { name: "Comment on line 1", exact: true }).click();
  await page.getByRole("textbox", { name: "Comment on line 1" }).fill("Too **dear**: <b>less</b> please");
  await page.getByRole("button", { name: "Comment", exact: true }).click();
  await page.getByText("Your comment is there.").waitFor();
  await page.locator("tr.talk .said").getByText("<b>less</b> please").waitFor();
  assert.equal(await page.locator("tr.talk .said strong").innerText(), "dear");
  await sound(page, "commented");

  begin("the comment is sent to the agent, whose next round arrives");
  await page.getByLabel("Something to add").fill("Be brief.");
  await page.getByRole("button", { name: "Send to the agent" }).click();
  await page.waitForURL(/\/jobs\/job_/);
  await page.getByText("The comments are on their way to the agent.").waitFor();
  await page.locator("#live[data-state=over]").waitFor();
  await page.locator("#job-head").getByRole("link", { name: /Review change/ }).click();
  await page.getByText("sent to the agent").first().waitFor();
  await page.getByText("Rounds").click();
  await page.getByRole("link", { name: "what it changed" }).last().click();
  await page.getByText("from round 1 to round 2").waitFor();
  await page.locator(".code").getByText("hello dear").first().waitFor();
  await page.goto(`${base}/changes/shop/1?view=unified`);
  await page.locator("table.unified").first().waitFor();
  await sound(page, "round-two");

  begin("it is approved and merged");
  await page.getByRole("button", { name: "Approve" }).click();
  await page.getByText("You approved this change.").waitFor();
  await page.getByRole("combobox", { name: "How" }).selectOption("squash");
  await page.getByRole("button", { name: "Merge" }).click();
  await page.getByText("The change is merged.").waitFor();
  await page.locator(".under").getByText("Merged").waitFor();
  assert.equal(await page.getByRole("button", { name: "Merge" }).count(), 0);
  await sound(page, "merged");

  begin("the keyboard is enough");
  await page.goto(`${base}/`);
  await page.keyboard.press("?");
  await page.getByRole("dialog", { name: "Keys" }).waitFor();
  await sound(page, "keys");
  await page.keyboard.press("Escape");
  await page.keyboard.press("g");
  await page.keyboard.press("r");
  await page.waitForURL(`${base}/runs`);
  await page.keyboard.press("j");
  await page.keyboard.press("j");
  await page.keyboard.press("k");
  await page.keyboard.press("Enter");
  await page.waitForURL(/\/runs\/run_/);
  await page.keyboard.press("Control+k");
  await page.getByRole("combobox").fill("Greet");
  await page.getByRole("option", { name: /Greet more warmly/ }).first().waitFor();
  await sound(page, "palette");
  const chosen = page.locator("[role=option][aria-selected=true]");
  for (let i = 0; i < 20 && !(await chosen.innerText()).includes("change"); i++) {
    await page.keyboard.press("ArrowDown");
  }
  await page.keyboard.press("Enter");
  await page.waitForURL(/\/changes\/shop\/1/);
  await page.keyboard.press("/");
  assert.equal(await page.evaluate(() => document.activeElement.id), "find");
  await page.keyboard.type("warmly");
  await page.keyboard.press("Enter");
  await page.waitForURL(/\/search\?q=warmly/);
  await page.locator("ul.lines li").first().waitFor();
  await page.goto(`${base}/changes/shop/1`);
  await page.keyboard.press("j");
  await page.keyboard.press("e");
  assert.equal(await page.locator("details.file").first().getAttribute("open"), null);

  begin("the colours change at once and are remembered");
  const button = page.locator("form.theme button");
  await button.click();
  await page.locator("html[data-theme=dark]").waitFor();
  await page.reload();
  assert.equal(await page.locator("html").getAttribute("data-theme"), "dark");

  begin("a lost connection is said, and mended");
  await page.goto(`${base}/`);
  await page.locator("#live[data-state=live]").waitFor({ state: "attached" });
  const lost = await newPage(context, [/Failed to load resource/]);
  let refused = 0;
  await lost.route("**/live?*", (route) => (refused++ < 1 ? route.abort() : route.continue()));
  await lost.goto(`${base}/`);
  await lost.getByLabel("What should be done?").fill("Wait for nobody");
  await lost.getByRole("button", { name: "Start the task" }).click();
  await lost.getByText("this may be stale").waitFor();
  // Home, open in another window, shows the task without being loaded again.
  await page.locator("#home-running").getByText("Wait for nobody").waitFor();
  await lost.locator("#live[data-state=live]").waitFor();

  begin("a job is stopped");
  await lost.getByText("Stop", { exact: true }).click();
  await lost.getByLabel("Why?").fill("It was only a test");
  await lost.getByRole("button", { name: "Stop this job" }).click();
  await lost.getByText("It was only a test").first().waitFor();
  await lost.close();

  begin("a phone is enough");
  const phone = await browser.newContext({
    viewport: { width: 390, height: 844 }, hasTouch: true, isMobile: true, storageState: await context.storageState(),
  });
  const small = await newPage(phone, [/status of 404 .*nowhere/]);
  for (const path of ["/", "/runs", "/review?state=all", "/changes/shop/1", "/projects", "/projects/shop", "/runners", "/settings", "/secrets", "/problems", "/search?q=greet"]) {
    await small.goto(`${base}${path}`);
    await sound(small, `phone${path.replace(/\W+/g, "-")}`);
  }
  await small.goto(`${base}/nowhere`);
  await small.getByRole("heading", { name: "There is no such thing here" }).waitFor();
  await sound(small, "phone-not-found");
  await phone.close();

  begin("settings make a token and a link, each shown once");
  await page.goto(`${base}/settings`);
  await page.getByLabel("Name").first().fill("nightly");
  await page.getByRole("button", { name: "Make a token" }).click();
  assert.match(await page.locator("#secret").innerText(), /^wl_[\w-]{20}/);
  await sound(page, "token");
  await page.getByRole("button", { name: "Revoke nightly" }).click();
  await page.getByText("The token no longer works.").waitFor();
  await page.getByLabel("Name").last().fill("grace");
  await page.getByRole("button", { name: "Make a sign-in link" }).click();
  const invitation = await page.locator("#secret").innerText();

  begin("a secret is set, never shown again, and removed");
  await page.goto(`${base}/secrets`);
  await page.locator("#set input[name=name]").fill("DEPLOY_TOKEN");
  await page.locator("#set textarea").fill("short");
  await page.getByRole("button", { name: "Set", exact: true }).click();
  await page.getByText("at least 8 bytes").waitFor();
  assert.equal(await page.locator("#set input[name=name]").inputValue(), "DEPLOY_TOKEN");
  assert.equal(await page.locator("#set textarea").inputValue(), "");
  await page.locator("#set textarea").fill("hunter2hunter2");
  await page.getByLabel("A step sees it as").selectOption("door");
  await page.locator("#set input[name=place]").fill("https://api.example/v1");
  await page.locator("#set input[name=branches]").fill("main, release/*");
  await page.getByRole("button", { name: "Set", exact: true }).click();
  await page.getByText("It is set.").waitFor();
  await page.getByText("door to https://api.example/v1 (GET, HEAD)").waitFor();
  await page.getByText("branches main, release/*").waitFor();
  assert.ok(!(await page.content()).includes("hunter2"));
  await sound(page, "secrets");
  await page.getByLabel("Remove DEPLOY_TOKEN", { exact: true }).click();
  await page.getByRole("button", { name: "Remove DEPLOY_TOKEN for good" }).click();
  await page.getByText("It is removed.").waitFor();

  begin("without scripts everything but the live parts works");
  const plain = await browser.newContext({ javaScriptEnabled: false, viewport: { width: 1280, height: 800 } });
  const still = await newPage(plain);
  await still.goto(invitation);
  await still.getByRole("button", { name: "Sign in" }).click();
  await still.waitForURL(`${base}/`);
  await still.locator("form.theme button").click();
  assert.equal(await still.locator("html").getAttribute("data-theme"), "dark");
  // A viewer reads, and is offered nothing that would be refused.
  assert.equal(await still.getByRole("button", { name: "Start the task" }).count(), 0);
  await still.goto(`${base}/changes/shop/1`);
  await still.getByText("there is nothing to decide").waitFor();
  await still.locator("summary[aria-label]").click();
  await still.getByRole("button", { name: "Sign out" }).click();
  await still.waitForURL(/\/sign-in/);
  const admin = await browser.newContext({
    javaScriptEnabled: false, viewport: { width: 1280, height: 800 }, storageState: await context.storageState(),
  });
  const calm = await newPage(admin);
  await calm.goto(`${base}/`);
  await calm.getByLabel("What should be done?").fill("Say goodbye too");
  await calm.getByRole("button", { name: "Start the task" }).click();
  await calm.getByText("Not live: this page shows what was known").waitFor();
  // The runner plays it meanwhile.
  for (let i = 0; i < 120 && (await calm.getByRole("link", { name: /Review change/ }).count()) === 0; i++) {
    await calm.waitForTimeout(500);
    await calm.reload();
  }
  await calm.getByRole("link", { name: /Review change/ }).click();
  await calm.getByRole("button", { name: "Comment on line 1", exact: true }).click();
  await calm.getByRole("textbox", { name: "Comment on line 1" }).fill("Good without scripts");
  await calm.getByRole("button", { name: "Comment", exact: true }).click();
  await calm.getByText("Good without scripts").waitFor();
  await calm.getByRole("button", { name: "Approve" }).click();
  await calm.getByText("You approved this change.").waitFor();
  await calm.getByRole("button", { name: "Merge" }).click();
  await calm.getByText("The change is merged.").waitFor();

  begin("nothing was complained about");
  assert.deepEqual(said.flat(), []);
  console.log("done");
} catch (error) {
  console.log(`failed at: ${step}`);
  console.log(error.stack ?? error);
  console.log("complaints:", said.flat().join("\n"));
  for (const context of browser.contexts()) {
    for (const [i, page] of context.pages().entries()) {
      await page.screenshot({ path: `${pictures}/failed-${i}.png`, fullPage: true }).catch(() => {});
      console.log(`page ${i}: ${page.url()}`);
    }
  }
  process.exitCode = 1;
}
await browser.close();
