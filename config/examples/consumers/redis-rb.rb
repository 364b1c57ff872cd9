# A member of a consumer group with redis-rb: at least once, any number of members, to be killed at any instant.
# Where the effect of an event may happen once only, set a mark with session_id, seq and id in the transaction of the
# work: Redis would lose a mark of its own together with the entries.
require "json"
require "redis"
require "socket"

STREAM, GROUP, ME = "lens:{camera-1}:events", "my-service", Socket.gethostname # members may share a name
CLAIM_MS = Integer(ENV.fetch("CLAIM_MS", 60_000)) # longer than any work takes: then an entry goes to another member
TRIES = Integer(ENV.fetch("TRIES", 10))
REDIS = Redis.new(url: ENV.fetch("BRIDGE_REDIS__URL", "redis://localhost:6379"), reconnect_attempts: 0)
$stdout.sync = true

def work(entry)
  JSON.parse(entry["data"]) # raises for NaN, which Python servers write: such an entry is set aside in the end
  puts "#{entry["seq"]} #{entry["type"]} #{entry["data"].bytesize}"
end

def take(id, entry, earlier) # earlier: how often it was delivered before
  if entry && earlier >= TRIES
    REDIS.xadd("#{GROUP}:poison", entry) # for a person to look at
  elsif entry # what was trimmed meanwhile has no fields
    begin
      work(entry)
    rescue StandardError => e
      return warn("#{id} #{e.inspect}") # it stays pending, and is tried again when it is claimed
    end
  end
  REDIS.xack(STREAM, GROUP, id)
end

def make_the_group
  REDIS.xgroup(:create, STREAM, GROUP, "0", mkstream: true)
rescue Redis::CommandError
  nil # it is there
end

loop do
  make_the_group
  loop do
    REDIS.call("XPENDING", STREAM, GROUP, "IDLE", CLAIM_MS, "-", "+", 100).each do |id, _, _, earlier|
      REDIS.call("XCLAIM", STREAM, GROUP, ME, CLAIM_MS, id).each do |_, fields| # none: trimmed, on Redis 6.2
        take(id, fields && Hash[*fields], earlier)
      end
    end
    REDIS.xreadgroup(GROUP, ME, STREAM, ">", count: 10, block: 2000).each_value do |entries|
      entries.each { |id, entry| take(id, entry, 0) }
    end
  end
rescue Redis::BaseError => e # away, loading, read-only, emptied
  warn e.message
  sleep 1
end
