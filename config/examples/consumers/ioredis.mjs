// A member of a consumer group with ioredis: at least once, any number of members, to be killed at any instant.
// Where the effect of an event may happen once only, set a mark with session_id, seq and id in the transaction of the
// work: Redis would lose a mark of its own together with the entries.
import { hostname } from "node:os";
import { setTimeout as sleep } from "node:timers/promises";
import Redis from "ioredis";

const [stream, group, me] = ["lens:{camera-1}:events", "my-service", hostname()]; // members may share a name
const claimMs = Number(process.env.CLAIM_MS ?? 60_000); // longer than any work takes: then an entry goes to another
const tries = Number(process.env.TRIES ?? 10);
const redis = new Redis(process.env.BRIDGE_REDIS__URL ?? "redis://localhost:6379");
redis.on("error", (error) => console.error(String(error)));

async function work(entry) {
  JSON.parse(entry.data); // throws for NaN, which Python servers write: such an entry is set aside in the end
  console.log(`${entry.seq} ${entry.type} ${entry.data.length}`);
}

async function take(id, fields, earlier) { // earlier: how often it was delivered before
  if (fields && earlier >= tries) {
    await redis.xadd(`${group}:poison`, "*", ...fields); // for a person to look at
  } else if (fields) { // what was trimmed meanwhile has none
    const entry = {};
    for (let i = 0; i < fields.length; i += 2) entry[fields[i]] = fields[i + 1]; // values are Buffers: bytes as they came
    try {
      await work(entry);
    } catch (error) {
      return console.error(String(id), error); // it stays pending, and is tried again when it is claimed
    }
  }
  await redis.xack(stream, group, id);
}

for (;;) {
  try {
    await redis.xgroup("CREATE", stream, group, "0", "MKSTREAM").catch(() => {}); // it is there
    for (;;) {
      for (const [id, , , earlier] of await redis.xpending(stream, group, "IDLE", claimMs, "-", "+", 100)) {
        const claimed = await redis.xclaimBuffer(stream, group, me, claimMs, id);
        for (const entry of claimed) await take(id, entry?.[1], earlier); // null: trimmed, on Redis 6.2
      }
      const news = await redis.xreadgroupBuffer("GROUP", group, me, "COUNT", 10, "BLOCK", 2000, "STREAMS", stream, ">");
      for (const [, entries] of news ?? []) {
        for (const [id, fields] of entries) await take(id, fields, 0);
      }
    }
  } catch (error) { // away, loading, read-only, emptied
    console.error(String(error));
    await sleep(1000);
  }
}
