package partition

import (
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/partlog/partlog/log"
	"github.com/stretchr/testify/require"
)

// The table is what a running Apache Kafka 4.1.2 answers to DescribeConfigs of a topic.
func TestEveryTopicSettingOfKafkaIsKnownWithItsDefault(t *testing.T) {
	table, err := os.ReadFile("testdata/topic-configs.tsv")
	require.NoError(t, err)
	s := memory(t, Config{Sync: SyncNever})
	ours := s.effective(nil)
	names := 0
	for line := range strings.Lines(string(table)) {
		f := strings.Split(strings.TrimSuffix(line, "\n"), "\t")
		if f[0] == "name" {
			continue
		}
		names++
		k, ok := configKeys[f[0]]
		require.True(t, ok, f[0])
		if k.name == keyRetentionMs {
			require.Equal(t, "-1", ours[k.name], "retention is for ever where nothing is said")
			require.Equal(t, f[1], k.kafka)
			continue
		}
		require.Equal(t, f[1], ours[k.name], f[0])
		if k.name != keyFlushMessages && k.name != keyFlushMs {
			require.NoError(t, k.check(f[1]), f[0])
		}
	}
	require.Equal(t, names, len(configKeys)-2, "internal.segment.bytes is not shown, nor partlog.key.index, which is ours")
}

func TestConfigErrorNamesKeyValueAndRange(t *testing.T) {
	s := memory(t, Config{})
	for _, c := range []struct {
		config     TopicConfig
		key, value string
		inRange    string
	}{
		{TopicConfig{SegmentBytes: 5}, "segment.bytes", "5", "an integer from 1048576 to 2147483647"},
		{TopicConfig{RetentionAge: time.Microsecond}, "retention.ms", "1µs", "whole milliseconds"},
		{TopicConfig{RetentionBytes: -7}, "retention.bytes", "-7", "an integer from -1 to 9223372036854775807"},
		{TopicConfig{CleanupPolicy: "shred"}, "cleanup.policy", "shred", "a list of delete, compact"},
		{TopicConfig{Compression: "lzma"}, "compression.type", "lzma", "one of"},
		{TopicConfig{ZstdLevel: 23}, "compression.zstd.level", "23", "an integer from -131072 to 22"},
		{TopicConfig{TimestampType: "Now"}, "message.timestamp.type", "Now", "one of"},
		{TopicConfig{MinCleanableDirtyRatio: 1.5}, "min.cleanable.dirty.ratio", "1.5", "a number from 0 to 1"},
		{TopicConfig{MinCompactionLag: time.Hour, MaxCompactionLag: time.Minute}, "max.compaction.lag.ms", "60000", "at least min.compaction.lag.ms=3600000"},
		{TopicConfig{Sync: -9}, "flush.messages", "invalid", "SyncAlways, SyncInterval or SyncNever"},
		{TopicConfig{Sync: SyncInterval(time.Microsecond)}, "flush.ms", "1µs", "whole milliseconds"},
		{TopicConfig{Extra: map[string]string{"no.such.key": "1"}}, "no.such.key", "1", ""},
		{TopicConfig{Extra: map[string]string{"remote.storage.enable": "true"}}, "remote.storage.enable", "true", "one of \"false\""},
		{TopicConfig{Extra: map[string]string{"segment.ms": "soon"}}, "segment.ms", "soon", "an integer"},
		{TopicConfig{Extra: map[string]string{"min.insync.replicas": "0"}}, "min.insync.replicas", "0", "an integer from 1 to 2147483647"},
	} {
		_, err := s.CreateTopic(t.Context(), "bad", c.config)
		require.ErrorIs(t, err, ErrInvalidConfig)
		e := new(ConfigError)
		require.ErrorAs(t, err, &e)
		require.Equal(t, c.key, e.Key)
		require.Equal(t, c.value, e.Value)
		require.Contains(t, e.Range, c.inRange)
		require.Contains(t, err.Error(), c.key)
	}
	topics, err := s.ListTopics(t.Context())
	require.NoError(t, err)
	require.Empty(t, topics)
}

func TestZeroMeansDefaultAndHasANameWhereItMeansZero(t *testing.T) {
	m, err := TopicConfig{}.overrides()
	require.NoError(t, err)
	require.Empty(t, m)
	m, err = TopicConfig{
		RetentionAge: Zero, RetentionBytes: Zero, TimestampBefore: Zero, TimestampAfter: Unlimited, IndexIntervalBytes: Zero,
		DeleteDelay: Zero, DeleteRetention: Zero, MinCleanableDirtyRatio: Zero, MaxMessageBytes: 100, SegmentAge: Unlimited,
		Sync: SyncInterval(time.Second), Preallocate: true, GzipLevel: -1,
	}.overrides()
	require.NoError(t, err)
	require.Equal(t, map[string]string{
		keyRetentionMs: "0", keyRetentionBytes: "0", keyTimestampBefore: "0", keyTimestampAfter: maxLong, keyIndexIntervalBytes: "0",
		keyFileDeleteDelayMs: "0", keyDeleteRetentionMs: "0", keyMinCleanableRatio: "0", keyMaxMessageBytes: "100", keySegmentMs: maxLong,
		keyFlushMs: "1000", keyPreallocate: "true", keyGzipLevel: "-1",
	}, m)
}

func TestMeaningfulZeroReachesTheLogAsWhatItMeans(t *testing.T) {
	s := memory(t, Config{})
	st := s.resolve(map[string]string{keyIndexIntervalBytes: "0", keyTimestampBefore: "0", keyTimestampAfter: "0", keyMaxMessageBytes: "0", keyRetentionMs: "0", keyRetentionBytes: "0"})
	require.Equal(t, 1, st.log.IndexInterval)
	require.Equal(t, 1, st.log.MaxMessageBytes)
	require.Zero(t, st.log.TimestampBefore.Milliseconds())
	require.NotZero(t, st.log.TimestampBefore)
	require.NotZero(t, st.log.TimestampAfter)
	require.EqualValues(t, log.RetainNothing, st.log.RetentionAge)
	require.EqualValues(t, log.RetainNothing, st.log.RetentionBytes)
	require.True(t, st.expires)
	st = s.resolve(nil)
	require.EqualValues(t, Unlimited, st.log.RetentionAge)
	require.EqualValues(t, Unlimited, st.log.TimestampBefore)
	require.Equal(t, time.Hour, st.log.TimestampAfter)
	require.False(t, st.expires)
}

func TestTopicSyncModeWinsOverTheStores(t *testing.T) {
	s := memory(t, Config{Sync: SyncNever, Topics: TopicConfig{Sync: SyncInterval(time.Second)}})
	for want, o := range map[SyncMode]map[string]string{
		SyncInterval(time.Second): nil,
		SyncAlways:                {keyFlushMessages: "1"},
		SyncNever:                 {keyFlushMessages: maxLong},
		SyncInterval(time.Minute): {keyFlushMs: "60000"},
	} {
		require.Equal(t, want, s.resolve(o).log.Sync)
	}
	require.Equal(t, SyncAlways, memory(t, Config{}).resolve(nil).log.Sync)
}

func TestInvalidStoreConfigIsNamed(t *testing.T) {
	for _, c := range []Config{
		{Sync: -3}, {SyncConcurrency: -1}, {CloseTimeout: -time.Second}, {MaxMappings: -1},
		{Topics: TopicConfig{Partitions: -1}}, {Topics: TopicConfig{SegmentBytes: 1}},
	} {
		_, err := OpenMemory(c)
		require.ErrorIs(t, err, ErrInvalidConfig)
	}
}

func TestOverridesAreSorted(t *testing.T) {
	// The first wrong key is named, whatever the order of the map is.
	for range 20 {
		err := validateOverrides(map[string]string{"z": "1", "a": "1", keyPreallocate: "maybe"})
		e := new(ConfigError)
		require.ErrorAs(t, err, &e)
		require.Equal(t, "a", e.Key)
	}
	require.True(t, slices.IsSorted(sortedKeys(maps.Clone(configKeys))))
}
