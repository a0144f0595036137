package partition_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/partlog/partlog/partition"
	"github.com/partlog/partlog/partition/partitiontest"
	"github.com/stretchr/testify/require"
)

// byHand is a cluster whose only node does what a test says: changes of the catalogue are agreed on at once, nothing moves by itself.
type byHand struct {
	mu       sync.Mutex
	store    *partition.Store
	index    uint64
	conflict int                                  // proposals that meet another change first
	appended func(partition.TopicPartition)       // nil: nothing
	proposed []partition.SharedChange             // all that were agreed on
	low      func(partition.TopicPartition) error // nil: at once
}

func (c *byHand) NodeID() int32 { return 7 }

func (c *byHand) Propose(_ context.Context, change partition.SharedChange) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.conflict > 0 {
		c.conflict--
		c.index++
		if err := c.store.ApplyShared(c.index, partition.SharedSettings, []byte{2, 2, 'x', 0, 0}); err != nil { // deletes a setting that is not there
			return err
		}
	}
	if change.Expect != c.index {
		return partition.ErrSharedConflict
	}
	c.index++
	c.proposed = append(c.proposed, change)
	return c.store.ApplyShared(c.index, change.Kind, change.Payload)
}

func (c *byHand) Appended(tp partition.TopicPartition, _ partition.Offset) {
	if c.appended != nil {
		c.appended(tp)
	}
}

func (c *byHand) LowWatermark(_ context.Context, tp partition.TopicPartition, _ partition.Offset) error {
	if c.low != nil {
		return c.low(tp)
	}
	return nil
}

func (c *byHand) TxnAdd(context.Context, string, partition.ProducerID, []partition.TopicPartition, int16, bool) error {
	return partition.ErrUnsupported
}

func (c *byHand) WriteTxnMarker(context.Context, partition.TxnMarker) error {
	return partition.ErrUnsupported
}

var handTP = partition.TopicPartition{Topic: "orders", Partition: 0}

// openByHand opens a store of one node with a topic of two partitions.
func openByHand(t testing.TB, c partition.Config) (*byHand, *partition.Store) {
	t.Helper()
	h := &byHand{}
	c.Cluster = h
	s, err := partition.OpenMemory(c)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	h.store = s
	_, err = s.CreateTopic(t.Context(), handTP.Topic, partition.TopicConfig{Partitions: 2})
	require.NoError(t, err)
	return h, s
}

// role is what a test says of handTP.
func role(t testing.TB, s *partition.Store, r partition.Role, epoch partition.LeaderEpoch, isr int) *partition.Replica {
	t.Helper()
	require.NoError(t, s.SetReplica(handTP, partition.TopicID{}, partition.ReplicaState{Role: r, Leader: 7, Epoch: epoch, ISR: isr, MinISR: 2}))
	if r == partition.RoleNone {
		return nil
	}
	replica, err := s.Replica(handTP, partition.TopicID{})
	require.NoError(t, err)
	return replica
}

func handBatch(values ...string) []byte {
	var rs []partitiontest.Record
	for _, v := range values {
		rs = append(rs, partitiontest.Record{Timestamp: 1, Value: []byte(v)})
	}
	return partitiontest.Batch(rs...)
}

func appendTo(ctx context.Context, s *partition.Store, acks partition.Acks, value string) (partition.AppendResult, error) {
	return s.Append(ctx, partition.AppendRequest{TopicPartition: handTP, Batch: handBatch(value), Acks: acks})
}

// begun has an append begin, and returns when its batch is in the log, with the channel of its result.
func begun(t testing.TB, s *partition.Store, r *partition.Replica, req partition.AppendRequest) chan error {
	t.Helper()
	result := make(chan error, 1)
	end := r.End()
	req.TopicPartition = handTP
	req.Batch = handBatch("waits")
	ctx := t.Context()
	go func() {
		_, err := s.Append(ctx, req)
		result <- err
	}()
	for r.End() == end {
		select {
		case err := <-result:
			t.Fatalf("the append is over before its batch is written: %v", err)
		default:
			runtime.Gosched()
		}
	}
	return result
}

func pending(t testing.TB, result chan error) {
	t.Helper()
	select {
	case err := <-result:
		t.Fatalf("acknowledged too early, or given up: %v", err)
	default:
	}
}

func TestAppendIsAcknowledgedWhenTheHighWatermarkHasPassedIt(t *testing.T) {
	for _, mode := range []partition.SyncMode{partition.SyncAlways, partition.SyncNever} {
		_, s := openByHand(t, partition.Config{Sync: mode})
		r := role(t, s, partition.RoleLeader, 1, 3)
		var results []chan error
		for range 5 {
			results = append(results, begun(t, s, r, partition.AppendRequest{}))
		}
		for i := range results {
			r.SetHighWatermark(partition.Offset(i)) // not above it yet
			pending(t, results[i])
			r.SetHighWatermark(partition.Offset(i + 1))
			require.NoError(t, <-results[i])
		}
		_, err := appendTo(t.Context(), s, partition.AcksLeader, "acks 1")
		require.NoError(t, err, "who asks for the leader alone does not wait")
		rs, err := s.Fetch(t.Context(), partition.FetchRequest{Partitions: []partition.FetchPosition{{TopicPartition: handTP, LeaderEpoch: -1}}})
		require.NoError(t, err)
		require.Equal(t, partition.Offset(5), rs[0].HighWatermark, "and nobody sees it before the others have it")
		rs[0].Lease.Release()
	}
}

func TestWhatIsWrittenUnderARoleThatHasEndedIsNotAcknowledged(t *testing.T) {
	for name, end := range map[string]struct {
		do   func(t *testing.T, h *byHand, s *partition.Store, r *partition.Replica)
		want error
	}{
		"the leader follows another": {func(t *testing.T, _ *byHand, s *partition.Store, _ *partition.Replica) {
			role(t, s, partition.RoleFollower, 2, 0)
		}, partition.ErrNotLeaderOrFollower},
		"the leader is elected again": {func(t *testing.T, _ *byHand, s *partition.Store, r *partition.Replica) {
			role(t, s, partition.RoleLeader, 2, 3)
			r.SetHighWatermark(r.End())
		}, partition.ErrNotLeaderOrFollower},
		"the partition goes elsewhere": {func(t *testing.T, _ *byHand, s *partition.Store, _ *partition.Replica) {
			require.NoError(t, s.RemoveReplica(handTP, partition.TopicID{}))
		}, partition.ErrNotLeaderOrFollower},
		"the ISR shrinks below the minimum": {func(t *testing.T, _ *byHand, s *partition.Store, _ *partition.Replica) {
			role(t, s, partition.RoleLeader, 1, 1)
		}, partition.ErrNotEnoughReplicasAfterAppend},
		"the topic is deleted": {func(t *testing.T, _ *byHand, s *partition.Store, _ *partition.Replica) {
			require.NoError(t, s.DeleteTopic(t.Context(), handTP.Topic))
		}, partition.ErrUnknownTopicOrPartition},
		"another's records are in its place": {func(t *testing.T, _ *byHand, s *partition.Store, r *partition.Replica) {
			role(t, s, partition.RoleFollower, 2, 0)
			require.NoError(t, r.Truncate(0))
			other := openOther(t)
			_, err := r.Append(other)
			require.NoError(t, err)
			r.SetHighWatermark(r.End())
		}, partition.ErrNotLeaderOrFollower},
		"the store is closed": {func(t *testing.T, _ *byHand, s *partition.Store, _ *partition.Replica) {
			require.NoError(t, s.Close())
		}, partition.ErrClosed},
	} {
		t.Run(name, func(t *testing.T) {
			h, s := openByHand(t, partition.Config{})
			r := role(t, s, partition.RoleLeader, 1, 3)
			result := begun(t, s, r, partition.AppendRequest{})
			pending(t, result)
			end.do(t, h, s, r)
			err := <-result
			require.ErrorIs(t, err, end.want)
			if end.want != partition.ErrClosed {
				require.True(t, partition.Retriable(err), err)
			}
		})
	}
}

// openOther returns three batches that another leader has written in epoch 2.
func openOther(t testing.TB) []byte {
	t.Helper()
	_, s := openByHand(t, partition.Config{})
	r := role(t, s, partition.RoleLeader, 2, 3)
	for range 3 {
		_, err := appendTo(t.Context(), s, partition.AcksLeader, "another's")
		require.NoError(t, err)
	}
	var res partition.FetchResult
	require.NoError(t, r.Read(0, 1<<20, &res))
	defer res.Lease.Release()
	return append([]byte{}, res.Batches...)
}

func TestAppendGivesUpWaitingAfterItsTimeoutOrContext(t *testing.T) {
	clock := partitiontest.NewClock(time.Unix(1_700_000_000, 0))
	_, s := openByHand(t, partition.Config{Clock: clock})
	r := role(t, s, partition.RoleLeader, 1, 3)
	result := begun(t, s, r, partition.AppendRequest{Timeout: time.Second})
	for {
		clock.Advance(time.Second)
		select {
		case err := <-result:
			require.ErrorIs(t, err, partition.ErrTimeout)
			require.True(t, partition.Retriable(err))
		default:
			runtime.Gosched()
			continue // it does not wait yet
		}
		break
	}
	patient := begun(t, s, r, partition.AppendRequest{})
	clock.Advance(24 * time.Hour)
	pending(t, patient)
	ctx, cancel := context.WithCancel(t.Context())
	gaveUp := make(chan error, 1)
	end := r.End()
	go func() {
		_, err := appendTo(ctx, s, partition.AcksAll, "gives up")
		gaveUp <- err
	}()
	for r.End() == end {
		runtime.Gosched()
	}
	cancel()
	err := <-gaveUp
	require.ErrorIs(t, err, partition.ErrTimeout)
	require.ErrorIs(t, err, context.Canceled)
	r.SetHighWatermark(r.End())
	require.NoError(t, <-patient)
}

func TestAppendNeedsALeaderAndEnoughReplicas(t *testing.T) {
	_, s := openByHand(t, partition.Config{})
	_, err := appendTo(t.Context(), s, partition.AcksLeader, "x")
	require.ErrorIs(t, err, partition.ErrNotLeaderOrFollower, "nobody has said anything")
	role(t, s, partition.RoleFollower, 1, 0)
	for _, acks := range []partition.Acks{partition.AcksAll, partition.AcksLeader, partition.AcksNone} {
		_, err = appendTo(t.Context(), s, acks, "x")
		require.ErrorIs(t, err, partition.ErrNotLeaderOrFollower)
	}
	r := role(t, s, partition.RoleLeader, 2, 1)
	_, err = appendTo(t.Context(), s, partition.AcksAll, "x")
	require.ErrorIs(t, err, partition.ErrNotEnoughReplicas)
	require.True(t, partition.Retriable(err))
	require.Zero(t, r.End(), "nothing is written")
	_, err = appendTo(t.Context(), s, partition.AcksLeader, "x")
	require.NoError(t, err)
	require.Equal(t, partition.Offset(1), r.End())
	_, err = s.Append(t.Context(), partition.AppendRequest{TopicPartition: partition.TopicPartition{Topic: "orders", Partition: 1}, Batch: handBatch("x")})
	require.ErrorIs(t, err, partition.ErrNotLeaderOrFollower)
}

// Several partitions of one request wait at the same time.
func TestAppendAllWaitsForAllPartitionsAtOnce(t *testing.T) {
	h, s := openByHand(t, partition.Config{})
	var replicas [2]*partition.Replica
	for i := range replicas {
		tp := partition.TopicPartition{Topic: "orders", Partition: int32(i)}
		require.NoError(t, s.SetReplica(tp, partition.TopicID{}, partition.ReplicaState{Role: partition.RoleLeader, Leader: 7, Epoch: 1, ISR: 2, MinISR: 2}))
		r, err := s.Replica(tp, partition.TopicID{})
		require.NoError(t, err)
		replicas[i] = r
	}
	h.appended = func(partition.TopicPartition) {
		if replicas[0].End() == 1 && replicas[1].End() == 1 { // not before both are written
			for _, r := range replicas {
				r.SetHighWatermark(1)
			}
		}
	}
	out := make([]partition.AppendOutcome, 3)
	s.AppendAll(t.Context(), []partition.AppendRequest{
		{TopicPartition: partition.TopicPartition{Topic: "orders", Partition: 0}, Batch: handBatch("a")},
		{TopicPartition: partition.TopicPartition{Topic: "orders", Partition: 1}, Batch: handBatch("b")},
		{TopicPartition: partition.TopicPartition{Topic: "other", Partition: 0}, Batch: handBatch("c")},
	}, out)
	require.NoError(t, out[0].Err)
	require.NoError(t, out[1].Err)
	require.ErrorIs(t, out[2].Err, partition.ErrUnknownTopicOrPartition)
}

func TestAWaitingAppendAllocatesNothing(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	h, s := openByHand(t, partition.Config{Sync: partition.SyncNever})
	r := role(t, s, partition.RoleLeader, 1, 3)
	acknowledge := make(chan partition.Offset, 1)
	var done sync.WaitGroup
	done.Go(func() {
		for o := range acknowledge {
			r.SetHighWatermark(o)
		}
	})
	h.appended = func(partition.TopicPartition) { acknowledge <- r.End() }
	b := handBatch("value")
	ctx := context.Background()
	one := func() {
		if _, err := s.Append(ctx, partition.AppendRequest{TopicPartition: handTP, Batch: b}); err != nil {
			t.Error(err)
		}
	}
	for range 100 {
		one()
	}
	n := testing.AllocsPerRun(500, one)
	h.appended = nil
	close(acknowledge)
	done.Wait()
	require.Less(t, n, 1.0)
}

func TestClientsAreAnsweredByTheLeaderAndByFollowersOnlyIfThatWillDo(t *testing.T) {
	_, s := openByHand(t, partition.Config{})
	fetch := func(follower bool, epoch partition.LeaderEpoch) partition.FetchResult {
		rs, err := s.Fetch(t.Context(), partition.FetchRequest{AllowFollower: follower, Partitions: []partition.FetchPosition{{TopicPartition: handTP, LeaderEpoch: epoch}}})
		require.NoError(t, err)
		t.Cleanup(rs[0].Lease.Release)
		return rs[0]
	}
	r := role(t, s, partition.RoleFollower, 2, 0)
	_, err := r.Append(openOther(t))
	require.NoError(t, err)
	r.SetHighWatermark(2)
	require.ErrorIs(t, fetch(false, -1).Err, partition.ErrNotLeaderOrFollower)
	res := fetch(true, 2)
	require.NoError(t, res.Err)
	records, err := partitiontest.Records(res.Batches)
	require.NoError(t, err)
	require.Len(t, records, 2, "up to the high watermark that it knows")
	require.ErrorIs(t, fetch(true, 1).Err, partition.ErrFencedLeaderEpoch)
	require.ErrorIs(t, fetch(true, 3).Err, partition.ErrUnknownLeaderEpoch)
	for what, call := range map[string]func() error{
		"ListOffsets":   func() error { _, err := s.ListOffsets(t.Context(), handTP, partition.TimestampLatest); return err },
		"LookUpOffset":  func() error { _, err := s.LookUpOffset(t.Context(), handTP, 0, -1, false); return err },
		"EpochEnd":      func() error { _, _, err := s.EpochEnd(t.Context(), handTP, 1); return err },
		"DeleteRecords": func() error { _, err := s.DeleteRecords(t.Context(), handTP, 1); return err },
	} {
		require.ErrorIs(t, call(), partition.ErrNotLeaderOrFollower, what)
		role(t, s, partition.RoleLeader, 3, 3)
		require.NotErrorIs(t, call(), partition.ErrNotLeaderOrFollower, what)
		require.NoError(t, s.SetReplica(handTP, partition.TopicID{}, partition.ReplicaState{Role: partition.RoleFollower, Leader: 1, Epoch: 3}))
	}
	require.NoError(t, s.SetReplica(handTP, partition.TopicID{}, partition.ReplicaState{Role: partition.RoleNone, Leader: 1, Epoch: 4}))
	require.ErrorIs(t, fetch(true, -1).Err, partition.ErrNotLeaderOrFollower)
	md, err := s.Metadata(t.Context(), []string{"orders"})
	require.NoError(t, err)
	require.Equal(t, partition.PartitionMetadata{Leader: 1, LeaderEpoch: 4}, md[0].Partitions[0])
	require.Equal(t, int32(-1), md[0].Partitions[1].Leader)
}

// KIP-207: what a new leader would answer may be less than its predecessor has answered.
func TestANewLeaderDoesNotTellAnEndThatItDoesNotKnow(t *testing.T) {
	_, s := openByHand(t, partition.Config{})
	r := role(t, s, partition.RoleFollower, 1, 0)
	_, err := r.Append(openOther(t)) // three records
	require.NoError(t, err)
	r.SetHighWatermark(1)
	r = role(t, s, partition.RoleLeader, 3, 3)
	for high := partition.Offset(1); high <= 3; high++ {
		r.SetHighWatermark(high)
		for _, ts := range []int64{partition.TimestampLatest, partition.TimestampLastStable, 1 << 40, 1} {
			_, err := s.ListOffsets(t.Context(), handTP, ts)
			_, err2 := s.LookUpOffset(t.Context(), handTP, ts, -1, false)
			if high < 3 && ts != 1 {
				require.ErrorIs(t, err, partition.ErrOffsetNotAvailable, "%d at %d", ts, high)
				require.ErrorIs(t, err2, partition.ErrOffsetNotAvailable, "%d at %d", ts, high)
				require.True(t, partition.Retriable(err))
			} else {
				require.NoError(t, err, "%d at %d", ts, high)
				require.NoError(t, err2, "%d at %d", ts, high)
			}
		}
		_, err := s.ListOffsets(t.Context(), handTP, partition.TimestampEarliest)
		require.NoError(t, err)
	}
}

// A fetch that waits is woken by the high watermark, by a new epoch and by the end of the role, not by what is only written.
func TestWaitingFetchesAreWokenByTheHighWatermarkAndByRoles(t *testing.T) {
	for name, tc := range map[string]struct {
		do   func(t *testing.T, s *partition.Store, r *partition.Replica)
		want error
	}{
		"high watermark": {func(_ *testing.T, _ *partition.Store, r *partition.Replica) { r.SetHighWatermark(1) }, nil},
		"role":           {func(t *testing.T, s *partition.Store, _ *partition.Replica) { role(t, s, partition.RoleFollower, 2, 0) }, partition.ErrNotLeaderOrFollower},
		"epoch":          {func(t *testing.T, s *partition.Store, _ *partition.Replica) { role(t, s, partition.RoleLeader, 2, 3) }, partition.ErrFencedLeaderEpoch},
		"removal": {func(t *testing.T, s *partition.Store, _ *partition.Replica) {
			require.NoError(t, s.RemoveReplica(handTP, partition.TopicID{}))
		}, partition.ErrNotLeaderOrFollower},
	} {
		_, s := openByHand(t, partition.Config{})
		r := role(t, s, partition.RoleLeader, 1, 3)
		_, err := appendTo(t.Context(), s, partition.AcksLeader, "x")
		require.NoError(t, err)
		got := make(chan partition.FetchResult, 1)
		ctx := t.Context()
		go func() {
			rs, err := s.Fetch(ctx, partition.FetchRequest{MaxWait: time.Hour, Partitions: []partition.FetchPosition{{TopicPartition: handTP, LeaderEpoch: 1}}})
			if err != nil {
				rs = []partition.FetchResult{{Err: err}}
			}
			got <- rs[0]
		}()
		for s.Stats().ParkedFetches == 0 {
			runtime.Gosched()
		}
		tc.do(t, s, r)
		res := <-got
		require.ErrorIs(t, res.Err, tc.want, name)
		res.Lease.Release()
	}
}

func TestDeletedRecordsAreGoneWhenAllReplicasSaySo(t *testing.T) {
	h, s := openByHand(t, partition.Config{})
	r := role(t, s, partition.RoleLeader, 1, 3)
	for range 5 {
		_, err := appendTo(t.Context(), s, partition.AcksLeader, "x")
		require.NoError(t, err)
	}
	_, err := s.DeleteRecords(t.Context(), handTP, 3)
	require.ErrorIs(t, err, partition.ErrOffsetOutOfRange, "above the high watermark")
	r.SetHighWatermark(4)
	asked := 0
	h.low = func(partition.TopicPartition) error {
		asked++
		require.Equal(t, partition.Offset(3), r.Start())
		if asked == 1 {
			return partition.ErrTimeout
		}
		return nil
	}
	_, err = s.DeleteRecords(t.Context(), handTP, 3)
	require.ErrorIs(t, err, partition.ErrTimeout)
	start, err := s.DeleteRecords(t.Context(), handTP, 3)
	require.NoError(t, err)
	require.Equal(t, partition.Offset(3), start)
	require.Equal(t, 2, asked, "asked again, though nothing is left to delete here")
}

func TestRolesGoForwardAndPartitionsAreWhereTheyAreHosted(t *testing.T) {
	dir := t.TempDir()
	h := &byHand{}
	s, err := partition.Open(dir, partition.Config{Cluster: h})
	require.NoError(t, err)
	defer func() { require.NoError(t, s.Close()) }()
	h.store = s
	_, err = s.CreateTopic(t.Context(), "orders", partition.TopicConfig{Partitions: 2})
	require.NoError(t, err)
	dirs := func() (live []string) {
		entries, err := os.ReadDir(filepath.Join(dir, "data"))
		require.NoError(t, err)
		for _, e := range entries {
			if e.IsDir() && !strings.HasSuffix(e.Name(), "-delete") {
				live = append(live, e.Name())
			}
		}
		return live
	}
	require.Empty(t, dirs(), "a topic alone makes no directory")
	_, err = s.Replica(handTP, partition.TopicID{})
	require.ErrorIs(t, err, partition.ErrNotLeaderOrFollower)
	r := role(t, s, partition.RoleFollower, 2, 0)
	require.Equal(t, []string{"orders-0"}, dirs())
	_, err = r.Append(openOther(t))
	require.NoError(t, err)
	r.SetHighWatermark(3)
	err = s.SetReplica(handTP, partition.TopicID{}, partition.ReplicaState{Role: partition.RoleLeader, Leader: 7, Epoch: 1})
	require.ErrorIs(t, err, partition.ErrFencedLeaderEpoch)
	require.ErrorIs(t, s.SetReplica(handTP, partition.TopicID{9}, partition.ReplicaState{Epoch: 9}), partition.ErrUnknownTopicID)
	require.NoError(t, s.SetReplica(handTP, partition.TopicID{}, partition.ReplicaState{Role: partition.RoleNone, Leader: 1, Epoch: 3}))
	require.Equal(t, []string{"orders-0"}, dirs(), "it stays until it is removed")
	require.NoError(t, s.RemoveReplica(handTP, partition.TopicID{}))
	require.NoError(t, s.RemoveReplica(handTP, partition.TopicID{}), "again")
	require.Empty(t, dirs())
	require.ErrorIs(t, r.Truncate(0), partition.ErrNotLeaderOrFollower, "a handle of what is gone")
	r = role(t, s, partition.RoleFollower, 4, 0)
	require.Equal(t, []string{"orders-0"}, dirs())
	require.Zero(t, r.End(), "and it begins anew")
	require.Zero(t, r.HighWatermark())
	require.NoError(t, s.DeleteTopic(t.Context(), "orders"))
	require.Empty(t, dirs())
	alone, err := partition.OpenMemory(partition.Config{})
	require.NoError(t, err)
	defer alone.Close()
	require.ErrorIs(t, alone.SetReplica(handTP, partition.TopicID{}, partition.ReplicaState{}), partition.ErrUnsupported)
	_, err = alone.CreateTopic(t.Context(), "x", partition.TopicConfig{ReplicationFactor: 2})
	require.ErrorIs(t, err, partition.ErrInvalidReplicationFactor)
	for _, factor := range []int16{-1, 0, 1} {
		_, err = alone.CreateTopic(t.Context(), fmt.Sprint("f", factor), partition.TopicConfig{ReplicationFactor: factor})
		require.NoError(t, err)
	}
}

func TestAConflictIsLookedAtAgain(t *testing.T) {
	h, s := openByHand(t, partition.Config{})
	ctx := t.Context()
	for name, change := range map[string]func() error{
		"create": func() error {
			_, err := s.CreateTopic(ctx, "new", partition.TopicConfig{ReplicationFactor: 3})
			return err
		},
		"configure": func() error { return s.AlterTopicConfig(ctx, "orders", map[string]string{"retention.ms": "5"}) },
		"grow":      func() error { return s.CreatePartitions(ctx, "orders", 5) },
		"settings":  func() error { return s.PutSettings(ctx, partition.Setting{Key: "a/b/c", Value: []byte("v")}) },
		"ids": func() error {
			_, err := s.InitProducerID(ctx, "", 0, partition.NoProducerID)
			return err
		},
	} {
		h.conflict = 2
		require.NoError(t, change(), name)
		require.Zero(t, h.conflict, name)
	}
	d, err := s.DescribeTopic(ctx, "orders")
	require.NoError(t, err)
	require.Equal(t, int32(5), d.Partitions)
	require.Equal(t, "5", d.Config["retention.ms"])
	require.Equal(t, []partition.Setting{{Key: "a/b/c", Value: []byte("v")}}, s.Settings("a/"))
	_, err = s.CreateTopic(ctx, "new", partition.TopicConfig{})
	require.ErrorIs(t, err, partition.ErrTopicAlreadyExists)
	var create partition.SharedChange
	for _, c := range h.proposed {
		if c.Name == "new" {
			create = c
		}
	}
	require.Equal(t, []any{partition.SharedTopicCreated, int16(3), int32(1)}, []any{create.Kind, create.ReplicationFactor, create.Partitions})
	h.conflict = 1
	require.NoError(t, s.DeleteTopic(ctx, "new"))
	require.ErrorIs(t, s.DeleteTopic(ctx, "new"), partition.ErrUnknownTopicOrPartition)
	for _, c := range []partition.TopicConfig{
		{ReplicationFactor: -2}, {ReplicationFactor: 2, Assignment: [][]int32{{1, 2}}}, {Assignment: [][]int32{{1, 1}}}, {Assignment: [][]int32{{}}},
	} {
		_, err = s.CreateTopic(ctx, "wrong", c)
		require.ErrorIs(t, err, partition.ErrInvalidReplicationFactor)
	}
	_, err = s.Import(ctx, t.TempDir(), partition.ImportOptions{})
	require.ErrorIs(t, err, partition.ErrUnsupported)
	require.ErrorIs(t, s.RaiseLeaderEpochs(ctx, handTP), partition.ErrUnsupported)
	canceled, cancel := context.WithCancel(ctx)
	cancel()
	h.conflict = 1 << 30
	require.True(t, errors.Is(s.PutSettings(canceled, partition.Setting{Key: "x"}), context.Canceled))
	h.conflict = 0
}
