// A member of a consumer group with node-redis: at least once, any number of members, to be killed at any instant.
// Where the effect of an event may happen once only, set a mark with session_id, seq and id in the transaction of the
// work: Redis would lose a mark of its own together with the entries.
import { hostname } from "node:os";
import { setTimeout as sleep } from "node:timers/promises";
import { RESP_TYPES, createClient } from "redis";

const [stream, group, me] = ["lens:{camera-1}:events", "my-service", hostname()]; // members may share a name
const claimMs = Number(process.env.CLAIM_MS ?? 60_000); // longer than any work takes: then an entry goes to another
const tries = Number(process.env.TRIES ?? 10);
const client = createClient({ url: process.env.BRIDGE_REDIS__URL ?? "redis://localhost:6379" });
client.on("error", (error) => console.error(String(error)));
await client.connect();
const bytes = client.withTypeMapping({ [RESP_TYPES.BLOB_STRING]: Buffer }); // values as they came

async function work(entry) {
  JSON.parse(entry.data); // throws for NaN, which Python servers write: such an entry is set aside in the end
  console.log(`${entry.seq} ${entry.type} ${entry.data.length}`);
}

async function take(id, entry, earlier) { // earlier: how often it was delivered before
  if (entry && earlier >= tries) {
    await client.xAdd(`${group}:poison`, "*", entry); // for a person to look at
  } else if (entry) { // what was trimmed meanwhile has no fields
    try {
      await work(entry);
    } catch (error) {
      return console.error(String(id), error); // it stays pending, and is tried again when it is claimed
    }
  }
  await client.xAck(stream, group, id);
}

for (;;) {
  try {
    await client.xGroupCreate(stream, group, "0", { MKSTREAM: true }).catch(() => {}); // it is there
    for (;;) {
      for (const left of await client.xPendingRange(stream, group, "-", "+", 100, { IDLE: claimMs })) {
        const claimed = await bytes.xClaim(stream, group, me, claimMs, left.id);
        for (const entry of claimed) await take(left.id, entry?.message, left.deliveriesCounter); // null: trimmed, on 6.2
      }
      const news = await bytes.xReadGroup(group, me, { key: stream, id: ">" }, { COUNT: 10, BLOCK: 2000 });
      for (const { messages } of news ?? []) {
        for (const { id, message } of messages) await take(id, message, 0);
      }
    }
  } catch (error) { // away, loading, read-only, emptied
    console.error(String(error));
    await sleep(1000);
  }
}
