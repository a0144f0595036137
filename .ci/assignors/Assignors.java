import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.Collections;
import java.util.HashMap;
import java.util.HexFormat;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.TreeMap;
import java.util.TreeSet;
import org.apache.kafka.clients.consumer.ConsumerPartitionAssignor;
import org.apache.kafka.clients.consumer.ConsumerPartitionAssignor.Assignment;
import org.apache.kafka.clients.consumer.ConsumerPartitionAssignor.GroupSubscription;
import org.apache.kafka.clients.consumer.ConsumerPartitionAssignor.Subscription;
import org.apache.kafka.clients.consumer.CooperativeStickyAssignor;
import org.apache.kafka.clients.consumer.RangeAssignor;
import org.apache.kafka.clients.consumer.RoundRobinAssignor;
import org.apache.kafka.clients.consumer.StickyAssignor;
import org.apache.kafka.clients.consumer.internals.ConsumerProtocol;
import org.apache.kafka.common.Cluster;
import org.apache.kafka.common.Node;
import org.apache.kafka.common.PartitionInfo;
import org.apache.kafka.common.TopicPartition;

/**
 * Kafka's assignors as an oracle: reads scenarios, one JSON object a line, and answers each with a line.
 *   {"assignor","partitions":{topic:n},"racks":{topic:[[rack]]},"members":[{"id","instance","subscription":hex}]}
 *       answers {member:{topic:[partition]}}, or {"error":text}. A member's hex is its encoded subscription.
 *   the same with "seconds":s answers {"nanos":n,"rounds":n}: nanoseconds an assignment after as many seconds of
 *       warm-up, over as many seconds.
 *   {"subscription":hex} and {"assignment":hex} answer {"hex":hex}: the same, read and written by Kafka.
 */
public class Assignors {
    private static final ObjectMapper JSON = new ObjectMapper();
    private static final HexFormat HEX = HexFormat.of();

    public static void main(String[] args) throws Exception {
        BufferedReader in = new BufferedReader(new InputStreamReader(System.in));
        for (String line; (line = in.readLine()) != null; ) {
            Object answer;
            try {
                answer = answer(JSON.readTree(line));
            } catch (Exception e) {
                answer = Map.of("error", e.toString());
            }
            System.out.println(JSON.writeValueAsString(answer));
        }
    }

    private static Object answer(JsonNode q) {
        if (q.has("subscription")) {
            ByteBuffer b = hex(q.get("subscription"));
            short version = b.getShort(0);
            return Map.of("hex", hex(ConsumerProtocol.serializeSubscription(ConsumerProtocol.deserializeSubscription(b), version)));
        }
        if (q.has("assignment")) {
            ByteBuffer b = hex(q.get("assignment"));
            short version = b.getShort(0);
            return Map.of("hex", hex(ConsumerProtocol.serializeAssignment(ConsumerProtocol.deserializeAssignment(b), version)));
        }
        Cluster cluster = cluster(q);
        Map<String, Subscription> members = new HashMap<>();
        for (JsonNode m : q.get("members")) {
            Subscription s = ConsumerProtocol.deserializeSubscription(hex(m.get("subscription")));
            if (m.hasNonNull("instance"))
                s.setGroupInstanceId(Optional.of(m.get("instance").asText()));
            members.put(m.get("id").asText(), s);
        }
        String name = q.get("assignor").asText();
        if (q.hasNonNull("seconds"))
            return time(name, cluster, members, q.get("seconds").asDouble());
        Map<String, Map<String, TreeSet<Integer>>> answer = new TreeMap<>();
        assign(name, cluster, members).forEach((id, a) -> {
            Map<String, TreeSet<Integer>> topics = new TreeMap<>();
            for (TopicPartition tp : a.partitions())
                if (!topics.computeIfAbsent(tp.topic(), t -> new TreeSet<>()).add(tp.partition()))
                    throw new IllegalStateException(id + " has " + tp + " twice");
            if (!topics.isEmpty())
                answer.put(id, topics);
        });
        return answer;
    }

    private static Map<String, Assignment> assign(String name, Cluster cluster, Map<String, Subscription> members) {
        for (Subscription s : members.values())
            if (s.userData() != null)
                s.userData().rewind();
        return assignor(name).assign(cluster, new GroupSubscription(members)).groupAssignment();
    }

    private static ConsumerPartitionAssignor assignor(String name) {
        return switch (name) {
            case "range" -> new RangeAssignor();
            case "roundrobin" -> new RoundRobinAssignor();
            case "sticky" -> new StickyAssignor();
            case "cooperative-sticky" -> new CooperativeStickyAssignor();
            default -> throw new IllegalArgumentException(name);
        };
    }

    private static Object time(String name, Cluster cluster, Map<String, Subscription> members, double seconds) {
        long length = (long) (seconds * 1e9), rounds = 0, begin = System.nanoTime(), now = begin;
        for (; now - begin < length; now = System.nanoTime())
            assign(name, cluster, members);
        begin = now;
        for (; now - begin < length; now = System.nanoTime(), rounds++)
            assign(name, cluster, members);
        return Map.of("nanos", (now - begin) / rounds, "rounds", rounds);
    }

    private static Cluster cluster(JsonNode q) {
        Map<String, Node> nodes = new HashMap<>();
        List<PartitionInfo> infos = new ArrayList<>();
        q.get("partitions").properties().forEach(t -> {
            JsonNode racks = q.path("racks").path(t.getKey());
            for (int p = 0; p < t.getValue().asInt(); p++) {
                List<Node> replicas = new ArrayList<>();
                for (JsonNode rack : racks.path(p))
                    replicas.add(nodes.computeIfAbsent(rack.asText(), r -> new Node(nodes.size(), "host", 9092, r.isEmpty() ? null : r)));
                Node[] all = replicas.toArray(new Node[0]);
                infos.add(new PartitionInfo(t.getKey(), p, all.length == 0 ? Node.noNode() : all[0], all, all));
            }
        });
        return new Cluster("cluster", nodes.values(), infos, Collections.emptySet(), Collections.emptySet());
    }

    private static ByteBuffer hex(JsonNode n) {
        return ByteBuffer.wrap(HEX.parseHex(n.asText()));
    }

    private static String hex(ByteBuffer b) {
        byte[] bytes = new byte[b.remaining()];
        b.get(bytes);
        return HEX.formatHex(bytes);
    }
}
