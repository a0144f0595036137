import java.io.File;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.util.*;

import org.apache.kafka.common.config.TopicConfig;
import org.apache.kafka.common.record.Record;
import org.apache.kafka.common.record.RecordBatch;
import org.apache.kafka.common.utils.Time;
import org.apache.kafka.common.utils.Utils;
import org.apache.kafka.server.util.KafkaScheduler;
import org.apache.kafka.storage.internals.log.*;
import org.apache.kafka.storage.internals.utils.Throttler;
import org.apache.kafka.storage.log.metrics.BrokerTopicStats;

/**
 * Apache Kafka's own cleaner over partition directories that partlog wrote. Arguments: segment.bytes, delete.retention.ms, the times of
 * the passes joined by commas, and directories. What each pass leaves is written to DIRECTORY.kafka, one batch a line.
 */
public class Cleaning {
    public static void main(String[] args) throws Exception {
        int segmentBytes = Integer.parseInt(args[0]);
        String[] times = args[2].split(",");
        KafkaScheduler scheduler = new KafkaScheduler(1);
        scheduler.startup();
        for (String name : Arrays.copyOfRange(args, 3, args.length)) {
            Properties p = new Properties();
            p.put(LogConfig.INTERNAL_SEGMENT_BYTES_CONFIG, segmentBytes);
            p.put(TopicConfig.CLEANUP_POLICY_CONFIG, "compact");
            p.put(TopicConfig.DELETE_RETENTION_MS_CONFIG, args[1]);
            File dir = new File(name);
            UnifiedLog log = UnifiedLog.create(dir, new LogConfig(p), 0L, 0L, scheduler, new BrokerTopicStats(), Time.SYSTEM, 900000,
                new ProducerStateManagerConfig(Integer.MAX_VALUE, false), 600000, new LogDirFailureChannel(1), true, Optional.empty());
            log.updateHighWatermark(log.logEndOffset());
            Cleaner cleaner = new Cleaner(0, new SkimpyOffsetMap(1 << 20), 1 << 16, 1 << 20, 0.9,
                new Throttler(Double.MAX_VALUE, Long.MAX_VALUE, "cleaner", "bytes", Time.SYSTEM), Time.SYSTEM, tp -> { });
            try (PrintStream out = new PrintStream(name + ".kafka", StandardCharsets.UTF_8)) {
                for (int pass = 0; pass < times.length; pass++) {
                    String now = times[pass];
                    long limit = Math.min(log.lastStableOffset(), log.activeSegment().baseOffset());
                    // The first and the last pass take all of the log as dirty, the others a part: with nothing dirty Kafka's cleaner does nothing.
                    long base = 0;
                    for (LogSegment s : log.logSegments())
                        base = s.baseOffset() <= limit ? s.baseOffset() : base;
                    long dirty = pass % 3 == 0 ? 0 : Math.min(log.logEndOffset() * pass / 4, base - 1);
                    long cleaned = cleaner.doClean(new LogToClean(log, Math.max(dirty, 0), limit, false), Long.parseLong(now)).getKey();
                    out.println("pass " + now + " cleaned " + cleaned);
                    for (LogSegment s : log.logSegments())
                        for (RecordBatch b : s.log().batches())
                            print(out, b);
                }
            }
            log.close();
        }
        scheduler.shutdown();
    }

    static void print(PrintStream out, RecordBatch b) {
        out.printf("%d-%d epoch %d producer %d/%d/%d codec %s %s%s horizon %d max %d:", b.baseOffset(), b.lastOffset(), b.partitionLeaderEpoch(),
            b.producerId(), b.producerEpoch(), b.baseSequence(), b.compressionType().name, b.isTransactional() ? "t" : "", b.isControlBatch() ? "c" : "",
            b.deleteHorizonMs().orElse(-1), b.maxTimestamp());
        for (Record r : b)
            out.printf(" %d@%d %s=%s", r.offset(), r.timestamp(), text(r.hasKey() ? r.key() : null, b), text(r.hasValue() ? r.value() : null, b));
        out.println();
    }

    static String text(java.nio.ByteBuffer b, RecordBatch batch) {
        if (b == null)
            return "null";
        byte[] bytes = Utils.toArray(b);
        return batch.isControlBatch() ? HexFormat.of().formatHex(bytes) : new String(bytes, StandardCharsets.UTF_8);
    }
}
