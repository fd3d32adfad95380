// The order screen over a network with 100 ms there and back: five services asked directly, as an app without a backend of
// its own would, against one request to bff-mobile. Prints requests, bytes and time. `make round-trips` runs it.
//
// The network is a delay line in this process, one for each server: every byte arrives half a round trip after it was sent,
// and what opens a connection waits one round trip more, for the handshake of TCP. There is no loss, no limit of bandwidth
// and no TLS, which would cost each new connection one more round trip: all three would speak against more connections.

import { spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import http from "node:http";
import http2 from "node:http2";
import net from "node:net";
import { tmpdir } from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";

const PROJECT = path.join(path.dirname(fileURLToPath(import.meta.url)), "..");
const BINARIES = process.env.BIN_DIR ?? path.join(process.env.CARGO_TARGET_DIR ?? path.join(PROJECT, "target"), "release");
const ROUND_TRIP = 100;
const ROUNDS = 15;
const DIRECT = ["order", "kitchen", "delivery", "accounting", "restaurant"];
const USER_AGENT = "FTGO/4.2 (Android 16)";

const wait = (milliseconds) => new Promise((done) => setTimeout(done, milliseconds));

// ---- the network ----

/** A listener that is as far from `target` as the network is wide; counts what crosses it. */
async function delayLine(target) {
  const line = { connections: 0, bytes: 0 };
  const server = net.createServer((near) => {
    line.connections += 1;
    near.setNoDelay(true);
    const far = net.connect(target.port, target.host);
    far.setNoDelay(true);
    const open = performance.now() + ROUND_TRIP;
    carry(near, far, open);
    carry(far, near, open);
  });
  const carry = (from, to, open) => {
    let last = Promise.resolve();
    const deliver = (action) => {
      const due = Math.max(performance.now(), open) + ROUND_TRIP / 2;
      last = last.then(() => wait(due - performance.now())).then(action);
    };
    from.on("data", (bytes) => {
      line.bytes += bytes.length;
      deliver(() => to.writable && to.write(bytes));
    });
    from.on("end", () => deliver(() => to.end()));
    from.on("error", () => to.destroy());
  };
  await new Promise((listening) => server.listen(0, "127.0.0.1", listening));
  line.port = server.address().port;
  line.close = () => server.close();
  return line;
}

// ---- two clients ----

/** GET as JSON over `agent`'s connections. */
function get(agent, port, target, headers) {
  return new Promise((resolve, reject) => {
    const asked = http.get({ agent, port, host: "127.0.0.1", path: target, headers }, (answer) => {
      const pieces = [];
      answer.on("data", (piece) => pieces.push(piece));
      answer.on("end", () => {
        if (answer.statusCode !== 200) reject(new Error(`${target}: ${answer.statusCode}`));
        else resolve(JSON.parse(Buffer.concat(pieces)));
      });
    });
    asked.on("error", reject);
  });
}

/** accounting speaks gRPC alone: `Accounting.GetBill` over an HTTP/2 session. */
function bill(session, order, headers) {
  return new Promise((resolve, reject) => {
    const id = Buffer.from(order);
    const message = Buffer.concat([Buffer.from([0x0a, id.length]), id]);
    const frame = Buffer.concat([Buffer.from([0, 0, 0, 0, message.length]), message]);
    const stream = session.request({
      ":method": "POST", ":path": "/ftgo.accounting.v1.Accounting/GetBill",
      "content-type": "application/grpc", te: "trailers", ...headers,
    });
    let code;
    let length = 0;
    stream.on("response", (head) => { code = head["grpc-status"] ?? code; });
    stream.on("trailers", (trailers) => { code = trailers["grpc-status"] ?? code; });
    stream.on("data", (piece) => { length += piece.length; });
    stream.on("end", () => (code === "0" && length > 0 ? resolve() : reject(new Error(`bill: gRPC ${code}`))));
    stream.on("error", reject);
    stream.end(frame);
  });
}

/** Everything for the screen from the services themselves; the restaurant is known when the order is. */
function direct(lines, order, headers) {
  const agent = new http.Agent({ keepAlive: true });
  const accounting = http2.connect(`http://127.0.0.1:${lines.accounting.port}`);
  const show = () => Promise.all([
    get(agent, lines.order.port, `/orders/${order}`, headers)
      .then((found) => get(agent, lines.restaurant.port, `/restaurants/${found.restaurantId}`, headers)),
    get(agent, lines.kitchen.port, `/tickets/${order}`, headers),
    get(agent, lines.delivery.port, `/deliveries/${order}`, headers),
    bill(accounting, order, headers),
  ]);
  return { show, requests: 5, end: () => { agent.destroy(); accounting.destroy(); } };
}

/** The same screen in one request. */
function composed(lines, order, headers) {
  const agent = new http.Agent({ keepAlive: true });
  const show = async () => {
    const screen = await get(agent, lines.mobile.port, `/orders/${order}`, headers);
    const missing = Object.keys(screen).filter((part) => screen[part].status !== "ok");
    if (missing.length) throw new Error(`without ${missing}`);
  };
  return { show, requests: 1, end: () => agent.destroy() };
}

// ---- the system ----

function start(binary, args, environment = {}) {
  return spawn(path.join(BINARIES, binary), args, {
    cwd: PROJECT, env: { ...process.env, ...environment }, stdio: ["ignore", "pipe", "ignore"],
  });
}

function firstLine(child) {
  return new Promise((resolve, reject) => {
    let text = "";
    child.stdout.on("data", (piece) => {
      text += piece;
      if (text.includes("\n")) resolve(text.split("\n")[0]);
    });
    child.on("exit", (code) => reject(new Error(`it ended with ${code}`)));
  });
}

async function until(what, look) {
  for (const end = performance.now() + 30_000; performance.now() < end; await wait(50)) {
    const found = await look().catch(() => undefined);
    if (found) return found;
  }
  throw new Error(`never: ${what}`);
}

async function freePort() {
  const server = net.createServer();
  await new Promise((listening) => server.listen(0, "127.0.0.1", listening));
  const { port } = server.address();
  await new Promise((closed) => server.close(closed));
  return port;
}

const median = (values) => values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)];

async function main() {
  const data = mkdtempSync(path.join(tmpdir(), "round-trips-"));
  const children = [];
  // Whatever ends this process: nothing is left behind.
  process.on("exit", () => children.forEach((child) => child.kill("SIGKILL")));
  try {
    const services = start("ftgo", ["services", "--ports", "ephemeral", "--seed", "--data", data]);
    children.push(services);
    const addresses = Object.fromEntries(
      Object.entries(JSON.parse(await firstLine(services)).services)
        .map(([name, address]) => [name, { host: "127.0.0.1", port: Number(address.split(":").at(-1)) }]),
    );
    const urls = Object.fromEntries(
      Object.entries(addresses).map(([name, { port }]) => [`${name.toUpperCase().replace("-", "_")}_URL`, `http://127.0.0.1:${port}`]),
    );
    const [port, admin] = [await freePort(), await freePort()];
    const gateway = start("bff-mobile", ["--config", "config/mobile.toml"], {
      ...urls, ISSUER: urls.IDENTITY_URL, LISTEN: `127.0.0.1:${port}`, ADMIN_LISTEN: `127.0.0.1:${admin}`,
    });
    gateway.stdout.resume();
    children.push(gateway);
    await until("bff-mobile is ready", () => fetch(`http://127.0.0.1:${admin}/ready`).then((answer) => answer.ok));

    const token = (await (await fetch(`${urls.IDENTITY_URL}/dev/token?sub=consumer-1`)).json()).access_token;
    const headers = { authorization: `Bearer ${token}`, accept: "application/json", "user-agent": USER_AGENT };
    const mobile = `http://127.0.0.1:${port}`;
    const restaurant = await until("a restaurant is open", async () => {
      const page = await (await fetch(`${mobile}/restaurants?lat=37.80&lng=-122.27&radius=50000`, { headers })).json();
      return page.items[0];
    });
    const menu = (await (await fetch(`${mobile}/restaurants/${restaurant.id}`, { headers })).json()).menu.items;
    const placed = await fetch(`${mobile}/orders`, {
      method: "POST", headers: { ...headers, "content-type": "application/json" },
      body: JSON.stringify({
        restaurantId: restaurant.id, lineItems: [{ menuItemId: menu[0].id, quantity: 5 }],
        deliveryAddress: { street1: "1432 Alice Street", city: "Oakland", state: "CA", zip: "94612" },
      }),
    });
    if (placed.status !== 202) throw new Error(`not placed: ${placed.status} ${await placed.text()}`);
    const { orderId } = await placed.json();
    await until("all five have the order", async () => {
      const screen = await (await fetch(`${mobile}/orders/${orderId}`, { headers })).json();
      return Object.values(screen).every((part) => part.status === "ok") && screen.order.data.state === "APPROVED";
    });

    console.log(`| the order screen, ${ROUND_TRIP} ms there and back | requests | connections | bytes up and down | time, first | time, again |`);
    console.log("|---|--:|--:|--:|--:|--:|");
    for (const [name, targets, client] of [
      ["five services, asked directly", DIRECT.map((service) => [service, addresses[service]]), direct],
      ["bff-mobile", [["mobile", { host: "127.0.0.1", port }]], composed],
    ]) {
      const samples = [];
      for (let round = 0; round < ROUNDS; round += 1) {
        const lines = Object.fromEntries(await Promise.all(targets.map(async ([service, target]) => [service, await delayLine(target)])));
        const began = performance.now();
        const app = client(lines, orderId, headers);
        await app.show();
        const first = performance.now() - began;
        const sum = (figure) => Object.values(lines).reduce((total, line) => total + line[figure], 0);
        const sample = { requests: app.requests, connections: sum("connections"), bytes: sum("bytes"), first };
        const once_more = performance.now();
        await app.show();
        sample.again = performance.now() - once_more;
        app.end();
        Object.values(lines).forEach((line) => line.close());
        samples.push(sample);
      }
      const of = (figure) => median(samples.map((sample) => sample[figure]));
      console.log(`| ${name} | ${of("requests")} | ${of("connections")} | ${of("bytes")} | ${of("first").toFixed(0)} ms | ${of("again").toFixed(0)} ms |`);
    }
  } finally {
    for (const child of children.toReversed()) {
      child.removeAllListeners("exit");
      child.kill("SIGTERM");
    }
    await Promise.all(children.map((child) => child.exitCode ?? new Promise((gone) => child.on("exit", gone))));
    rmSync(data, { recursive: true, force: true });
  }
}

await main();
