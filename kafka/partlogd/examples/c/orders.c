/* What a test of an application looks like: librdkafka against the broker of partlogd.h. It compiles as C and as C++. */
#include <librdkafka/rdkafka.h>

#include "partlogd.h"

static void check(int ok, const char *what) {
    if (!ok) {
        fprintf(stderr, "FAILED: %s\n", what);
        exit(1);
    }
}

static rd_kafka_t *client(rd_kafka_type_t type, const partlogd *b, const char *group) {
    char why[512];
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    check(rd_kafka_conf_set(conf, "bootstrap.servers", b->bootstrap, why, sizeof why) == RD_KAFKA_CONF_OK, why);
    if (group != NULL) {
        check(rd_kafka_conf_set(conf, "group.id", group, why, sizeof why) == RD_KAFKA_CONF_OK, why);
        check(rd_kafka_conf_set(conf, "auto.offset.reset", "earliest", why, sizeof why) == RD_KAFKA_CONF_OK, why);
    }
    rd_kafka_t *k = rd_kafka_new(type, conf, why, sizeof why);
    check(k != NULL, why);
    return k;
}

int main(void) {
    partlogd b;
    check(partlogd_start(&b, "orders:1") == 0, "start");

    rd_kafka_t *producer = client(RD_KAFKA_PRODUCER, &b, NULL);
    for (int i = 0; i < 10; i++) {
        char value[16];
        int n = snprintf(value, sizeof value, "%d", i);
        check(rd_kafka_producev(producer, RD_KAFKA_V_TOPIC("orders"), RD_KAFKA_V_KEY("k", 1), RD_KAFKA_V_VALUE(value, (size_t)n),
                                RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY), RD_KAFKA_V_END) == RD_KAFKA_RESP_ERR_NO_ERROR, "produce");
    }
    check(rd_kafka_flush(producer, 60000) == RD_KAFKA_RESP_ERR_NO_ERROR, "flush");
    rd_kafka_destroy(producer);

    rd_kafka_t *consumer = client(RD_KAFKA_CONSUMER, &b, "billing");
    rd_kafka_poll_set_consumer(consumer);
    rd_kafka_topic_partition_list_t *topics = rd_kafka_topic_partition_list_new(1);
    rd_kafka_topic_partition_list_add(topics, "orders", RD_KAFKA_PARTITION_UA);
    check(rd_kafka_subscribe(consumer, topics) == RD_KAFKA_RESP_ERR_NO_ERROR, "subscribe");
    rd_kafka_topic_partition_list_destroy(topics);
    for (int i = 0; i < 10;) {
        rd_kafka_message_t *m = rd_kafka_consumer_poll(consumer, 1000);
        if (m == NULL) continue;
        if (m->err == RD_KAFKA_RESP_ERR_NO_ERROR) {
            check(m->len == 1 && ((const char *)m->payload)[0] == '0' + i, "records in order");
            i++;
        }
        rd_kafka_message_destroy(m);
    }
    check(rd_kafka_consumer_close(consumer) == RD_KAFKA_RESP_ERR_NO_ERROR, "close");
    rd_kafka_destroy(consumer);

    check(partlogd_stop(&b) == 0, "stop");
    puts("ok");
    return 0;
}
