// Cancels with npm's bitget-api (`WebsocketAPIClient`, for unified accounts) and prints each answer as a line of JSON.
//
// `node bitget_api.cjs FOLDER URL CALLS` takes the package from this folder. CALLS is JSON: a list of [method, category, params].
// A refused call prints the error that the client raises.

"use strict";

const [folder, url, calls] = process.argv.slice(2);
const { WebsocketAPIClient } = require(folder);

const silent = { trace() {}, info() {}, error(...said) { console.error(...said); } };
const client = new WebsocketAPIClient(
  { apiKey: "key", apiSecret: "secret", apiPass: "passphrase", wsUrl: url, attachEventListeners: false },
  silent,
);

async function main() {
  for (const [method, category, params] of JSON.parse(calls)) {
    const answer = await client[method](category, params).catch((error) => error);
    console.log(JSON.stringify(answer));
  }
}

main().then(
  () => process.exit(0),
  (error) => {
    console.error(error);
    process.exit(1);
  },
);
