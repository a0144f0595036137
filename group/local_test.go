package group

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/partlog/partlog/internal/clock"
	"github.com/partlog/partlog/partition"
)

// cluster is nodes that share one store, as if each had a copy: which of them may use a partition of OffsetsTopic is what leads says.
type cluster struct {
	*partition.Store
	t     *testing.T
	mu    sync.Mutex // guards all below
	leads map[int32]*clusterNode
	epoch map[int32]partition.LeaderEpoch
	hw    map[int32]int // how often the next leader does not know its high watermark
}

// clusterNode is one of them: a backend and its coordinator.
type clusterNode struct {
	*backend
	c     *cluster
	local *Local
	alone bool          // appends wait for other nodes, as long as their contexts say
	hold  chan struct{} // if not nil, appends are written, say so, and wait until it is closed; guarded by c.mu
	wrote chan struct{}
}

const billing = "billing"

func newCluster(t *testing.T, nodes int, config CoordinatorConfig) (*cluster, []*clusterNode) {
	c := &cluster{Store: newStore(t, "orders"), t: t, leads: map[int32]*clusterNode{}, epoch: map[int32]partition.LeaderEpoch{}, hw: map[int32]int{}}
	first, err := newCoordinator(c.Store, CoordinatorConfig{})
	require.NoError(t, err)
	require.NoError(t, first.Commit(t.Context(), CommitRequest{Membership: outside("first"), Offsets: map[partition.TopicPartition]CommittedOffset{tp("orders", 0): at(1)}}))
	require.NoError(t, first.Close()) // the topic is there now
	all := make([]*clusterNode, nodes)
	for i := range all {
		n := &clusterNode{backend: newBackend(c.Store), c: c, wrote: make(chan struct{}, 1)}
		n.local, err = NewLocal(n, config)
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, n.local.Close()) })
		all[i] = n
	}
	return c, all
}

// home is the partition of the group billing.
var home = PartitionFor(billing, OffsetsPartitions)

// move makes a node the leader of a partition, as a controller and the stores would, and then its coordinator.
func (c *cluster) move(index int32, to *clusterNode) {
	c.mu.Lock()
	from := c.leads[index]
	c.leads[index] = to
	c.epoch[index]++
	epoch := c.epoch[index]
	c.mu.Unlock()
	if from != nil && from != to {
		from.local.Resign(index)
	}
	if to != nil {
		to.local.Lead(index, epoch)
	}
}

func (n *clusterNode) check(tp partition.TopicPartition) error {
	n.c.mu.Lock()
	defer n.c.mu.Unlock()
	if tp.Topic == OffsetsTopic && n.c.leads[tp.Partition] != n {
		return fmt.Errorf("%w: %s", partition.ErrNotLeaderOrFollower, tp)
	}
	return nil
}

func (n *clusterNode) Append(ctx context.Context, r partition.AppendRequest) (partition.AppendResult, error) {
	if err := n.check(r.TopicPartition); err != nil {
		return partition.AppendResult{}, err
	}
	if n.alone {
		n.arrived <- struct{}{}
		<-ctx.Done()
		return partition.AppendResult{}, fmt.Errorf("%w: %w", partition.ErrTimeout, ctx.Err())
	}
	n.c.mu.Lock()
	hold := n.hold
	n.c.mu.Unlock()
	result, err := n.backend.Append(ctx, r)
	if hold != nil {
		n.wrote <- struct{}{}
		<-hold
	}
	return result, err
}

func (n *clusterNode) Fetch(ctx context.Context, r partition.FetchRequest) ([]partition.FetchResult, error) {
	if err := n.check(r.Partitions[0].TopicPartition); err != nil {
		return nil, err
	}
	return n.Store.Fetch(ctx, r)
}

func (n *clusterNode) ListOffsets(ctx context.Context, tp partition.TopicPartition, at int64) (partition.Offset, error) {
	if err := n.check(tp); err != nil {
		return 0, err
	}
	n.c.mu.Lock()
	unknown := at == partition.TimestampLatest && n.c.hw[tp.Partition] > 0
	if unknown {
		n.c.hw[tp.Partition]--
	}
	n.c.mu.Unlock()
	if unknown {
		return 0, partition.ErrOffsetNotAvailable
	}
	return n.Store.ListOffsets(ctx, tp, at)
}

func offsetOf(t *testing.T, c Coordinator, p partition.TopicPartition) partition.Offset {
	t.Helper()
	out, err := c.Offsets(t.Context(), OffsetsRequest{Group: billing, Partitions: []partition.TopicPartition{p}})
	require.NoError(t, err)
	require.Contains(t, out, p)
	return out[p].Offset
}

func commitOutside(t *testing.T, c Coordinator, offset partition.Offset) error {
	return c.Commit(t.Context(), CommitRequest{Membership: outside(billing), Offsets: map[partition.TopicPartition]CommittedOffset{tp("orders", 0): at(offset)}})
}

func TestGroupsAreWhereTheirPartitionIs(t *testing.T) {
	c, nodes := newCluster(t, 2, CoordinatorConfig{})
	a, b := nodes[0].local, nodes[1].local
	require.ErrorIs(t, commitOutside(t, a, 1), ErrNotCoordinator)
	c.move(home, nodes[0])
	require.True(t, a.Leads(home))
	require.NoError(t, commitOutside(t, a, 5))
	require.ErrorIs(t, commitOutside(t, b, 6), ErrNotCoordinator)
	c.move(home, nodes[1])
	require.False(t, a.Leads(home))
	require.EqualValues(t, 5, offsetOf(t, b, tp("orders", 0)))
	require.NoError(t, commitOutside(t, b, 7))

	ctx := t.Context()
	for name, err := range map[string]error{
		"commit":    commitOutside(t, a, 8),
		"join":      func() error { _, err := a.Join(ctx, JoinRequest{Group: billing}); return err }(),
		"sync":      func() error { _, err := a.Sync(ctx, SyncRequest{Membership: outside(billing)}); return err }(),
		"heartbeat": a.Heartbeat(ctx, outside(billing)),
		"leave":     a.Leave(ctx, billing, LeavingMember{MemberID: "x"}),
		"offsets":   func() error { _, err := a.Offsets(ctx, OffsetsRequest{Group: billing}); return err }(),
		"delete":    a.DeleteOffsets(ctx, billing, tp("orders", 0)),
		"groups":    a.DeleteGroups(ctx, billing),
		"consumer":  newScripted(a, billing, "a", "orders").heartbeat(ctx),
		"describe":  func() error { _, err := a.Describe(ctx, billing); return err }(),
		"described": func() error { _, err := a.ConsumerGroupDescribe(ctx, billing); return err }(),
	} {
		require.ErrorIs(t, err, ErrNotCoordinator, name)
		require.True(t, partition.Retriable(err), name)
	}
	c.move(home, nodes[0])
	require.EqualValues(t, 7, offsetOf(t, a, tp("orders", 0)))
}

func TestEachNodeListsItsOwnGroups(t *testing.T) {
	c, nodes := newCluster(t, 2, CoordinatorConfig{})
	for i := range int32(OffsetsPartitions) {
		c.move(i, nodes[i%2])
	}
	want := [2][]string{}
	for i := range 10 {
		id := fmt.Sprintf("group-%d", i)
		at2 := PartitionFor(id, OffsetsPartitions) % 2
		require.NoError(t, nodes[at2].local.Commit(t.Context(), CommitRequest{Membership: outside(id), Offsets: map[partition.TopicPartition]CommittedOffset{tp("orders", 0): at(1)}}))
		want[at2] = append(want[at2], id)
	}
	want[PartitionFor("first", OffsetsPartitions)%2] = append(want[PartitionFor("first", OffsetsPartitions)%2], "first")
	for i, n := range nodes {
		list, err := n.local.ListGroups(t.Context(), ListGroupsRequest{})
		require.NoError(t, err)
		var got []string
		for _, l := range list {
			got = append(got, l.Group)
		}
		require.ElementsMatch(t, want[i], got)
	}
}

// Members of a classic group keep generation and assignment; they have their whole session from when the next coordinator knows them.
func TestMembersGoOnWithTheNextCoordinator(t *testing.T) {
	manual := clock.NewManual(time.Unix(1.7e9, 0))
	c, nodes := newCluster(t, 2, CoordinatorConfig{Clock: manual})
	c.move(home, nodes[0])
	g, err := Open(newStore(t), billing, Config{Assignors: []Assignor{Range}})
	require.NoError(t, err)
	a := nodes[0].local
	joined, err := a.Join(t.Context(), JoinRequest{ // Local, as members of this process say
		Group: billing, ClientID: "a", Local: true, RebalanceTimeout: time.Minute,
		ProtocolType: ProtocolTypeConsumer, Protocols: g.Protocols(Subscription{Topics: []string{"orders"}, Generation: NoGeneration}),
	})
	require.NoError(t, err)
	require.Positive(t, joined.HeartbeatInterval, "it has to send heartbeats")
	require.Nil(t, joined.Rebalance)
	assignment := (&Assignment{Partitions: []partition.TopicPartition{tp("orders", 0)}}).Append(nil)
	sync := SyncRequest{Membership: joined.Membership, ProtocolType: joined.ProtocolType, Protocol: joined.Protocol, Assignments: map[string][]byte{joined.MemberID: assignment}}
	_, err = a.Sync(t.Context(), sync)
	require.NoError(t, err)

	manual.Advance(40 * time.Second) // of 45
	c.move(home, nodes[1])
	b := nodes[1].local
	require.NoError(t, b.Heartbeat(t.Context(), joined.Membership))
	manual.Advance(40 * time.Second)
	require.NoError(t, b.Commit(t.Context(), CommitRequest{Membership: joined.Membership, Offsets: map[partition.TopicPartition]CommittedOffset{tp("orders", 0): at(3)}}))
	sync.Assignments = nil
	again, err := b.Sync(t.Context(), sync)
	require.NoError(t, err)
	require.Equal(t, assignment, again.Assignment)
	for range 20 {
		manual.Advance(5 * time.Second)
	}
	require.ErrorIs(t, b.Heartbeat(t.Context(), joined.Membership), ErrUnknownMemberID, "silent for its session")
}

func TestMembersOfConsumerGroupsGoOnWithTheNextCoordinator(t *testing.T) {
	c, nodes := newCluster(t, 2, CoordinatorConfig{})
	c.move(home, nodes[0])
	m := newScripted(nodes[0].local, billing, "a", "orders")
	require.NoError(t, m.heartbeat(t.Context()))
	owned := m.owned
	require.Equal(t, 4, partitionSet(owned).size())
	before, err := nodes[0].local.ConsumerGroupDescribe(t.Context(), billing)
	require.NoError(t, err)
	c.move(home, nodes[1])
	m.c = nodes[1].local
	require.NoError(t, m.heartbeat(t.Context()))
	require.Equal(t, owned, m.owned)
	after, err := nodes[1].local.ConsumerGroupDescribe(t.Context(), billing)
	require.NoError(t, err)
	require.Equal(t, before.Epoch, after.Epoch)
}

// Whoever waits for the others, or for the log, is told to ask the next coordinator; what comes back from the log afterwards concerns nobody.
func TestRequestsThatWaitAreAnsweredWhenTheirPartitionGoes(t *testing.T) {
	c, nodes := newCluster(t, 1, CoordinatorConfig{Clock: clock.NewManual(time.Unix(1.7e9, 0)), InitialRebalanceDelay: time.Minute})
	c.move(home, nodes[0])
	local := nodes[0].local
	require.NoError(t, commitOutside(t, local, 1))
	answers := make(chan error, 2)
	go func() {
		_, err := local.Join(t.Context(), JoinRequest{
			Group: billing, SessionTimeout: 10 * time.Second, ProtocolType: ProtocolTypeConsumer, Protocols: []Protocol{{Name: "range"}},
		})
		answers <- err
	}()
	for local.Stats().Waiting == 0 {
		runtime.Gosched()
	}
	hold := make(chan struct{})
	c.mu.Lock()
	nodes[0].hold = hold
	c.mu.Unlock()
	other := groupIn(home)
	go func() {
		answers <- local.Commit(t.Context(), CommitRequest{Membership: outside(other), Offsets: map[partition.TopicPartition]CommittedOffset{tp("orders", 0): at(9)}})
	}()
	<-nodes[0].wrote // the commit is in the log
	c.mu.Lock()
	c.leads[home] = nil
	c.mu.Unlock()
	local.Resign(home)
	require.ErrorIs(t, within(t, answers), ErrNotCoordinator, "the join")
	require.Zero(t, local.Stats().Waiting)

	// Back again: what is still being written comes before what is read.
	c.mu.Lock()
	nodes[0].hold = nil
	c.mu.Unlock()
	c.move(home, nodes[0])
	loaded := make(chan error, 1)
	go func() {
		_, err := local.Offsets(t.Context(), OffsetsRequest{Group: other})
		loaded <- err
	}()
	require.Empty(t, loaded)
	close(hold)
	require.NoError(t, within(t, loaded))
	require.ErrorIs(t, within(t, answers), ErrNotCoordinator, "the commit")
	out, err := local.Offsets(t.Context(), OffsetsRequest{Group: other})
	require.NoError(t, err)
	require.EqualValues(t, 9, out[tp("orders", 0)].Offset, "it was written, as the answer allows")
}

// groupIn returns another group of the same partition.
func groupIn(index int32) string {
	for i := 0; ; i++ {
		if id := fmt.Sprintf("other-%d", i); PartitionFor(id, OffsetsPartitions) == index {
			return id
		}
	}
}

// A new leader may have records below the high watermark that it does not know yet: nothing is answered before.
func TestLoadWaitsForTheHighWatermark(t *testing.T) {
	c, nodes := newCluster(t, 2, CoordinatorConfig{})
	c.move(home, nodes[0])
	require.NoError(t, commitOutside(t, nodes[0].local, 5))
	c.hw[home] = 3
	c.move(home, nodes[1])
	require.EqualValues(t, 5, offsetOf(t, nodes[1].local, tp("orders", 0)))
	require.Zero(t, c.hw[home])
}

// What is being read is the reader's alone until all of it is there: the partition may go at any moment (for the race detector).
func TestAPartitionMayGoWhileItIsLoaded(t *testing.T) {
	c, nodes := newCluster(t, 2, CoordinatorConfig{})
	c.move(home, nodes[0])
	for i := range 20 {
		require.NoError(t, commitOutside(t, nodes[0].local, partition.Offset(i)))
	}
	for i := range 200 {
		c.move(home, nodes[i%2])
	}
	require.EqualValues(t, 19, offsetOf(t, nodes[1].local, tp("orders", 0)))
}

// Told before the store knows, and while the partition goes again.
func TestLoadThatFailsIsTriedAgainUntilThePartitionGoes(t *testing.T) {
	c, nodes := newCluster(t, 1, CoordinatorConfig{})
	local := nodes[0].local
	local.Lead(home, 1)
	ctx, cancel := context.WithCancel(t.Context())
	answer := make(chan error, 1)
	go func() { answer <- local.Heartbeat(ctx, outside(billing)) }()
	local.Resign(home)
	require.ErrorIs(t, within(t, answer), ErrNotCoordinator)
	cancel()
	local.Lead(home, 2)
	c.mu.Lock()
	c.leads[home] = nodes[0]
	c.mu.Unlock()
	require.NoError(t, commitOutside(t, local, 1))
	local.Lead(home, 2) // again
	local.Lead(home, 1) // and late
	require.EqualValues(t, 1, offsetOf(t, local, tp("orders", 0)))
	local.Lead(home, 3)
	require.EqualValues(t, 1, offsetOf(t, local, tp("orders", 0)))
}

// In a cluster a full disk is the client's to know: memory does not move.
func TestCommitThatDoesNotFitFailsInACluster(t *testing.T) {
	c, nodes := newCluster(t, 2, CoordinatorConfig{})
	c.move(home, nodes[0])
	require.NoError(t, commitOutside(t, nodes[0].local, 1))
	nodes[0].setFail(fmt.Errorf("append: %w", partition.ErrNoSpace))
	require.ErrorIs(t, commitOutside(t, nodes[0].local, 2), partition.ErrNoSpace)
	for err, want := range map[error]error{
		partition.ErrNotLeaderOrFollower: ErrNotCoordinator, partition.ErrStorage: ErrNotCoordinator,
		partition.ErrNotEnoughReplicas: ErrCoordinatorNotAvailable, partition.ErrNotEnoughReplicasAfterAppend: ErrCoordinatorNotAvailable, partition.ErrTimeout: ErrCoordinatorNotAvailable,
	} {
		nodes[0].setFail(err)
		require.ErrorIs(t, commitOutside(t, nodes[0].local, 3), want)
	}
	nodes[0].setFail(nil)
	require.EqualValues(t, 1, offsetOf(t, nodes[0].local, tp("orders", 0)))
	c.move(home, nodes[1])
	require.EqualValues(t, 1, offsetOf(t, nodes[1].local, tp("orders", 0)))
}

func TestOffsetsOfATransactionCountWithTheNextCoordinator(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, nodes := newCluster(t, 2, CoordinatorConfig{})
		c.move(home, nodes[0])
		x := newTransaction(t, c.Store, "tx")
		require.NoError(t, x.commit(nodes[0].local, outside(billing), map[partition.TopicPartition]CommittedOffset{tp("orders", 0): at(5)}))
		c.move(home, nodes[1])
		_, err := nodes[1].local.Offsets(t.Context(), OffsetsRequest{Group: billing, Partitions: []partition.TopicPartition{tp("orders", 0)}, RequireStable: true})
		require.ErrorIs(t, err, ErrUnstableOffsetCommit)
		x.end(true)
		synctest.Wait()
		require.EqualValues(t, 5, stable(t, nodes[1].local, billing)[tp("orders", 0)].Offset)
	})
}

// Two clients commit while the group moves back and forth: what was acknowledged is there, with every coordinator.
func TestAcknowledgedCommitsAreThereWhereverTheGroupMoves(t *testing.T) {
	c, nodes := newCluster(t, 3, CoordinatorConfig{})
	c.move(home, nodes[0])
	var wg sync.WaitGroup
	stop := make(chan struct{})
	for i := range int32(2) {
		wg.Go(func() {
			p := tp("orders", i)
			for offset := partition.Offset(1); offset <= 150; {
				c.mu.Lock()
				at2 := c.leads[home]
				c.mu.Unlock()
				err := at2.local.Commit(context.Background(), CommitRequest{Membership: outside(billing), Offsets: map[partition.TopicPartition]CommittedOffset{p: at(offset)}})
				switch {
				case err == nil:
					out, err := at2.local.Offsets(context.Background(), OffsetsRequest{Group: billing, Partitions: []partition.TopicPartition{p}})
					if err == nil && out[p].Offset < offset {
						t.Errorf("committed %d of %v, and found %v", offset, p, out[p].Offset)
						return
					}
					offset++
				case !errors.Is(err, ErrNotCoordinator):
					t.Errorf("commit: %v", err)
					return
				}
			}
		})
	}
	moved := make(chan struct{})
	go func() {
		defer close(moved)
		for i := 1; ; i++ {
			select {
			case <-stop:
				return
			default:
				c.move(home, nodes[i%3])
				_, _ = nodes[i%3].local.Describe(context.Background(), billing) // loaded
			}
		}
	}()
	wg.Wait()
	close(stop)
	<-moved
	for _, n := range nodes {
		c.move(home, n)
		require.EqualValues(t, 150, offsetOf(t, n.local, tp("orders", 0)))
		require.EqualValues(t, 150, offsetOf(t, n.local, tp("orders", 1)))
	}
}

// The other nodes may never answer, and the store is closed after its services.
func TestCloseDoesNotWaitForOtherNodes(t *testing.T) {
	c, nodes := newCluster(t, 1, CoordinatorConfig{})
	c.move(home, nodes[0])
	require.NoError(t, commitOutside(t, nodes[0].local, 1))
	for len(nodes[0].arrived) > 0 {
		<-nodes[0].arrived
	}
	nodes[0].alone = true
	answer := make(chan error, 1)
	go func() { answer <- commitOutside(t, nodes[0].local, 2) }()
	<-nodes[0].arrived
	require.NoError(t, nodes[0].local.Close())
	require.ErrorIs(t, within(t, answer), partition.ErrClosed)
}

func TestClosedLocalLeadsNothing(t *testing.T) {
	c, nodes := newCluster(t, 1, CoordinatorConfig{})
	local := nodes[0].local
	local.Lead(home, 1) // the store does not lead it: the load goes on trying
	answer := make(chan error, 1)
	go func() { answer <- commitOutside(t, local, 1) }()
	require.NoError(t, local.Close())
	require.ErrorIs(t, within(t, answer), partition.ErrClosed)
	local.Lead(home, 2)
	local.Resign(home)
	c.move(home, nodes[0])
	require.ErrorIs(t, commitOutside(t, local, 1), partition.ErrClosed)
}
