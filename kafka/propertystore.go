package kafka

import (
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/partlog/partlog/group"
	"github.com/partlog/partlog/partition"
)

// coordinator returns the configuration of the groups' coordinator, which the first Start of a store decides.
func (s *settings) coordinator() group.CoordinatorConfig {
	r := propertyReader(s.properties)
	c := group.CoordinatorConfig{
		InitialRebalanceDelay:         s.groupInitialDelay,
		MinSessionTimeout:             s.groupMinSession,
		MaxSessionTimeout:             s.groupMaxSession,
		MaxMetadataBytes:              s.offsetMetadataMax,
		OffsetsRetention:              durationOf(r.number("offsets.retention.minutes"), time.Minute),
		OffsetsRetentionCheckInterval: r.millis("offsets.retention.check.interval.ms"),
		ConsumerGroups: group.ConsumerGroupConfig{
			SessionTimeout:    r.millis("group.consumer.session.timeout.ms"),
			HeartbeatInterval: r.millis("group.consumer.heartbeat.interval.ms"),
			Migration:         s.consumerGroupMigrates,
		},
	}
	if s.groupMaxSize < math.MaxInt32 {
		c.MaxSize = s.groupMaxSize
	}
	if n := r.number("group.consumer.max.size"); n < math.MaxInt32 {
		c.ConsumerGroups.MaxSize = int(n)
	}
	if v := s.properties["group.consumer.regex.refresh.interval.ms"]; v != "" {
		c.ConsumerGroups.RegexRefreshInterval = r.millis("group.consumer.regex.refresh.interval.ms")
	}
	for _, name := range splitList(r.text("group.consumer.assignors")) {
		switch name {
		case "uniform", "org.apache.kafka.coordinator.group.assignor.UniformAssignor":
			c.ConsumerGroups.Assignors = append(c.ConsumerGroups.Assignors, group.Uniform)
		case "range", "org.apache.kafka.coordinator.group.assignor.RangeAssignor":
			c.ConsumerGroups.Assignors = append(c.ConsumerGroups.Assignors, group.ServerRange)
		}
	}
	return c
}

// store returns the configuration of a store that this broker is put in front of. Without a property about flushing its
// sync mode is sync.
func (s *settings) store(sync partition.SyncMode) partition.Config {
	r := propertyReader(s.properties)
	c := partition.Config{
		Sync:                       sync,
		RetentionCheckInterval:     r.millis("log.retention.check.interval.ms"),
		ProducerIDExpiration:       r.millis("producer.id.expiration.ms"),
		MaxTransactionTimeout:      s.txnMaxTimeout,
		TransactionTimeoutInterval: r.millis("transaction.abort.timed.out.transaction.cleanup.interval.ms"),
		TransactionalIDExpiration:  s.transactionalIDExpiry,
		CleanerThreads:             int(r.number("log.cleaner.threads")),
		CleanerBackoff:             r.millis("log.cleaner.backoff.ms"),
		CleanerMapBytes:            r.number("log.cleaner.dedupe.buffer.size"),
		Topics:                     partition.TopicConfig{Partitions: s.numPartitions, Extra: map[string]string{}},
	}
	if f, err := strconv.ParseFloat(r.text("log.cleaner.io.max.bytes.per.second"), 64); err == nil && f < math.MaxInt64 {
		c.CleanerBytesPerSecond = max(int64(f), 1)
	}
	if v := s.properties["num.recovery.threads.per.data.dir"]; v != "" {
		c.OpenConcurrency = int(r.number("num.recovery.threads.per.data.dir"))
	}
	if c.CleanerBackoff == 0 {
		c.CleanerBackoff = time.Millisecond
	}
	if !r.is("log.cleaner.enable") {
		c.CleanerBackoff = partition.Unlimited
	}
	if s.properties["log.retention.ms"] == "" && s.properties["log.retention.minutes"] == "" && s.properties["log.retention.hours"] == "" {
		c.Topics.RetentionAge = 168 * time.Hour // Kafka's; a store's own default is for ever
	}
	for key, v := range s.topicDefaults {
		if stored, ok := storedTopicConfig(key, v); ok {
			c.Topics.Extra[stored.key] = stored.value
		}
	}
	return c
}

func migrationOf(name string) group.MigrationPolicy {
	for _, p := range []group.MigrationPolicy{group.MigrateUpgrade, group.MigrateDowngrade, group.MigrateNone} {
		if strings.EqualFold(p.String(), name) {
			return p
		}
	}
	return group.MigrateBoth
}
