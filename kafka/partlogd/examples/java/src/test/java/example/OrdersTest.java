package example;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.serialization.StringDeserializer;
import org.apache.kafka.common.serialization.StringSerializer;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.extension.RegisterExtension;

/** What a test of an application looks like. */
class OrdersTest {
    @RegisterExtension
    final Partlogd broker = new Partlogd("--topics", "orders:1");

    KafkaProducer<String, String> producer() {
        return new KafkaProducer<>(Map.of("bootstrap.servers", broker.bootstrapServers()), new StringSerializer(), new StringSerializer());
    }

    @Test
    void whatIsSentIsReceived() throws Exception {
        try (var producer = producer()) {
            for (int i = 0; i < 3; i++) {
                producer.send(new ProducerRecord<>("orders", "k", "" + i)).get();
            }
        }
        List<String> got = new ArrayList<>();
        try (var consumer = new KafkaConsumer<>(Map.of("bootstrap.servers", broker.bootstrapServers(), "group.id", "billing",
                "auto.offset.reset", "earliest", "enable.auto.commit", "false"), new StringDeserializer(), new StringDeserializer())) {
            consumer.subscribe(List.of("orders"));
            while (got.size() < 3) {
                consumer.poll(Duration.ofSeconds(1)).forEach(r -> got.add(r.value()));
            }
            consumer.commitSync();
        }
        assertEquals(List.of("0", "1", "2"), got);
        broker.control("GET", "/v1/groups/billing/wait-lag-zero", null);
    }

    @Test
    void aLostAcknowledgementIsNoSecondRecord() throws Exception {
        broker.fail("{\"api\":\"Produce\",\"times\":1,\"apply\":true,\"close\":true}");
        try (var producer = producer()) {
            producer.send(new ProducerRecord<>("orders", "once")).get();
        }
        assertTrue(broker.control("GET", "/v1/rules/1", null).contains("\"hits\":1"));
        assertTrue(broker.control("GET", "/v1/topics/orders/partitions/0", null).contains("\"highWatermark\":1"));
    }
}
