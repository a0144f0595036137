"""kafka-python as its users drive it."""
import time

from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import ConfigResource, ConfigResourceType, NewPartitions, NewTopic
from kafka.structs import OffsetAndMetadata
from smoke import BOOTSTRAP, CA, PATIENCE, SASL, TLS, check, records, until

BASE = {"bootstrap_servers": BOOTSTRAP.split(","), "client_id": "kafka-python"}


def produce(topic, rs, **conf):
    p = KafkaProducer(**{**BASE, "linger_ms": 20, **conf})
    for f in [p.send(topic, key=k, value=v, headers=h) for k, v, h in rs]:
        f.get(PATIENCE)
    p.close()


def consumer(group, **conf):
    return KafkaConsumer(**{**BASE, "group_id": group, "auto_offset_reset": "earliest", "enable_auto_commit": False, "session_timeout_ms": 45000, **conf})


def poll(c, into):
    for rs in c.poll(100).values():
        into.extend((r.key, r.value, [(k, v) for k, v in r.headers]) for r in rs)


def read(topic, want, **conf):
    got = []
    c = consumer(f"read-{topic}-{time.monotonic_ns()}", **conf)
    c.subscribe([topic])
    until(f"{want} records of {topic} read", lambda: len(got) >= want, lambda: poll(c, got))
    c.close()
    return got


a = KafkaAdminClient(**BASE)
a.create_topics([NewTopic("events", 6, 1), NewTopic("jobs", 6, 1), NewTopic("payments", 1, 1)])
check("partitions", len(a.describe_topics(["events"])[0]["partitions"]), 6)
check("brokers", len(a.describe_cluster()["brokers"]) > 0, True)
a.alter_configs([ConfigResource(ConfigResourceType.TOPIC, "events", {"retention.ms": "123456"})])
check("altered config", "123456" in str(a.describe_configs([ConfigResource(ConfigResourceType.TOPIC, "events")])), True)
a.create_partitions({"payments": NewPartitions(2)})
check("topics", {"events", "jobs", "payments"} <= set(a.list_topics()), True)

for codec in [None, "gzip", "snappy", "lz4", "zstd"]:
    want = list(records(str(codec)))
    produce(f"codec-{codec}", want, compression_type=codec)
    check(f"records through {codec}", sorted(read(f"codec-{codec}", len(want)), key=lambda r: r[0]), sorted(want, key=lambda r: r[0]))

produce("jobs", [(f"job-{i}".encode(), b"job", []) for i in range(300)])
one, two, seen = consumer("workers"), consumer("workers"), []
one.subscribe(["jobs"])
until("one has all", lambda: len(one.assignment()) == 6, lambda: poll(one, seen))
two.subscribe(["jobs"])


def both():
    poll(one, seen)
    poll(two, seen)


until("two share", lambda: (len(one.assignment()), len(two.assignment())) == (3, 3), both)
end = sum(one.end_offsets([TopicPartition("jobs", i) for i in range(6)]).values())


def position():
    return sum(c.position(tp, timeout_ms=1000) or 0 for c in (one, two) for tp in c.assignment())


until("read to the end", lambda: position() == end, both)
check("all read", {r[0] for r in seen}, {f"job-{i}".encode() for i in range(300)})
check("members", len(list(a.describe_groups(["workers"]).values())[0]["members"]) if hasattr(a, "describe_groups") else len(a.describe_consumer_groups(["workers"])[0].members), 2)
one.commit()
two.commit()
one.close()
until("the other has all", lambda: len(two.assignment()) == 6, lambda: poll(two, seen))
two.close()
produce("jobs", [(f"new-{i}".encode(), b"job", []) for i in range(10)])
check("resumed where the commit was", sorted({r[0] for r in read("jobs", 10, group_id="workers")}), sorted(f"new-{i}".encode() for i in range(10)))

p = KafkaProducer(**BASE, transactional_id="till", enable_idempotence=True)
p.init_transactions()
for n in range(3):
    p.begin_transaction()
    for i in range(20):
        p.send("payments", key=f"{n}-{i}".encode(), value=b"10 EUR")
    p.flush(PATIENCE)  # else an abort forgets what was not sent yet
    p.send_offsets_to_transaction({TopicPartition("jobs", 0): OffsetAndMetadata(10 + n, "", -1)}, "till")
    if n == 1:
        p.abort_transaction()
    else:
        p.commit_transaction()
p.close()
committed = [f"{n}-{i}".encode() for n in (0, 2) for i in range(20)]
check("committed records", sorted(r[0] for r in read("payments", 40, isolation_level="read_committed")), sorted(committed))
check("all records", len(read("payments", 60)), 60)
c = consumer("till")
check("offset of the transaction", c.committed(TopicPartition("jobs", 0)), 12)
c.close()

for name, conf in {
    "PLAIN": {"bootstrap_servers": SASL.split(","), "security_protocol": "SASL_PLAINTEXT", "sasl_mechanism": "PLAIN", "sasl_plain_username": "alice", "sasl_plain_password": "secret"},
    "SCRAM": {"bootstrap_servers": SASL.split(","), "security_protocol": "SASL_PLAINTEXT", "sasl_mechanism": "SCRAM-SHA-256", "sasl_plain_username": "scram", "sasl_plain_password": "secret"},
    "TLS": {"bootstrap_servers": TLS.split(","), "security_protocol": "SSL", "ssl_cafile": CA},
}.items():
    produce(f"over-{name}", [(b"k", b"v", [])], **conf)
    if "sasl_mechanism" in conf:
        # Without a group. A group has a thread for heartbeats, which polls the connections of its client; a connection that
        # logs in meanwhile waits in the other thread for SaslAuthenticate's answer, outside of the client's lock (conn.py,
        # _recv_bytes_blocking), and if the first thread reads that answer, both wait for another, for request_timeout_ms.
        conf = {**conf, "group_id": None}
    check(f"read over {name}", [r[:2] for r in read(f"over-{name}", 1, **conf)], [(b"k", b"v")])

check("group listed", "workers" in str(a.list_groups() if hasattr(a, "list_groups") else a.list_consumer_groups()), True)
(a.delete_groups if hasattr(a, "delete_groups") else a.delete_consumer_groups)(["workers"])
a.delete_topics(["events"])
check("deleted topic", "events" in a.list_topics(), False)
a.close()
