<?php
// A member of a consumer group with phpredis: at least once, any number of members, to be killed at any instant.
// Where the effect of an event may happen once only, set a mark with session_id, seq and id in the transaction of the
// work: Redis would lose a mark of its own together with the entries.

const STREAM = 'lens:{camera-1}:events', GROUP = 'my-service';
define('ME', gethostname()); // members may share a name
define('CLAIM_MS', (int) (getenv('CLAIM_MS') ?: 60_000)); // longer than any work takes: then an entry goes to another
define('TRIES', (int) (getenv('TRIES') ?: 10));

function work(array $entry): void {
    json_decode($entry['data'], flags: JSON_THROW_ON_ERROR); // NaN, and bytes that are no text: set aside in the end
    echo "{$entry['seq']} {$entry['type']} ", strlen($entry['data']), "\n";
}

function take(Redis $redis, string $id, $entry, int $earlier): void { // earlier: how often it was delivered before
    if ($entry && $earlier >= TRIES) {
        asked($redis, $redis->xAdd(GROUP . ':poison', '*', $entry)); // for a person to look at
    } elseif ($entry) { // what was trimmed meanwhile has no fields
        try {
            work($entry);
        } catch (Throwable $error) {
            error_log("$id $error");
            return; // it stays pending, and is tried again when it is claimed
        }
    }
    asked($redis, $redis->xAck(STREAM, GROUP, [$id]));
}

function asked(Redis $redis, $answer) { // phpredis answers false to most errors: away, read-only, no group
    $error = $redis->getLastError();
    $redis->clearLastError();
    return $error === null ? $answer : throw new RedisException($error);
}

function member(string $host, int $port): void {
    $redis = new Redis();
    $redis->connect($host, $port, 5, null, 0, 5); // seconds to connect and to wait for an answer
    $redis->xGroup('CREATE', STREAM, GROUP, '0', true); // false where it is there; what else is wrong shows below
    $redis->clearLastError();
    while (true) {
        $left = asked($redis, $redis->rawCommand('XPENDING', STREAM, GROUP, 'IDLE', CLAIM_MS, '-', '+', 100));
        foreach ($left as [$id, , , $earlier]) {
            foreach (asked($redis, $redis->rawCommand('XCLAIM', STREAM, GROUP, ME, CLAIM_MS, $id)) as $claimed) {
                $flat = $claimed[1] ?? []; // none: trimmed, on Redis 6.2
                $entry = array_combine(array_filter($flat, fn($i) => $i % 2 == 0, ARRAY_FILTER_USE_KEY),
                    array_filter($flat, fn($i) => $i % 2 == 1, ARRAY_FILTER_USE_KEY));
                take($redis, $id, $entry, $earlier);
            }
        }
        $news = asked($redis, $redis->xReadGroup(GROUP, ME, [STREAM => '>'], 10, 2000));
        foreach ($news[STREAM] ?? [] as $id => $entry) {
            take($redis, $id, $entry, 0);
        }
    }
}

$url = parse_url(getenv('BRIDGE_REDIS__URL') ?: 'redis://localhost:6379');
while (true) {
    try {
        member($url['host'], $url['port'] ?? 6379);
    } catch (RedisException $error) { // away, loading, read-only, emptied
        error_log($error->getMessage());
        sleep(1);
    }
}
