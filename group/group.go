package group

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"

	"github.com/partlog/partlog/partition"
)

// ConsumerGroup is a handle to one group. It is safe for concurrent use, and is meant to be opened once and shared, as
// sql.DB is; several handles to the same group are as good.
type ConsumerGroup struct {
	backend      Backend
	id           string
	config       Config
	coordinators Coordinators

	mu     sync.Mutex // guards closed
	closed bool
}

// Open returns the group with this id, which exists from its first member or commit on. It opens, and if need be
// starts, the backend's one coordinator service; it waits for no I/O: a group's past is read on first use. Errors:
// ErrInvalidGroupID for an empty id, *partition.ConfigError, partition.ErrClosed.
func Open(b Backend, id string, c Config) (*ConsumerGroup, error) {
	if id == "" {
		return nil, fmt.Errorf("open group: %w: it is empty", ErrInvalidGroupID)
	}
	c = c.withDefaults()
	if err := c.validate(); err != nil {
		return nil, fmt.Errorf("open group %q: %w", id, err)
	}
	coordinators, err := Start(b, c.Coordinator)
	if err != nil {
		return nil, fmt.Errorf("open group %q: %w", id, err)
	}
	return &ConsumerGroup{backend: b, id: id, config: c, coordinators: coordinators}, nil
}

// ID returns the group's id.
func (g *ConsumerGroup) ID() string { return g.id }

// Backend returns what the group was opened on; consumers fetch through it.
func (g *ConsumerGroup) Backend() Backend { return g.backend }

// Config returns the configuration, with defaults filled in.
func (g *ConsumerGroup) Config() Config { return g.config }

// Coordinator returns the group's coordinator. partition.ErrClosed after Close.
func (g *ConsumerGroup) Coordinator(ctx context.Context) (Coordinator, error) {
	g.mu.Lock()
	closed := g.closed
	g.mu.Unlock()
	if closed {
		return nil, fmt.Errorf("group %q: %w", g.id, partition.ErrClosed)
	}
	return g.coordinators.Find(ctx, g.id)
}

// Cooperative reports whether the group's members keep their partitions while they join a generation: all configured
// assignors are cooperative (KIP-429). Otherwise a member gives up all of them before it joins.
func (g *ConsumerGroup) Cooperative() bool {
	return !slices.ContainsFunc(g.config.Assignors, func(a Assignor) bool { return !a.Cooperative() })
}

// Protocols returns what a member with this subscription puts into its JoinRequest: one protocol per configured
// assignor. Owned and Generation are the member's last assignment, also where it has given it up to join (eager):
// sticky assignors are told, and Owned itself goes into the metadata only if the group is Cooperative. UserData is
// filled in by each assignor.
func (g *ConsumerGroup) Protocols(s Subscription) []Protocol {
	last := s.Owned
	if !g.Cooperative() {
		s.Owned = nil
	}
	var out []Protocol
	for _, a := range g.config.Assignors {
		s.UserData = a.UserData(last, s.Generation)
		out = append(out, Protocol{Name: a.Name(), Metadata: s.Append(nil)})
	}
	return out
}

// Assign does the leader's work: it divides the partitions of all topics that the members of a JoinResult subscribe to
// by the assignor that won the vote, and returns the assignments for a SyncRequest, and the number of partitions of
// each topic that this is based on (0 for a topic that does not exist), so that the leader can join again when it
// changes. A member whose subscription cannot be read gets nothing. Errors: ErrInconsistentGroupProtocol, and
// ErrInvalidAssignment of a host's own Assignor.
func (g *ConsumerGroup) Assign(ctx context.Context, r JoinResult) (assignments map[string][]byte, partitions map[string]int32, err error) {
	var assignor Assignor
	for _, a := range g.config.Assignors {
		if a.Name() == r.Protocol {
			assignor = a
		}
	}
	if assignor == nil {
		return nil, nil, fmt.Errorf("assign partitions of group %q: %w: no assignor %q", g.id, ErrInconsistentGroupProtocol, r.Protocol)
	}
	var members []AssignorMember
	partitions = make(map[string]int32)
	for _, m := range r.Members {
		s, err := DecodeSubscription(m.Metadata)
		if err != nil {
			continue
		}
		members = append(members, AssignorMember{MemberID: m.MemberID, InstanceID: m.InstanceID, Subscription: s})
		for _, t := range s.Topics {
			partitions[t] = 0
		}
	}
	if err := g.countPartitions(ctx, partitions); err != nil {
		return nil, nil, fmt.Errorf("assign partitions of group %q: %w", g.id, err)
	}
	cluster := Cluster{Partitions: partitions}
	divided := assignor.Assign(cluster, members)
	if err := checkAssignment(assignor, g.Cooperative(), cluster, members, divided); err != nil {
		return nil, nil, fmt.Errorf("assign partitions of group %q: %w", g.id, err)
	}
	assignments = make(map[string][]byte, len(r.Members))
	for _, m := range r.Members { // also who gets nothing: no bytes at all are no assignment to Kafka's clients
		a := Assignment{Partitions: divided[m.MemberID]}
		assignments[m.MemberID] = a.Append(nil)
	}
	return assignments, partitions, nil
}

func (g *ConsumerGroup) countPartitions(ctx context.Context, topics map[string]int32) error {
	if len(topics) == 0 {
		return nil // a nil list of topics would mean all
	}
	var names []string
	for t := range topics {
		names = append(names, t)
	}
	metadata, err := g.backend.Metadata(ctx, names)
	if err != nil {
		return err
	}
	for _, m := range metadata {
		if m.Err == nil {
			topics[m.Topic] = int32(len(m.Partitions))
		}
	}
	return nil
}

// Committed returns the committed offsets of these partitions, or of all if none is named. Partitions without one are
// not in the map.
func (g *ConsumerGroup) Committed(ctx context.Context, tps ...partition.TopicPartition) (map[partition.TopicPartition]CommittedOffset, error) {
	c, err := g.Coordinator(ctx)
	if err != nil {
		return nil, err
	}
	offsets, err := c.Offsets(ctx, OffsetsRequest{Group: g.id, Partitions: tps})
	maps.DeleteFunc(offsets, func(_ partition.TopicPartition, o CommittedOffset) bool { return o.Offset < 0 }) // CommitRequest.Negative
	return offsets, err
}

// Commit commits offsets from outside the group, as a tool that resets it does: ErrUnknownMemberID while the group
// has members.
func (g *ConsumerGroup) Commit(ctx context.Context, offsets map[partition.TopicPartition]CommittedOffset) error {
	c, err := g.Coordinator(ctx)
	if err != nil {
		return err
	}
	m := Membership{Group: g.id, Generation: NoGeneration}
	err = c.Commit(ctx, CommitRequest{Membership: m, Offsets: offsets})
	if errors.Is(err, ErrUnknownMemberID) {
		return fmt.Errorf("commit from outside the group, which has members: %w", err)
	}
	return err
}

// Describe returns a snapshot of the group: state, generation, members, committed offsets.
func (g *ConsumerGroup) Describe(ctx context.Context) (Description, error) {
	c, err := g.Coordinator(ctx)
	if err != nil {
		return Description{}, err
	}
	return c.Describe(ctx, g.id)
}

// Stats returns the counters of the coordinator, for all groups together.
func (g *ConsumerGroup) Stats() Stats { return g.coordinators.Stats() }

// Lag returns, for every partition with a committed offset, how many offsets lie between it and the high watermark.
// (In a compacted topic that may be more than the number of records.) Never negative: a log that lost its tail counts
// as read.
func (g *ConsumerGroup) Lag(ctx context.Context) (map[partition.TopicPartition]int64, error) {
	committed, err := g.Committed(ctx)
	if err != nil {
		return nil, err
	}
	lag := make(map[partition.TopicPartition]int64, len(committed))
	for tp, c := range committed {
		end, err := g.backend.ListOffsets(ctx, tp, partition.TimestampLatest)
		if err != nil {
			return nil, fmt.Errorf("lag of group %q on %s: %w", g.id, tp, err)
		}
		lag[tp] = max(0, int64(end-c.Offset))
	}
	return lag, nil
}

// Close ends this handle; other handles, members and the coordinator go on: the coordinator ends with the store. It
// may be called twice.
func (g *ConsumerGroup) Close() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.closed = true
	return nil
}
