// A person and a published port: goes there without being known, signs in on the way, is led where they wanted,
// and the page of the service fetches and talks over a WebSocket. Then that page turns on the server that
// published it, with the person's cookies: it may not post, read, open a socket, or frame. At last the port
// is closed from the environment's page, which cuts what is open.
//
//   node ports.mjs CHROMIUM PICTURES SIGN_IN_LINK ADDRESS ENVIRONMENT_ID [RULE]
//
// ADDRESS ends with a slash. RULE is one of Chromium's `--host-resolver-rules`.

import assert from "node:assert/strict";
import { mkdirSync } from "node:fs";
import { complaints, launch, overflow, violations } from "./browser.mjs";

const [, , chromium, pictures, link, address, environment, rule] = process.argv;
mkdirSync(pictures, { recursive: true });
const server = new URL(link).origin;
const browser = await launch(chromium, rule ? [`--host-resolver-rules=${rule}`] : []);
let step = "begin";
try {
  const context = await browser.newContext({ viewport: { width: 1280, height: 800 } });
  const service = await context.newPage();
  service.setDefaultTimeout(20_000);
  const asked = [];
  context.on("request", (request) => asked.push(request));

  step = "go to the port, and sign in on the way";
  await service.goto(`${address}deep/page?x=1`);
  assert.match(service.url(), new RegExp(`^${server}/sign-in`));
  await service.fill("[name=link]", link);
  await service.click("main button");
  await service.waitForURL(`${address}deep/page?x=1`);
  await service.waitForSelector("#socket:has-text('heard hello')");
  assert.equal(await service.textContent("#fetch"), "fetched by POST");

  step = "nothing of the sign-in is left behind";
  for (const request of asked) {
    const referer = (await request.allHeaders()).referer ?? "";
    assert.ok(!referer.includes("code="), referer);
    assert.ok(request.url().startsWith(server) || !referer.includes("begun="), referer);
  }
  assert.equal(await service.evaluate(() => document.cookie), "");
  const [pass] = (await context.cookies(address)).filter(({ name }) => name.includes("windlass_port"));
  assert.ok(pass.httpOnly && pass.sameSite === "Lax" && pass.domain === new URL(address).hostname, JSON.stringify(pass));

  step = "the service turns on the server";
  const here = `${server}/environments/${environment}`;
  const attacked = await service.evaluate(async ({ server, here, id }) => {
    const tried = async (work) => work().then((answer) => answer, (error) => error.name);
    const form = { "Content-Type": "application/x-www-form-urlencoded" };
    const send = { method: "POST", mode: "no-cors", credentials: "include" };
    return {
      read: await tried(async () => (await fetch(`${server}/api/v1/me`, { credentials: "include" })).text()),
      page: await tried(async () => (await fetch(here, { credentials: "include" })).text()),
      form: await tried(async () => (await fetch(`${here}/stop`, { ...send, headers: form, body: "csrf=x" })).type),
      api: await tried(async () => (await fetch(`${server}/api/v1/environments/${id}/stop`, { ...send, body: "{}" })).type),
      remove: await tried(async () => (await fetch(`${server}/api/v1/environments/${id}`, { method: "DELETE", credentials: "include" })).status),
      socket: await new Promise((done) => {
        const socket = new WebSocket(`${here.replace("http", "ws")}/terminal/stream?columns=80&rows=24`);
        socket.onopen = () => done("open");
        socket.onerror = () => done("refused");
      }),
      feed: await new Promise((done) => {
        const source = new EventSource(`${server}/api/v1/feed`, { withCredentials: true });
        source.onopen = () => done("open");
        source.onerror = () => { source.close(); done("refused"); };
      }),
      script: await new Promise((done) => {
        const script = document.createElement("script");
        script.src = `${server}/api/v1/me`;
        script.onload = () => done("loaded");
        script.onerror = () => done("refused");
        document.body.append(script);
      }),
    };
  }, { server, here, id: environment });
  assert.deepEqual(attacked, {
    read: "TypeError", page: "TypeError", form: "TypeError", api: "TypeError", remove: "TypeError",
    socket: "refused", feed: "refused", script: "refused",
  });

  step = "the service frames the server";
  await service.evaluate((src) => {
    const frame = document.createElement("iframe");
    frame.src = src;
    document.body.append(frame);
    return new Promise((done) => { frame.onload = done; });
  }, `${server}/environments`);
  assert.ok(service.frames().slice(1).every((frame) => !frame.url().startsWith(server)), service.frames().map((frame) => frame.url()).join(" "));

  step = "the service sends the person's browser to the server with a form";
  const sent = await context.newPage();
  await sent.goto(`${address}deep/page`);
  await sent.evaluate((action) => {
    const form = document.createElement("form");
    form.method = "post";
    form.action = action;
    document.body.append(form);
    form.submit();
  }, `${here}/stop`);
  await sent.waitForURL((url) => url.href.startsWith(server));
  await sent.waitForSelector("main");
  await sent.close();

  step = "the environment's page shows the port, and that nobody stopped it";
  const page = await context.newPage();
  page.setDefaultTimeout(60_000);
  const said = complaints(page);
  await page.goto(here);
  assert.match(await page.textContent("#head"), /running/);
  const port = new URL(address).hostname.split("--")[0];
  assert.equal(await page.getAttribute("#ports .port-address a", "href"), address);
  assert.match(await page.textContent("#journal"), new RegExp(`went to port ${port}`));
  assert.equal(await overflow(page), 0);
  assert.deepEqual(await violations(page), []);
  await page.locator("#ports").screenshot({ path: `${pictures}/ports.png` });

  step = "publish another one";
  await page.fill("#ports .inline-form [name=port]", "4999");
  await page.fill("#ports .inline-form [name=name]", "docs");
  await page.selectOption("#ports .inline-form [name=admission]", "organisation");
  await page.click("#ports .inline-form button");
  await page.waitForSelector("text=The port is published.");
  await page.selectOption("#ports tr:has-text('4999') select", "owner");
  await page.click("[aria-label='Change who is let in to port 4999']");
  await page.waitForSelector("text=published port 4999 (docs) for owner");
  await page.setViewportSize({ width: 390, height: 800 });
  assert.equal(await overflow(page), 0);
  assert.deepEqual(await violations(page), []);
  await page.locator("#ports").screenshot({ path: `${pictures}/ports-phone.png` });

  step = "nobody listens there";
  const silent = await context.newPage();
  await silent.goto(address.replace(`//${port}--`, "//4999--"));
  await silent.waitForSelector("text=Nothing answers on the port");
  assert.equal(await overflow(silent), 0);
  assert.deepEqual(await violations(silent), []);
  await silent.screenshot({ path: `${pictures}/port-silent.png` });

  step = "close the port";
  await page.click(`[aria-label='Close port ${port}']`);
  await page.waitForSelector("text=The port is closed");
  await service.waitForSelector("#socket:has-text('cut')");
  await service.reload();
  await service.waitForSelector("text=is not published");
  assert.deepEqual(await violations(service), []);
  assert.deepEqual(said, []);
} catch (error) {
  console.error(`while: ${step}`);
  console.error(error);
  for (const page of browser.contexts().flatMap((context) => context.pages())) {
    console.error(page.url(), (await page.locator("body").innerText().catch(String)).slice(0, 500));
  }
  process.exitCode = 1;
} finally {
  await browser.close();
}
