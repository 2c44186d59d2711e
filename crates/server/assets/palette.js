// The palette: type a few letters and go anywhere. Pages come from the rail, the rest from search.

const $ = (selector, within = document) => within.querySelector(selector);
const $$ = (selector, within = document) => [...within.querySelectorAll(selector)];

let dialog = null;
let asked = 0;

/** Opens the palette. */
export function openPalette() {
  dialog ??= build();
  if (dialog.open) return;
  const input = $("input", dialog);
  input.value = "";
  show(places(""));
  dialog.showModal();
  input.focus();
}

function places(words) {
  const rail = $$(".rail [data-go]").map((link) => [link.textContent.trim(), link.getAttribute("href"), "page"]);
  const all = [...rail, ["New task", "/#new", "do"]];
  return all.filter(([name]) => name.toLowerCase().includes(words.toLowerCase()));
}

function build() {
  const made = document.createElement("dialog");
  made.className = "palette";
  made.setAttribute("aria-label", "Go anywhere");
  const input = document.createElement("input");
  input.setAttribute("role", "combobox");
  input.setAttribute("aria-expanded", "true");
  input.setAttribute("aria-controls", "palette-list");
  input.setAttribute("aria-label", "Go to a page, a run, a change or a project");
  input.placeholder = "Go to a page, a run, a change or a project";
  input.autocomplete = "off";
  const list = document.createElement("ul");
  list.id = "palette-list";
  list.setAttribute("role", "listbox");
  list.setAttribute("aria-label", "Where to go");
  made.append(input, list);
  made.addEventListener("click", (event) => event.target === made && made.close());
  input.addEventListener("input", () => look(input.value.trim()));
  input.addEventListener("keydown", (event) => {
    const move = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (move) {
      event.preventDefault();
      select(move);
    } else if (event.key === "Enter") {
      event.preventDefault();
      $("[aria-selected=true]", list)?.click();
    }
  });
  document.body.append(made);
  return made;
}

async function look(words) {
  const mine = ++asked;
  const found = places(words);
  show(found, words);
  if (words.length < 2) return;
  await new Promise((done) => setTimeout(done, 120));
  if (mine !== asked) return;
  const response = await fetch(`/api/v1/search?limit=12&q=${encodeURIComponent(words)}`);
  if (!response.ok || mine !== asked) return;
  const { hits } = await response.json();
  if (mine !== asked) return;
  const kinds = { pull_request: "change" };
  show([...found, ...hits.map((hit) => [hit.title, hit.url, kinds[hit.kind] ?? hit.kind])], words);
}

/** True for an address on this server. */
const isHere = (href) => new URL(href, location.href).origin === location.origin;

function show(entries, words = "") {
  const list = $("#palette-list");
  const items = entries.filter(([, href]) => isHere(href)).slice(0, 20).map(([name, href, kind], i) => {
    const item = document.createElement("li");
    item.setAttribute("role", "presentation");
    const link = document.createElement("a");
    link.href = href;
    link.id = `palette-${i}`;
    link.setAttribute("role", "option");
    link.setAttribute("aria-selected", String(i === 0));
    const label = document.createElement("span");
    label.textContent = name;
    const sort = document.createElement("span");
    sort.className = "kind";
    sort.textContent = kind;
    link.append(label, sort);
    link.addEventListener("click", () => dialog.close());
    item.append(link);
    return item;
  });
  if (items.length === 0 && words) {
    const item = document.createElement("li");
    item.className = "empty-line";
    item.textContent = "Nothing of that name.";
    items.push(item);
  }
  list?.replaceChildren(...items);
  mark();
}

function select(by) {
  const all = $$("[role=option]", dialog);
  if (all.length === 0) return;
  const at = all.findIndex((option) => option.getAttribute("aria-selected") === "true");
  all[at]?.setAttribute("aria-selected", "false");
  const next = all[(at + by + all.length) % all.length];
  next.setAttribute("aria-selected", "true");
  next.scrollIntoView({ block: "nearest" });
  mark();
}

function mark() {
  const selected = dialog && $("[aria-selected=true]", dialog);
  if (dialog) $("input", dialog).setAttribute("aria-activedescendant", selected?.id ?? "");
}
