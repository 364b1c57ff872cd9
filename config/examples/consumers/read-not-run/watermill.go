// READ, NOT RUN: written from the source of watermill-redisstream 1.4.3; it could not be had here.
//
// Watermill's own entries have the fields _watermill_message_uuid, payload and metadata. Its default unmarshaller gives
// an error for any other, and an error there ends the subscription; the one below reads the bridge's. At least once:
//   - Acknowledged after the handler; what a member has had for MaxIdleTime is claimed; trimmed entries are let go.
//   - A message that is nacked comes again at once, to the same member, for ever: put middleware.Retry and
//     middleware.PoisonQueue around the handler.
//   - The group is made in Subscribe alone. When Redis was emptied each read fails (NOGROUP): ShouldStopOnReadErrors
//     ends the subscription then, the router with it, and a supervisor starts the program again.
//   - Bytes stay as they are.
package main

import (
	"context"
	"errors"
	"log"
	"os"
	"strings"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill-redisstream/pkg/redisstream"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/ThreeDotsLabs/watermill/message/router/middleware"
	"github.com/redis/go-redis/v9"
)

type entries struct{}

func (entries) Unmarshal(values map[string]interface{}) (*message.Message, error) {
	text := func(name string) string { value, _ := values[name].(string); return value }
	event := message.NewMessage(text("session_id")+"/"+text("seq")+"/"+text("id"), []byte(text("data"))) // the same after a rollback
	for _, name := range []string{"session_id", "name", "id", "seq", "type", "received_at"} {
		event.Metadata.Set(name, text(name))
	}
	return event, nil
}

func main() {
	options, err := redis.ParseURL(os.Getenv("BRIDGE_REDIS__URL"))
	if err != nil {
		log.Fatal(err)
	}
	logger := watermill.NewStdLogger(false, false)
	subscriber, err := redisstream.NewSubscriber(redisstream.SubscriberConfig{
		Client:                 redis.NewClient(options),
		Unmarshaller:           entries{},
		ConsumerGroup:          "my-service",
		OldestId:               "0",
		MaxIdleTime:            time.Minute, // longer than any work takes
		ShouldStopOnReadErrors: func(err error) bool { return strings.HasPrefix(err.Error(), "NOGROUP") },
	}, logger)
	if err != nil {
		log.Fatal(err)
	}
	router, err := message.NewRouter(message.RouterConfig{}, logger)
	if err != nil {
		log.Fatal(err)
	}
	router.AddMiddleware(middleware.Retry{MaxRetries: 5, InitialInterval: time.Second, Logger: logger}.Middleware)
	router.AddNoPublisherHandler("my-service", "lens:{camera-1}:events", subscriber, func(event *message.Message) error {
		if len(event.Payload) == 0 {
			return errors.New("no data")
		}
		log.Println(event.Metadata.Get("seq"), event.Metadata.Get("type"), len(event.Payload)) // your work
		return nil
	})
	if err := router.Run(context.Background()); err != nil {
		log.Fatal(err)
	}
	os.Exit(1) // the subscription has ended: let the supervisor start it again
}
