// A service as people write them in an environment: pages, an answer, an endless stream, a WebSocket that says
// again what it hears. Nothing but Node.
//
//   node service.mjs PORT

import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { createServer } from "node:http";

const page = readFileSync(new URL("page.html", import.meta.url));
const magic = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

const server = createServer((request, response) => {
  if (request.url === "/told") {
    response.setHeader("Content-Type", "application/json");
    response.end(JSON.stringify({ method: request.method, headers: request.headers }));
  } else if (request.url === "/events") {
    response.setHeader("Content-Type", "text/event-stream");
    response.write("data: 1\n\n");
  } else {
    response.setHeader("Content-Type", "text/html; charset=utf-8");
    response.end(page);
  }
});

server.on("upgrade", (request, socket) => {
  const key = createHash("sha1").update(request.headers["sec-websocket-key"] + magic).digest("base64");
  socket.write(`HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ${key}\r\n\r\n`);
  socket.on("error", () => socket.destroy());
  // Short messages of text only (RFC 6455, 5.2): two bytes of head, four of mask.
  socket.on("data", (bytes) => {
    if ((bytes[0] & 15) !== 1) return socket.end();
    const length = bytes[1] & 127;
    const mask = bytes.subarray(2, 6);
    const text = bytes.subarray(6, 6 + length).map((byte, i) => byte ^ mask[i % 4]);
    socket.write(Buffer.concat([Buffer.from([129, length]), text]));
  });
});

server.listen(Number(process.argv[2]), "127.0.0.1", () => console.log("ready"));
