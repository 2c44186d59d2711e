// What a service or a task prints, as it comes. Without this file the page shows the end of it.

const log = document.getElementById("log-text");
const state = document.getElementById("log-state");
/** The most characters that are shown: what is older goes. */
const SHOWN = 500_000;

/** Text without the sequences by which a terminal is told colours. */
const plain = (text) => text.replaceAll(/\u001b\[[0-?]*[ -/]*[@-~]/g, "").replaceAll("\r\n", "\n");

/** Shows how services and tasks stand now. */
async function look() {
  const response = await fetch(location.href, { headers: { Accept: "text/html" } });
  if (!response.ok) return;
  const page = new DOMParser().parseFromString(await response.text(), "text/html");
  for (const id of ["services", "tasks"]) {
    const [here, fresh] = [document.getElementById(id), page.getElementById(id)];
    if (here && fresh && !here.contains(document.activeElement)) here.replaceWith(document.importNode(fresh, true));
  }
}

function add(text) {
  const isAtEnd = log.scrollTop + log.clientHeight >= log.scrollHeight - 8;
  log.append(plain(text));
  if (log.textContent.length > SHOWN) log.textContent = log.textContent.slice(-SHOWN / 2);
  if (isAtEnd) log.scrollTop = log.scrollHeight;
}

if (log) {
  log.scrollTop = log.scrollHeight;
  const source = new EventSource(log.dataset.stream);
  source.onopen = () => (state.textContent = "Live");
  source.addEventListener("log", (event) => add(JSON.parse(event.data).text));
  source.onerror = () => {
    const isOver = source.readyState === EventSource.CLOSED;
    state.textContent = isOver ? "That is all." : "Reconnecting";
    look();
  };
  addEventListener("pagehide", () => source.close(), { once: true });
}
