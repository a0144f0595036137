package kafka

import (
	"math"
	"strconv"
	"strings"
)

// storedConfig is how the store takes a configuration of a topic.
type storedConfig struct{ key, value string }

// storedTopicConfig translates a valid configuration of a topic to what the store keeps; false says that the store has no
// use for it: what it means is nobody's business here (the throttles of replicas that
// are not copied). Where the translation is not the value itself, the value as it was asked for is kept beside the topic.
func storedTopicConfig(key, value string) (storedConfig, bool) {
	value = strings.TrimSpace(value)
	same := storedConfig{key, value}
	switch key {
	case "leader.replication.throttled.replicas", "follower.replication.throttled.replicas",
		"local.retention.bytes", "local.retention.ms", "remote.log.copy.disable", "remote.log.delete.on.disable", "remote.storage.enable":
		return storedConfig{}, false
	case "cleanup.policy":
		if value == "" {
			return storedConfig{key, "none"}, true
		}
		return storedConfig{key, strings.Join(splitList(value), ",")}, true
	case "flush.messages":
		if n, _ := strconv.ParseInt(value, 10, 64); n != math.MaxInt64 {
			return storedConfig{key, "1"}, true // a sync after each keeps the promise of one after n
		}
	case "flush.ms":
		if n, _ := strconv.ParseInt(value, 10, 64); n == 0 {
			return storedConfig{key, "1"}, true
		}
	case "max.message.bytes":
		if n, _ := strconv.ParseInt(value, 10, 64); n > math.MaxInt32/2 {
			return storedConfig{key, strconv.Itoa(math.MaxInt32 / 2)}, true
		}
	case "retention.bytes":
		if n, _ := strconv.ParseInt(value, 10, 64); n < -1 {
			return storedConfig{key, "-1"}, true
		}
	case "preallocate", "unclean.leader.election.enable":
		return storedConfig{key, strings.ToLower(value)}, true
	}
	return same, true
}
