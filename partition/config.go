package partition

import (
	"fmt"
	"runtime"
	"time"

	"github.com/partlog/partlog/internal/clock"
)

// Config holds the settings of a store. The zero Config is valid and is the safe choice.
type Config struct {
	// Sync is the sync mode of topics that set none; default SyncAlways: an acknowledged append survives a power
	// loss. Kafka's default is SyncNever.
	Sync SyncMode

	// Topics holds defaults for the topics' settings, as a broker's configuration does in Kafka. Its Partitions is
	// num.partitions. Default: the defaults of TopicConfig.
	Topics TopicConfig

	// Events are functions called when something happens that no call returns; default none.
	Events Events

	SyncConcurrency        int           // background syncs at the same time in SyncInterval mode; default 8
	OpenConcurrency        int           // partitions opened, closed or created at the same time; default 2 per CPU (num.recovery.threads.per.data.dir)
	MaxMappings            int           // memory mappings of the whole store, further reads copy; default 16384 (vm.max_map_count allows 65530)
	MaxOpenFiles           int           // partitions whose active segment stays open between appends, the longest unused are closed; default 4096
	RetentionCheckInterval time.Duration // log.retention.check.interval.ms; default 5 min
	CheckpointInterval     time.Duration // recovery points are persisted this often while there are writes; default 1 s
	CheckpointBytes        int64         // or after so many bytes appended to one partition; default 16 MiB
	LowSpaceBytes          int64         // free space below which Stats and Events warn; default 256 MiB, Unlimited: never
	CloseTimeout           time.Duration // bound of Close for what may hang; default 30 s
	ProducerIDExpiration   time.Duration // producer.id.expiration.ms; default 24 h

	MaxTransactionTimeout      time.Duration // transaction.max.timeout.ms; default 15 min
	TransactionTimeoutInterval time.Duration // how often timeouts are looked for (transaction.abort.timed.out.transaction.cleanup.interval.ms); default 10 s
	TransactionalIDExpiration  time.Duration // transactional.id.expiration.ms: ids idle for longer are forgotten; default 0: never

	CleanerThreads        int           // log.cleaner.threads, partitions compacted at the same time; default 1
	CleanerBackoff        time.Duration // log.cleaner.backoff.ms, between two looks at what has become dirty; default 15 s, Unlimited: only Compact compacts
	CleanerMapBytes       int64         // log.cleaner.dedupe.buffer.size of all threads, held only while they compact; default 128 MiB, for 5 million keys at a time
	CleanerBytesPerSecond int64         // log.cleaner.io.max.bytes.per.second, read and written, of each thread; default Unlimited

	// ClusterID is Kafka's cluster id of a store that is made, 22 letters; one that is there keeps its own. Default: drawn.
	ClusterID string

	// Cluster makes the store one node of several; default nil: it is alone. See Cluster.
	Cluster Cluster

	// Clock is where all time comes from; default the system's.
	Clock Clock
	// FS is where all files are; default the operating system's. OpenMemory ignores it.
	FS FS
}

// withDefaults returns c with every zero field set to its default.
func (c Config) withDefaults() Config {
	set := func(p *int, v int) {
		if *p == 0 {
			*p = v
		}
	}
	age := func(p *time.Duration, v time.Duration) {
		if *p == 0 {
			*p = v
		}
	}
	if c.Sync == 0 {
		c.Sync = SyncAlways
	}
	set(&c.SyncConcurrency, 8)
	set(&c.OpenConcurrency, 2*runtime.GOMAXPROCS(0))
	set(&c.MaxMappings, 16384)
	set(&c.MaxOpenFiles, 4096)
	age(&c.RetentionCheckInterval, 5*time.Minute)
	age(&c.CheckpointInterval, time.Second)
	age(&c.CloseTimeout, 30*time.Second)
	age(&c.ProducerIDExpiration, 24*time.Hour)
	age(&c.MaxTransactionTimeout, 15*time.Minute)
	age(&c.TransactionTimeoutInterval, 10*time.Second)
	set(&c.CleanerThreads, 1)
	age(&c.CleanerBackoff, 15*time.Second)
	if c.CleanerMapBytes == 0 {
		c.CleanerMapBytes = 128 << 20
	}
	if c.CleanerBytesPerSecond == 0 {
		c.CleanerBytesPerSecond = Unlimited
	}
	if c.CheckpointBytes == 0 {
		c.CheckpointBytes = 16 << 20
	}
	if c.LowSpaceBytes == 0 {
		c.LowSpaceBytes = 256 << 20
	}
	if c.Topics.Partitions == 0 {
		c.Topics.Partitions = 1
	}
	if c.Clock == nil {
		c.Clock = clock.System
	}
	return c
}

// validate returns a *ConfigError for the first field out of range. c has its defaults.
func (c Config) validate() (overrides map[string]string, err error) {
	if c.Sync < 0 && c.Sync != SyncAlways && c.Sync != SyncNever {
		return nil, &ConfigError{Key: "Sync", Value: c.Sync.String(), Range: "SyncAlways, SyncInterval or SyncNever"}
	}
	if _, err := ParseTopicID(c.ClusterID); err != nil && c.ClusterID != "" {
		return nil, &ConfigError{Key: "ClusterID", Value: c.ClusterID, Range: "22 letters of base64url, as kafka-storage random-uuid prints them"}
	}
	for _, f := range []struct {
		name string
		v    int64
	}{
		{"SyncConcurrency", int64(c.SyncConcurrency)},
		{"OpenConcurrency", int64(c.OpenConcurrency)},
		{"MaxMappings", int64(c.MaxMappings)},
		{"MaxOpenFiles", int64(c.MaxOpenFiles)},
		{"RetentionCheckInterval", int64(c.RetentionCheckInterval)},
		{"CheckpointInterval", int64(c.CheckpointInterval)},
		{"CheckpointBytes", c.CheckpointBytes},
		{"CloseTimeout", int64(c.CloseTimeout)},
		{"ProducerIDExpiration", int64(c.ProducerIDExpiration)},
		{"CleanerThreads", int64(c.CleanerThreads)},
		{"CleanerBackoff", orUnlimited(int64(c.CleanerBackoff))},
		{"CleanerMapBytes", c.CleanerMapBytes},
		{"CleanerBytesPerSecond", orUnlimited(c.CleanerBytesPerSecond)},
		{"MaxTransactionTimeout", int64(c.MaxTransactionTimeout)},
		{"TransactionTimeoutInterval", int64(c.TransactionTimeoutInterval)},
		{"TransactionalIDExpiration", int64(c.TransactionalIDExpiration) + 1},
	} {
		if f.v < 1 {
			return nil, &ConfigError{Key: f.name, Value: fmt.Sprint(f.v), Range: "at least 1"}
		}
	}
	if c.Topics.Partitions < 1 || c.Topics.Partitions > maxPartitions {
		return nil, &ConfigError{Key: "num.partitions", Value: fmt.Sprint(c.Topics.Partitions), Range: fmt.Sprintf("1 to %d", maxPartitions)}
	}
	return c.Topics.overrides()
}

// maxPartitions bounds the partitions of one topic, so that a slip of the keyboard does not fill the disk with directories.
const maxPartitions = 100_000

// orUnlimited passes Unlimited off as a number.
func orUnlimited(v int64) int64 {
	if v == Unlimited {
		return 1
	}
	return v
}
