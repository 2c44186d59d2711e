// What a terminal shows, without a browser: known sequences, and noise.
//
//   node screen.mjs CHROMIUM PICTURES SCREEN_JS

import assert from "node:assert/strict";
import { pathToFileURL } from "node:url";

const { Screen, palette, width } = await import(pathToFileURL(process.argv[4]));
const encoder = new TextEncoder();

/** A screen after these texts. */
function after(columns, rows, ...texts) {
  const answers = [];
  const screen = new Screen(columns, rows, (text) => answers.push(text));
  for (const text of texts) screen.write(encoder.encode(text));
  return Object.assign(screen, { answers });
}
const text = (...all) => after(...all).text();

const cases = {
  "lines and returns": () => assert.equal(text(10, 3, "abc\r\ndef"), "abc\ndef"),
  "a long line goes on in the next": () => assert.equal(text(5, 3, "abcdefg"), "abcde\nfg"),
  "the last column waits for one more": () => assert.equal(text(3, 2, "abc\rx"), "xbc"),
  "what scrolls off is kept": () => {
    const screen = after(5, 2, "1\r\n2\r\n3");
    assert.deepEqual([screen.text(), screen.above.length], ["1\n2\n3", 1]);
  },
  "bytes of a character may come apart": () => {
    const screen = new Screen(5, 2);
    for (const byte of encoder.encode("é日")) screen.write(Uint8Array.of(byte));
    assert.equal(screen.text(), "é日");
  },
  "a sequence may come apart": () => assert.equal(text(9, 2, "ab\x1b[", "1", "Dx"), "ax"),
  "wide characters take two columns": () => {
    assert.equal(after(9, 2, "日本").x, 4);
    assert.deepEqual([width(0x65e5), width(0x41), width(0x301)], [2, 1, 0]);
  },
  "the other screen leaves this one alone": () => assert.equal(text(10, 3, "x\x1b[?1049h\x1b[2JHELLO\x1b[?1049ly"), "xy"),
  "the cursor goes where it is sent and no further": () => {
    const { x, y } = after(10, 4, "\x1b[99;99H");
    assert.deepEqual([x, y], [9, 3]);
    assert.equal(text(6, 3, "\x1b[2;3Hx\x1b[Ay\x1b[2Dz"), "  zy\n  x");
  },
  "erasing": () => {
    assert.equal(text(5, 2, "abcde\x1b[3G\x1b[K"), "ab");
    assert.equal(text(5, 2, "abcde\x1b[3G\x1b[1K"), "   de");
    assert.equal(text(5, 3, "1\r\n2\r\n3\x1b[2;1H\x1b[J"), "1");
  },
  "inserting and deleting": () => {
    assert.equal(text(6, 2, "abcd\x1b[2G\x1b[2@"), "a  bcd");
    assert.equal(text(6, 2, "abcd\x1b[2G\x1b[2P"), "ad");
    assert.equal(text(5, 4, "1\r\n2\r\n3\x1b[2;1H\x1b[L"), "1\n\n2\n3");
    assert.equal(text(5, 4, "1\r\n2\r\n3\x1b[2;1H\x1b[M"), "1\n3");
  },
  "only the region scrolls": () => {
    const screen = after(5, 4, "1\r\n2\r\n3\r\n4\x1b[2;3r\x1b[3;1H\nx");
    assert.deepEqual([screen.text(), screen.above.length], ["1\n3\nx\n4", 0]);
    assert.equal(text(5, 3, "1\r\n2\r\n3\x1b[H\x1bM0"), "0\n1\n2");
  },
  "colours": () => {
    const pen = (codes) => after(9, 2, `\x1b[${codes}mx`).lines[0][0].pen;
    assert.deepEqual([pen("31").fg, pen("97").fg, pen("42").bg, pen("103").bg], [1, 15, 2, 11]);
    assert.deepEqual([pen("38;5;200").fg, pen("48;2;1;2;3").bg, pen("38:2::1:2:3").fg], [200, "#010203", "#010203"]);
    assert.deepEqual([pen("1;3;4;7").bold, pen("1;22").bold, pen("31;39").fg, pen("4:0").under], [true, false, null, false]);
    assert.deepEqual([palette(16), palette(196), palette(255)], ["#000000", "#ff0000", "#eeeeee"]);
  },
  "titles, and strings that are nobody's": () => {
    const screen = after(9, 2, "\x1b]2;a title\x07b\x1bP1$r0m\x1b\\c\x1b]8;;x://y\x1b\\d");
    assert.deepEqual([screen.title, screen.text()], ["a title", "bcd"]);
  },
  "lines are drawn": () => assert.equal(text(9, 2, "\x1b(0lqk\x1b(Bq"), "┌─┐q"),
  "tabs": () => assert.equal(text(20, 2, "a\tb\x1b[1;3H\x1bH\r\tc"), "a c     b"),
  "programs that ask are answered": () => assert.deepEqual(after(9, 4, "\x1b[2;3H\x1b[6n\x1b[5n\x1b[c").answers, ["\x1b[2;3R", "\x1b[0n", "\x1b[?62;22c"]),
  "modes": () => {
    const { modes } = after(9, 2, "\x1b[?1;2004h\x1b[?25l");
    assert.deepEqual([modes.keys, modes.paste, modes.cursor], [true, true, false]);
  },
  "another size loses nothing that fits": () => {
    const screen = after(6, 3, "1\r\n2\r\n3");
    screen.resize(4, 2);
    assert.deepEqual([screen.text(), screen.y], ["1\n2\n3", 1]);
    screen.resize(8, 5);
    screen.write(encoder.encode("x"));
    assert.equal(screen.text(), "1\n2\n3x");
  },
  "no noise breaks it": () => {
    let seed = 1;
    const next = (n) => {
      seed = (Math.imul(seed, 1_103_515_245) + 12_345) & 0x7fffffff;
      return (seed >> 8) % n;
    };
    const pieces = ["\x1b[", "\x1b]", "\x1b", ";", "?", "1", "9999", "H", "J", "K", "L", "M", "P", "@", "X", "r", "h", "l", "m", "S", "T", "b", "é", "日", "\u0301", "\n", "\r", "\b", "\t", "\x07", "1049h", "1049l", "text", "c", "7", "8", "D", "E", "#", "(0"];
    for (let round = 0; round < 300; round += 1) {
      const screen = new Screen(1 + next(20), 1 + next(8));
      for (let i = 0; i < 200; i += 1) {
        screen.write(next(9) === 0 ? Uint8Array.of(next(256)) : encoder.encode(pieces[next(pieces.length)]));
        if (next(60) === 0) screen.resize(1 + next(20), 1 + next(8));
        assert.equal(screen.lines.length, screen.rows);
        for (const line of screen.lines) assert.equal(line.length, screen.columns);
        for (const line of screen.lines) for (const cell of line) assert.equal(typeof cell?.text, "string");
        assert.ok(screen.x >= 0 && screen.x < screen.columns && screen.y >= 0 && screen.y < screen.rows);
      }
      screen.text();
    }
  },
};
for (const [name, run] of Object.entries(cases)) {
  try {
    run();
  } catch (error) {
    console.error(`${name}: ${error.stack}`);
    process.exitCode = 1;
  }
}
