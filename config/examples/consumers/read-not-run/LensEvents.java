// READ, NOT RUN: written from the sources of Spring Data Redis 4.1 (Spring Boot 4); there was no Maven here to run it.
//
// A member of a consumer group: at least once. What the container does by itself, and what is written out here instead:
//   - It ends a subscription at the first error, a restart of Redis among them: cancelOnError says never.
//   - It begins to read again at once: the error handler waits a second, and makes the group where it is gone.
//   - It never claims: leftBehind takes over what dead members and failed work have left.
//   - Its default serializer makes text of every value, with U+FFFD for what is none: the values here stay bytes.
// Where the effect of an event may happen once only, set a mark with session_id, seq and id in the transaction of the
// work: Redis would lose a mark of its own together with the entries.
package example;

import java.time.Duration;
import java.util.List;
import java.util.Map;

import org.slf4j.Logger;
import org.slf4j.LoggerFactory;
import org.springframework.context.annotation.Bean;
import org.springframework.context.annotation.Configuration;
import org.springframework.dao.DataAccessException;
import org.springframework.data.domain.Range;
import org.springframework.data.redis.connection.RedisConnectionFactory;
import org.springframework.data.redis.connection.stream.Consumer;
import org.springframework.data.redis.connection.stream.MapRecord;
import org.springframework.data.redis.connection.stream.PendingMessage;
import org.springframework.data.redis.connection.stream.ReadOffset;
import org.springframework.data.redis.connection.stream.StreamOffset;
import org.springframework.data.redis.core.RedisTemplate;
import org.springframework.data.redis.core.StreamOperations;
import org.springframework.data.redis.serializer.RedisSerializer;
import org.springframework.data.redis.stream.StreamMessageListenerContainer;
import org.springframework.data.redis.stream.StreamMessageListenerContainer.StreamMessageListenerContainerOptions;
import org.springframework.data.redis.stream.StreamMessageListenerContainer.StreamReadRequest;
import org.springframework.scheduling.annotation.EnableScheduling;
import org.springframework.scheduling.annotation.Scheduled;

@Configuration
@EnableScheduling
class LensEvents {

    private static final Logger LOG = LoggerFactory.getLogger(LensEvents.class);
    private static final String STREAM = "lens:{camera-1}:events", GROUP = "my-service";
    private static final Duration LONGEST_WORK = Duration.ofMinutes(1);
    private static final long TRIES = 10;

    private final String me = System.getenv().getOrDefault("HOSTNAME", "me"); // members may share a name
    private final StreamOperations<String, String, byte[]> streams;

    LensEvents(RedisConnectionFactory connections) {
        RedisTemplate<String, byte[]> template = new RedisTemplate<>();
        template.setConnectionFactory(connections);
        template.setKeySerializer(RedisSerializer.string());
        template.setHashKeySerializer(RedisSerializer.string());
        template.setHashValueSerializer(RedisSerializer.byteArray());
        template.afterPropertiesSet();
        streams = template.opsForStream();
    }

    @Bean(initMethod = "start", destroyMethod = "stop")
    StreamMessageListenerContainer<String, MapRecord<String, String, byte[]>> container(RedisConnectionFactory connections) {
        var options = StreamMessageListenerContainerOptions.builder()
            .batchSize(10)
            .pollTimeout(Duration.ofSeconds(2)) // less than Lettuce waits for an answer
            .keySerializer(RedisSerializer.string())
            .<String, byte[]>hashKeySerializer(RedisSerializer.string())
            .<String, byte[]>hashValueSerializer(RedisSerializer.byteArray())
            .build();
        var container = StreamMessageListenerContainer.create(connections, options);
        var request = StreamReadRequest.builder(StreamOffset.create(STREAM, ReadOffset.lastConsumed()))
            .consumer(Consumer.from(GROUP, me))
            .autoAcknowledge(false)
            .cancelOnError(error -> false)
            .errorHandler(this::waitAndMakeTheGroup)
            .build();
        makeTheGroup();
        container.register(request, entry -> take(entry, 0));
        return container;
    }

    void work(Map<String, byte[]> entry) {
        LOG.info("{} {} {}", new String(entry.get("seq")), new String(entry.get("type")), entry.get("data").length);
    }

    private void take(MapRecord<String, String, byte[]> entry, long earlier) { // earlier: how often it was delivered before
        if (earlier >= TRIES) {
            streams.add(GROUP + ":poison", entry.getValue()); // for a person to look at
        } else {
            try {
                work(entry.getValue());
            } catch (RuntimeException error) {
                LOG.warn("{}", entry.getId(), error);
                return; // it stays pending, and is tried again when it is claimed
            }
        }
        streams.acknowledge(STREAM, GROUP, entry.getId());
    }

    @Scheduled(fixedDelay = 2000)
    void leftBehind() {
        try {
            for (PendingMessage left : streams.pending(STREAM, GROUP, Range.unbounded(), 100, LONGEST_WORK)) {
                // none: trimmed (from Redis 7 on), or another member was first
                List<MapRecord<String, String, byte[]>> claimed =
                    streams.claim(STREAM, GROUP, me, LONGEST_WORK, left.getId());
                claimed.forEach(entry -> take(entry, left.getTotalDeliveryCount()));
            }
        } catch (DataAccessException error) {
            LOG.warn("looking for what was left behind", error);
        }
    }

    private void waitAndMakeTheGroup(Throwable error) {
        LOG.warn("reading", error);
        try {
            Thread.sleep(1000);
        } catch (InterruptedException stopped) {
            Thread.currentThread().interrupt();
        }
        makeTheGroup();
    }

    private void makeTheGroup() {
        try {
            streams.createGroup(STREAM, ReadOffset.from("0"), GROUP);
        } catch (DataAccessException error) {
            LOG.debug("it is there, or Redis is not", error);
        }
    }
}
