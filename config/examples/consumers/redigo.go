// A member of a consumer group with redigo: at least once, any number of members, to be killed at any instant.
// Where the effect of an event may happen once only, set a mark with session_id, seq and id in the transaction of the
// work: Redis would lose a mark of its own together with the entries.
package main

import (
	"encoding/json"
	"fmt"
	"log"
	"os"
	"strconv"
	"time"

	"github.com/gomodule/redigo/redis"
)

const stream, group = "lens:{camera-1}:events", "my-service"

var (
	me, _   = os.Hostname()               // members may share a name
	claimMs = setting("CLAIM_MS", 60_000) // longer than any work takes: then an entry goes to another member
	tries   = setting("TRIES", 10)
)

func setting(name string, otherwise int) int {
	if value, err := strconv.Atoi(os.Getenv(name)); err == nil {
		return value
	}
	return otherwise
}

func work(entry map[string]string) error { // a string of Go holds any bytes
	var event map[string]interface{}
	if err := json.Unmarshal([]byte(entry["data"]), &event); err != nil {
		return err // NaN, which Python servers write: such an entry is set aside in the end
	}
	fmt.Println(entry["seq"], entry["type"], len(entry["data"]))
	return nil
}

func take(c redis.Conn, id string, fields []interface{}, earlier int) error { // earlier: how often it was delivered before
	if len(fields) > 0 && earlier >= tries {
		if _, err := c.Do("XADD", append([]interface{}{group + ":poison", "*"}, fields...)...); err != nil {
			return err
		}
	} else if len(fields) > 0 { // what was trimmed meanwhile has none
		entry, err := redis.StringMap(fields, nil)
		if err == nil {
			err = work(entry)
		}
		if err != nil {
			log.Println(id, err)
			return nil // it stays pending, and is tried again when it is claimed
		}
	}
	_, err := c.Do("XACK", stream, group, id)
	return err
}

func leftBehind(c redis.Conn) error {
	rows, err := redis.Values(c.Do("XPENDING", stream, group, "IDLE", claimMs, "-", "+", 100))
	for _, row := range rows {
		left, _ := redis.Values(row, nil)
		id, _ := redis.String(left[0], nil)
		earlier, _ := redis.Int(left[3], nil)
		claimed, err := redis.Values(c.Do("XCLAIM", stream, group, me, claimMs, id))
		if err != nil {
			return err
		}
		for _, entry := range claimed {
			if err := take(c, id, fieldsOf(entry), earlier); err != nil {
				return err
			}
		}
	}
	return err
}

func news(c redis.Conn) error {
	streams, err := redis.Values(c.Do("XREADGROUP", "GROUP", group, me, "COUNT", 10, "BLOCK", 2000, "STREAMS", stream, ">"))
	if err == redis.ErrNil {
		return nil // nothing came
	}
	for _, one := range streams {
		entries, _ := redis.Values(one.([]interface{})[1], nil)
		for _, entry := range entries {
			id, _ := redis.String(entry.([]interface{})[0], nil)
			if err := take(c, id, fieldsOf(entry), 0); err != nil {
				return err
			}
		}
	}
	return err
}

func fieldsOf(entry interface{}) []interface{} {
	pair, _ := entry.([]interface{}) // nil: trimmed, on Redis 6.2
	if len(pair) < 2 {
		return nil
	}
	fields, _ := pair[1].([]interface{})
	return fields
}

func member(url string) error {
	c, err := redis.DialURL(url, redis.DialReadTimeout(5*time.Second), redis.DialConnectTimeout(5*time.Second))
	if err != nil {
		return err
	}
	defer c.Close()
	c.Do("XGROUP", "CREATE", stream, group, "0", "MKSTREAM") // an error where it is there; what else is wrong shows below
	for {
		if err := leftBehind(c); err != nil {
			return err
		}
		if err := news(c); err != nil {
			return err
		}
	}
}

func main() {
	url := os.Getenv("BRIDGE_REDIS__URL")
	if url == "" {
		url = "redis://localhost:6379"
	}
	for {
		log.Println(member(url)) // away, loading, read-only, emptied
		time.Sleep(time.Second)
	}
}
