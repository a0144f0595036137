package kafkatest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"path"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/partlog/partlog/group"
	"github.com/partlog/partlog/internal/clock"
	"github.com/partlog/partlog/partition"
)

// await waits until check is satisfied: it is asked again with every request, answer and event of a group, and now and then
// for the sake of what no request tells of, as commits of consumers in this process. The error is check's, with ctx's.
func (c *Cluster) await(ctx context.Context, check func() error) error {
	const unannounced = 50 * time.Millisecond
	for {
		calls, events := c.calls.changes(), c.history.changes()
		err := check()
		if err == nil {
			return nil
		}
		if c.isClosed() {
			return errors.Join(ErrClosed, err)
		}
		again := make(chan struct{})
		stop := clock.System.AfterFunc(unannounced, func() { close(again) })
		select {
		case <-calls:
		case <-events:
		case <-again:
		case <-ctx.Done():
			stop()
			return fmt.Errorf("%w: %w", err, ctx.Err())
		}
		stop()
	}
}

// TopicRecords returns the records of all partitions of a topic, partition by partition, as a consumer with
// isolation.level=read_committed sees them. Errors: those of Committed, partition.ErrUnknownTopicOrPartition.
func (c *Cluster) TopicRecords(topic string) (all []Record, err error) {
	t, err := c.Store().Topic(topic)
	if err != nil {
		return nil, err
	}
	for p := range t.Partitions() {
		rs, err := c.Committed(topic, p)
		if err != nil {
			return nil, err
		}
		all = append(all, rs...)
	}
	return all, nil
}

// WaitRecords waits until a topic has n committed records at least, and returns them, partition by partition. The topic need
// not be there yet. If ctx ends first, the error is ctx's, with how many there are.
func (c *Cluster) WaitRecords(ctx context.Context, topic string, n int) (all []Record, err error) {
	err = c.await(ctx, func() error {
		if all, err = c.TopicRecords(topic); err != nil {
			return fmt.Errorf("topic %q: %w", topic, err)
		}
		if len(all) < n {
			return fmt.Errorf("topic %q has %d of %d records", topic, len(all), n)
		}
		return nil
	})
	return all, err
}

// WaitStable waits until a group has exactly n members, and its state is Stable: each has its assignment. With n = 0 it waits
// until the group has no members. If ctx ends first, the error is ctx's, with how things stand.
func (c *Cluster) WaitStable(ctx context.Context, groupID string, n int) error {
	return c.await(ctx, func() error {
		state, members, err := c.groupState(ctx, groupID)
		if n == 0 && errors.Is(err, group.ErrGroupIDNotFound) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("group %q: %w", groupID, err)
		}
		if members != n || n > 0 && state != group.Stable {
			return fmt.Errorf("group %q is %s with %d members, not Stable with %d", groupID, state, members, n)
		}
		return nil
	})
}

func (c *Cluster) groupState(ctx context.Context, id string) (group.State, int, error) {
	at, err := c.coordinator(ctx, id)
	if err != nil {
		return 0, 0, err
	}
	if d, err := at.ConsumerGroupDescribe(ctx, id); err == nil {
		return d.State, len(d.Members), nil
	}
	d, err := at.Describe(ctx, id)
	return d.State, len(d.Members), err
}

// Lag returns how many committed records a group has not finished yet, by partition: of all partitions of the topics that its
// members subscribe to and that it has committed offsets of, and of the topics named. Without a committed offset it is all
// records of the partition. Markers of transactions do not count.
func (c *Cluster) Lag(ctx context.Context, groupID string, topics ...string) (map[partition.TopicPartition]int, error) {
	at, err := c.coordinator(ctx, groupID)
	if err != nil {
		return nil, err
	}
	offsets, err := at.Offsets(ctx, group.OffsetsRequest{Group: groupID})
	if err != nil {
		return nil, err
	}
	names := map[string]bool{}
	for _, t := range topics {
		names[t] = true
	}
	for tp := range offsets {
		names[tp.Topic] = true
	}
	for _, t := range subscribed(ctx, at, groupID) {
		names[t] = true
	}
	lag := map[partition.TopicPartition]int{}
	for name := range names {
		t, err := c.Store().Topic(name)
		if err != nil {
			return nil, fmt.Errorf("topic %q: %w", name, err)
		}
		for p := range t.Partitions() {
			rs, err := c.Committed(name, p)
			if err != nil {
				return nil, err
			}
			tp := partition.TopicPartition{Topic: name, Partition: p}
			next := offsets[tp].Offset
			for _, r := range rs {
				if r.Offset >= next {
					lag[tp]++
				}
			}
			if lag[tp] == 0 {
				lag[tp] = 0
			}
		}
	}
	return lag, nil
}

// subscribed lists the topics that a group's members want.
func subscribed(ctx context.Context, at group.Coordinator, id string) (all []string) {
	if d, err := at.ConsumerGroupDescribe(ctx, id); err == nil {
		for _, m := range d.Members {
			all = append(all, m.Topics...)
		}
		return all
	}
	d, err := at.Describe(ctx, id)
	if err != nil || d.ProtocolType != "consumer" {
		return nil
	}
	for _, m := range d.Members {
		var sub kmsg.ConsumerMemberMetadata
		if sub.ReadFrom(m.Metadata) == nil {
			all = append(all, sub.Topics...)
		}
	}
	return all
}

// WaitLagZero waits until a group has committed offsets behind the last record of every partition that Lag is about, and
// there is one at least. If ctx ends first, the error is ctx's, with the lag.
func (c *Cluster) WaitLagZero(ctx context.Context, groupID string, topics ...string) error {
	return c.await(ctx, func() error {
		lag, err := c.Lag(ctx, groupID, topics...)
		if err != nil {
			return fmt.Errorf("group %q: %w", groupID, err)
		}
		if len(lag) == 0 {
			return fmt.Errorf("group %q has neither subscriptions nor committed offsets", groupID)
		}
		for tp, n := range lag {
			if n > 0 {
				return fmt.Errorf("group %q: lag of %s-%d is %d", groupID, tp.Topic, tp.Partition, n)
			}
		}
		return nil
	})
}

// CommittedOffsets returns the offsets that a group has committed.
func (c *Cluster) CommittedOffsets(ctx context.Context, groupID string) (map[partition.TopicPartition]partition.Offset, error) {
	at, err := c.coordinator(ctx, groupID)
	if err != nil {
		return nil, err
	}
	got, err := at.Offsets(ctx, group.OffsetsRequest{Group: groupID})
	all := make(map[partition.TopicPartition]partition.Offset, len(got))
	for tp, o := range got {
		all[tp] = o.Offset
	}
	return all, err
}

// CheckCommitted returns an error unless a group has committed exactly these offsets, and no others.
func (c *Cluster) CheckCommitted(ctx context.Context, groupID string, want map[partition.TopicPartition]partition.Offset) error {
	got, err := c.CommittedOffsets(ctx, groupID)
	if err != nil {
		return fmt.Errorf("group %q: %w", groupID, err)
	}
	if !maps.Equal(got, want) {
		return fmt.Errorf("group %q has committed %v, not %v", groupID, got, want)
	}
	return nil
}

// WaitGroupEvent waits until something has happened to a group for which match is true, and returns it. If ctx ends first, the
// error is ctx's.
func (c *Cluster) WaitGroupEvent(ctx context.Context, groupID string, match func(GroupEvent) bool) (found GroupEvent, err error) {
	err = c.await(ctx, func() error {
		all := c.GroupHistory(groupID)
		i := slices.IndexFunc(all, match)
		if i < 0 {
			return fmt.Errorf("none of %d events of group %q is the one", len(all), groupID)
		}
		found = all[i]
		return nil
	})
	return found, err
}

// CallFilter says which requests are meant: those for which every field holds that is set.
type CallFilter struct {
	API      string  // name or key
	Versions []int16 // any of these
	ClientID string  // a glob (path.Match)
	Brokers  []int32 // any of these
	Error    int16   // the code is in the answer
	Match    func(*Call) bool
}

// check returns the key of the API, -1 if any.
func (f *CallFilter) check() (int16, error) {
	if _, err := path.Match(f.ClientID, ""); err != nil {
		return 0, fmt.Errorf("filter of requests: %q: %w", f.ClientID, err)
	}
	if f.API == "" {
		return -1, nil
	}
	key, ok := APIKey(f.API)
	if !ok {
		return 0, fmt.Errorf("filter of requests: Kafka has no API %q", f.API)
	}
	return key, nil
}

func (f *CallFilter) matches(key int16, c *Call) bool {
	if key >= 0 && c.Key != key || len(f.Versions) > 0 && !slices.Contains(f.Versions, c.Version) || !matches(f.ClientID, c.ClientID) ||
		len(f.Brokers) > 0 && !slices.Contains(f.Brokers, c.Broker) {
		return false
	}
	if f.Error != 0 {
		resp, err := c.Response()
		if err != nil || !slices.Contains(errorsOf(resp), ErrorName(f.Error)) {
			return false
		}
	}
	return f.Match == nil || f.Match(c)
}

// Requests returns the requests that clients have sent, of those that the log of calls still has, in the order of their
// arrival. The error says what is malformed in the filter.
func (c *Cluster) Requests(f CallFilter) (found []Call, err error) {
	key, err := f.check()
	if err != nil {
		return nil, err
	}
	for _, call := range c.Calls() {
		if f.matches(key, &call) {
			found = append(found, call)
		}
	}
	return found, nil
}

// WaitRequests waits until clients have sent n such requests at least, and returns them. If ctx ends first, the error is
// ctx's, with how many there were.
func (c *Cluster) WaitRequests(ctx context.Context, f CallFilter, n int) (found []Call, err error) {
	if _, err := f.check(); err != nil {
		return nil, err
	}
	err = c.await(ctx, func() error {
		if found, _ = c.Requests(f); len(found) < n {
			return fmt.Errorf("%d of %d requests %s from client %q", len(found), n, f.API, f.ClientID)
		}
		return nil
	})
	return found, err
}
