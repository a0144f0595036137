import java.time.Duration;
import java.util.*;
import java.util.concurrent.TimeUnit;
import java.util.function.BooleanSupplier;
import org.apache.kafka.clients.admin.*;
import org.apache.kafka.clients.consumer.*;
import org.apache.kafka.clients.producer.*;
import org.apache.kafka.common.*;
import org.apache.kafka.common.acl.*;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.quota.*;
import org.apache.kafka.common.resource.*;
import org.apache.kafka.common.serialization.*;

/** The Java clients of Apache Kafka, as their users drive them. */
public class Smoke {
    static final String BOOTSTRAP = System.getenv("BOOTSTRAP");
    static final long PATIENCE = 120; // seconds that anything may take: it bounds what hangs, nothing is measured by it

    public static void main(String[] args) throws Exception {
        try (Admin admin = Admin.create(base(Map.of()))) {
            topics(admin);
            for (String codec : List.of("none", "gzip", "snappy", "lz4", "zstd")) codec(codec);
            group(admin, "classic");
            group(admin, "consumer");
            transactions(admin);
            security(admin);
            more(admin);
        }
        System.out.println("ok  closed");
        System.exit(0);
    }

    static Properties base(Map<String, ?> more) {
        Properties p = new Properties();
        p.put("bootstrap.servers", BOOTSTRAP);
        p.put("default.api.timeout.ms", "120000");
        p.put("request.timeout.ms", "60000");
        p.putAll(more);
        return p;
    }

    static void check(String what, Object got, Object want) {
        if (!Objects.equals(got, want)) throw new AssertionError(what + ": got " + got + ", want " + want);
        System.out.println("ok  " + what);
    }

    static void until(String what, BooleanSupplier done, Runnable step) {
        long end = System.nanoTime() + TimeUnit.SECONDS.toNanos(PATIENCE);
        while (!done.getAsBoolean()) {
            if (System.nanoTime() > end) throw new AssertionError(what + ": not within " + PATIENCE + " s");
            step.run();
        }
        System.out.println("ok  " + what);
    }

    static <T> T get(KafkaFuture<T> f) throws Exception {
        return f.get(PATIENCE, TimeUnit.SECONDS);
    }

    static KafkaProducer<String, String> producer(Map<String, ?> more) {
        return new KafkaProducer<>(base(more), new StringSerializer(), new StringSerializer());
    }

    static KafkaConsumer<String, String> consumer(String group, Map<String, ?> more) {
        Properties p = base(Map.of("group.id", group, "auto.offset.reset", "earliest", "enable.auto.commit", "false"));
        p.putAll(more);
        return new KafkaConsumer<>(p, new StringDeserializer(), new StringDeserializer());
    }

    static Collection<String> send(Map<String, ?> conf, String topic, String prefix, int n) throws Exception {
        List<String> keys = new ArrayList<>();
        List<java.util.concurrent.Future<RecordMetadata>> sent = new ArrayList<>();
        try (KafkaProducer<String, String> p = producer(conf)) {
            for (int i = 0; i < n; i++) {
                ProducerRecord<String, String> r = new ProducerRecord<>(topic, prefix + i, i % 50 == 49 ? null : (prefix + i).repeat(20));
                r.headers().add("i", String.valueOf(i).getBytes());
                keys.add(r.key() + r.value() + i);
                sent.add(p.send(r));
            }
            for (var f : sent) f.get(PATIENCE, TimeUnit.SECONDS);
        }
        Collections.sort(keys);
        return keys;
    }

    static Collection<String> read(String topic, int want, Map<String, ?> conf) {
        List<String> got = new ArrayList<>();
        try (KafkaConsumer<String, String> c = consumer("read-" + topic + System.nanoTime(), conf)) {
            c.subscribe(List.of(topic));
            until(want + " records of " + topic, () -> got.size() >= want, () -> {
                for (var r : c.poll(Duration.ofMillis(200))) {
                    Header h = new Header(r);
                    got.add(r.key() + r.value() + h.text);
                }
            });
        }
        Collections.sort(got);
        return got;
    }

    record Header(String text) {
        Header(ConsumerRecord<?, ?> r) {
            this(r.headers().lastHeader("i") == null ? "" : new String(r.headers().lastHeader("i").value()));
        }
    }

    static void topics(Admin admin) throws Exception {
        get(admin.createTopics(List.of(new NewTopic("events", 6, (short) 3).configs(Map.of("retention.ms", "1000000")), new NewTopic("jobs", Optional.of(6), Optional.empty()),
            new NewTopic("payments", Map.of(0, List.of(1), 1, List.of(2))))).all());
        TopicDescription d = get(admin.describeTopics(List.of("events")).allTopicNames()).get("events");
        check("partitions", d.partitions().size(), 6);
        check("replicas", d.partitions().get(0).replicas().size(), 3);
        check("by id", get(admin.describeTopics(TopicCollection.ofTopicIds(List.of(d.topicId()))).allTopicIds()).get(d.topicId()).name(), "events");
        ConfigResource r = new ConfigResource(ConfigResource.Type.TOPIC, "events");
        get(admin.incrementalAlterConfigs(Map.of(r, List.of(new AlterConfigOp(new ConfigEntry("cleanup.policy", "compact"), AlterConfigOp.OpType.APPEND)))).all());
        Config c = get(admin.describeConfigs(List.of(r), new DescribeConfigsOptions().includeSynonyms(true).includeDocumentation(true)).all()).get(r);
        check("altered", c.get("cleanup.policy").value(), "delete,compact");
        check("source", c.get("retention.ms").source(), ConfigEntry.ConfigSource.DYNAMIC_TOPIC_CONFIG);
        check("documented", c.get("retention.ms").documentation() != null, true);
        get(admin.createPartitions(Map.of("events", NewPartitions.increaseTo(8))).all());
        check("more partitions", get(admin.describeTopics(List.of("events")).allTopicNames()).get("events").partitions().size(), 8);
        check("listed", get(admin.listTopics().names()).containsAll(List.of("events", "jobs", "payments")), true);
    }

    static void codec(String codec) throws Exception {
        var want = send(Map.of("compression.type", codec, "enable.idempotence", codec.equals("none") ? "false" : "true"), "codec-" + codec, codec, 200);
        check("records through " + codec, read("codec-" + codec, 200, Map.of()), want);
    }

    static void group(Admin admin, String protocol) throws Exception {
        String name = "workers-" + protocol;
        Map<String, String> conf = new HashMap<>(Map.of("group.protocol", protocol));
        if (protocol.equals("classic")) conf.put("partition.assignment.strategy", CooperativeStickyAssignor.class.getName());
        send(Map.of(), "jobs", protocol, 300);
        Set<String> seen = new HashSet<>();
        var one = consumer(name, conf);
        var two = consumer(name, conf);
        Runnable first = () -> one.poll(Duration.ofMillis(50)).forEach(r -> seen.add(r.key()));
        Runnable second = () -> two.poll(Duration.ofMillis(50)).forEach(r -> seen.add(r.key()));
        Runnable both = () -> { first.run(); second.run(); };
        one.subscribe(List.of("jobs"));
        until(protocol + ": one has all", () -> one.assignment().size() == 6, first);
        two.subscribe(List.of("jobs"));
        until(protocol + ": two share", () -> one.assignment().size() == 3 && two.assignment().size() == 3, both);
        until(protocol + ": read to the end", () -> position(one) + position(two) == end(one), both);
        check(protocol + ": all read", seen.size() >= 300, true);
        ConsumerGroupDescription d = get(admin.describeConsumerGroups(List.of(name)).all()).get(name);
        check(protocol + ": members", d.members().size(), 2);
        check(protocol + ": type", d.type().toString().toLowerCase(), protocol);
        commit(one, first);
        commit(two, second);
        one.close();
        until(protocol + ": the other has all", () -> two.assignment().size() == 6, second);
        two.close();
        seen.clear();
        send(Map.of(), "jobs", protocol + "-new-", 10);
        var three = consumer(name, conf);
        three.subscribe(List.of("jobs"));
        until(protocol + ": resumed", () -> seen.size() >= 10, () -> three.poll(Duration.ofMillis(50)).forEach(r -> seen.add(r.key())));
        check(protocol + ": resumed at the commit", seen.stream().allMatch(k -> k.startsWith(protocol + "-new-")), true);
        three.commitSync();
        long end = end(three);
        three.close();
        long offsets = get(admin.listConsumerGroupOffsets(name).partitionsToOffsetAndMetadata()).values().stream().mapToLong(OffsetAndMetadata::offset).sum();
        check(protocol + ": committed", offsets, end);
        check(protocol + ": listed", get(admin.listGroups().all()).stream().anyMatch(g -> g.groupId().equals(name)), true);
        get(admin.alterConsumerGroupOffsets(name, Map.of(new TopicPartition("jobs", 0), new OffsetAndMetadata(1))).all());
        get(admin.deleteConsumerGroupOffsets(name, Set.of(new TopicPartition("jobs", 1))).all());
        get(admin.deleteConsumerGroups(List.of(name)).all());
    }

    /** Commits what c has read, when no rebalance is under way any more. */
    static void commit(Consumer<?, ?> c, Runnable poll) {
        long end = System.nanoTime() + TimeUnit.SECONDS.toNanos(PATIENCE);
        while (true) {
            try {
                c.commitSync();
                return;
            } catch (org.apache.kafka.common.errors.RebalanceInProgressException | CommitFailedException e) {
                if (System.nanoTime() > end) throw e;
                poll.run();
            }
        }
    }

    static long position(Consumer<?, ?> c) {
        return c.assignment().stream().mapToLong(c::position).sum();
    }

    static long end(Consumer<?, ?> c) {
        List<TopicPartition> all = new ArrayList<>();
        for (int i = 0; i < 6; i++) all.add(new TopicPartition("jobs", i));
        return c.endOffsets(all).values().stream().mapToLong(Long::longValue).sum();
    }

    static void transactions(Admin admin) throws Exception {
        var source = consumer("till", Map.of());
        source.subscribe(List.of("jobs"));
        until("member of the group", () -> source.assignment().size() == 6, () -> source.poll(Duration.ofMillis(50)));
        try (var p = producer(Map.of("transactional.id", "till", "compression.type", "lz4"))) {
            p.initTransactions();
            for (int n = 0; n < 3; n++) {
                p.beginTransaction();
                for (int i = 0; i < 20; i++) p.send(new ProducerRecord<>("payments", n + "-" + i, "10 EUR"));
                p.sendOffsetsToTransaction(Map.of(new TopicPartition("jobs", 0), new OffsetAndMetadata(10 + n)), source.groupMetadata());
                p.flush(); // else an abort forgets what was not sent yet
                if (n == 1) p.abortTransaction();
                else p.commitTransaction();
                var at = source.committed(Set.of(new TopicPartition("jobs", 0))).get(new TopicPartition("jobs", 0));
                check("offset of transaction " + n, at.offset(), new long[] {10, 10, 12}[n]);
            }
            check("described", get(admin.describeTransactions(List.of("till")).all()).get("till").state(), TransactionState.COMPLETE_COMMIT);
            check("listed", get(admin.listTransactions().all()).stream().map(TransactionListing::transactionalId).toList(), List.of("till"));
            try (var rival = producer(Map.of("transactional.id", "till"))) {
                rival.initTransactions();
                p.beginTransaction();
                p.send(new ProducerRecord<>("payments", "late"));
                try {
                    p.commitTransaction();
                    throw new AssertionError("a fenced producer committed");
                } catch (org.apache.kafka.common.errors.ProducerFencedException | org.apache.kafka.common.errors.InvalidProducerEpochException e) {
                    System.out.println("ok  fenced");
                }
            }
        }
        source.close();
        check("committed", read("payments", 40, Map.of("isolation.level", "read_committed")).stream().noneMatch(k -> k.startsWith("1-")), true);
        check("all", read("payments", 60, Map.of("isolation.level", "read_uncommitted")).size(), 60);
        check("fenced by admin", get(admin.fenceProducers(List.of("till")).all()), null);
        check("producers", get(admin.describeProducers(List.of(new TopicPartition("payments", 0))).all()).size(), 1);
    }

    static void security(Admin admin) throws Exception {
        String plain = "org.apache.kafka.common.security.plain.PlainLoginModule required username=\"alice\" password=\"secret\";";
        String scram = "org.apache.kafka.common.security.scram.ScramLoginModule required username=\"scram\" password=\"secret\";";
        Map<String, Map<String, String>> ways = new LinkedHashMap<>();
        ways.put("PLAIN", Map.of("bootstrap.servers", System.getenv("SASL_BOOTSTRAP"), "security.protocol", "SASL_PLAINTEXT", "sasl.mechanism", "PLAIN", "sasl.jaas.config", plain));
        ways.put("SCRAM", Map.of("bootstrap.servers", System.getenv("SASL_BOOTSTRAP"), "security.protocol", "SASL_PLAINTEXT", "sasl.mechanism", "SCRAM-SHA-256", "sasl.jaas.config", scram));
        ways.put("TLS", Map.of("bootstrap.servers", System.getenv("TLS_BOOTSTRAP"), "security.protocol", "SSL", "ssl.truststore.type", "PEM", "ssl.truststore.location", System.getenv("CA_FILE")));
        for (var way : ways.entrySet()) {
            var want = send(way.getValue(), "over-" + way.getKey(), "k", 5);
            check("read over " + way.getKey(), read("over-" + way.getKey(), 5, way.getValue()), want);
        }
        AclBinding rule = new AclBinding(new ResourcePattern(ResourceType.TOPIC, "secret", PatternType.PREFIXED), new AccessControlEntry("User:bob", "*", AclOperation.READ, AclPermissionType.DENY));
        get(admin.createAcls(List.of(rule)).all());
        check("rules", List.copyOf(get(admin.describeAcls(AclBindingFilter.ANY).values())), List.of(rule));
        check("rules deleted", List.copyOf(get(admin.deleteAcls(List.of(AclBindingFilter.ANY)).all())), List.of(rule));
        get(admin.alterUserScramCredentials(List.of(new UserScramCredentialUpsertion("carol", new ScramCredentialInfo(ScramMechanism.SCRAM_SHA_512, 4096), "pw"))).all());
        check("credentials", new TreeSet<>(get(admin.describeUserScramCredentials().users())), new TreeSet<>(List.of("carol", "scram")));
        ClientQuotaEntity carol = new ClientQuotaEntity(Map.of("user", "carol"));
        get(admin.alterClientQuotas(List.of(new ClientQuotaAlteration(carol, List.of(new ClientQuotaAlteration.Op("producer_byte_rate", 1e6))))).all());
        check("quotas", get(admin.describeClientQuotas(ClientQuotaFilter.all()).entities()), Map.of(carol, Map.of("producer_byte_rate", 1e6)));
        try {
            get(admin.describeDelegationToken().delegationTokens());
            throw new AssertionError("delegation tokens");
        } catch (java.util.concurrent.ExecutionException e) {
            check("no delegation tokens", e.getCause().getClass().getSimpleName(), "UnsupportedByAuthenticationException".equals(e.getCause().getClass().getSimpleName()) ? "UnsupportedByAuthenticationException" : "DelegationTokenDisabledException");
        }
    }

    static void more(Admin admin) throws Exception {
        DescribeClusterResult cluster = admin.describeCluster(new DescribeClusterOptions().includeAuthorizedOperations(true));
        check("brokers", get(cluster.nodes()).size(), 3);
        check("operations", get(cluster.authorizedOperations()).contains(AclOperation.ALTER), true);
        TopicPartition tp = new TopicPartition("codec-none", 0);
        check("latest", get(admin.listOffsets(Map.of(tp, OffsetSpec.maxTimestamp())).partitionResult(tp)).offset() >= 0, true);
        check("deleted records", get(admin.deleteRecords(Map.of(tp, RecordsToDelete.beforeOffset(3))).lowWatermarks().get(tp)).lowWatermark(), 3L);
        check("log directories", get(admin.describeLogDirs(List.of(1, 2, 3)).allDescriptions()).size(), 3);
        check("features", get(admin.describeFeatures().featureMetadata()).finalizedFeatures().containsKey("transaction.version"), true);
        check("quorum", get(admin.describeMetadataQuorum().quorumInfo()).leaderId() > 0, true);
        get(admin.alterPartitionReassignments(Map.of(new TopicPartition("payments", 0), Optional.of(new NewPartitionReassignment(List.of(3))))).all());
        until("reassigned", () -> {
            try {
                return get(admin.listPartitionReassignments().reassignments()).isEmpty() && get(admin.describeTopics(List.of("payments")).allTopicNames()).get("payments").partitions().get(0).leader().id() == 3;
            } catch (Exception e) {
                throw new RuntimeException(e);
            }
        }, () -> { });
        var elected = get(admin.electLeaders(ElectionType.PREFERRED, Set.of(new TopicPartition("payments", 0))).partitions());
        check("elections", elected.size() <= 1, true);
        check("client metrics", get(admin.listConfigResources(Set.of(ConfigResource.Type.CLIENT_METRICS), new ListConfigResourcesOptions()).all()).size(), 0);
        get(admin.deleteTopics(List.of("events")).all());
        check("deleted", get(admin.listTopics().names()).contains("events"), false);
    }
}
