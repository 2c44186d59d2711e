// Drives an agent with the protocol's own JavaScript SDK, over TCP on loopback, and prints what it
// saw as one line of JSON. Arguments: the SDK's module, the port, the work tree, the mode.
import net from "node:net";
import { Readable, Writable } from "node:stream";
import { pathToFileURL } from "node:url";

const [sdk, port, cwd, mode] = process.argv.slice(2);
const acp = await import(pathToFileURL(sdk).href);

const socket = net.connect(Number(port), "127.0.0.1");
await new Promise((resolve, reject) => socket.once("connect", resolve).once("error", reject));
const stream = acp.ndJsonStream(Writable.toWeb(socket), Readable.toWeb(socket));

const seen = { updates: [], permissions: [], stops: [] };
const app = acp
  .client({ name: "peer" })
  .onNotification(acp.methods.client.session.update, ({ params }) => {
    seen.updates.push(params.update);
  })
  .onRequest(acp.methods.client.session.requestPermission, ({ params }) => {
    seen.permissions.push(params.toolCall.title);
    const option = params.options.find((option) => option.kind === "allow_once");
    return { outcome: { outcome: "selected", optionId: option.optionId } };
  });

await app.connectWith(stream, async (agent) => {
  const methods = acp.methods.agent;
  const hello = await agent.request(methods.initialize, {
    protocolVersion: acp.PROTOCOL_VERSION,
    clientCapabilities: {},
    clientInfo: { name: "peer", version: "1.0.0" },
  });
  seen.agent = hello.agentInfo.name;
  const session = await agent.request(methods.session.new, { cwd, mcpServers: [] });
  seen.modes = session.modes.availableModes.map((mode) => mode.id);
  await agent.request(methods.session.setMode, { sessionId: session.sessionId, modeId: mode });
  const prompt = () =>
    agent.request(methods.session.prompt, {
      sessionId: session.sessionId,
      prompt: [{ type: "text", text: "Do it." }],
    });
  seen.stops.push((await prompt()).stopReason);
  const second = prompt();
  await agent.notify(methods.session.cancel, { sessionId: session.sessionId });
  seen.stops.push((await second).stopReason);
});
console.log(JSON.stringify(seen));
process.exit(0);
