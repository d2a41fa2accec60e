// npm's bitget-api: `await WebsocketAPIClient.cancelOrder("spot", {orderId})`, for unified accounts (V3), since it has no cancel
// over Bitget's V2 WebSocket.
//
// `node bitget_api.cjs FOLDER` takes the package from this folder, and answers as `worker.py` does. The client's `connectToWsUrl`
// is replaced by one that makes a fake WebSocket, wired as the original wires its own: the frames are spared it.

"use strict";

const path = require("node:path");
const readline = require("node:readline");

const folder = process.argv[2];
const { WebsocketAPIClient } = require(folder);
const { version } = require(path.join(folder, "package.json"));

function answer(text) {
  if (text === "ping") return "pong";
  if (text.includes('"login"')) return '{"event":"login","code":0}';
  const id = text.slice(text.indexOf('"id":"') + 6).split('"', 1)[0];
  return `{"event":"trade","id":"${id}","category":"spot","topic":"cancel-order","args":[{"symbol":"BTCUSDT","orderId":` +
    '"1376695893517410304","clientOid":"","cTime":"1750034397008"}],"code":"0","msg":"success","ts":"1750034397076"}';
}

const silent = { trace() {}, info() {}, error(...said) { console.error(...said); } };
const client = new WebsocketAPIClient(
  { apiKey: "key", apiSecret: "secret", apiPass: "phrase", attachEventListeners: false },
  silent,
);
const inner = client.getWSClient();
inner.connectToWsUrl = (url, wsKey) => {
  const ws = {
    readyState: 1,
    wsKey,
    send(text) {
      queueMicrotask(() => inner.onWsMessage({ type: "message", data: answer(text) }, wsKey, ws));
    },
    close() {},
  };
  queueMicrotask(() => inner.onWsOpen({}, wsKey, url, ws));
  return ws;
};

async function run(count) {
  for (let number = 0; number < count; number++) {
    const reply = await client.cancelOrder("spot", { orderId: "1376695893517410304" });
    if (reply.code !== "0") throw new Error(JSON.stringify(reply));
  }
}

async function main() {
  await run(20000); // until V8 has compiled it
  console.log(`ready ${version} (Node ${process.version})`);
  for await (const line of readline.createInterface({ input: process.stdin })) {
    const cpuBefore = process.cpuUsage();
    const before = process.hrtime.bigint();
    await run(Number(line));
    const taken = process.hrtime.bigint() - before;
    const cpu = process.cpuUsage(cpuBefore);
    console.log(`${taken} ${(cpu.user + cpu.system) * 1000}`);
  }
  process.exit(0);
}

main();
