// What a terminal shows, as plain data: bytes in, lines of cells out. Knows the part of ECMA-48 and of
// xterm that shells, editors, pagers and monitors use; whatever else comes is swallowed whole. Nothing
// here touches the page.

const PLAIN = Object.freeze({ fg: null, bg: null, bold: false, dim: false, italic: false, under: false, inverse: false, hidden: false, struck: false });
const BLANK = Object.freeze({ text: " ", pen: PLAIN, wide: 1 });
const LINES = "`abcdefghijklmnopqrstuvwxyz{|}~";
const DRAWN = "◆▒␉␌␍␊°±␤␋┘┐┌└┼⎺⎻─⎼⎽├┤┴┬│≤≥π≠£·";

/** The lines above the screen that are kept. */
const KEPT = 2000;

/** How many columns a character takes. */
export function width(code) {
  if (code < 0x300) return 1;
  if ((code <= 0x36f) || (code >= 0x200b && code <= 0x200f) || (code >= 0xfe00 && code <= 0xfe0f) || (code >= 0x20d0 && code <= 0x20ff) || (code >= 0x1ab0 && code <= 0x1aff)) return 0;
  const isWide = (code >= 0x1100 && code <= 0x115f) || (code >= 0x2e80 && code <= 0x303e) || (code >= 0x3041 && code <= 0xa4cf) ||
    (code >= 0xac00 && code <= 0xd7a3) || (code >= 0xf900 && code <= 0xfaff) || (code >= 0xfe30 && code <= 0xfe6f) ||
    (code >= 0xff00 && code <= 0xff60) || (code >= 0xffe0 && code <= 0xffe6) || (code >= 0x1f300 && code <= 0x1f64f) ||
    (code >= 0x1f680 && code <= 0x1f6ff) || (code >= 0x1f900 && code <= 0x1f9ff) || (code >= 0x20000 && code <= 0x3fffd);
  return isWide ? 2 : 1;
}

export class Screen {
  /** `answer` is given what the terminal itself has to say to the program. */
  constructor(columns, rows, answer = () => {}) {
    this.answer = answer;
    this.decoder = new TextDecoder();
    this.columns = columns;
    this.rows = rows;
    this.above = [];
    this.reset();
  }

  reset() {
    this.lines = this.blankLines(this.rows);
    this.other = null;
    this.x = 0;
    this.y = 0;
    this.isFull = false;
    this.pen = PLAIN;
    this.top = 0;
    this.bottom = this.rows - 1;
    this.saved = null;
    this.tabs = null;
    this.modes = { wrap: true, origin: false, insert: false, cursor: true, keys: false, paste: false };
    this.sets = [false, false];
    this.set = 0;
    this.title = "";
    this.last = "";
    this.state = "text";
    this.held = "";
  }

  get isAlternate() {
    return this.other !== null;
  }

  blankLine(pen = PLAIN) {
    const cell = pen.bg === null ? BLANK : Object.freeze({ text: " ", pen: Object.freeze({ ...PLAIN, bg: pen.bg }), wide: 1 });
    return Array(this.columns).fill(cell);
  }

  blankLines(n) {
    return Array.from({ length: n }, () => this.blankLine());
  }

  /** Fits the screen into another size: lines are cut or grow at their end; those that no longer fit go above. */
  resize(columns, rows) {
    if (columns === this.columns && rows === this.rows) return;
    const fit = (lines, y) => {
      for (const line of lines) {
        while (line.length > columns) line.pop();
        while (line.length < columns) line.push(BLANK);
      }
      while (lines.length > rows) {
        if (y < lines.length - 1) lines.pop();
        else {
          const gone = lines.shift();
          if (lines === this.lines && !this.other) this.keep(gone);
          y -= 1;
        }
      }
      return y;
    };
    this.columns = columns;
    const y = fit(this.lines, this.y);
    if (this.other) this.other.y = fit(this.other.lines, this.other.y);
    this.rows = rows;
    for (const lines of [this.lines, this.other?.lines ?? []]) while (lines.length && lines.length < rows) lines.push(this.blankLine());
    this.x = Math.min(this.x, columns - 1);
    this.y = Math.max(0, Math.min(y, rows - 1));
    this.top = 0;
    this.bottom = rows - 1;
    this.tabs = null;
    this.isFull = false;
  }

  keep(line) {
    this.above.push(line);
    if (this.above.length > KEPT) this.above.splice(0, this.above.length - KEPT);
  }

  /** Takes in bytes. */
  write(bytes) {
    for (const character of this.decoder.decode(bytes, { stream: true })) this.take(character);
  }

  take(character) {
    const code = character.codePointAt(0);
    switch (this.state) {
      case "text":
        if (code === 0x1b) this.state = "escape";
        else if (code < 0x20 || code === 0x7f) this.control(code);
        else if (code < 0x80 || code >= 0xa0) this.put(character, code);
        return;
      case "escape":
        return this.escape(character, code);
      case "charset":
        this.sets[this.held === "(" ? 0 : 1] = character === "0";
        this.state = "text";
        return;
      case "one":
        this.state = "text";
        return;
      case "csi":
        if (code === 0x1b) this.state = "escape";
        else if (code < 0x20) this.control(code);
        else if (code >= 0x40 && code <= 0x7e) {
          this.state = "text";
          this.sequence(character, this.held);
        } else if (this.held.length < 256) this.held += character;
        return;
      case "string":
        if (code === 0x07 || code === 0x9c) this.string();
        else if (code === 0x1b) this.state = "string-escape";
        else if (this.held.length < 4096) this.held += character;
        return;
      case "string-escape":
        this.string();
        if (character !== "\\") {
          this.state = "escape";
          this.take(character);
        }
    }
  }

  string() {
    this.state = "text";
    const title = /^\](?:0|2);(.*)$/s.exec(this.held);
    if (title) this.title = title[1].slice(0, 200);
  }

  control(code) {
    switch (code) {
      case 0x08:
        if (this.x > 0) this.x -= 1;
        this.isFull = false;
        return;
      case 0x09:
        return this.tab(1);
      case 0x0a: case 0x0b: case 0x0c:
        return this.feed();
      case 0x0d:
        this.x = 0;
        this.isFull = false;
        return;
      case 0x0e:
        this.set = 1;
        return;
      case 0x0f:
        this.set = 0;
    }
  }

  escape(character, code) {
    this.state = "text";
    switch (character) {
      case "[":
        this.state = "csi";
        this.held = "";
        return;
      case "]": case "P": case "X": case "^": case "_":
        this.state = "string";
        this.held = character;
        return;
      case "(": case ")":
        this.state = "charset";
        this.held = character;
        return;
      case "*": case "+": case "#": case " ": case "%":
        this.state = "one";
        return;
      case "7":
        return this.save();
      case "8":
        return this.restore();
      case "D":
        return this.feed();
      case "E":
        this.x = 0;
        return this.feed();
      case "H":
        this.tabs ??= this.defaultTabs();
        this.tabs.add(this.x);
        return;
      case "M":
        return this.feedBack();
      case "c":
        return this.reset();
      default:
        if (code === 0x1b) this.state = "escape";
    }
  }

  put(character, code) {
    if (this.sets[this.set]) {
      const at = LINES.indexOf(character);
      if (at >= 0) {
        character = [...DRAWN][at];
        code = character.codePointAt(0);
      }
    }
    const wide = Math.min(width(code), this.columns);
    const line = () => this.lines[this.y];
    if (wide === 0) {
      const at = this.isFull ? this.x : Math.max(0, this.x - 1);
      const cell = line()[at];
      if (cell.text.length < 16) line()[at] = { ...cell, text: cell.text + character };
      return;
    }
    if (this.modes.wrap && (this.isFull || this.x + wide > this.columns)) {
      this.x = 0;
      this.feed();
    }
    this.isFull = false;
    if (this.x + wide > this.columns) this.x = Math.max(0, this.columns - wide);
    if (this.modes.insert) {
      line().splice(this.x, 0, ...Array(wide).fill(BLANK));
      line().length = this.columns;
    }
    line()[this.x] = { text: character, pen: this.pen, wide };
    if (wide === 2) line()[this.x + 1] = { text: "", pen: this.pen, wide: 0 };
    this.last = character;
    if (this.x + wide >= this.columns) {
      this.x = this.columns - 1;
      this.isFull = true;
    } else this.x += wide;
  }

  feed() {
    this.isFull = false;
    if (this.y === this.bottom) this.scroll(1);
    else if (this.y < this.rows - 1) this.y += 1;
  }

  feedBack() {
    this.isFull = false;
    if (this.y === this.top) this.scroll(-1);
    else if (this.y > 0) this.y -= 1;
  }

  /** Moves the lines of the region up, or down where n is negative. */
  scroll(n, from = this.top) {
    for (let i = Math.min(Math.abs(n), this.rows); i > 0; i -= 1) {
      if (n > 0) {
        const [gone] = this.lines.splice(from, 1);
        this.lines.splice(this.bottom, 0, this.blankLine(this.pen));
        if (from === 0 && !this.other) this.keep(gone);
      } else {
        this.lines.splice(this.bottom, 1);
        this.lines.splice(from, 0, this.blankLine(this.pen));
      }
    }
  }

  defaultTabs() {
    const tabs = new Set();
    for (let x = 8; x < this.columns; x += 8) tabs.add(x);
    return tabs;
  }

  tab(n) {
    const tabs = this.tabs ?? this.defaultTabs();
    const step = Math.sign(n);
    for (let i = Math.min(Math.abs(n), this.columns); i > 0; i -= 1) {
      do this.x += step; while (this.x > 0 && this.x < this.columns - 1 && !tabs.has(this.x));
    }
    this.go(this.x, this.y);
  }

  go(x, y) {
    this.x = Math.max(0, Math.min(x, this.columns - 1));
    this.y = Math.max(0, Math.min(y, this.rows - 1));
    this.isFull = false;
  }

  save() {
    this.saved = { x: this.x, y: this.y, pen: this.pen, sets: [...this.sets], set: this.set, origin: this.modes.origin };
  }

  restore() {
    const { x, y, pen, sets, set, origin } = this.saved ?? { x: 0, y: 0, pen: PLAIN, sets: [false, false], set: 0, origin: false };
    this.go(x, y);
    Object.assign(this, { pen, sets: [...sets], set });
    this.modes.origin = origin;
  }

  sequence(final, held) {
    const [, mark, text, between] = /^([<=>?]?)([\d;:]*)(.*)$/s.exec(held);
    if (between && !(between === "!" && final === "p")) return;
    if (between) return this.softReset();
    const numbers = text === "" ? [] : text.split(";").map((part) => Math.min(Number.parseInt(part, 10) || 0, 99_999));
    const n = Math.max(1, numbers[0] ?? 1);
    const region = this.modes.origin ? this.top : 0;
    if (mark === "?" && (final === "h" || final === "l")) return numbers.forEach((mode) => this.mode(mode, final === "h"));
    if (mark === ">" && final === "c") return this.answer("\x1b[>0;1;0c");
    if (mark && !(mark === "?" && "JK".includes(final))) return;
    switch (final) {
      case "@": return this.shift(n);
      case "A": return this.go(this.x, Math.max(this.y - n, this.y >= this.top ? this.top : 0));
      case "B": case "e": return this.go(this.x, Math.min(this.y + n, this.y <= this.bottom ? this.bottom : this.rows - 1));
      case "C": case "a": return this.go(this.x + n, this.y);
      case "D": return this.go(this.x - n, this.y);
      case "E": return this.go(0, Math.min(this.y + n, this.bottom));
      case "F": return this.go(0, Math.max(this.y - n, this.top));
      case "G": case "`": return this.go(n - 1, this.y);
      case "H": case "f": return this.go(Math.max(1, numbers[1] ?? 1) - 1, region + n - 1);
      case "I": return this.tab(n);
      case "Z": return this.tab(-n);
      case "d": return this.go(this.x, region + n - 1);
      case "J": return this.eraseScreen(numbers[0] ?? 0);
      case "K": return this.eraseLine(numbers[0] ?? 0);
      case "L": return this.inRegion() && this.scroll(-n, this.y);
      case "M": return this.inRegion() && this.deleteLines(n);
      case "P": return this.shift(-n);
      case "X": return this.erase(this.y, this.x, this.x + n);
      case "S": return this.scroll(n);
      case "T": return this.scroll(-n);
      case "b": return [...Array(Math.min(n, this.columns * this.rows))].forEach(() => this.last && this.put(this.last, this.last.codePointAt(0)));
      case "c": return this.answer("\x1b[?62;22c");
      case "g": return this.clearTabs(numbers[0] ?? 0);
      case "h": case "l": return numbers.forEach((mode) => mode === 4 && (this.modes.insert = final === "h"));
      case "m": return this.paint(text);
      case "n": return this.report(numbers[0]);
      case "r": return this.region(numbers);
      case "s": return this.save();
      case "u": return this.restore();
    }
  }

  inRegion() {
    return this.y >= this.top && this.y <= this.bottom;
  }

  deleteLines(n) {
    for (let i = Math.min(n, this.rows); i > 0; i -= 1) {
      this.lines.splice(this.y, 1);
      this.lines.splice(this.bottom, 0, this.blankLine(this.pen));
    }
  }

  clearTabs(which) {
    this.tabs ??= this.defaultTabs();
    if (which === 3) this.tabs.clear();
    else this.tabs.delete(this.x);
  }

  report(which) {
    if (which === 5) this.answer("\x1b[0n");
    if (which === 6) this.answer(`\x1b[${this.y + 1 - (this.modes.origin ? this.top : 0)};${this.x + 1}R`);
  }

  region([top = 1, bottom = this.rows]) {
    const from = Math.max(1, top) - 1;
    const to = Math.min(bottom || this.rows, this.rows) - 1;
    if (from >= to) return;
    this.top = from;
    this.bottom = to;
    this.go(0, this.modes.origin ? from : 0);
  }

  softReset() {
    Object.assign(this.modes, { wrap: true, origin: false, insert: false, cursor: true, keys: false });
    this.top = 0;
    this.bottom = this.rows - 1;
    this.pen = PLAIN;
    this.saved = null;
  }

  mode(mode, isOn) {
    switch (mode) {
      case 1:
        this.modes.keys = isOn;
        return;
      case 6:
        this.modes.origin = isOn;
        return this.go(0, isOn ? this.top : 0);
      case 7:
        this.modes.wrap = isOn;
        return;
      case 25:
        this.modes.cursor = isOn;
        return;
      case 47: case 1047:
        return this.alternate(isOn);
      case 1048:
        return isOn ? this.save() : this.restore();
      case 1049:
        if (isOn) this.save();
        this.alternate(isOn);
        if (!isOn) this.restore();
        return;
      case 2004:
        this.modes.paste = isOn;
    }
  }

  alternate(isOn) {
    if (isOn === this.isAlternate) return;
    if (isOn) {
      this.other = { lines: this.lines, saved: this.saved, y: this.y };
      this.lines = this.blankLines(this.rows);
    } else {
      this.lines = this.other.lines;
      this.saved = this.other.saved;
      this.other = null;
    }
    this.top = 0;
    this.bottom = this.rows - 1;
  }

  erase(y, from, to) {
    const [blank] = this.blankLine(this.pen);
    const line = this.lines[y];
    for (let x = from; x < Math.min(to, this.columns); x += 1) line[x] = blank;
    this.isFull = false;
  }

  eraseLine(which) {
    this.erase(this.y, which === 0 ? this.x : 0, which === 1 ? this.x + 1 : this.columns);
  }

  eraseScreen(which) {
    if (which === 3) {
      this.above = [];
      return;
    }
    if (which !== 1) for (let y = which === 2 ? 0 : this.y + 1; y < this.rows; y += 1) this.erase(y, 0, this.columns);
    if (which === 1) for (let y = 0; y < this.y; y += 1) this.erase(y, 0, this.columns);
    if (which !== 2) this.eraseLine(which);
  }

  /** Makes room for n characters at the cursor, or takes them away where n is negative. */
  shift(n) {
    const line = this.lines[this.y];
    const [blank] = this.blankLine(this.pen);
    const count = Math.min(Math.abs(n), this.columns - this.x);
    const blanks = Array(count).fill(blank);
    if (n > 0) {
      line.splice(this.x, 0, ...blanks);
      line.length = this.columns;
    } else {
      line.splice(this.x, count);
      line.push(...blanks);
    }
    this.isFull = false;
  }

  /** Select graphic rendition: colours and how text looks. */
  paint(text) {
    const parts = (text || "0").split(";");
    const pen = { ...this.pen };
    for (let i = 0; i < parts.length; i += 1) {
      const [first, ...sub] = parts[i].split(":").map((part) => Number.parseInt(part, 10) || 0);
      if (first === 38 || first === 48) {
        const colon = parts[i].includes(":");
        const rest = colon ? sub : parts.slice(i + 1).map((part) => Number.parseInt(part, 10) || 0);
        const [colour, used] = this.colour(rest, colon);
        if (!colon) i += used;
        if (colour !== undefined) pen[first === 38 ? "fg" : "bg"] = colour;
      } else this.stroke(pen, first, sub);
    }
    this.pen = Object.freeze(pen);
  }

  /** A colour of the palette as a number, any other as `#rrggbb`; and how many numbers it took. */
  colour([kind, ...rest], colon) {
    if (kind === 5) return [Math.min(rest[0] ?? 0, 255), 2];
    if (kind !== 2) return [undefined, 1];
    const [r = 0, g = 0, b = 0] = colon && rest.length > 3 ? rest.slice(1) : rest;
    return [`#${[r, g, b].map((part) => Math.min(part, 255).toString(16).padStart(2, "0")).join("")}`, 4];
  }

  stroke(pen, code, [sub]) {
    if (code === 0) Object.assign(pen, PLAIN);
    else if (code === 1) pen.bold = true;
    else if (code === 2) pen.dim = true;
    else if (code === 3) pen.italic = true;
    else if (code === 4) pen.under = sub !== 0;
    else if (code === 7) pen.inverse = true;
    else if (code === 8) pen.hidden = true;
    else if (code === 9) pen.struck = true;
    else if (code === 21) pen.under = true;
    else if (code === 22) pen.bold = pen.dim = false;
    else if (code === 23) pen.italic = false;
    else if (code === 24) pen.under = false;
    else if (code === 27) pen.inverse = false;
    else if (code === 28) pen.hidden = false;
    else if (code === 29) pen.struck = false;
    else if (code >= 30 && code <= 37) pen.fg = code - 30;
    else if (code === 39) pen.fg = null;
    else if (code >= 40 && code <= 47) pen.bg = code - 40;
    else if (code === 49) pen.bg = null;
    else if (code >= 90 && code <= 97) pen.fg = code - 82;
    else if (code >= 100 && code <= 107) pen.bg = code - 92;
  }

  /** Everything that it shows and kept, as text. */
  text() {
    const lines = [...this.above, ...this.lines].map((line) => line.map((cell) => cell.text).join("").trimEnd());
    return lines.join("\n").trimEnd();
  }
}

/** A colour of the palette of 256 beyond the first 16. */
export function palette(n) {
  const hex = (part) => part.toString(16).padStart(2, "0");
  if (n >= 232) return `#${hex(8 + 10 * (n - 232)).repeat(3)}`;
  const level = (part) => hex(part === 0 ? 0 : 55 + 40 * part);
  const i = n - 16;
  return `#${level(Math.floor(i / 36))}${level(Math.floor(i / 6) % 6)}${level(i % 6)}`;
}
