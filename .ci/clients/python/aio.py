"""aiokafka as its users drive it."""
import asyncio
import ssl
import time

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from smoke import BOOTSTRAP, CA, PATIENCE, SASL, TLS, check, records

BASE = {"bootstrap_servers": BOOTSTRAP, "client_id": "aiokafka"}


async def until(what, done, step):
    end = time.monotonic() + PATIENCE
    while not done():
        if time.monotonic() > end:
            raise SystemExit(f"{what}: not within {PATIENCE} s")
        await step()
    print(f"ok  {what}", flush=True)


async def produce(topic, rs, **conf):
    p = AIOKafkaProducer(**{**BASE, **conf})
    await p.start()
    for f in [await p.send(topic, key=k, value=v, headers=h) for k, v, h in rs]:
        await f
    await p.stop()


async def consumer(topic, group, **conf):
    c = AIOKafkaConsumer(topic, **{**BASE, "group_id": group, "auto_offset_reset": "earliest", "enable_auto_commit": False, "session_timeout_ms": 45000, **conf})
    await c.start()
    return c


async def poll(c, into):
    for rs in (await c.getmany(timeout_ms=100)).values():
        into.extend((r.key, r.value, list(r.headers)) for r in rs)


async def read(topic, want, group=None, **conf):
    got = []
    c = await consumer(topic, group or f"read-{topic}-{time.monotonic_ns()}", **conf)
    await until(f"{want} records of {topic} read", lambda: len(got) >= want, lambda: poll(c, got))
    await c.stop()
    return got


async def main():
    a = AIOKafkaAdminClient(**BASE)
    await a.start()
    await a.create_topics([NewTopic("events", 6, 1), NewTopic("jobs", 6, 1), NewTopic("payments", 1, 1)])
    check("partitions", len((await a.describe_topics(["events"]))[0]["partitions"]), 6)
    await a.alter_configs([ConfigResource(ConfigResourceType.TOPIC, "events", {"retention.ms": "123456"})])
    check("altered config", "123456" in str(await a.describe_configs([ConfigResource(ConfigResourceType.TOPIC, "events")])), True)
    for codec in [None, "gzip", "snappy", "lz4", "zstd"]:
        want = list(records(str(codec)))
        await produce(f"codec-{codec}", want, compression_type=codec, enable_idempotence=codec is not None)
        check(f"records through {codec}", sorted(await read(f"codec-{codec}", len(want)), key=lambda r: r[0]), sorted(want, key=lambda r: r[0]))

    await produce("jobs", [(f"job-{i}".encode(), b"job", []) for i in range(300)])
    seen = []
    one = await consumer("jobs", "workers")
    await until("one has all", lambda: len(one.assignment()) == 6, lambda: poll(one, seen))
    two = await asyncio.gather(consumer("jobs", "workers"), poll(one, seen))
    two = two[0]

    async def both():
        await asyncio.gather(poll(one, seen), poll(two, seen))

    await until("two share", lambda: (len(one.assignment()), len(two.assignment())) == (3, 3), both)
    tps = [TopicPartition("jobs", i) for i in range(6)]
    end = sum((await one.end_offsets(tps)).values())
    at = [-1]

    async def move():
        await both()
        at[0] = sum([await c.position(tp) for c in (one, two) for tp in c.assignment()])

    await until("read to the end", lambda: at[0] == end, move)
    check("all read", {r[0] for r in seen}, {f"job-{i}".encode() for i in range(300)})
    check("members", len((await a.describe_consumer_groups(["workers"]))[0].groups[0][5]), 2)
    await one.commit()
    await two.commit()
    await one.stop()
    await until("the other has all", lambda: len(two.assignment()) == 6, lambda: poll(two, seen))
    await two.stop()
    await produce("jobs", [(f"new-{i}".encode(), b"job", []) for i in range(10)])
    check("resumed where the commit was", sorted({r[0] for r in await read("jobs", 10, "workers")}), sorted(f"new-{i}".encode() for i in range(10)))

    p = AIOKafkaProducer(**BASE, transactional_id="till")
    await p.start()
    for n in range(3):
        await p.begin_transaction()
        for i in range(20):
            await p.send_and_wait("payments", key=f"{n}-{i}".encode(), value=b"10 EUR")
        await p.send_offsets_to_transaction({TopicPartition("jobs", 0): 10 + n}, "till")
        if n == 1:
            await p.abort_transaction()
        else:
            await p.commit_transaction()
    await p.stop()
    committed = [f"{n}-{i}".encode() for n in (0, 2) for i in range(20)]
    check("committed records", sorted(r[0] for r in await read("payments", 40, isolation_level="read_committed")), sorted(committed))
    check("all records", len(await read("payments", 60)), 60)
    check("offset of the transaction", (await a.list_consumer_group_offsets("till"))[TopicPartition("jobs", 0)].offset, 12)

    trust = ssl.create_default_context(cafile=CA)
    for name, conf in {
        "PLAIN": {"bootstrap_servers": SASL, "security_protocol": "SASL_PLAINTEXT", "sasl_mechanism": "PLAIN", "sasl_plain_username": "alice", "sasl_plain_password": "secret"},
        "SCRAM": {"bootstrap_servers": SASL, "security_protocol": "SASL_PLAINTEXT", "sasl_mechanism": "SCRAM-SHA-256", "sasl_plain_username": "scram", "sasl_plain_password": "secret"},
        "TLS": {"bootstrap_servers": TLS, "security_protocol": "SSL", "ssl_context": trust},
    }.items():
        await produce(f"over-{name}", [(b"k", b"v", [])], **conf)
        check(f"read over {name}", [r[:2] for r in await read(f"over-{name}", 1, **conf)], [(b"k", b"v")])
    check("group listed", "workers" in str(await a.list_consumer_groups()), True)
    await a.delete_topics(["events"])
    check("deleted topic", "events" in await a.list_topics(), False)
    await a.close()


asyncio.run(main())
