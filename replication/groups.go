package replication

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/partlog/partlog/group"
	"github.com/partlog/partlog/internal/control"
	"github.com/partlog/partlog/partition"
)

// Service implements group.Backend: the one of that name of this node's store. "group" is the coordinators of all groups of the cluster.
func (n *Node) Service(name string, start func() (io.Closer, error)) (io.Closer, error) {
	if name != "group" {
		return n.store.Service(name, start)
	}
	return n.store.Service(name, func() (io.Closer, error) { return &groups{n, n.groups}, nil })
}

// groups are the coordinators of all groups: this node's for the partitions of __consumer_offsets that it leads, and the other nodes'.
type groups struct {
	n     *Node
	local group.Coordinators
}

// Find returns a coordinator that passes each request on to the group's, wherever that is by then.
func (g *groups) Find(ctx context.Context, name string) (group.Coordinator, error) {
	local, err := g.local.Find(ctx, name)
	if err != nil {
		return nil, err
	}
	return &coordinator{g.n, local}, nil
}

// Configure changes a group's settings on this node, see group.Coordinators; the other nodes are told by the settings that the cluster shares.
func (g *groups) Configure(name string, o group.ConsumerGroupOverrides) error {
	return g.local.Configure(name, o)
}

// Stats are those of this node's coordinator.
func (g *groups) Stats() group.Stats { return g.local.Stats() }

// Close ends this node's coordinator.
func (g *groups) Close() error { return g.local.Close() }

// coordinator is a group.Coordinator that finds the node for each request.
type coordinator struct {
	n     *Node
	local group.Coordinator
}

// here is the coordinator of this node alone, for requests from others.
func (n *Node) here(ctx context.Context, name string) (group.Coordinator, error) {
	s, err := group.Start(n, n.config.Groups)
	if err != nil {
		return nil, err
	}
	return s.(*groups).local.Find(ctx, name)
}

// gone reports whether a request went to a node that does not coordinate the group, or has not reached one: nothing has been done.
func gone(err error) bool {
	return moved(err) || errors.Is(err, group.ErrNotCoordinator)
}

// goneOrLost is for what may be asked twice.
func goneOrLost(err error) bool { return gone(err) || lostToo(err) }

// atGroup does an operation at a group's coordinator: local where that is here.
func atGroup[A, R any](ctx context.Context, c *coordinator, name string, o remote[A, R], a A, local func(ctx context.Context) (R, error), again func(error) bool) (result R, err error) {
	return atGroupWithin(ctx, c, c.n.config.RequestTimeout, name, o, a, local, again, unknown)
}

// atGroupWithin is atGroup for what waits for other members, or has another notion of what is unheard (Node.atLeaderWithin).
func atGroupWithin[A, R any](ctx context.Context, c *coordinator, d time.Duration, name string, o remote[A, R], a A, local func(ctx context.Context) (R, error), again, unheard func(error) bool) (result R, err error) {
	n := c.n
	if err := n.open(ctx); err != nil {
		return result, err
	}
	if err := n.ensureTopic(ctx, group.OffsetsTopic); err != nil {
		return result, fmt.Errorf("group %q: %w: %w", name, group.ErrCoordinatorNotAvailable, err)
	}
	find := n.coordinator(ctx, group.OffsetsTopic, func(count int32) int32 { return group.PartitionFor(name, count) })
	err = n.atLeaderWithin(ctx, d, find, func(ctx context.Context, node int32) (err error) {
		if node == n.id {
			result, err = local(ctx)
		} else {
			result, err = o.at(ctx, n, node, a)
		}
		return err
	}, again, unheard)
	if err != nil && ctx.Err() == nil && (gone(err) || errors.Is(err, ErrNodeNotAvailable)) {
		err = fmt.Errorf("group %q: %w: %w", name, group.ErrCoordinatorNotAvailable, err)
	}
	return result, err
}

// ensureTopic makes an internal topic unless it is there.
func (n *Node) ensureTopic(ctx context.Context, name string) error {
	known := false
	n.control.read(func(m *control.Machine) { _, _, known = m.TopicID(name) })
	if known {
		return nil
	}
	ctx, cancel := n.bounded(ctx)
	defer cancel()
	return n.store.EnsureInternalTopic(ctx, name)
}

var (
	opJoin              = remote[group.JoinRequest, joinedOrNot]{"group.Join"}
	opSync              = remote[group.SyncRequest, group.SyncResult]{"group.Sync"}
	opHeartbeat         = remote[group.Membership, struct{}]{"group.Heartbeat"}
	opLeave             = remote[wireLeave, struct{}]{"group.Leave"}
	opCommit            = remote[wireCommit, struct{}]{"group.Commit"}
	opOffsets           = remote[group.OffsetsRequest, wireOffsets]{"group.Offsets"}
	opDeleteOffsets     = remote[wireDeleteOffsets, struct{}]{"group.DeleteOffsets"}
	opConsumerHeartbeat = remote[wireHeartbeat, group.ConsumerHeartbeatResult]{"group.ConsumerGroupHeartbeat"}
	opConsumerDescribe  = remote[string, group.ConsumerGroupDescription]{"group.ConsumerGroupDescribe"}
	opDescribe          = remote[string, wireDescription]{"group.Describe"}
	opListGroups        = remote[group.ListGroupsRequest, []group.Listing]{"group.ListGroups"}
	opDeleteGroup       = remote[string, struct{}]{"group.DeleteGroup"}
)

// onGroup defines an operation of this node's coordinator.
func onGroup[A, R any](o remote[A, R], name func(A) string, f func(ctx context.Context, c group.Coordinator, a A) (R, error)) {
	define(o, func(ctx context.Context, n *Node, a A) (result R, err error) {
		c, err := n.here(ctx, name(a))
		if err != nil {
			return result, err
		}
		return f(ctx, c, a)
	})
}

func init() {
	self := func(name string) string { return name }
	onGroup(opJoin, func(r group.JoinRequest) string { return r.Group }, func(ctx context.Context, c group.Coordinator, r group.JoinRequest) (joinedOrNot, error) {
		r.Local = false
		joined, err := c.Join(ctx, r)
		if errors.Is(err, group.ErrMemberIDRequired) {
			return joinedOrNot{Result: wireJoined{JoinResult: joined}, Error: toWire(err)}, nil
		}
		return joinedOrNot{Result: wireJoined{JoinResult: joined}}, err
	})
	onGroup(opSync, func(r group.SyncRequest) string { return r.Group }, func(ctx context.Context, c group.Coordinator, r group.SyncRequest) (group.SyncResult, error) {
		return c.Sync(ctx, r)
	})
	onGroup(opHeartbeat, func(m group.Membership) string { return m.Group }, func(ctx context.Context, c group.Coordinator, m group.Membership) (struct{}, error) {
		return struct{}{}, c.Heartbeat(ctx, m)
	})
	onGroup(opLeave, func(l wireLeave) string { return l.Group }, func(ctx context.Context, c group.Coordinator, l wireLeave) (struct{}, error) {
		return struct{}{}, c.Leave(ctx, l.Group, l.Members...)
	})
	onGroup(opCommit, func(r wireCommit) string { return r.Group }, func(ctx context.Context, c group.Coordinator, r wireCommit) (struct{}, error) {
		r.CommitRequest.Offsets = fromWireOffsets(r.Offsets)
		return struct{}{}, c.Commit(ctx, r.CommitRequest)
	})
	onGroup(opOffsets, func(r group.OffsetsRequest) string { return r.Group }, func(ctx context.Context, c group.Coordinator, r group.OffsetsRequest) (wireOffsets, error) {
		offsets, err := c.Offsets(ctx, r)
		if _, some := errors.AsType[*group.OffsetsError](err); some {
			return wireOffsets{toWireOffsets(offsets), toWire(err)}, nil
		}
		return wireOffsets{Offsets: toWireOffsets(offsets)}, err
	})
	onGroup(opDeleteOffsets, func(d wireDeleteOffsets) string { return d.Group }, func(ctx context.Context, c group.Coordinator, d wireDeleteOffsets) (struct{}, error) {
		return struct{}{}, c.DeleteOffsets(ctx, d.Group, d.TPs...)
	})
	onGroup(opConsumerHeartbeat, func(r wireHeartbeat) string { return r.Group }, func(ctx context.Context, c group.Coordinator, r wireHeartbeat) (group.ConsumerHeartbeatResult, error) {
		return c.ConsumerGroupHeartbeat(ctx, r.ConsumerHeartbeatRequest)
	})
	onGroup(opConsumerDescribe, self, func(ctx context.Context, c group.Coordinator, name string) (group.ConsumerGroupDescription, error) {
		return c.ConsumerGroupDescribe(ctx, name)
	})
	onGroup(opDescribe, self, func(ctx context.Context, c group.Coordinator, name string) (wireDescription, error) {
		d, err := c.Describe(ctx, name)
		return wireDescription{d, toWireOffsets(d.Offsets)}, err
	})
	onGroup(opListGroups, func(group.ListGroupsRequest) string { return "" }, func(ctx context.Context, c group.Coordinator, r group.ListGroupsRequest) ([]group.Listing, error) {
		return c.ListGroups(ctx, r)
	})
	onGroup(opDeleteGroup, self, func(ctx context.Context, c group.Coordinator, name string) (struct{}, error) {
		return struct{}{}, c.DeleteGroups(ctx, name)
	})
}

// Join implements group.Coordinator. Members have sessions, also those of this process: so they live on when the coordinator moves. They get their
// ids before they join (KIP-394): an answer that is lost, or waited for no longer, leaves nobody behind whom the next rebalance waits for.
// It waits as long as a rebalance may take, and a request more.
func (c *coordinator) Join(ctx context.Context, r group.JoinRequest) (group.JoinResult, error) {
	if r.Local {
		r.Local, r.RequireKnownMemberID = false, true
	}
	again := gone
	if r.MemberID != "" || r.InstanceID != "" {
		again = goneOrLost
	}
	joined, err := atGroupWithin(ctx, c, c.n.rebalance(r.RebalanceTimeout, r.SessionTimeout), r.Group, opJoin, r, func(ctx context.Context) (joinedOrNot, error) {
		joined, err := c.local.Join(ctx, r)
		if errors.Is(err, group.ErrMemberIDRequired) {
			return joinedOrNot{Result: wireJoined{JoinResult: joined}, Error: toWire(err)}, nil
		}
		return joinedOrNot{Result: wireJoined{JoinResult: joined}}, err
	}, again, unknown)
	if err == nil {
		err = joined.Error.err()
	}
	return joined.Result.JoinResult, err
}

// rebalance is how long a rebalance may take to which a member with these timeouts belongs, and a request more.
func (n *Node) rebalance(timeout, session time.Duration) time.Duration {
	return cmp.Or(timeout, session, defaultRebalance) + n.config.RequestTimeout
}

// defaultRebalance is max.poll.interval.ms.
const defaultRebalance = 5 * time.Minute

// Sync implements group.Coordinator. It waits for the leader's assignment as long as a rebalance may take.
func (c *coordinator) Sync(ctx context.Context, r group.SyncRequest) (group.SyncResult, error) {
	return atGroupWithin(ctx, c, c.n.rebalance(0, 0), r.Group, opSync, r, func(ctx context.Context) (group.SyncResult, error) { return c.local.Sync(ctx, r) }, goneOrLost, unknown)
}

// Heartbeat implements group.Coordinator.
func (c *coordinator) Heartbeat(ctx context.Context, m group.Membership) error {
	_, err := atGroup(ctx, c, m.Group, opHeartbeat, m, func(ctx context.Context) (struct{}, error) {
		return struct{}{}, c.local.Heartbeat(ctx, m)
	}, goneOrLost)
	return err
}

// Leave implements group.Coordinator.
func (c *coordinator) Leave(ctx context.Context, name string, members ...group.LeavingMember) error {
	_, err := atGroup(ctx, c, name, opLeave, wireLeave{name, members}, func(ctx context.Context) (struct{}, error) {
		return struct{}{}, c.local.Leave(ctx, name, members...)
	}, gone)
	return err
}

// Commit implements group.Coordinator. A coordinator that does not know a partition is asked again while this node knows better: one of the two has yet to hear of it.
func (c *coordinator) Commit(ctx context.Context, r group.CommitRequest) error {
	_, err := atGroupWithin(ctx, c, c.n.config.RequestTimeout, r.Group, opCommit, wireCommit{r, toWireOffsets(r.Offsets)}, func(ctx context.Context) (struct{}, error) {
		return struct{}{}, c.local.Commit(ctx, r)
	}, goneOrLost, func(err error) bool {
		refused, of := errors.AsType[*group.CommitError](err)
		if !of {
			return unknown(err)
		}
		for tp, err := range refused.Partitions {
			if _, here := c.n.leader(tp, r.Offsets[tp].TopicID); unknown(err) && !sameUnknown(err, here) {
				return true
			}
		}
		return false
	})
	return err
}

// Offsets implements group.Coordinator.
func (c *coordinator) Offsets(ctx context.Context, r group.OffsetsRequest) (map[partition.TopicPartition]group.CommittedOffset, error) {
	found, err := atGroup(ctx, c, r.Group, opOffsets, r, func(ctx context.Context) (wireOffsets, error) {
		offsets, err := c.local.Offsets(ctx, r)
		if _, some := errors.AsType[*group.OffsetsError](err); some {
			return wireOffsets{toWireOffsets(offsets), toWire(err)}, nil
		}
		return wireOffsets{Offsets: toWireOffsets(offsets)}, err
	}, goneOrLost)
	if err == nil {
		err = found.Error.err()
	}
	return fromWireOffsets(found.Offsets), err
}

// DeleteOffsets implements group.Coordinator.
func (c *coordinator) DeleteOffsets(ctx context.Context, name string, tps ...partition.TopicPartition) error {
	_, err := atGroup(ctx, c, name, opDeleteOffsets, wireDeleteOffsets{name, tps}, func(ctx context.Context) (struct{}, error) {
		return struct{}{}, c.local.DeleteOffsets(ctx, name, tps...)
	}, goneOrLost)
	return err
}

// ConsumerGroupHeartbeat implements group.Coordinator. Describable is asked where the coordinator is this node's only.
func (c *coordinator) ConsumerGroupHeartbeat(ctx context.Context, r group.ConsumerHeartbeatRequest) (group.ConsumerHeartbeatResult, error) {
	return atGroup(ctx, c, r.Group, opConsumerHeartbeat, wireHeartbeat{ConsumerHeartbeatRequest: r}, func(ctx context.Context) (group.ConsumerHeartbeatResult, error) {
		return c.local.ConsumerGroupHeartbeat(ctx, r)
	}, goneOrLost)
}

// ConsumerGroupDescribe implements group.Coordinator.
func (c *coordinator) ConsumerGroupDescribe(ctx context.Context, name string) (group.ConsumerGroupDescription, error) {
	return atGroup(ctx, c, name, opConsumerDescribe, name, func(ctx context.Context) (group.ConsumerGroupDescription, error) {
		return c.local.ConsumerGroupDescribe(ctx, name)
	}, goneOrLost)
}

// Describe implements group.Coordinator.
func (c *coordinator) Describe(ctx context.Context, name string) (group.Description, error) {
	d, err := atGroup(ctx, c, name, opDescribe, name, func(ctx context.Context) (wireDescription, error) {
		d, err := c.local.Describe(ctx, name)
		return wireDescription{d, toWireOffsets(d.Offsets)}, err
	}, goneOrLost)
	d.Description.Offsets = fromWireOffsets(d.Offsets)
	return d.Description, err
}

// ListGroups implements group.Coordinator: the groups of all nodes. One that cannot be reached is an error.
func (c *coordinator) ListGroups(ctx context.Context, r group.ListGroupsRequest) (all []group.Listing, err error) {
	n := c.n
	if err := n.open(ctx); err != nil {
		return nil, err
	}
	known := false
	n.control.read(func(m *control.Machine) { _, _, known = m.TopicID(group.OffsetsTopic) })
	if !known {
		return c.local.ListGroups(ctx, r)
	}
	ctx, cancel := n.bounded(ctx)
	defer cancel()
	for _, node := range n.leaders(group.OffsetsTopic) {
		some, err := opListGroups.at(ctx, n, node, r)
		if err != nil {
			return nil, err
		}
		all = append(all, some...)
	}
	slices.SortFunc(all, func(a, b group.Listing) int { return cmp.Compare(a.Group, b.Group) })
	return slices.CompactFunc(all, func(a, b group.Listing) bool { return a.Group == b.Group }), nil
}

// DeleteGroups implements group.Coordinator.
func (c *coordinator) DeleteGroups(ctx context.Context, names ...string) error {
	failed := &group.DeleteGroupsError{Groups: map[string]error{}}
	for _, name := range names {
		_, err := atGroup(ctx, c, name, opDeleteGroup, name, func(ctx context.Context) (struct{}, error) {
			return struct{}{}, c.local.DeleteGroups(ctx, name)
		}, goneOrLost)
		if some, ok := errors.AsType[*group.DeleteGroupsError](err); ok && some.Groups[name] != nil {
			err = some.Groups[name]
		}
		if err != nil {
			failed.Groups[name] = err
		}
	}
	if len(failed.Groups) > 0 {
		return failed
	}
	return nil
}
