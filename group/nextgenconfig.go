package group

import (
	"fmt"
	"strconv"
	"time"

	"github.com/partlog/partlog/partition"
)

// ConsumerGroupConfig configures how the coordinator serves consumer groups of the new protocol (KIP-848). The zero value
// is valid. Consumers of this process speak the classic protocol and are not concerned, unless their group is shared with
// members of the new one.
type ConsumerGroupConfig struct {
	// SessionTimeout is how long a member may be silent (group.consumer.session.timeout.ms). Default 45 s; 1 ms to
	// 30 min. Kafka's least is 45 s, its most 60 s.
	SessionTimeout time.Duration

	// HeartbeatInterval is how often members are told to send heartbeats (group.consumer.heartbeat.interval.ms).
	// Default 5 s; less than SessionTimeout.
	HeartbeatInterval time.Duration

	// MaxSize bounds the members of a group (group.consumer.max.size). 0 means no bound.
	MaxSize int

	// Assignors are those that members may ask for; the first one is used if nobody asks
	// (group.consumer.assignors). Default: Uniform, ServerRange.
	Assignors []ServerAssignor

	// AssignmentInterval is the least time between two computations of a group's target assignment; what changes
	// meanwhile is taken together (group.consumer.assignment.interval.ms). Default 0: at once, as in Kafka 4.1. Kafka
	// has 1 s since 4.3.
	AssignmentInterval time.Duration

	// RegexRefreshInterval is how old the resolution of a regular expression may become in the log
	// (group.consumer.regex.refresh.interval.ms). Default 10 min, at least 10 s. New topics are found at a heartbeat,
	// after 10 s at most, whatever it is.
	RegexRefreshInterval time.Duration

	// MetadataInterval is how often, at most, a group looks at the metadata of the topics that it is subscribed to by
	// name. It does so at heartbeats. Default 1 s.
	MetadataInterval time.Duration

	// Migration says which groups may change their protocol while they have members
	// (group.consumer.migration.policy). Default MigrateBoth. Groups without members change freely.
	Migration MigrationPolicy

	// Groups overrides the settings of single groups, by group id (Kafka's configurations of the resource GROUP). The
	// coordinator keeps the map, which must not be changed afterwards.
	Groups map[string]ConsumerGroupOverrides
}

// ConsumerGroupOverrides are settings of one group; 0 is that of ConsumerGroupConfig.
type ConsumerGroupOverrides struct {
	SessionTimeout     time.Duration // consumer.session.timeout.ms
	HeartbeatInterval  time.Duration // consumer.heartbeat.interval.ms
	AssignmentInterval time.Duration // consumer.assignment.interval.ms
}

// of returns the settings of a group.
func (c ConsumerGroupConfig) of(group string) ConsumerGroupConfig {
	o := c.Groups[group]
	c.SessionTimeout = orDefault(o.SessionTimeout, c.SessionTimeout)
	c.HeartbeatInterval = orDefault(o.HeartbeatInterval, c.HeartbeatInterval)
	c.AssignmentInterval = orDefault(o.AssignmentInterval, c.AssignmentInterval)
	return c
}

// MigrationPolicy says in which direction a group with members may change its protocol.
type MigrationPolicy uint8

const (
	// MigrateBoth (bidirectional): a classic group of consumers becomes a consumer group when the first member of the
	// new protocol joins, and a classic one again when the last of them leaves; in between, the coordinator translates.
	MigrateBoth MigrationPolicy = iota
	// MigrateUpgrade (upgrade) allows only the first.
	MigrateUpgrade
	// MigrateDowngrade (downgrade) allows only the second.
	MigrateDowngrade
	// MigrateNone (disabled) allows neither: members of the new protocol cannot join a classic group.
	MigrateNone
)

// String returns Kafka's name of the policy.
func (p MigrationPolicy) String() string {
	switch p {
	case MigrateBoth:
		return "bidirectional"
	case MigrateUpgrade:
		return "upgrade"
	case MigrateDowngrade:
		return "downgrade"
	case MigrateNone:
		return "disabled"
	}
	return "MigrationPolicy(" + strconv.Itoa(int(p)) + ")"
}

// regexInterval is how often, at most, a group looks at the metadata of all topics
// (REGEX_BATCH_REFRESH_MIN_INTERVAL_MS).
const regexInterval = 10 * time.Second

func (c ConsumerGroupConfig) withDefaults() ConsumerGroupConfig {
	c.SessionTimeout = orDefault(c.SessionTimeout, 45*time.Second)
	c.HeartbeatInterval = orDefault(c.HeartbeatInterval, 5*time.Second)
	c.RegexRefreshInterval = orDefault(c.RegexRefreshInterval, 10*time.Minute)
	c.MetadataInterval = orDefault(c.MetadataInterval, time.Second)
	if len(c.Assignors) == 0 {
		c.Assignors = []ServerAssignor{Uniform, ServerRange}
	}
	return c
}

func (c ConsumerGroupConfig) validate() error {
	for id := range c.Groups {
		of := c.of(id)
		of.Groups = nil
		if err := of.validate(); err != nil {
			return fmt.Errorf("group %q: %w", id, err)
		}
	}
	for _, d := range []struct {
		key         string
		d           time.Duration
		least, most time.Duration
	}{
		{"group.consumer.session.timeout.ms", c.SessionTimeout, time.Millisecond, 30 * time.Minute},
		{"group.consumer.heartbeat.interval.ms", c.HeartbeatInterval, time.Millisecond, c.SessionTimeout - 1},
		{"group.consumer.assignment.interval.ms", c.AssignmentInterval, 0, time.Hour},
		{"group.consumer.regex.refresh.interval.ms", c.RegexRefreshInterval, regexInterval, 1 << 31 * time.Millisecond},
		{"MetadataInterval", c.MetadataInterval, time.Millisecond, time.Hour},
	} {
		if err := checkDuration(d.key, d.d, d.least, d.most); err != nil {
			return err
		}
	}
	if c.MaxSize < 0 {
		return &partition.ConfigError{Key: "group.consumer.max.size", Value: strconv.Itoa(c.MaxSize), Range: "0 (no bound) or more"}
	}
	if c.Migration > MigrateNone {
		return &partition.ConfigError{Key: "group.consumer.migration.policy", Value: c.Migration.String(), Range: "bidirectional, upgrade, downgrade, disabled"}
	}
	seen := make(map[string]bool)
	for _, a := range c.Assignors {
		if a == nil || a.Name() == "" || seen[a.Name()] {
			return &partition.ConfigError{Key: "group.consumer.assignors", Value: "nil, unnamed or twice", Range: "assignors with different names"}
		}
		seen[a.Name()] = true
	}
	return nil
}

// assignor returns the one of a name, nil if there is none.
func (c *ConsumerGroupConfig) assignor(name string) ServerAssignor {
	for _, a := range c.Assignors {
		if a.Name() == name {
			return a
		}
	}
	return nil
}

func (p MigrationPolicy) upgrades() bool   { return p == MigrateBoth || p == MigrateUpgrade }
func (p MigrationPolicy) downgrades() bool { return p == MigrateBoth || p == MigrateDowngrade }
