"""What a test of an application looks like: kafka-python against the broker of conftest.py."""

from kafka import KafkaConsumer, KafkaProducer


def test_what_is_sent_is_received(broker):
    producer = KafkaProducer(bootstrap_servers=broker.bootstrap)
    for i in range(10):
        producer.send("orders", key=b"k", value=b"%d" % i)
    producer.flush()
    producer.close()

    consumer = KafkaConsumer("orders", bootstrap_servers=broker.bootstrap, group_id="billing",
                             auto_offset_reset="earliest", enable_auto_commit=False)
    got = [next(consumer).value for _ in range(10)]
    assert got == [b"%d" % i for i in range(10)]
    consumer.commit()
    consumer.close()
    broker.control("GET", "/v1/groups/billing/wait-lag-zero")


def test_a_lost_acknowledgement_is_no_second_record(broker):
    rule = broker.fail(api="Produce", times=1, apply=True, close=True)
    producer = KafkaProducer(bootstrap_servers=broker.bootstrap, enable_idempotence=True)
    producer.send("orders", b"once").get(timeout=60)
    producer.close()
    assert broker.control("GET", "/v1/rules/%d" % rule["id"])["hits"] == 1
    records = broker.control("GET", "/v1/topics/orders/partitions/0/records")
    assert [r["value"] for r in records] == ["once"]


def test_a_crash_keeps_what_was_acknowledged(broker):
    producer = KafkaProducer(bootstrap_servers=broker.bootstrap, acks="all")
    producer.send("orders", b"kept").get(timeout=60)
    broker.control("POST", "/v1/crash", {"kind": "power-loss"})
    producer.send("orders", b"and on").get(timeout=60)
    producer.close()
    records = broker.control("GET", "/v1/topics/orders/partitions/0/records")
    assert [r["value"] for r in records] == ["kept", "and on"]
