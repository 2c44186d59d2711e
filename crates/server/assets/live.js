// A page that shows what happens. The server sends finished markup, piece by piece: each piece replaces
// the element with its id, or is put at the end of its stream. Nothing else on the page moves; who reads
// at the end of a stream stays at its end, who reads above stays where they are.

import { parse, toast } from "./windlass.js";

const place = document.getElementById("live");
const word = place?.querySelector("[data-live-word]");

/** Milliseconds without a sign of life after which the page says that it is stale. */
const STALE = 40_000;

let source = null;
let cursor = place?.dataset.cursor ?? "";
let heard = Date.now();
let retry = 0;
let isOver = false;

function say(state, text) {
  place.dataset.state = state;
  if (word.textContent !== text) word.textContent = text;
}

/** True if the person reads the end of the page's stream. */
const isAtEnd = () =>
  window.innerHeight + window.scrollY >= document.documentElement.scrollHeight - 80 && window.scrollY > 0;

function put(element) {
  const id = element.id;
  const old = id && document.getElementById(id);
  if (old) {
    keepOpen(old, element);
    const hadFocus = old.contains(document.activeElement) && document.activeElement;
    old.replaceWith(element);
    if (hadFocus) refocus(element, hadFocus);
    return;
  }
  document.querySelector("[data-stream]")?.append(element);
  document.querySelector("[data-until-filled]")?.remove();
}

/** What a person unfolded stays unfolded, what they folded stays folded. */
function keepOpen(old, element) {
  const before = old.querySelectorAll("details");
  element.querySelectorAll("details").forEach((details, i) => {
    if (before[i] && before[i].dataset.touched) details.open = before[i].open;
    if (before[i]?.dataset.touched) details.dataset.touched = "yes";
  });
}
document.addEventListener("toggle", (event) => {
  if (event.isTrusted && event.target.matches?.("details")) event.target.dataset.touched = "yes";
}, true);

function refocus(element, had) {
  const href = had.getAttribute?.("href");
  const again = href && [...element.querySelectorAll("a")].find((link) => link.getAttribute("href") === href);
  (again || element.querySelector("a, button, summary"))?.focus({ preventScroll: true });
}

function open() {
  if (isOver || document.hidden) return;
  source?.close();
  const url = new URL(place.dataset.live, location.href);
  url.searchParams.set("cursor", cursor);
  source = new EventSource(url);
  source.onopen = () => {
    retry = 0;
    heard = Date.now();
    say("live", "Live");
  };
  source.addEventListener("put", (event) => {
    heard = Date.now();
    cursor = event.lastEventId || cursor;
    const follow = isAtEnd();
    const y = window.scrollY;
    for (const node of parse(JSON.parse(event.data))) {
      if (node.nodeType === Node.ELEMENT_NODE) put(node);
    }
    if (follow) window.scrollTo({ top: document.documentElement.scrollHeight });
    else if (window.scrollY !== y) window.scrollTo({ top: y });
  });
  source.addEventListener("beat", () => {
    heard = Date.now();
    say("live", "Live");
  });
  source.addEventListener("over", (event) => {
    isOver = true;
    source.close();
    cursor = event.lastEventId || cursor;
    say("over", "It is over");
    toast("It is over");
  });
  source.onerror = () => {
    if (isOver) return;
    source.close();
    retry = Math.min(retry + 1, 6);
    say("stale", "The connection is lost: this may be stale. Reconnecting");
    setTimeout(open, 500 * 2 ** retry * (0.75 + Math.random() / 2));
  };
}

if (place) {
  say("stale", "Connecting");
  open();
  setInterval(() => {
    if (isOver || document.hidden || Date.now() - heard < STALE) return;
    say("stale", "Nothing was heard for a while: this may be stale. Reconnecting");
    heard = Date.now();
    open();
  }, 5_000);
  document.addEventListener("visibilitychange", () => {
    if (isOver) return;
    if (document.hidden) source?.close();
    else open();
  });
  addEventListener("pagehide", () => source?.close());
}
