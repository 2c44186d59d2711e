// Pages of environments stay true by themselves: when something changed anywhere, the page is fetched
// again and each part that differs is replaced. A part that holds the focus waits until it is left.

const place = document.getElementById("live");
const word = place?.querySelector("span");
const parts = [...document.querySelectorAll("[data-fresh]")];
const shown = new Map(parts.map((part) => [part.id, part.outerHTML]));
let waiting = null;

function say(name, text) {
  place.dataset.state = name;
  place.hidden = name === "live";
  if (word.textContent !== text) word.textContent = text;
}

async function refresh() {
  waiting = null;
  const response = await fetch(location.href, { headers: { Accept: "text/html" } });
  if (!response.ok) return say("stale", "This may be stale: the server refused to say more");
  const page = new DOMParser().parseFromString(await response.text(), "text/html");
  for (const part of page.querySelectorAll("[data-fresh]")) {
    const here = document.getElementById(part.id);
    if (!here || shown.get(part.id) === part.outerHTML) continue;
    if (here.contains(document.activeElement)) {
      soon(5_000);
      continue;
    }
    shown.set(part.id, part.outerHTML);
    const fresh = document.importNode(part, true);
    here.querySelectorAll("details").forEach((details, i) => {
      const same = fresh.querySelectorAll("details")[i];
      if (same) same.open = details.open;
    });
    here.replaceWith(fresh);
  }
}

function soon(after) {
  waiting ??= setTimeout(() => refresh().catch(() => say("stale", "This may be stale: the server does not answer")), after);
}

function open() {
  const source = new EventSource("/api/v1/feed");
  source.onopen = () => {
    if (place.dataset.state === "stale") soon(0);
    say("live", "Live");
  };
  source.addEventListener("feed", () => soon(300));
  source.onerror = () => {
    say("stale", "The connection is lost: this may be stale. Reconnecting");
    if (source.readyState === EventSource.CLOSED) setTimeout(open, 5_000);
  };
  addEventListener("pagehide", () => source.close(), { once: true });
}

if (place && parts.length) open();
