package kafka

import (
	"strconv"
	"strings"
	"time"
)

// topicSynonyms are, for each configuration of a topic, the broker's properties that are its default, the strongest first.
var topicSynonyms = map[string][]string{
	"cleanup.policy":                  {"log.cleanup.policy"},
	"compression.gzip.level":          {"compression.gzip.level"},
	"compression.lz4.level":           {"compression.lz4.level"},
	"compression.type":                {"compression.type"},
	"compression.zstd.level":          {"compression.zstd.level"},
	"delete.retention.ms":             {"log.cleaner.delete.retention.ms"},
	"file.delete.delay.ms":            {"log.segment.delete.delay.ms"},
	"flush.messages":                  {"log.flush.interval.messages"},
	"flush.ms":                        {"log.flush.interval.ms", "log.flush.scheduler.interval.ms"},
	"index.interval.bytes":            {"log.index.interval.bytes"},
	"local.retention.bytes":           {"log.local.retention.bytes"},
	"local.retention.ms":              {"log.local.retention.ms"},
	"max.compaction.lag.ms":           {"log.cleaner.max.compaction.lag.ms"},
	"max.message.bytes":               {"message.max.bytes"},
	"message.timestamp.after.max.ms":  {"log.message.timestamp.after.max.ms"},
	"message.timestamp.before.max.ms": {"log.message.timestamp.before.max.ms"},
	"message.timestamp.type":          {"log.message.timestamp.type"},
	"min.cleanable.dirty.ratio":       {"log.cleaner.min.cleanable.ratio"},
	"min.compaction.lag.ms":           {"log.cleaner.min.compaction.lag.ms"},
	"min.insync.replicas":             {"min.insync.replicas"},
	"preallocate":                     {"log.preallocate"},
	"retention.bytes":                 {"log.retention.bytes"},
	"retention.ms":                    {"log.retention.ms", "log.retention.minutes", "log.retention.hours"},
	"segment.bytes":                   {"log.segment.bytes"},
	"segment.index.bytes":             {"log.index.size.max.bytes"},
	"segment.jitter.ms":               {"log.roll.jitter.ms", "log.roll.jitter.hours"},
	"segment.ms":                      {"log.roll.ms", "log.roll.hours"},
	"unclean.leader.election.enable":  {"unclean.leader.election.enable"},
}

// topicDefaultsOf returns the defaults of topics that properties of the broker set, in the topic's units.
func topicDefaultsOf(set map[string]string) map[string]string {
	defaults := map[string]string{}
	for key, names := range topicSynonyms {
		for _, name := range names {
			if v, ok := set[name]; ok {
				defaults[key] = inTopicUnits(name, v)
				break
			}
		}
	}
	return defaults
}

// inTopicUnits converts hours and minutes to the milliseconds of a topic.
func inTopicUnits(name, v string) string {
	unit := int64(0)
	switch {
	case strings.HasSuffix(name, ".hours"):
		unit = int64(time.Hour / time.Millisecond)
	case strings.HasSuffix(name, ".minutes"):
		unit = int64(time.Minute / time.Millisecond)
	default:
		return v
	}
	n, err := strconv.ParseInt(v, 10, 64)
	if err != nil || n < 0 {
		return v // -1: for ever
	}
	return strconv.FormatInt(n*unit, 10)
}
