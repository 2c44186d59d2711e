// A terminal in a page: keys to the program, what it shows onto the page. What the screen is, is in
// screen.js; here are the socket, the keys and the drawing.

import { Screen, palette } from "./screen.js";
import { toast } from "./windlass.js";

const $ = (id) => document.getElementById(id);
const place = $("terminal");
const shown = $("terminal-screen");
const keys = $("terminal-keys");
const state = $("terminal-state");
const again = $("terminal-again");
const encoder = new TextEncoder();

let socket = null;
let screen = null;
let isCtrl = false;
let isDue = false;
/** Which kept line each element above the screen shows. */
let drawnAbove = [];

function say(name, text) {
  state.dataset.state = name;
  state.firstElementChild.textContent = text;
}

/** How many characters fit. */
function measure() {
  const probe = document.createElement("span");
  probe.className = "probe";
  probe.textContent = "0".repeat(100);
  shown.append(probe);
  const { width, height } = probe.getBoundingClientRect();
  probe.remove();
  const style = getComputedStyle(shown);
  const inner = shown.clientWidth - Number.parseFloat(style.paddingLeft) - Number.parseFloat(style.paddingRight);
  const high = shown.clientHeight - Number.parseFloat(style.paddingTop) - Number.parseFloat(style.paddingBottom);
  const columns = Math.floor(inner / (width / 100));
  const rows = Math.floor(high / height);
  return { columns: Math.max(20, Math.min(columns || 80, 500)), rows: Math.max(5, Math.min(rows || 24, 200)) };
}

function send(text) {
  if (socket?.readyState !== WebSocket.OPEN) return;
  const bytes = encoder.encode(text);
  for (let at = 0; at < bytes.length; at += 32_768) socket.send(bytes.slice(at, at + 32_768));
}

function open() {
  const size = measure();
  screen = new Screen(size.columns, size.rows, send);
  drawnAbove = [];
  shown.replaceChildren();
  again.hidden = true;
  say("stale", "Connecting");
  const url = new URL(place.dataset.stream, location.href);
  url.protocol = url.protocol.replace("http", "ws");
  url.search = new URLSearchParams(size).toString();
  const own = new WebSocket(url);
  let ended = null;
  socket = own;
  own.binaryType = "arraybuffer";
  own.onopen = () => {
    say("live", "Connected");
    keys.focus({ preventScroll: true });
  };
  own.onmessage = ({ data }) => {
    if (typeof data === "string") {
      ended = JSON.parse(data);
      return;
    }
    screen.write(new Uint8Array(data));
    draw();
  };
  own.onclose = () => {
    if (socket !== own) return;
    socket = null;
    again.hidden = false;
    if (ended?.end === "exited") say("over", `The shell has ended with ${ended.code}`);
    else say("stale", ended?.why ? `It is over: ${ended.why}` : "The connection was cut");
    draw();
  };
}

/** Draws soon: many changes at once are drawn once. */
function draw() {
  if (isDue) return;
  isDue = true;
  requestAnimationFrame(() => {
    isDue = false;
    drawNow();
  });
}

function drawNow() {
  const isAtEnd = shown.scrollHeight - shown.scrollTop - shown.clientHeight < 40;
  const above = screen.isAlternate ? [] : screen.above;
  // The kept lines never change: those that are gone go, those that are new come.
  const elements = shown.children;
  let same = 0;
  if (drawnAbove.length && above.length) {
    const from = drawnAbove.indexOf(above[0]);
    if (from > 0) for (let i = 0; i < from; i += 1) elements[0].remove();
    if (from >= 0) same = Math.min(drawnAbove.length - from, above.length);
  }
  while (elements.length > same) elements[elements.length - 1].remove();
  for (const line of above.slice(same)) shown.append(drawLine(line, -1));
  drawnAbove = [...above];
  screen.lines.forEach((line, y) => shown.append(drawLine(line, y === screen.y && screen.modes.cursor && socket ? screen.x : -1)));
  if (isAtEnd || screen.isAlternate) shown.scrollTop = shown.scrollHeight;
  if (screen.title) document.title = `${screen.title} · Windlass`;
}

/** One line: a span for each stretch that looks alike. */
function drawLine(line, cursor) {
  const row = document.createElement("div");
  row.className = "line";
  let end = line.length;
  while (end > 0 && end - 1 > cursor && line[end - 1].text === " " && line[end - 1].pen.bg === null && !line[end - 1].pen.inverse) end -= 1;
  for (let x = 0; x < end;) {
    const { pen, wide } = line[x];
    let text = line[x].text;
    const from = x;
    x += 1;
    const isAlone = from === cursor || wide === 2;
    if (wide === 2) x += 1;
    while (!isAlone && x < end && x !== cursor && line[x].pen === pen && line[x].wide === 1) {
      text += line[x].text;
      x += 1;
    }
    row.append(stretch(text, pen, from === cursor, wide === 2));
  }
  if (end === 0) row.append("\n");
  return row;
}

/** What a pen can be, with the class for it. */
const LOOKS = [["bold", "bold"], ["dim", "dim"], ["italic", "italic"], ["under", "underlined"], ["hidden", "unseen"], ["struck", "struck"]];

function stretch(text, pen, isCursor, isWide) {
  const span = document.createElement("span");
  span.textContent = text;
  const [fg, bg] = pen.inverse ? [pen.bg, pen.fg] : [pen.fg, pen.bg];
  const names = [];
  if (pen.inverse) names.push("inverse");
  for (const [is, name] of LOOKS) if (pen[is]) names.push(name);
  if (isWide) names.push("two");
  if (isCursor) names.push("cursor");
  for (const [kind, colour] of [["fg", fg], ["bg", bg]]) {
    if (colour === null) continue;
    if (typeof colour === "number" && colour < 16) names.push(`${kind}-${colour}`);
    else span.style[kind === "fg" ? "color" : "backgroundColor"] = typeof colour === "number" ? palette(colour) : colour;
  }
  if (names.length) span.className = names.join(" ");
  return span;
}

const ARROWS = { ArrowUp: "A", ArrowDown: "B", ArrowRight: "C", ArrowLeft: "D", Home: "H", End: "F" };
const TILDES = { Insert: 2, Delete: 3, PageUp: 5, PageDown: 6, F5: 15, F6: 17, F7: 18, F8: 19, F9: 20, F10: 21, F11: 23, F12: 24 };
const FUNCTIONS = { F1: "P", F2: "Q", F3: "R", F4: "S" };

/** What a key says to the program; null where it is the browser's, or a plain character. */
function sequence({ key, ctrlKey, altKey, shiftKey, metaKey }) {
  if (metaKey || (ctrlKey && shiftKey && key.length === 1)) return null;
  const held = 1 + (shiftKey ? 1 : 0) + (altKey ? 2 : 0) + (ctrlKey ? 4 : 0);
  if (ARROWS[key]) return held > 1 ? `\x1b[1;${held}${ARROWS[key]}` : `\x1b${screen.modes.keys ? "O" : "["}${ARROWS[key]}`;
  if (TILDES[key]) return held > 1 ? `\x1b[${TILDES[key]};${held}~` : `\x1b[${TILDES[key]}~`;
  if (FUNCTIONS[key]) return `\x1bO${FUNCTIONS[key]}`;
  if (key === "Enter") return altKey ? "\x1b\r" : "\r";
  if (key === "Backspace") return altKey ? "\x1b\x7f" : ctrlKey ? "\x08" : "\x7f";
  if (key === "Tab") return shiftKey ? "\x1b[Z" : "\t";
  if (key === "Escape") return "\x1b";
  if (ctrlKey && key.length === 1) return control(key, altKey);
  if (altKey && key.length === 1) return `\x1b${key}`;
  return null;
}

function control(key, altKey = false) {
  const upper = key.toUpperCase();
  const code = upper === " " ? 0 : upper === "?" ? 127 : upper.charCodeAt(0);
  if (code !== 0 && code !== 127 && (code < 64 || code > 95)) return null;
  return `${altKey ? "\x1b" : ""}${String.fromCharCode(code === 127 ? 127 : code & 31)}`;
}

function type(text) {
  const isHeld = isCtrl && text.length === 1;
  send((isHeld && control(text)) || text);
  if (isHeld) holdControl(false);
  shown.scrollTop = shown.scrollHeight;
}

function paste(text) {
  const plain = text.replace(/\r?\n/g, "\r");
  // What is pasted must not be able to end the brackets around it.
  send(screen.modes.paste ? `\x1b[200~${plain.replaceAll("\x1b", "")}\x1b[201~` : plain);
}

function holdControl(isHeld) {
  isCtrl = isHeld;
  document.querySelector("[data-key=Control]").setAttribute("aria-pressed", String(isHeld));
}

keys.addEventListener("keydown", (event) => {
  if (event.isComposing) return;
  if (event.key === "Escape" && event.shiftKey) {
    $("terminal-leave").focus();
    event.preventDefault();
    return;
  }
  const text = sequence(event);
  if (text === null) return;
  event.preventDefault();
  event.stopPropagation();
  type(text);
});
// Phones and input methods say what was typed, not which keys.
keys.addEventListener("input", (event) => {
  if (event.isComposing) return;
  if (event.inputType === "deleteContentBackward") type("\x7f");
  else if (event.inputType === "insertLineBreak") type("\r");
  else if (keys.value) type(keys.value.replace(/\n/g, "\r"));
  keys.value = "";
});
keys.addEventListener("compositionend", () => {
  if (keys.value) type(keys.value);
  keys.value = "";
});
keys.addEventListener("paste", (event) => {
  event.preventDefault();
  paste(event.clipboardData.getData("text/plain"));
});
keys.addEventListener("focus", () => place.classList.add("has-focus"));
keys.addEventListener("blur", () => place.classList.remove("has-focus"));
shown.addEventListener("click", () => {
  if (String(getSelection()) === "") keys.focus({ preventScroll: true });
});
shown.addEventListener("keydown", (event) => {
  if (event.key === "Enter") keys.focus({ preventScroll: true });
});
document.querySelector(".terminal-keypad").addEventListener("click", ({ target }) => {
  const key = target.closest("[data-key]")?.dataset.key;
  if (!key) return;
  if (key === "Control") holdControl(!isCtrl);
  else type(sequence({ key, ctrlKey: false, altKey: false, shiftKey: false, metaKey: false }));
  keys.focus({ preventScroll: true });
});
$("terminal-copy").addEventListener("click", async () => {
  try {
    await navigator.clipboard.writeText(screen.text());
    toast("Copied");
  } catch {
    toast("The browser does not allow to copy here");
  }
});
$("terminal-aloud").addEventListener("change", ({ target }) => {
  shown.setAttribute("aria-live", target.checked ? "polite" : "off");
});
again.addEventListener("click", open);
new ResizeObserver(() => {
  if (!screen) return;
  const size = measure();
  if (size.columns === screen.columns && size.rows === screen.rows) return;
  screen.resize(size.columns, size.rows);
  if (socket?.readyState === WebSocket.OPEN) socket.send(JSON.stringify({ size }));
  draw();
}).observe(place);
addEventListener("pagehide", () => socket?.close());
open();
