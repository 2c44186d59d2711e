// A change under review: comment forms open in place, rows are walked with j and k inside of a file, and
// drafts survive. Without this file a line's number opens the same form by a round trip.

import { currentRow } from "./keys.js";
import { parse } from "./windlass.js";

const $ = (selector, within = document) => within.querySelector(selector);

/** Opens the form for the line of this button, as the server makes it. */
async function openForm(button) {
  const form = $("#pick");
  const query = new URLSearchParams(new FormData(form));
  query.set("at", button.value);
  const response = await fetch(`${location.pathname}?${query}`, { headers: { Accept: "text/html" } });
  if (!response.ok) {
    form.requestSubmit(button);
    return;
  }
  const page = new DOMParser().parseFromString(await response.text(), "text/html");
  const made = $("#comment-form", page);
  if (!made) return;
  close();
  const row = document.createElement("tr");
  row.className = "talk";
  const cell = document.createElement("td");
  cell.colSpan = 4;
  cell.append(...parse(made.outerHTML));
  row.append(cell);
  let after = button.closest("tr");
  while (after.nextElementSibling?.matches(".talk")) after = after.nextElementSibling;
  after.after(row);
  button.closest("tr").classList.add("at");
  $("textarea", row).focus();
}

function close() {
  $("#comment-form")?.closest("tr")?.remove();
  $("tr.at")?.classList.remove("at");
}

document.addEventListener("click", (event) => {
  const button = event.target.closest("button[form=pick]");
  if (button) {
    event.preventDefault();
    openForm(button);
  }
  if (event.target.closest("[data-cancel]")) {
    event.preventDefault();
    close();
  }
});

document.addEventListener("keydown", (event) => {
  const form = event.target.closest?.("form");
  if (event.key === "Escape" && event.target.closest?.("#comment-form")) close();
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey) && event.target.matches?.("textarea") && form) {
    event.preventDefault();
    form.requestSubmit();
  }
});

addEventListener("windlass:comment", () => {
  const file = currentRow()?.closest("details.file") ?? $("details.file[open]");
  const changed = file && $("tr.c .no.new button, tr.a .no.new button, tr.r .no button, tr.c .no button", file);
  if (changed) openForm(changed);
  else $("#say-text")?.focus();
});

addEventListener("beforeunload", (event) => {
  const draft = $("#comment-form textarea");
  if (draft?.value && !draft.form.dataset.sent) event.preventDefault();
});
