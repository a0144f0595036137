package group

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/partlog/partlog/internal/batch"
	"github.com/partlog/partlog/internal/clock"
	"github.com/partlog/partlog/internal/vfs"
	"github.com/partlog/partlog/partition"
)

func TestConsumerGroupInAStore(t *testing.T) {
	store := newStore(t, "orders", "others")
	manual := clock.NewManual(time.Unix(1.7e9, 0))
	g, c := openGroup(t, store, "billing", Config{Coordinator: CoordinatorConfig{Clock: manual}})
	ctx := t.Context()
	a, b := newScripted(c, "billing", "a", "orders"), newScripted(c, "billing", "b", "orders")
	require.NoError(t, a.heartbeat(ctx))
	require.Equal(t, 4, partitionSet(a.owned).size())
	require.NoError(t, b.heartbeat(ctx))
	require.NotNil(t, b.owned)
	require.Empty(t, b.owned)
	require.NoError(t, a.heartbeat(ctx)) // is told what to keep
	require.NoError(t, a.heartbeat(ctx)) // has given up the rest
	require.NoError(t, b.heartbeat(ctx))
	require.Equal(t, 2, partitionSet(a.owned).size())
	require.Equal(t, 2, partitionSet(b.owned).size())
	require.False(t, partitionSet(a.owned).touches(b.owned))

	d, err := c.ConsumerGroupDescribe(ctx, "billing")
	require.NoError(t, err)
	require.Equal(t, Stable, d.State)
	require.EqualValues(t, 2, d.Epoch)
	require.EqualValues(t, 2, d.AssignmentEpoch)
	require.Equal(t, "uniform", d.Assignor)
	require.Len(t, d.Members, 2)
	require.Equal(t, a.owned, d.Members[0].Assignment)
	require.Equal(t, a.owned, d.Members[0].Target)
	classic, err := g.Describe(ctx)
	require.NoError(t, err)
	require.Equal(t, ProtocolTypeConsumer, classic.ProtocolType)
	require.Len(t, classic.Members, 2)
	s, err := DecodeSubscription(classic.Members[1].Metadata)
	require.NoError(t, err)
	require.Equal(t, []string{"orders"}, s.Topics)
	as, err := DecodeAssignment(classic.Members[1].Assignment)
	require.NoError(t, err)
	require.Len(t, as.Partitions, 2)
	list, err := c.ListGroups(ctx, ListGroupsRequest{Types: []GroupType{ConsumerProtocolGroup}})
	require.NoError(t, err)
	require.Equal(t, []Listing{{Group: "billing", State: Stable, Type: ConsumerProtocolGroup, ProtocolType: ProtocolTypeConsumer}}, list)
	require.Equal(t, 1, g.Stats().Groups[Stable])
	require.Equal(t, 2, g.Stats().Members)

	// Commits and fetches carry the member's epoch.
	commit := func(id string, epoch MemberEpoch) error {
		return c.Commit(ctx, CommitRequest{
			Membership: Membership{Group: "billing", MemberID: id, Generation: Generation(epoch)},
			Offsets:    map[partition.TopicPartition]CommittedOffset{tp("orders", 0): {Offset: 7}},
		})
	}
	require.NoError(t, commit("a", 2))
	require.ErrorIs(t, commit("a", 1), ErrStaleMemberEpoch)
	require.ErrorIs(t, commit("z", 2), ErrUnknownMemberID)
	require.ErrorIs(t, commit("", -1), ErrUnknownMemberID)
	offsets := func(id string, epoch MemberEpoch) error {
		_, err := c.Offsets(ctx, OffsetsRequest{Group: "billing", MemberID: id, MemberEpoch: epoch})
		return err
	}
	require.NoError(t, offsets("", 0))
	require.NoError(t, offsets("a", 2))
	require.ErrorIs(t, offsets("a", 1), ErrStaleMemberEpoch)
	require.ErrorIs(t, offsets("z", 1), ErrUnknownMemberID)

	// New partitions are found at a heartbeat.
	err = store.CreatePartitions(ctx, "orders", 6)
	require.NoError(t, err)
	manual.Advance(time.Second)
	for range 3 {
		require.NoError(t, a.heartbeat(ctx))
		require.NoError(t, b.heartbeat(ctx))
	}
	require.Equal(t, 3, partitionSet(a.owned).size())
	require.Equal(t, 3, partitionSet(b.owned).size())

	// A silent member is out after its session, which others notice at their next heartbeat.
	for range 10 {
		manual.Advance(5 * time.Second)
		require.NoError(t, a.heartbeat(ctx))
	}
	require.Equal(t, 6, partitionSet(a.owned).size())
	require.ErrorIs(t, b.heartbeat(ctx), ErrUnknownMemberID)
	require.NoError(t, a.leave(ctx, LeaveGroupEpoch))
	require.NoError(t, c.DeleteGroups(ctx, "billing"))
	_, err = c.ConsumerGroupDescribe(ctx, "billing")
	require.ErrorIs(t, err, ErrGroupIDNotFound)
}

func TestHeartbeatOfAConsumerGroupIsChecked(t *testing.T) {
	store := newStore(t, "orders")
	_, c := openGroup(t, store, "billing", Config{})
	for _, r := range []ConsumerHeartbeatRequest{
		{},
		{Group: "g", MemberID: "a"},
		{Group: "g", MemberID: "a", MemberEpoch: -4},
		{Group: "g", MemberEpoch: 3},
	} {
		_, err := c.ConsumerGroupHeartbeat(t.Context(), r)
		require.ErrorIs(t, err, ErrInvalidRequest)
	}
	m := newScripted(c, "billing", "", "orders")
	result, err := c.ConsumerGroupHeartbeat(t.Context(), ConsumerHeartbeatRequest{Group: "billing", RebalanceTimeout: time.Minute, Topics: []string{"orders"}, Owned: []TopicIDPartitions{}})
	require.NoError(t, err)
	require.Len(t, result.MemberID, 36)
	require.Equal(t, 5*time.Second, result.HeartbeatInterval)
	regex := "[a"
	m.r.MemberID, m.r.Regex = "b", &regex
	require.ErrorIs(t, m.heartbeat(t.Context()), ErrInvalidRegularExpression)
	m.r.Regex, m.r.Assignor = nil, "best"
	require.ErrorIs(t, m.heartbeat(t.Context()), ErrUnsupportedAssignor)
}

func TestOverridesOfOneConsumerGroup(t *testing.T) {
	store := newStore(t, "orders")
	overrides := map[string]ConsumerGroupOverrides{"quick": {SessionTimeout: 3 * time.Second, HeartbeatInterval: time.Second}}
	manual := clock.NewManual(time.Unix(1.7e9, 0))
	_, c := openGroup(t, store, "quick", Config{Coordinator: CoordinatorConfig{Clock: manual, ConsumerGroups: ConsumerGroupConfig{Groups: overrides}}})
	for _, id := range []string{"quick", "usual"} {
		m := newScripted(c, id, "m", "orders")
		require.NoError(t, m.heartbeat(t.Context()))
		r, err := c.ConsumerGroupHeartbeat(t.Context(), ConsumerHeartbeatRequest{Group: id, MemberID: "m", MemberEpoch: m.r.MemberEpoch})
		require.NoError(t, err)
		require.Equal(t, map[string]time.Duration{"quick": time.Second, "usual": 5 * time.Second}[id], r.HeartbeatInterval)
	}
	for range 4 {
		manual.Advance(time.Second)
	}
	for id, members := range map[string]int{"quick": 0, "usual": 1} {
		d, err := c.ConsumerGroupDescribe(t.Context(), id)
		require.NoError(t, err)
		require.Len(t, d.Members, members)
	}
	for _, bad := range []ConsumerGroupConfig{
		{Groups: map[string]ConsumerGroupOverrides{"g": {HeartbeatInterval: time.Hour}}},
		{SessionTimeout: time.Hour}, {MaxSize: -1}, {Migration: 9}, {Assignors: []ServerAssignor{nil}}, {Assignors: []ServerAssignor{Uniform, Uniform}}, {RegexRefreshInterval: 1},
	} {
		_, err := Open(newStore(t), "g", Config{Coordinator: CoordinatorConfig{ConsumerGroups: bad}})
		_, is := errors.AsType[*partition.ConfigError](err)
		require.True(t, is, "%v", err)
	}
}

// A regular expression is looked at against all topics of the store, new ones within ten seconds.
func TestRegularExpressionFindsTopicsOfTheStore(t *testing.T) {
	store := newStore(t, "orders-de", "orders-fr", "my-orders")
	manual := clock.NewManual(time.Unix(1.7e9, 0))
	_, c := openGroup(t, store, "billing", Config{Coordinator: CoordinatorConfig{Clock: manual}})
	m := newScripted(c, "billing", "m")
	regex := "orders-.*"
	m.r.Regex = &regex
	require.NoError(t, m.heartbeat(t.Context()))
	require.Equal(t, 8, partitionSet(m.owned).size())
	createTopics(t, store, "orders-it")
	manual.Advance(10 * time.Second)
	require.NoError(t, m.heartbeat(t.Context()))
	require.Equal(t, 12, partitionSet(m.owned).size())
	require.NoError(t, store.DeleteTopic(t.Context(), "orders-fr"))
	manual.Advance(10 * time.Second)
	require.NoError(t, m.heartbeat(t.Context()))
	require.Equal(t, 8, partitionSet(m.owned).size())
}

// The group goes on in the next process, with whoever is not of this one.
func TestConsumerGroupSurvivesAReopenOfTheStore(t *testing.T) {
	mem := vfs.NewMem()
	manual := clock.NewManual(time.Unix(1.7e9, 0))
	open := func() (*partition.Store, *ConsumerGroup, Coordinator) {
		store, err := partition.Open("/store", partition.Config{FS: mem})
		require.NoError(t, err)
		g, c := openGroup(t, store, "billing", Config{Coordinator: CoordinatorConfig{Clock: manual}})
		return store, g, c
	}
	store, g, c := open()
	createTopics(t, store, "orders")
	a, b := newScripted(c, "billing", "a", "orders"), newScripted(c, "billing", "b", "orders")
	b.r.InstanceID = "i"
	local := newClient(t, g, "orders")
	require.NoError(t, a.heartbeat(t.Context()))
	require.NoError(t, b.heartbeat(t.Context()))
	require.NoError(t, local.enter(t.Context()))
	require.Equal(t, 1, g.Stats().LocalMembers)
	require.NoError(t, a.heartbeat(t.Context()))
	before, err := c.ConsumerGroupDescribe(t.Context(), "billing")
	require.NoError(t, err)
	require.Len(t, before.Members, 3)
	require.NoError(t, store.Close())

	store, _, c = open()
	after, err := c.ConsumerGroupDescribe(t.Context(), "billing")
	require.NoError(t, err)
	require.Equal(t, before.Epoch+1, after.Epoch, "the member of the other process was removed")
	require.Len(t, after.Members, 2)
	require.Equal(t, before.Members[:2], after.Members)
	a.c, b.c = c, c
	for range 3 {
		require.NoError(t, a.heartbeat(t.Context()))
		require.NoError(t, b.heartbeat(t.Context()))
	}
	require.Equal(t, 2, partitionSet(a.owned).size())
	require.Equal(t, 2, partitionSet(b.owned).size())
	require.NoError(t, store.Close())
}

// liveClient is a classic member of this process that joins again whenever it is told to.
type liveClient struct {
	mu       sync.Mutex
	assigned []partition.TopicPartition
}

func (l *liveClient) set(tps []partition.TopicPartition) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.assigned = tps
}

func (l *liveClient) get() []partition.TopicPartition {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.assigned)
}

func (l *liveClient) run(ctx context.Context, t *testing.T, m *client) {
	for ctx.Err() == nil {
		l.set(nil) // eagerly
		err := m.enter(ctx)
		if err != nil && ctx.Err() != nil {
			return
		}
		require.NoError(t, err)
		l.set(m.assigned)
		select {
		case <-m.joined.Rebalance:
		case <-ctx.Done():
		}
	}
	_ = m.c.Leave(context.Background(), m.g.ID(), LeavingMember{MemberID: m.joined.MemberID})
}

// Members of both protocols are on line at once: classic ones of this process join a classic group, members of the new
// protocol come, which makes it a consumer group, and go, which makes it a classic one again. Nobody ever shares a
// partition, and in each phase all partitions are shared out.
func TestMembersOfBothProtocolsShareAGroup(t *testing.T) {
	store := newStore(t, "orders", "others")
	g, c := openGroup(t, store, "billing", Config{})
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	live := make([]*liveClient, 3)
	for i := range live {
		live[i] = &liveClient{}
		m := newClient(t, g, "orders", "others")
		wg.Go(func() { live[i].run(ctx, t, m) })
	}
	var next []*scripted
	eventually := func(what string, done func() bool) {
		deadline := time.Now().Add(5 * time.Minute) // only a bound against hanging for ever
		for !done() {
			require.True(t, time.Now().Before(deadline), what)
			runtime.Gosched()
		}
	}
	settled := func(state string) func() bool {
		return func() bool {
			owners := make(map[partition.TopicPartition]bool)
			for _, m := range next {
				err := m.heartbeat(ctx)
				require.True(t, err == nil || errors.Is(err, ErrFencedMemberEpoch), "%v", err)
			}
			d, err := c.Describe(ctx, "billing")
			require.NoError(t, err)
			members := 0
			for _, l := range live {
				tps := l.get()
				members += min(1, len(tps))
				for _, tp := range tps {
					owners[tp] = true
				}
			}
			image := newImage(t, store)
			for _, m := range next {
				for _, tp := range image.byTopicName(m.owned) {
					if owners[tp] {
						return false // the classic member has been told meanwhile
					}
					owners[tp] = true
				}
			}
			return len(owners) == 8 && members == len(live) && d.State.String() == state && len(d.Members) == len(live)+len(next)
		}
	}
	eventually("a classic group", settled("Stable"))
	_, err := c.ConsumerGroupDescribe(ctx, "billing")
	require.ErrorIs(t, err, ErrGroupIDNotFound)
	for i := range 3 {
		next = append(next, newScripted(c, "billing", fmt.Sprint("n", i), "orders", "others"))
		eventually(fmt.Sprintf("with %d members of the new protocol", i+1), settled("Stable"))
		d, err := c.ConsumerGroupDescribe(ctx, "billing")
		require.NoError(t, err)
		require.Len(t, d.Members, 3+len(next))
	}
	for len(next) > 0 {
		require.NoError(t, next[0].leave(ctx, LeaveGroupEpoch))
		next = next[1:]
		eventually(fmt.Sprintf("with %d members of the new protocol left", len(next)), settled("Stable"))
	}
	_, err = c.ConsumerGroupDescribe(ctx, "billing")
	require.ErrorIs(t, err, ErrGroupIDNotFound)
	cancel()
	wg.Wait()
	d, err := c.Describe(t.Context(), "billing")
	require.NoError(t, err)
	require.Equal(t, Empty, d.State)
}

func newImage(t *testing.T, b Backend) *topicImage {
	metadata, err := b.Metadata(t.Context(), nil)
	require.NoError(t, err)
	return newTopicImage(metadata, true)
}

// A broker's consumer group, with two members of the new protocol and a classic one, goes on in a store: what Kafka's tool
// said of it (members.txt) is what we read from its log, and the members' next heartbeats are answered.
func TestConsumerGroupOfABrokerGoesOnInAStore(t *testing.T) {
	const golden = "testdata/kafka-4.1.2-consumer"
	dir := t.TempDir()
	at := tp(OffsetsTopic, PartitionFor("billing", OffsetsPartitions)) // the broker had one partition
	require.NoError(t, os.CopyFS(filepath.Join(dir, at.String()), os.DirFS(golden+"/__consumer_offsets-0")))
	for p := range int32(4) {
		name := tp("orders", p).String()
		require.NoError(t, os.CopyFS(filepath.Join(dir, name), os.DirFS(golden+"/"+name)))
	}
	store := newStore(t)
	_, err := store.Import(t.Context(), dir, partition.ImportOptions{})
	require.NoError(t, err)
	manual := clock.NewManual(time.Unix(1.8e9, 0))
	g, c := openGroup(t, store, "billing", Config{Coordinator: CoordinatorConfig{Clock: manual}})
	d, err := c.ConsumerGroupDescribe(t.Context(), "billing")
	require.NoError(t, err)
	require.Equal(t, Stable, d.State)
	require.EqualValues(t, 3, d.Epoch)
	require.EqualValues(t, 3, d.AssignmentEpoch)
	require.Len(t, d.Members, 3)
	for i, want := range []struct {
		id, instance, client string
		classic              bool
		partitions           []int32
	}{
		{"9Pckt3qaQrKs4I1cUYZljg", "instance-b", "b", false, []int32{2, 3}},
		{"KBmYOSrFQuOGJa3vgSWHlw", "", "c", true, []int32{1}},
		{"eWNUoN0JSuuPANZzOOelsw", "", "a", false, []int32{0}},
	} {
		m := d.Members[i]
		require.Equal(t, want.id, m.MemberID)
		require.Equal(t, want.instance, m.InstanceID)
		require.Equal(t, want.client, m.ClientID)
		require.Equal(t, want.classic, m.Classic)
		require.EqualValues(t, 3, m.Epoch)
		require.Equal(t, MemberStable, m.State)
		require.Equal(t, []string{"orders"}, m.Topics)
		require.Equal(t, want.partitions, m.Assignment[0].Partitions)
		require.Equal(t, m.Assignment, m.Target)
	}
	committed, err := g.Committed(t.Context())
	require.NoError(t, err)
	require.EqualValues(t, 40, committed[tp("orders", 2)].Offset)
	require.Zero(t, g.Stats().SkippedRecords)

	// Everybody keeps what it has.
	a := newScripted(c, "billing", "eWNUoN0JSuuPANZzOOelsw", "orders")
	a.r.MemberEpoch, a.owned = 3, d.Members[2].Assignment
	require.NoError(t, a.heartbeat(t.Context()))
	require.Equal(t, d.Members[2].Assignment, a.owned)
	b := newScripted(c, "billing", "9Pckt3qaQrKs4I1cUYZljg", "orders")
	b.r.MemberEpoch, b.owned, b.r.InstanceID = 3, d.Members[0].Assignment, "instance-b"
	require.NoError(t, b.heartbeat(t.Context()))
	require.Equal(t, d.Members[0].Assignment, b.owned)
	err = c.Heartbeat(t.Context(), Membership{Group: "billing", MemberID: "KBmYOSrFQuOGJa3vgSWHlw", Generation: 3})
	require.True(t, err == nil || errors.Is(err, ErrRebalanceInProgress), "%v", err)
	manual.Advance(time.Minute)
	require.NoError(t, g.Commit(t.Context(), map[partition.TopicPartition]CommittedOffset{tp("orders", 2): {Offset: 41}}))
}

// What a broker has written of consumer groups we write in the same bytes.
func TestRecordsOfABrokersConsumerGroupAreWrittenAgain(t *testing.T) {
	data, err := os.ReadFile("testdata/kafka-4.1.2-consumer/__consumer_offsets-0/00000000000000000000.log")
	require.NoError(t, err)
	kinds := make(map[int16]int)
	for len(data) > 0 {
		b, err := batch.Peek(data)
		require.NoError(t, err)
		data = data[len(b):]
		var it batch.Iterator
		b.Iterate(&it, maxDecompressed)
		for it.Next() {
			r := it.Record()
			v, ok, err := decodeRecord(r.Key, r.Value)
			require.NoError(t, err)
			require.True(t, ok)
			if v.change == nil {
				continue
			}
			kinds[v.change.kind]++
			again := v.change.record(v.group)
			require.Equal(t, r.Key, again.key)
			require.Equal(t, r.Value, again.value)
		}
		require.NoError(t, it.Err())
	}
	for _, kind := range []int16{keyConsumerGroup, keyConsumerMember, keyConsumerTarget, keyConsumerTargetMember, keyConsumerAssignment} {
		require.Positive(t, kinds[kind], "no record of type %d", kind)
	}
}

// TestWriteConsumerGroupForKafka writes the store that .ci/groups gives to a broker: a group that was upgraded from the
// classic protocol, with members of both, a regular expression, and a static member that was replaced.
func TestWriteConsumerGroupForKafka(t *testing.T) {
	dir := os.Getenv("PARTLOG_GROUPS_STORE")
	if dir == "" {
		t.Skip("PARTLOG_GROUPS_STORE does not say where; .ci/groups does")
	}
	store, err := partition.Open(dir, partition.Config{})
	require.NoError(t, err)
	createTopics(t, store, "orders", "others")
	g, c := openGroup(t, store, "billing", Config{})
	classic := newClient(t, g, "orders")
	classic.request = func(r *JoinRequest) {
		r.Local, r.ClientID, r.ClientHost, r.SessionTimeout = false, "classic", "/127.0.0.1", 30*time.Minute
	}
	require.NoError(t, classic.enter(t.Context()))
	a, b := newScripted(c, "billing", "member-a", "orders"), newScripted(c, "billing", "member-b", "orders")
	regex := "oth.*"
	a.r.Regex, b.r.InstanceID = &regex, "instance"
	for range 4 {
		require.NoError(t, a.heartbeat(t.Context()))
		require.NoError(t, b.heartbeat(t.Context()))
		require.NoError(t, classic.enter(t.Context()))
	}
	require.NoError(t, b.leave(t.Context(), LeaveGroupStaticEpoch))
	b.r.MemberID = "member-b2"
	require.NoError(t, b.heartbeat(t.Context()))
	require.NoError(t, c.Commit(t.Context(), CommitRequest{
		Membership: Membership{Group: "billing", MemberID: "member-a", Generation: Generation(a.r.MemberEpoch)},
		Offsets:    map[partition.TopicPartition]CommittedOffset{tp("orders", 0): {Offset: 7}},
	}))
	d, err := c.ConsumerGroupDescribe(t.Context(), "billing")
	require.NoError(t, err)
	require.Equal(t, Stable, d.State)
	require.NoError(t, store.Close())
	for _, m := range d.Members {
		fmt.Printf("member %s epoch %d new protocol %t\n", m.MemberID, m.Epoch, !m.Classic)
	}
}
