import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.nio.ByteBuffer;
import java.util.Collections;
import java.util.HashMap;
import java.util.HexFormat;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.TreeMap;
import java.util.TreeSet;
import org.apache.kafka.common.Uuid;
import org.apache.kafka.coordinator.common.runtime.CoordinatorRecord;
import org.apache.kafka.coordinator.group.GroupCoordinatorRecordSerde;
import org.apache.kafka.coordinator.group.api.assignor.ConsumerGroupPartitionAssignor;
import org.apache.kafka.coordinator.group.api.assignor.GroupAssignment;
import org.apache.kafka.coordinator.group.api.assignor.SubscribedTopicDescriber;
import org.apache.kafka.coordinator.group.api.assignor.SubscriptionType;
import org.apache.kafka.coordinator.group.assignor.RangeAssignor;
import org.apache.kafka.coordinator.group.assignor.UniformAssignor;
import org.apache.kafka.coordinator.group.modern.Assignment;
import org.apache.kafka.coordinator.group.modern.GroupSpecImpl;
import org.apache.kafka.coordinator.group.modern.MemberSubscriptionAndAssignmentImpl;

/**
 * Kafka's server assignors (KIP-848) and the records of its group coordinator as an oracle: reads questions, one JSON
 * object a line, and answers each with a line.
 *   {"assignor","partitions":{topic:n},"members":[{"id","instance","topics":[topic],"target":{topic:[partition]}}]}
 *       answers {member:{topic:[partition]}}, or {"error":text}. A topic is a small number, its id the Uuid of that value;
 *       members are taken in the order in which they come.
 *   {"key":hex,"value":hex} answers {"key":hex,"value":hex}: the same record, read and written by Kafka.
 */
public class ServerAssignors {
    private static final ObjectMapper JSON = new ObjectMapper();
    private static final HexFormat HEX = HexFormat.of();

    public static void main(String[] args) throws Exception {
        BufferedReader in = new BufferedReader(new InputStreamReader(System.in));
        for (String line; (line = in.readLine()) != null; ) {
            Object answer;
            try {
                JsonNode q = JSON.readTree(line);
                answer = q.has("key") ? record(q) : assign(q);
            } catch (Exception e) {
                answer = Map.of("error", e.toString());
            }
            System.out.println(JSON.writeValueAsString(answer));
        }
    }

    private static Object record(JsonNode q) {
        GroupCoordinatorRecordSerde serde = new GroupCoordinatorRecordSerde();
        ByteBuffer value = q.hasNonNull("value") ? ByteBuffer.wrap(HEX.parseHex(q.get("value").asText())) : null;
        CoordinatorRecord r = serde.deserialize(ByteBuffer.wrap(HEX.parseHex(q.get("key").asText())), value);
        Map<String, String> answer = new HashMap<>();
        answer.put("key", HEX.formatHex(serde.serializeKey(r)));
        if (r.value() != null)
            answer.put("value", HEX.formatHex(serde.serializeValue(r)));
        return answer;
    }

    private static Uuid id(String topic) {
        return new Uuid(0, Long.parseLong(topic));
    }

    private static Object assign(JsonNode q) {
        Map<Uuid, Integer> partitions = new HashMap<>();
        q.get("partitions").fields().forEachRemaining(e -> partitions.put(id(e.getKey()), e.getValue().asInt()));
        Map<String, MemberSubscriptionAndAssignmentImpl> members = new LinkedHashMap<>();
        Map<Uuid, Map<Integer, String>> owners = new HashMap<>();
        Set<Uuid> first = null;
        boolean homogeneous = true;
        for (JsonNode m : q.get("members")) {
            Set<Uuid> topics = new TreeSet<>();
            m.get("topics").forEach(t -> topics.add(id(t.asText())));
            Map<Uuid, Set<Integer>> target = new TreeMap<>();
            m.get("target").fields().forEachRemaining(e -> {
                Set<Integer> of = target.computeIfAbsent(id(e.getKey()), k -> new TreeSet<>());
                e.getValue().forEach(p -> {
                    of.add(p.asInt());
                    owners.computeIfAbsent(id(e.getKey()), k -> new HashMap<>()).put(p.asInt(), m.get("id").asText());
                });
            });
            Optional<String> instance = m.hasNonNull("instance") ? Optional.of(m.get("instance").asText()) : Optional.empty();
            members.put(m.get("id").asText(), new MemberSubscriptionAndAssignmentImpl(Optional.empty(), instance, topics, new Assignment(target)));
            if (first == null)
                first = topics;
            homogeneous &= first.equals(topics);
        }
        ConsumerGroupPartitionAssignor assignor = q.get("assignor").asText().equals("range") ? new RangeAssignor() : new UniformAssignor();
        SubscriptionType type = homogeneous ? SubscriptionType.HOMOGENEOUS : SubscriptionType.HETEROGENEOUS;
        GroupAssignment assignment = assignor.assign(new GroupSpecImpl(Collections.unmodifiableMap(members), type, owners), new SubscribedTopicDescriber() {
            public int numPartitions(Uuid topic) {
                return partitions.getOrDefault(topic, -1);
            }

            public Set<String> racksForPartition(Uuid topic, int partition) {
                return Set.of();
            }
        });
        Map<String, Map<Long, TreeSet<Integer>>> answer = new TreeMap<>();
        assignment.members().forEach((member, a) -> a.partitions().forEach((topic, p) -> {
            if (!p.isEmpty())
                answer.computeIfAbsent(member, k -> new TreeMap<>()).put(topic.getLeastSignificantBits(), new TreeSet<>(p));
        }));
        return answer;
    }
}
