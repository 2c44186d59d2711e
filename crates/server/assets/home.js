// Home stays true by itself: when something changed anywhere, the lists are fetched again and each that
// differs is replaced. A list that holds the focus waits until it is left.

const home = document.getElementById("home");
const state = document.getElementById("live");
const word = state?.querySelector("span");

function say(name, text) {
  state.dataset.state = name;
  state.hidden = name === "live";
  if (word.textContent !== text) word.textContent = text;
}

let shown = new Map([...home.querySelectorAll("section")].map((section) => [section.id, section.outerHTML]));
let waiting = null;

async function refresh() {
  waiting = null;
  const response = await fetch("/", { headers: { Accept: "text/html" } });
  if (!response.ok) return say("stale", "This may be stale: the server refused to say more");
  const page = new DOMParser().parseFromString(await response.text(), "text/html");
  for (const section of page.querySelectorAll("#home > section")) {
    const here = document.getElementById(section.id);
    if (!here || shown.get(section.id) === section.outerHTML) continue;
    if (here.contains(document.activeElement)) {
      soon(5_000);
      continue;
    }
    shown.set(section.id, section.outerHTML);
    here.replaceWith(document.importNode(section, true));
  }
}

function soon(after) {
  waiting ??= setTimeout(() => refresh().catch(() => say("stale", "This may be stale: the server does not answer")), after);
}

function open() {
  const source = new EventSource("/api/v1/feed");
  source.onopen = () => {
    if (state.dataset.state === "stale") soon(0);
    say("live", "Live");
  };
  source.addEventListener("feed", () => soon(700));
  source.onerror = () => {
    say("stale", "The connection is lost: this may be stale. Reconnecting");
    if (source.readyState === EventSource.CLOSED) setTimeout(open, 5_000);
  };
  addEventListener("pagehide", () => source.close(), { once: true });
}

if (home && state) open();
