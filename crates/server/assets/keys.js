// The keyboard. Keys act only where nobody is typing, and only on what the page shows.

const $ = (selector, within = document) => within.querySelector(selector);
const $$ = (selector, within = document) => [...within.querySelectorAll(selector)];

const KEYS = [
  ["g h", "Home"], ["g v", "Review"], ["g r", "Runs"], ["g e", "Environments"], ["g p", "Projects"], ["g n", "Runners"], ["g s", "Settings"],
  ["j", "Next in the list"], ["k", "The one before"], ["Enter", "Open it"], ["e", "Unfold or fold"],
  ["c", "Comment"], ["a", "Approve"], ["n", "New task"], ["/", "Search"], ["Ctrl K", "Go anywhere"], ["?", "These keys"],
];

/** Shows which keys there are. */
export function openKeys() {
  let dialog = $("#keys");
  if (!dialog) {
    dialog = document.createElement("dialog");
    dialog.id = "keys";
    dialog.setAttribute("aria-label", "Keys");
    const head = document.createElement("h2");
    head.textContent = "Keys";
    const list = document.createElement("ul");
    list.className = "key-list";
    for (const [key, what] of KEYS) {
      const item = document.createElement("li");
      const keys = document.createElement("span");
      for (const part of key.split(" ")) {
        const kbd = document.createElement("kbd");
        kbd.textContent = part;
        keys.append(kbd, " ");
      }
      item.append(what, keys);
      list.append(item);
    }
    dialog.append(head, list);
    dialog.addEventListener("click", (event) => event.target === dialog && dialog.close());
    document.body.append(dialog);
  }
  if (!dialog.open) dialog.showModal();
}

let current = null;
let pendingGo = 0;

const rows = () =>
  $$("[data-list] [data-row], [data-list][data-row]").filter((row) => row.offsetParent !== null);

/** The row that the keys speak about. */
export const currentRow = () => (current?.isConnected ? current : null);

function move(by) {
  const all = rows();
  if (all.length === 0) return;
  const at = all.indexOf(currentRow());
  const to = at < 0 ? (by > 0 ? 0 : all.length - 1) : Math.max(0, Math.min(all.length - 1, at + by));
  current?.classList.remove("is-current");
  current = all[to];
  current.classList.add("is-current");
  const target = current.matches("a, summary") ? current : $("a", current);
  target?.focus({ preventScroll: true });
  current.scrollIntoView({ block: "nearest" });
}

function unfold() {
  const row = currentRow() ?? document.activeElement;
  const details = row?.closest?.("details") ?? (row && $("details", row));
  if (details) details.open = !details.open;
}

function act(key) {
  if (key === "j") move(1);
  else if (key === "k") move(-1);
  else if (key === "e") unfold();
  else if (key === "?") openKeys();
  else if (key === "/") $("#find")?.focus();
  else if (key === "n") location.href = "/#new";
  else if (key === "c") dispatchEvent(new CustomEvent("windlass:comment"));
  else if (key === "a") approve();
  else if (key === "Enter") $("a", currentRow() ?? document.createElement("p"))?.click();
  else return false;
  return true;
}

/** Goes to the button; the person presses it. */
function approve() {
  const button = $("[data-key='a']");
  if (!button) return;
  button.scrollIntoView({ block: "center" });
  button.focus();
}

const isTyping = (target) => target.matches?.("input:not([type=checkbox]), textarea, select, [contenteditable]");

addEventListener("keydown", (event) => {
  if ((event.ctrlKey || event.metaKey) && event.key.toLowerCase() === "k" && !event.altKey) {
    event.preventDefault();
    dispatchEvent(new CustomEvent("windlass:palette"));
    return;
  }
  if (event.ctrlKey || event.metaKey || event.altKey || isTyping(event.target) || $("dialog[open]")) return;
  if (pendingGo && event.timeStamp - pendingGo < 1500) {
    pendingGo = 0;
    const link = $(`[data-go="${CSS.escape(event.key)}"]`);
    if (link) {
      event.preventDefault();
      link.click();
      return;
    }
  }
  if (event.key === "g") {
    pendingGo = event.timeStamp;
    return;
  }
  if (event.key === "Enter" && document.activeElement !== document.body) return;
  if (act(event.key)) event.preventDefault();
});
