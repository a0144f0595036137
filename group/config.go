package group

import (
	"io"
	"strconv"
	"time"

	"github.com/partlog/partlog/partition"
)

// Config configures one group of one process. The zero value is valid.
type Config struct {
	// ClientID names this process to people, in member ids and descriptions. Default "partlog".
	ClientID string

	// InstanceID makes the member of this process a static one (group.instance.id, KIP-345): its Close does not
	// leave the group, and whoever joins with the same name within SessionTimeout, also after a restart, has its
	// partitions without a rebalance. At most one member at a time may have the name: a newer one fences the older
	// (ErrFencedInstanceID). Empty for dynamic members.
	InstanceID string

	// Assignors are the ways of dividing partitions that members of this process support, by preference
	// (partition.assignment.strategy). Default: CooperativeSticky. Kafka's is range and cooperative-sticky, which
	// rebalances eagerly until range is taken out, since all of them have to be cooperative; its members and those with
	// our default can be in one group, by cooperative-sticky. Members that know only range cannot: where there are any,
	// put Range behind it.
	Assignors []Assignor

	// SessionTimeout is how long a remote coordinator waits for a heartbeat (session.timeout.ms). Default 45 s,
	// 6 s to 30 min. Members of this process's own store have no session.
	SessionTimeout time.Duration

	// HeartbeatInterval is how often a remote coordinator gets one (heartbeat.interval.ms). Default 3 s; less than
	// SessionTimeout.
	HeartbeatInterval time.Duration

	// RebalanceTimeout is how long a rebalance waits for members that are still busy with their records
	// (max.poll.interval.ms). Default 5 min.
	RebalanceTimeout time.Duration

	// Coordinator configures the store's coordinator, if this Open is what starts it: the first to open a group of a
	// store decides.
	Coordinator CoordinatorConfig
}

// CoordinatorConfig configures the coordinator of a store's groups. The zero value is valid.
type CoordinatorConfig struct {
	// InitialRebalanceDelay is how long the first member of an empty group waits for others
	// (group.initial.rebalance.delay.ms). Default 0; Kafka's is 3 s, to spare rebalances when many processes start.
	InitialRebalanceDelay time.Duration

	// MinSessionTimeout and MaxSessionTimeout bound what members that are not Local may ask for
	// (group.min.session.timeout.ms, group.max.session.timeout.ms). Defaults 6 s and 30 min.
	MinSessionTimeout, MaxSessionTimeout time.Duration

	// NewMemberTimeout is how long a new member that is not Local may wait in its first join (Kafka: 5 min, fixed).
	NewMemberTimeout time.Duration

	// MaxSize bounds the members of a group (group.max.size). 0 means no bound.
	MaxSize int

	// MaxMetadataBytes bounds the metadata of a committed offset (offset.metadata.max.bytes). Default 4096.
	MaxMetadataBytes int

	// OffsetsRetention drops committed offsets that long after their group became empty, or after the commit where
	// nobody of a stable group reads the topic any more (offsets.retention.minutes, KIP-211). 0 keeps them for ever;
	// Kafka's default is 7 days.
	OffsetsRetention time.Duration

	// OffsetsRetentionCheckInterval is how often that is looked at (offsets.retention.check.interval.ms). Default
	// 10 min. Each time, all groups of the store are loaded.
	OffsetsRetentionCheckInterval time.Duration

	// ConsumerGroups configures groups of the new protocol (KIP-848).
	ConsumerGroups ConsumerGroupConfig

	// RetryInterval is how long after a failed write for want of space the next attempt is made. Default 1 s.
	RetryInterval time.Duration

	// Clock is the time seam. Nil means the system's clock.
	Clock partition.Clock

	// Random is the source of member ids. Nil means the system's.
	Random io.Reader

	// Events are told what happens. The zero value tells nobody.
	Events Events
}

func (c Config) withDefaults() Config {
	c.ClientID = orDefault(c.ClientID, "partlog")
	c.SessionTimeout = orDefault(c.SessionTimeout, 45*time.Second)
	c.HeartbeatInterval = orDefault(c.HeartbeatInterval, 3*time.Second)
	c.RebalanceTimeout = orDefault(c.RebalanceTimeout, 5*time.Minute)
	if len(c.Assignors) == 0 {
		c.Assignors = []Assignor{CooperativeSticky}
	}
	return c
}

func (c Config) validate() error {
	if err := checkDuration("session.timeout.ms", c.SessionTimeout, 6*time.Second, 30*time.Minute); err != nil {
		return err
	}
	if err := checkDuration("heartbeat.interval.ms", c.HeartbeatInterval, time.Millisecond, c.SessionTimeout-1); err != nil {
		return err
	}
	if err := checkDuration("max.poll.interval.ms", c.RebalanceTimeout, time.Millisecond, 1<<31*time.Millisecond); err != nil {
		return err
	}
	seen := make(map[string]bool)
	for _, a := range c.Assignors {
		if a == nil || a.Name() == "" || seen[a.Name()] {
			return &partition.ConfigError{Key: "partition.assignment.strategy", Value: "nil, unnamed or twice", Range: "assignors with different names"}
		}
		seen[a.Name()] = true
	}
	return nil
}

func (c CoordinatorConfig) withDefaults() CoordinatorConfig {
	c.MinSessionTimeout = orDefault(c.MinSessionTimeout, 6*time.Second)
	c.MaxSessionTimeout = orDefault(c.MaxSessionTimeout, 30*time.Minute)
	c.NewMemberTimeout = orDefault(c.NewMemberTimeout, 5*time.Minute)
	c.MaxMetadataBytes = orDefault(c.MaxMetadataBytes, 4096)
	c.OffsetsRetentionCheckInterval = orDefault(c.OffsetsRetentionCheckInterval, 10*time.Minute)
	c.RetryInterval = orDefault(c.RetryInterval, time.Second)
	c.ConsumerGroups = c.ConsumerGroups.withDefaults()
	return c
}

func (c CoordinatorConfig) validate() error {
	if err := checkDuration("group.initial.rebalance.delay.ms", c.InitialRebalanceDelay, 0, time.Hour); err != nil {
		return err
	}
	if err := checkDuration("group.min.session.timeout.ms", c.MinSessionTimeout, time.Millisecond, c.MaxSessionTimeout); err != nil {
		return err
	}
	if err := checkDuration("NewMemberTimeout", c.NewMemberTimeout, time.Millisecond, 24*time.Hour); err != nil {
		return err
	}
	if err := checkDuration("offsets.retention.minutes", c.OffsetsRetention, 0, 1<<62); err != nil {
		return err
	}
	if err := checkDuration("offsets.retention.check.interval.ms", c.OffsetsRetentionCheckInterval, time.Millisecond, 1<<31*time.Millisecond); err != nil {
		return err
	}
	if err := checkDuration("RetryInterval", c.RetryInterval, time.Millisecond, time.Hour); err != nil {
		return err
	}
	if c.MaxSize < 0 {
		return &partition.ConfigError{Key: "group.max.size", Value: strconv.Itoa(c.MaxSize), Range: "0 (no bound) or more"}
	}
	if c.MaxMetadataBytes < 0 {
		return &partition.ConfigError{Key: "offset.metadata.max.bytes", Value: strconv.Itoa(c.MaxMetadataBytes), Range: "0 or more"}
	}
	return c.ConsumerGroups.validate()
}

func checkDuration(key string, d, least, most time.Duration) error {
	if d < least || d > most {
		return &partition.ConfigError{Key: key, Value: d.String(), Range: least.String() + " to " + most.String()}
	}
	return nil
}

func orDefault[T comparable](v, def T) T {
	var zero T
	if v == zero {
		return def
	}
	return v
}
