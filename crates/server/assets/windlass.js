// What every page can do beyond links and forms: copying, menus that close, times that stay true, lists
// that go on, and the keys. Without this file everything else still works.

import { openKeys } from "./keys.js";
import { openPalette } from "./palette.js";

const $ = (selector, within = document) => within.querySelector(selector);
const $$ = (selector, within = document) => [...within.querySelectorAll(selector)];

/** Says something for a moment. */
export function toast(text) {
  $(".toast")?.remove();
  const element = document.createElement("div");
  element.className = "toast";
  element.setAttribute("role", "status");
  element.textContent = text;
  document.body.append(element);
  setTimeout(() => element.remove(), 1800);
}

/** The elements of markup that this server made. */
export function parse(html) {
  const page = new DOMParser().parseFromString(html, "text/html");
  return [...page.body.childNodes].map((node) => document.importNode(node, true));
}

document.addEventListener("click", async (event) => {
  const copy = event.target.closest("[data-copy]");
  if (copy) {
    event.preventDefault();
    try {
      await navigator.clipboard.writeText(copy.dataset.copy);
      toast("Copied");
    } catch {
      toast(copy.dataset.copy);
    }
  }
  if (event.target.closest("[data-keys]")) openKeys();
  for (const menu of $$("details[data-menu][open]")) {
    if (!menu.contains(event.target)) menu.open = false;
  }
  const goOn = event.target.closest("[data-go-on]");
  if (goOn) {
    event.preventDefault();
    await append(goOn);
  }
});

document.addEventListener("keydown", (event) => {
  if (event.key !== "Escape") return;
  for (const menu of $$("details[data-menu][open]")) {
    menu.open = false;
    $("summary", menu).focus();
  }
});

/** Puts the next page of a list below this one. */
async function append(link) {
  link.textContent = "Loading";
  const response = await fetch(link.href, { headers: { Accept: "text/html" } });
  if (!response.ok) {
    location.href = link.href;
    return;
  }
  const page = new DOMParser().parseFromString(await response.text(), "text/html");
  const rows = page.querySelector("[data-append]");
  const row = link.closest(".go-on");
  if (!rows || !row) {
    location.href = link.href;
    return;
  }
  const added = [...rows.children].map((child) => document.importNode(child, true));
  row.replaceWith(...added);
  $("a", added[0])?.focus({ preventScroll: true });
}

/** Lists that are longer than the screen go on by themselves when their end comes near. */
const ends = new IntersectionObserver((entries) => {
  for (const entry of entries) {
    if (entry.isIntersecting && entry.target.isConnected) append($("[data-go-on]", entry.target));
  }
});
for (const list of $$("[data-append]")) {
  const watch = () => $$(".go-on", list).forEach((row) => ends.observe(row));
  new MutationObserver(watch).observe(list, { childList: true });
  addEventListener("scroll", watch, { once: true, passive: true });
}

/** How long ago, in the words of the server's own pages. */
function ago(seconds) {
  if (seconds < 10) return "just now";
  if (seconds < 60) return `${Math.floor(seconds)} s ago`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ago`;
  if (seconds < 86400) return `${Math.floor(seconds / 3600)} h ago`;
  if (seconds < 1209600) return `${Math.floor(seconds / 86400)} d ago`;
  return null;
}

setInterval(() => {
  for (const time of $$("time[datetime]")) {
    const word = ago((Date.now() - Date.parse(time.dateTime)) / 1000);
    if (word && time.textContent !== word) time.textContent = word;
  }
}, 10_000);

// The switch of colours changes the page at once; the server remembers.
const theme = $("form.theme");
theme?.addEventListener("submit", async (event) => {
  event.preventDefault();
  const button = $("button", theme);
  const wanted = button.value;
  const answer = await fetch(theme.action, {
    method: "POST",
    body: new URLSearchParams([...new FormData(theme), ["theme", wanted]]),
    redirect: "manual",
  });
  if (!answer.ok && answer.type !== "opaqueredirect") return;
  document.documentElement.dataset.theme = wanted;
  const next = { system: "dark", dark: "light", light: "system" }[wanted];
  button.value = next;
  button.title = `Colours: ${wanted}`;
  button.setAttribute("aria-label", `Colours: ${wanted}. Change to ${next}`);
  const use = $("use", button);
  use.setAttribute("href", use.getAttribute("href").replace(/#.*/, `#theme-${wanted}`));
});

// A form is sent once.
document.addEventListener("submit", (event) => {
  if (event.defaultPrevented || event.target.method === "get") return;
  const form = event.target;
  if (form.dataset.sent) event.preventDefault();
  form.dataset.sent = "yes";
});
addEventListener("pageshow", () => $$("form[data-sent]").forEach((form) => delete form.dataset.sent));

$$("[data-keys]").forEach((button) => (button.hidden = false));
addEventListener("windlass:palette", openPalette);
