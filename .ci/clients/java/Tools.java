import java.io.*;
import java.nio.charset.StandardCharsets;
import java.nio.file.*;
import java.util.*;
import java.util.concurrent.*;
import java.util.regex.Pattern;
import java.util.stream.*;
import org.apache.kafka.common.utils.Exit;

/** The console tools of Apache Kafka, as people use them, but all in one JVM: each alone takes seconds to start. */
public class Tools {
    static final String TOOLS = "org.apache.kafka.tools.";
    static final String B = System.getenv("BOOTSTRAP");
    static final PrintStream OUT = System.out;
    static String said;
    static volatile Integer first;

    /** What a tool ends with in place of the process. */
    static class Exited extends Error {
        Exited(int code, String message) {
            super(message, null, false, false);
            if (first == null) first = code; // some tools catch all that is thrown, and exit again
        }
    }

    public static void main(String[] args) throws Exception {
        Exit.setExitProcedure((code, message) -> { throw new Exited(code, message); });
        Exit.setHaltProcedure((code, message) -> { throw new Exited(code, message); });
        Path work = Path.of(System.getenv("WORK"));
        topics();
        configs();
        console();
        groups();
        rest(work);
        OUT.println("ok  all tools");
        Runtime.getRuntime().halt(0);
    }

    /** Runs a tool's main with the words of line and then those of more, which may have blanks in them. */
    static void t(String tool, String line, String... more) throws Exception {
        List<String> words = new ArrayList<>(List.of(line.replace("$B", B).split(" ")));
        words.addAll(List.of(more));
        ByteArrayOutputStream out = new ByteArrayOutputStream();
        System.setOut(new PrintStream(out, true));
        var pool = Executors.newSingleThreadExecutor();
        first = null;
        try {
            pool.submit(() -> {
                try {
                    Class.forName(tool).getMethod("main", String[].class).invoke(null, (Object) words.toArray(new String[0]));
                } catch (java.lang.reflect.InvocationTargetException e) {
                    if (!(e.getCause() instanceof Exited)) throw e;
                }
                return null;
            }).get(4, TimeUnit.MINUTES);
        } catch (Exception e) {
            OUT.println(out);
            throw new Exception(tool + " " + words, e);
        } finally {
            System.setOut(OUT);
            pool.shutdownNow();
        }
        said = out.toString(StandardCharsets.UTF_8);
        if (first != null && first != 0) throw new Exception(tool + " " + words + " ended with " + first + "\n" + said);
    }

    static void says(String what, String pattern) {
        if (!Pattern.compile(pattern, Pattern.MULTILINE).matcher(said).find()) throw new AssertionError(what + ": " + pattern + " is not in\n" + said);
        OUT.println("ok  " + what);
    }

    static void topics() throws Exception {
        t(TOOLS + "TopicCommand", "--bootstrap-server $B --create --topic events --partitions 3 --replication-factor 3 --config retention.ms=1000000");
        t(TOOLS + "TopicCommand", "--bootstrap-server $B --describe --topic events");
        says("kafka-topics --describe", "PartitionCount: 3.*ReplicationFactor: 3.*retention.ms=1000000");
        t(TOOLS + "TopicCommand", "--bootstrap-server $B --alter --topic events --partitions 4");
        t(TOOLS + "TopicCommand", "--bootstrap-server $B --list");
        says("kafka-topics --list", "^events$");
        t(TOOLS + "TopicCommand", "--bootstrap-server $B --create --topic lines --partitions 3");
        t(TOOLS + "TopicCommand", "--bootstrap-server $B --create --topic perf --partitions 3");
    }

    static void configs() throws Exception {
        String c = "kafka.admin.ConfigCommand";
        t(c, "--bootstrap-server $B --alter --entity-type topics --entity-name events --add-config cleanup.policy=compact");
        t(c, "--bootstrap-server $B --describe --entity-type topics --entity-name events");
        says("kafka-configs of a topic", "cleanup.policy=compact");
        t(c, "--bootstrap-server $B --alter --entity-type users --entity-name dave --add-config SCRAM-SHA-256=[iterations=4096,password=pw]");
        t(c, "--bootstrap-server $B --alter --entity-type users --entity-name dave --add-config producer_byte_rate=1048576");
        t(c, "--bootstrap-server $B --describe --entity-type users");
        says("kafka-configs of users", "producer_byte_rate=1048576[.]0");
        t(c, "--bootstrap-server $B --describe --entity-type brokers --entity-name 1 --all");
        says("kafka-configs of a broker", "num.partitions=3");
        t(c, "--bootstrap-server $B --alter --entity-type groups --entity-name g --add-config consumer.session.timeout.ms=50000");
        t(c, "--bootstrap-server $B --describe --entity-type groups --entity-name g");
        says("kafka-configs of a group", "consumer.session.timeout.ms=50000");
        t(c, "--bootstrap-server $B --alter --entity-type client-metrics --entity-name m --add-config interval.ms=60000");
        t(c, "--bootstrap-server $B --describe --entity-type client-metrics --entity-name m");
        says("kafka-configs of client metrics", "interval.ms=60000");
    }

    static void console() throws Exception {
        String lines = IntStream.rangeClosed(1, 1000).mapToObj(i -> "key-" + i + ":value-" + i + "\n").collect(Collectors.joining());
        List<String> want = new ArrayList<>();
        for (String codec : List.of("none", "gzip", "snappy", "lz4", "zstd")) {
            System.setIn(new ByteArrayInputStream(lines.getBytes()));
            t(TOOLS + "ConsoleProducer", "--bootstrap-server $B --topic lines --compression-codec " + codec + " --property parse.key=true --property key.separator=:");
            want.addAll(lines.lines().toList());
        }
        Collections.sort(want);
        for (String protocol : List.of("classic", "consumer")) {
            t(TOOLS + "consumer.ConsoleConsumer", "--bootstrap-server $B --topic lines --from-beginning --max-messages 5000 --timeout-ms 200000 --group console-" + protocol +
                " --consumer-property group.protocol=" + protocol + " --property print.key=true --property key.separator=:");
            if (!said.lines().sorted().toList().equals(want)) throw new AssertionError("console-consumer: not what the producer was given\n" + said);
            OUT.println("ok  kafka-console-producer and -consumer, " + protocol);
        }
    }

    static void groups() throws Exception {
        String g = TOOLS + "consumer.group.ConsumerGroupCommand";
        t(g, "--bootstrap-server $B --describe --group console-classic");
        says("kafka-consumer-groups --describe", "console-classic +lines +[0-9]+ +[0-9]+ +[0-9]+ +0 ");
        t(g, "--bootstrap-server $B --reset-offsets --to-earliest --topic lines --group console-classic --execute");
        t(g, "--bootstrap-server $B --list --state");
        says("kafka-consumer-groups --list", "console-consumer +Empty");
        t(g, "--bootstrap-server $B --delete --group console-classic");
        says("kafka-consumer-groups --delete", "successful");
        t(TOOLS + "GetOffsetShell", "--bootstrap-server $B --topic lines");
        says("kafka-get-offsets", "^lines:0:");
        if (said.lines().mapToInt(l -> Integer.parseInt(l.split(":")[2])).sum() != 5000) throw new AssertionError(said);
    }

    static void rest(Path work) throws Exception {
        t("org.apache.kafka.tools.AclCommand", "--bootstrap-server $B --add --allow-principal User:dave --operation Read --topic secret");
        t("org.apache.kafka.tools.AclCommand", "--bootstrap-server $B --list");
        says("kafka-acls", "User:dave.*READ");
        t(TOOLS + "TransactionsCommand", "--bootstrap-server $B list");
        says("kafka-transactions", "TransactionalId");
        t(TOOLS + "LogDirsCommand", "--bootstrap-server $B --describe --topic-list lines");
        says("kafka-log-dirs", "\"partition\":\"lines-0\"");
        Path moves = Files.writeString(work.resolve("moves.json"), "{\"version\":1,\"partitions\":[{\"topic\":\"events\",\"partition\":0,\"replicas\":[2,3]}]}");
        String r = TOOLS + "reassign.ReassignPartitionsCommand";
        t(r, "--bootstrap-server $B --execute --reassignment-json-file " + moves);
        t(r, "--bootstrap-server $B --verify --reassignment-json-file " + moves);
        says("kafka-reassign-partitions", "Reassignment of partition events-0 is completed");
        t(TOOLS + "LeaderElectionCommand", "--bootstrap-server $B --election-type preferred --all-topic-partitions");
        OUT.println("ok  kafka-leader-election");
        t(TOOLS + "FeatureCommand", "--bootstrap-server $B describe");
        says("kafka-features", "transaction.version");
        t(TOOLS + "MetadataQuorumCommand", "--bootstrap-server $B describe --status");
        says("kafka-metadata-quorum", "LeaderId");
        t(TOOLS + "BrokerApiVersionsCommand", "--bootstrap-server " + B.split(",")[0]);
        says("kafka-broker-api-versions", "Produce\\(0\\): 0 to 13");
        Path delete = Files.writeString(work.resolve("delete.json"), "{\"partitions\":[{\"topic\":\"lines\",\"partition\":0,\"offset\":1}],\"version\":1}");
        t(TOOLS + "DeleteRecordsCommand", "--bootstrap-server $B --offset-json-file " + delete);
        says("kafka-delete-records", "low_watermark: 1");
        t(TOOLS + "ProducerPerformance", "--topic perf --num-records 20000 --record-size 100 --throughput -1 --producer-props compression.type=zstd bootstrap.servers=" + B);
        says("kafka-producer-perf-test", "20000 records sent");
        t(TOOLS + "ConsumerPerformance", "--bootstrap-server $B --topic perf --messages 20000 --timeout 200000");
        says("kafka-consumer-perf-test", ", 20000, ");
        t(TOOLS + "EndToEndLatency", "$B e2e 200 all 100");
        says("kafka-e2e-latency", "Percentiles");
        t(TOOLS + "TopicCommand", "--bootstrap-server $B --delete --topic events");
        t(TOOLS + "TopicCommand", "--bootstrap-server $B --list");
        if (said.lines().anyMatch("events"::equals)) throw new AssertionError(said);
        says("kafka-topics --delete", "^lines$");
    }
}
