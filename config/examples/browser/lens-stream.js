// Reads a stream of `lens-bridge serve` in a browser (or in Node 18 and newer, with a token): every entry once and in
// order, over dropped connections, restarts and refusals. No build step, no dependency: copy it.
//
//   import { LensStream } from "./lens-stream.js";
//   const stream = new LensStream("https://bridge.example.com/streams/camera-1?type=inference.*", {
//     onEntry: (entry) => console.log(entry.seq, JSON.parse(entry.data)),
//     onHole: (hole) => reloadEverything(hole),   // something may be missing: trimmed meanwhile, or lost by Redis
//     token,                                      // only where the server asks for one
//   });
//   stream.close();

const SOONEST_MS = 500;
const LATEST_MS = 30_000;

export class LensStream {
  constructor(url, { onEntry, onHole = () => {}, onState = () => {}, token = null, lastEventId = "" }) {
    Object.assign(this, { url, onEntry, onHole, onState, token, lastEventId });
    this.failures = 0;
    this.closed = false;
    this.connect();
  }

  close() {
    this.closed = true;
    clearTimeout(this.timer);
    this.source?.close();
    this.abort?.abort();
    this.onState("closed");
  }

  connect() {
    this.onState("connecting");
    if (this.token === null) this.withEventSource();
    else this.withFetch().catch(() => {}).then(() => this.again());
  }

  // What EventSource does not do by itself: come again after a refusal, and then from where it was.
  again() {
    if (this.closed) return;
    this.onState("waiting");
    const longest = Math.min(LATEST_MS, SOONEST_MS * 2 ** this.failures++);
    this.timer = setTimeout(() => this.connect(), longest / 2 + (Math.random() * longest) / 2);
  }

  opened() {
    this.failures = 0;
    this.onState("open");
  }

  take(name, data, id) {
    if (id) this.lastEventId = id;
    if (name === "message") this.onEntry(JSON.parse(data), id);
    else if (name === "bridge.hole") this.onHole(JSON.parse(data));
  }

  withEventSource() {
    const url = new URL(this.url, globalThis.location?.href);
    if (this.lastEventId) url.searchParams.set("last_event_id", this.lastEventId);
    const source = (this.source = new EventSource(url));
    source.onopen = () => this.opened();
    for (const name of ["message", "bridge.hole"])
      source.addEventListener(name, (event) => this.take(name, event.data, event.lastEventId));
    source.onerror = () => {
      if (source.readyState === EventSource.CLOSED) this.again();
      else this.onState("connecting");
    };
  }

  // EventSource sends no Authorization header; fetch does, and leaves the frames to us.
  async withFetch() {
    this.abort = new AbortController();
    const headers = { Accept: "text/event-stream", Authorization: `Bearer ${this.token}` };
    if (this.lastEventId) headers["Last-Event-ID"] = this.lastEventId;
    const answer = await fetch(this.url, { headers, signal: this.abort.signal, cache: "no-store" });
    if (!answer.ok) throw new Error(`refused with ${answer.status}`);
    this.opened();
    const decoder = new TextDecoder();
    const reader = answer.body.getReader();
    let rest = "";
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return; // an unfinished event is dropped: it comes again
      const blocks = (rest + decoder.decode(value, { stream: true })).split("\n\n");
      rest = blocks.pop();
      for (const block of blocks) this.takeBlock(block);
    }
  }

  takeBlock(block) {
    let name = "message";
    let id = "";
    const data = [];
    for (const line of block.split("\n")) {
      const [, field, value] = /^([^:]*)(?:: ?)?(.*)$/.exec(line);
      if (field === "event") name = value;
      else if (field === "id") id = value;
      else if (field === "data") data.push(value);
    }
    if (data.length) this.take(name, data.join("\n"), id);
    else if (id) this.lastEventId = id; // a place without an event
  }
}
