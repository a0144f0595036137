package group

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/partlog/partlog/internal/clock"
	"github.com/partlog/partlog/internal/vfs"
	"github.com/partlog/partlog/partition"
)

// widePartitions times the longest metadata is more than max.message.bytes of the offsets topic.
const widePartitions = 300

func newWideStore(t *testing.T) *partition.Store {
	store := newStore(t)
	_, err := store.CreateTopic(t.Context(), "wide", partition.TopicConfig{Partitions: widePartitions})
	require.NoError(t, err)
	return store
}

// wideOffsets are offsets of the first n partitions, 4 KiB each in the log.
func wideOffsets(n int, offset partition.Offset) map[partition.TopicPartition]CommittedOffset {
	offsets := make(map[partition.TopicPartition]CommittedOffset)
	for p := range int32(n) {
		offsets[tp("wide", p)] = CommittedOffset{Offset: offset, Metadata: strings.Repeat("m", 4096)}
	}
	return offsets
}

// A commit is one batch, whatever its size.
func TestLargeCommitIsOneBatch(t *testing.T) {
	store := newWideStore(t)
	g, _ := openGroup(t, newBackend(store), "billing", Config{})
	require.NoError(t, g.Commit(t.Context(), wideOffsets(250, 7)))
	require.EqualValues(t, 1, g.Stats().Appends)
	require.EqualValues(t, 250, g.Stats().Records)
	again, _ := openGroup(t, newBackend(store), "billing", Config{})
	committed, err := again.Committed(t.Context())
	require.NoError(t, err)
	require.Len(t, committed, 250)
}

// One that the offsets topic does not take is refused as a whole, with Kafka's error, also in a transaction; what is
// smaller goes on.
func TestCommitLargerThanABatchMayBeIsRefusedAndNothingOfItCounts(t *testing.T) {
	store := newWideStore(t)
	var failed []WriteFailedInfo
	c := Config{Coordinator: CoordinatorConfig{Events: Events{WriteFailed: func(i WriteFailedInfo) { failed = append(failed, i) }}}}
	b := newBackend(store)
	g, coordinator := openGroup(t, b, "billing", c)
	x := newTransaction(t, store, "tx")
	for name, commit := range map[string]func(map[partition.TopicPartition]CommittedOffset) error{
		"plain": func(o map[partition.TopicPartition]CommittedOffset) error { return g.Commit(t.Context(), o) },
		"transactional": func(o map[partition.TopicPartition]CommittedOffset) error {
			err := x.commit(coordinator, outside("billing"), o)
			if err == nil {
				x.end(true)
			}
			return err
		},
	} {
		require.NoError(t, commit(wideOffsets(2, 1)), name)
		before, failures := offsetsIn(stable(t, coordinator, "billing")), g.Stats().FailedCommits
		err := commit(wideOffsets(widePartitions, 2))
		require.ErrorIs(t, err, ErrInvalidCommitOffsetSize, name)
		require.ErrorIs(t, err, partition.ErrMessageTooLarge, name)
		require.ErrorContains(t, err, "300 partitions", name)
		require.ErrorContains(t, err, "max.message.bytes", name)
		require.False(t, partition.Retriable(err), name)
		require.Equal(t, failures+1, g.Stats().FailedCommits, name)
		require.Equal(t, before, offsetsIn(stable(t, coordinator, "billing")), "%s: nothing is half-done", name)

		next, _ := openGroup(t, newBackend(store), "billing", Config{})
		committed, err := next.Committed(t.Context())
		require.NoError(t, err)
		require.Equal(t, before, offsetsIn(committed), "%s: nor in the log", name)

		require.NoError(t, commit(wideOffsets(3, 4)), name)
		require.EqualValues(t, 4, stable(t, coordinator, "billing")[tp("wide", 2)].Offset, name)
	}
	require.NoError(t, b.service.Close()) // after its last event
	require.Len(t, failed, 2)
	require.False(t, failed[0].Kept)

	// The limit is the topic's own setting.
	require.NoError(t, store.AlterTopicConfig(t.Context(), OffsetsTopic, map[string]string{"max.message.bytes": "2000000"}))
	g, _ = openGroup(t, newBackend(store), "billing", Config{})
	require.NoError(t, g.Commit(t.Context(), wideOffsets(widePartitions, 5)))
	require.EqualValues(t, 1, g.Stats().Appends)
}

// So is a generation, which is one record: the group goes on to the next one, as after any failed write.
func TestAssignmentLargerThanABatchMayBeIsRefusedAndTheGroupRebalances(t *testing.T) {
	store := newStore(t, "orders")
	g, c := openGroup(t, newBackend(store), "billing", Config{})
	a := newClient(t, g, "orders")
	require.NoError(t, a.join(t.Context()))
	sync := func(size int) error {
		_, err := c.Sync(t.Context(), SyncRequest{Membership: a.joined.Membership, Assignments: map[string][]byte{a.joined.MemberID: make([]byte, size)}})
		return err
	}
	require.ErrorIs(t, sync(2<<20), partition.ErrMessageTooLarge)
	require.ErrorIs(t, sync(10), ErrRebalanceInProgress)
	refused := a.joined.Generation
	require.NoError(t, a.enter(t.Context()))
	require.Greater(t, a.joined.Generation, refused)
	require.Len(t, a.assigned, 4)
}

// Commits that come together share a batch only if the topic takes it; if not, each is judged by its own size.
func TestOnlyCommitsThatAreTooLargeThemselvesAreRefused(t *testing.T) {
	store := newWideStore(t)
	b := newBackend(store)
	g, _ := openGroup(t, b, "billing", Config{})
	require.NoError(t, g.Commit(t.Context(), wideOffsets(1, 1)))
	<-b.arrived
	require.NoError(t, store.AlterTopicConfig(t.Context(), OffsetsTopic, map[string]string{"max.message.bytes": "10000"}))
	gate := make(chan struct{})
	b.setGate(gate)
	var wg sync.WaitGroup
	errs := make([]error, 20)
	for i := range errs {
		wg.Go(func() {
			offsets := map[partition.TopicPartition]CommittedOffset{tp("wide", int32(i)): wideOffsets(20, 2)[tp("wide", int32(i))]}
			if i == 7 {
				offsets = wideOffsets(5, 3)
			}
			errs[i] = g.Commit(t.Context(), offsets)
		})
	}
	<-b.arrived
	untilAppends(b, "billing", len(errs))
	close(gate)
	wg.Wait()
	for i, err := range errs {
		if i == 7 {
			require.ErrorIs(t, err, ErrInvalidCommitOffsetSize)
		} else {
			require.NoError(t, err)
		}
	}
	committed, err := g.Committed(t.Context())
	require.NoError(t, err)
	want := make(map[partition.TopicPartition]partition.Offset)
	for p := range int32(len(errs)) {
		if want[tp("wide", p)] = 2; p == 7 {
			delete(want, tp("wide", p))
		}
	}
	require.Equal(t, want, offsetsIn(committed))
	next, _ := openGroup(t, newBackend(store), "billing", Config{})
	again, err := next.Committed(t.Context())
	require.NoError(t, err)
	require.Equal(t, want, offsetsIn(again))
}

// What a tool deletes, what expires, what is dropped with its topic and what there was no space for is not refused for its
// size: it goes to the log in parts.
func TestWhatNeedNotBeWholeIsWrittenInParts(t *testing.T) {
	store := newWideStore(t)
	manual := clock.NewManual(time.Unix(1e9, 0))
	b := newBackend(store)
	g, c := openGroup(t, b, "billing", Config{Coordinator: CoordinatorConfig{Clock: manual}})
	commit := func(group string, offset partition.Offset) {
		for p := 0; p < widePartitions; p += 100 {
			offsets := make(map[partition.TopicPartition]CommittedOffset)
			for i := p; i < p+100; i++ {
				offsets[tp("wide", int32(i))] = CommittedOffset{Offset: offset, Metadata: strings.Repeat("m", 4096)}
			}
			require.NoError(t, c.Commit(t.Context(), CommitRequest{Membership: outside(group), Offsets: offsets}))
		}
	}
	reopened := func() map[partition.TopicPartition]CommittedOffset {
		again, _ := openGroup(t, newBackend(store), "billing", Config{})
		committed, err := again.Committed(t.Context())
		require.NoError(t, err)
		return committed
	}
	commit("billing", 1)
	b.setFail(partition.ErrNoSpace)
	commit("billing", 2)
	require.Equal(t, widePartitions, g.Stats().Unwritten)
	b.setFail(nil)
	for g.Stats().Unwritten > 0 {
		manual.Advance(time.Second)
	}
	for _, o := range reopened() {
		require.EqualValues(t, 2, o.Offset)
	}

	// Tombstones are a hundredth of that, so the topic is made to take less; 200 of them are more than it takes.
	long := strings.Repeat("g", 1000)
	commit(long, 1)
	require.NoError(t, store.AlterTopicConfig(t.Context(), OffsetsTopic, map[string]string{"max.message.bytes": fmt.Sprint(2 * partBytes)}))
	before := g.Stats().Appends
	require.NoError(t, c.DeleteGroups(t.Context(), long))
	require.Greater(t, g.Stats().Appends, before+1)
	d, err := c.Describe(t.Context(), long)
	require.NoError(t, err)
	require.Equal(t, Dead, d.State)
	left, err := c.Offsets(t.Context(), OffsetsRequest{Group: long})
	require.NoError(t, err)
	require.Empty(t, offsetsIn(left))
	_, next := openGroup(t, newBackend(store), long, Config{})
	left, err = next.Offsets(t.Context(), OffsetsRequest{Group: long})
	require.NoError(t, err)
	require.Empty(t, offsetsIn(left))
}

func offsetsIn(committed map[partition.TopicPartition]CommittedOffset) map[partition.TopicPartition]partition.Offset {
	out := make(map[partition.TopicPartition]partition.Offset)
	for tp, o := range committed {
		out[tp] = o.Offset
	}
	return out
}

// untilAppends waits until a group has so many appends that wait for the log.
func untilAppends(b *backend, group string, n int) {
	shell := b.service.(*coordinator)
	for pending := 0; pending < n; {
		shell.mu.Lock()
		if p := shell.partitions[PartitionFor(group, OffsetsPartitions)]; p != nil && p.groups[group] != nil {
			pending = len(p.groups[group].appends)
		}
		shell.mu.Unlock()
	}
}

// TestLargeCommitIsThereWhollyOrNotAtAllAfterAnyCrash takes the disk at every operation of commits that are nearly as large
// as they may be, as a kill and as losses of power may leave it: also of a batch of which any sectors are torn, there is all
// or nothing.
func TestLargeCommitIsThereWhollyOrNotAtAllAfterAnyCrash(t *testing.T) {
	const partitions, rounds, each = 240, 2, 10
	states := 0
	for i, profile := range []vfs.Profile{vfs.Strict, vfs.Ext4Like} {
		mem := vfs.NewCrashMem(profile)
		disk := vfs.NewFault(mem)
		store, err := partition.Open("/s", partition.Config{FS: disk})
		require.NoError(t, err)
		_, err = store.CreateTopic(t.Context(), "wide", partition.TopicConfig{Partitions: partitions})
		require.NoError(t, err)
		g, _ := openGroup(t, store, "billing", Config{Coordinator: CoordinatorConfig{Clock: clock.NewManual(time.Unix(1.7e9, 0))}})
		require.NoError(t, g.Commit(t.Context(), wideOffsets(1, 1)))
		l := newLedger()
		l.add("billing", tp("wide", 0), 1, certain, 0)
		var failure error
		visit := func(m *vfs.Mem, promised *ledger, what string) {
			if failure != nil {
				return
			}
			states++
			if err := promised.check(m, partition.SyncAlways, true); err != nil {
				failure = fmt.Errorf("profile %d, %s: %w", i, what, err)
			}
		}
		var one sync.Mutex
		disk.OnOp(func(op vfs.Op) {
			one.Lock()
			defer one.Unlock()
			promised := l.clone()
			visit(mem.KillClone(), promised, fmt.Sprintf("killed before %s", op))
			mem.EachCrash(each, func(m *vfs.Mem, label string) bool {
				visit(m, promised, fmt.Sprintf("power lost before %s, %s", op, label))
				return true
			})
		})
		for round := range partition.Offset(rounds) {
			var ws []*write
			for p := range int32(partitions) {
				ws = append(ws, l.add("billing", tp("wide", p), round+2, tried, int(round)+1))
			}
			require.NoError(t, g.Commit(t.Context(), wideOffsets(partitions, round+2)))
			l.set(certain, ws...)
		}
		disk.OnOp(nil)
		require.NoError(t, failure)
		require.NoError(t, store.Close())
	}
	t.Logf("crash states: %d, none with half of a commit", states)
}
