"""confluent-kafka-python: librdkafka 2 as its users drive it."""
import time

from confluent_kafka import Consumer, ConsumerGroupTopicPartitions, ElectionType, KafkaError, KafkaException, Producer, TopicCollection, TopicPartition
from confluent_kafka import admin as ak
from smoke import BOOTSTRAP, CA, PATIENCE, SASL, TLS, check, records, until

BASE = {"bootstrap.servers": BOOTSTRAP, "client.id": "confluent"}


def produce(conf, topic, rs):
    failed, done = [], []
    p = Producer({**BASE, **conf})
    for k, v, h in rs:
        p.produce(topic, key=k, value=v, headers=h, on_delivery=lambda e, m: (failed if e else done).append(e or m))
    check(f"nothing left in the queue of {conf}", p.flush(PATIENCE), 0)
    check(f"all delivered by {conf}", failed, [])
    return done


def read(topic, want, **conf):
    got = []
    c = Consumer({**BASE, "group.id": f"read-{topic}-{time.monotonic_ns()}", "auto.offset.reset": "earliest", "enable.auto.commit": False, **conf})
    c.subscribe([topic])

    def step():
        m = c.poll(0.2)
        if m is not None:
            if m.error():
                raise SystemExit(m.error())
            got.append((m.key(), m.value(), m.headers()))

    until(f"{want} records of {topic} read", lambda: len(got) >= want, step)
    c.close()
    return got


a = ak.AdminClient(BASE)
for f in a.create_topics([ak.NewTopic("events", 6), ak.NewTopic("jobs", 6), ak.NewTopic("payments", 1)]).values():
    f.result(PATIENCE)
md = a.list_topics("events", timeout=PATIENCE)
check("brokers", sorted(md.brokers), [1, 2, 3])
check("partitions", sorted(md.topics["events"].partitions), list(range(6)))
res = ak.ConfigResource(ak.ResourceType.TOPIC, "events", incremental_configs=[ak.ConfigEntry("retention.ms", "123456", incremental_operation=ak.AlterConfigOpType.SET)])
for f in a.incremental_alter_configs([res]).values():
    f.result(PATIENCE)
for f in a.describe_configs([ak.ConfigResource(ak.ResourceType.TOPIC, "events")]).values():
    check("altered config", f.result(PATIENCE)["retention.ms"].value, "123456")
for f in a.create_partitions([ak.NewPartitions("payments", 2)]).values():
    f.result(PATIENCE)
check("cluster has a controller", a.describe_cluster().result(PATIENCE).controller.id in (1, 2, 3), True)
check("described topic", len(a.describe_topics(TopicCollection(["payments"]))["payments"].result(PATIENCE).partitions), 2)

for codec in ["none", "gzip", "snappy", "lz4", "zstd"]:
    want = list(records(codec))
    produce({"compression.type": codec, "enable.idempotence": codec != "none", "linger.ms": 20}, f"codec-{codec}", want)
    check(f"records through {codec}", sorted(read(f"codec-{codec}", len(want)), key=lambda r: r[0]), sorted(want, key=lambda r: r[0]))


def end(topic):
    return sum(bystander.get_watermark_offsets(TopicPartition(topic, i), timeout=PATIENCE)[1] for i in range(6))


def position(c):
    return sum(max(p.offset, 0) for p in c.position(c.assignment()))


def commit(c, poll):
    """Commits what c has read, when no rebalance is under way any more."""
    done = []

    def step():
        try:
            c.commit(asynchronous=False)
            done.append(True)
        except KafkaException as e:
            if e.args[0].code() not in (KafkaError.REBALANCE_IN_PROGRESS, KafkaError.ILLEGAL_GENERATION, KafkaError.STALE_MEMBER_EPOCH):
                raise
            poll(c)

    until("committed", lambda: done, step)


bystander = Consumer({**BASE, "group.id": "bystander"})


def group(protocol):
    topic, name = "jobs", f"workers-{protocol}"
    conf = {"group.id": name, "auto.offset.reset": "earliest", "enable.auto.commit": False, "group.protocol": protocol}
    if protocol == "classic":
        conf["partition.assignment.strategy"] = "cooperative-sticky"
    seen = []

    def poll(c):
        m = c.poll(0.05)
        if m is not None and not m.error():
            seen.append(m.key())

    start = produce({}, topic, [(f"{protocol}-{i}".encode(), b"job", []) for i in range(300)])
    one, two = Consumer({**BASE, **conf}), Consumer({**BASE, **conf})
    one.subscribe([topic])
    until(f"{protocol}: one has all", lambda: len(one.assignment()) == 6, lambda: poll(one))
    two.subscribe([topic])
    until(f"{protocol}: two share", lambda: (len(one.assignment()), len(two.assignment())) == (3, 3), lambda: (poll(one), poll(two)))
    # What one had read of the partitions that it gave up is read by two again, as nothing was committed yet.
    until(f"{protocol}: read to the end", lambda: position(one) + position(two) == end(topic), lambda: (poll(one), poll(two)))
    check(f"{protocol}: all read", {m.key() for m in start} <= set(seen), True)
    for f in a.describe_consumer_groups([name]).values():
        check(f"{protocol}: members described", len(f.result(PATIENCE).members), 2)
    commit(one, poll)
    commit(two, poll)
    one.close()
    until(f"{protocol}: the other has all", lambda: len(two.assignment()) == 6, lambda: poll(two))
    two.close()
    produce({}, topic, [(f"{protocol}-new-{i}".encode(), b"job", []) for i in range(10)])
    seen.clear()
    three = Consumer({**BASE, **conf})
    three.subscribe([topic])
    until(f"{protocol}: resumed", lambda: len(seen) >= 10, lambda: poll(three))
    check(f"{protocol}: resumed where the commit was", sorted(seen), sorted(f"{protocol}-new-{i}".encode() for i in range(10)))
    three.commit(asynchronous=False)
    three.close()
    listed = {g.group_id for g in a.list_consumer_groups().result(PATIENCE).valid}
    check(f"{protocol}: listed", name in listed, True)
    for f in a.list_consumer_group_offsets([ConsumerGroupTopicPartitions(name)]).values():
        check(f"{protocol}: offsets", sum(p.offset for p in f.result(PATIENCE).topic_partitions), end(topic))
    for f in a.delete_consumer_groups([name]).values():
        f.result(PATIENCE)


group("classic")
group("consumer")

p = Producer({**BASE, "transactional.id": "till", "transaction.timeout.ms": 60000})
p.init_transactions(PATIENCE)
for n, commits in enumerate([True, False, True]):
    p.begin_transaction()
    for i in range(20):
        p.produce("payments", key=f"{n}-{i}".encode(), value=b"10 EUR")
    c = Consumer({**BASE, "group.id": "till", "auto.offset.reset": "earliest", "enable.auto.commit": False})
    c.subscribe(["jobs"])
    until("member of the group", lambda: len(c.assignment()) == 6, lambda: c.poll(0.05))
    p.send_offsets_to_transaction([TopicPartition("jobs", 0, 10 + n)], c.consumer_group_metadata(), PATIENCE)
    check("sent", p.flush(PATIENCE), 0)  # else an abort forgets what was not sent yet
    if commits:
        p.commit_transaction(PATIENCE)
    else:
        p.abort_transaction(PATIENCE)
    check("offset of the transaction", c.committed([TopicPartition("jobs", 0)], timeout=PATIENCE)[0].offset, [10, 10, 12][n])
    c.close()
committed = [f"{n}-{i}".encode() for n in (0, 2) for i in range(20)]
check("committed records", sorted(k for k, _, _ in read("payments", 40, **{"isolation.level": "read_committed"})), sorted(committed))
check("all records", len(read("payments", 60, **{"isolation.level": "read_uncommitted"})), 60)

for name, conf in {
    "PLAIN": {"bootstrap.servers": SASL, "security.protocol": "SASL_PLAINTEXT", "sasl.mechanism": "PLAIN", "sasl.username": "alice", "sasl.password": "secret"},
    "SCRAM": {"bootstrap.servers": SASL, "security.protocol": "SASL_PLAINTEXT", "sasl.mechanism": "SCRAM-SHA-256", "sasl.username": "scram", "sasl.password": "secret"},
    "TLS": {"bootstrap.servers": TLS, "security.protocol": "SSL", "ssl.ca.location": CA},
}.items():
    produce(conf, f"over-{name}", [(b"k", b"v", [])])
    check(f"read over {name}", [r[:2] for r in read(f"over-{name}", 1, **conf)], [(b"k", b"v")])

acl = ak.AclBinding(ak.ResourceType.TOPIC, "secret", ak.ResourcePatternType.LITERAL, "User:bob", "*", ak.AclOperation.READ, ak.AclPermissionType.ALLOW)
for f in a.create_acls([acl]).values():
    f.result(PATIENCE)
every = ak.AclBindingFilter(ak.ResourceType.ANY, None, ak.ResourcePatternType.ANY, None, None, ak.AclOperation.ANY, ak.AclPermissionType.ANY)
check("access rules", a.describe_acls(every).result(PATIENCE), [acl])
for f in a.delete_acls([every]).values():
    check("access rules deleted", f.result(PATIENCE), [acl])
up = ak.UserScramCredentialUpsertion("carol", ak.ScramCredentialInfo(ak.ScramMechanism.SCRAM_SHA_512, 4096), b"pw", b"salt")
for f in a.alter_user_scram_credentials([up]).values():
    f.result(PATIENCE)
check("credentials", sorted(a.describe_user_scram_credentials().result(PATIENCE)), ["carol", "scram"])
for f in a.list_offsets({TopicPartition("payments", 0): ak.OffsetSpec.earliest()}).values():
    check("earliest offset", f.result(PATIENCE).offset, 0)
for f in a.delete_records([TopicPartition("codec-none", 0, 5)]).values():
    check("deleted records", f.result(PATIENCE).low_watermark, 5)
check("elected", len(a.elect_leaders(ElectionType.PREFERRED, [TopicPartition("payments", 0)]).result(PATIENCE)), 1)
for f in a.delete_topics(["events"]).values():
    f.result(PATIENCE)
check("deleted topic", "events" in a.list_topics(timeout=PATIENCE).topics, False)
