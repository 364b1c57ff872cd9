#!/usr/bin/env bash
# A member of a consumer group with redis-cli alone: at least once, any number of members, to be killed at any instant.
# Each entry costs a few processes, so it is for jobs that take a second, not for thousands of events.
set -uo pipefail
stream='lens:{camera-1}:events' group=my-service me=$HOSTNAME # members may share a name
claim_ms=${CLAIM_MS:-60000}                                   # longer than any work takes: then an entry goes to another
tries=${TRIES:-10}
data=$(mktemp) # no variable of a shell holds any byte
trap 'rm -f "$data"' EXIT

work() { # work SEQ TYPE <DATA
    printf '%s %s %s\n' "$1" "$2" "$(wc -c)"
}

redis() { redis-cli -e --raw -u "${BRIDGE_REDIS__URL:-redis://localhost:6379}" "$@"; } # -e: an error is an exit code

next_entry() { # its id and how often it was delivered before; nothing where there is none
    redis EVAL 'local left = redis.call("XPENDING", KEYS[1], ARGV[1], "IDLE", ARGV[3], "-", "+", 1)[1]
        if left then
            redis.call("XCLAIM", KEYS[1], ARGV[1], ARGV[2], ARGV[3], left[1])
            return left[1] .. " " .. left[4]
        end
        local news = redis.call("XREADGROUP", "GROUP", ARGV[1], ARGV[2], "COUNT", 1, "STREAMS", KEYS[1], ">")
        return news and news[1][2][1][1] .. " 0"' 1 "$stream" "$group" "$me" "$claim_ms"
}

field() { # field ENTRY NAME: its value and a line end
    redis EVAL 'local entry = redis.call("XRANGE", KEYS[1], ARGV[1], ARGV[1])[1]
        for i = 1, #entry[2], 2 do if entry[2][i] == ARGV[2] then return entry[2][i + 1] end end
        return redis.error_reply("it has no " .. ARGV[2])' 1 "$stream" "$1" "$2"
}

take() { # take ENTRY EARLIER: what fails stays pending, and is tried again when it is claimed
    local seq type
    if [ "$(redis XRANGE "$stream" "$1" "$1" | head -c 1)" = "" ]; then
        : # it was trimmed meanwhile
    elif [ "$2" -ge "$tries" ]; then # for a person to look at
        redis EVAL 'return redis.call("XADD", KEYS[2], "*", unpack(redis.call("XRANGE", KEYS[1], ARGV[1], ARGV[1])[1][2]))' \
            2 "$stream" "$group:poison" "$1" >/dev/null || return
    else
        seq=$(field "$1" seq) && type=$(field "$1" type) && field "$1" data >"$data" || return
        head -c -1 "$data" | work "$seq" "$type" || return
    fi
    redis XACK "$stream" "$group" "$1" >/dev/null
}

while :; do
    redis XGROUP CREATE "$stream" "$group" 0 MKSTREAM >/dev/null 2>&1 # fails where it is there
    while entry=$(next_entry); do
        if [ -n "$entry" ]; then take $entry; else sleep 1; fi
    done
    sleep 1 # away, loading, read-only, emptied
done
