package partition

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/partlog/partlog/internal/clock"
	"github.com/partlog/partlog/internal/segment"
	"github.com/partlog/partlog/internal/vfs"
)

func mixConfig(fs vfs.FS, mode SyncMode, c clock.Clock) Config {
	return Config{FS: fs, Sync: mode, Clock: c, LowSpaceBytes: Unlimited, OpenConcurrency: 1, CheckpointInterval: 3 * time.Second,
		Topics: TopicConfig{IndexIntervalBytes: Zero, Extra: map[string]string{"internal.segment.bytes": "1024"}}}
}

// TestTransactionsAndCompactionKeepEachOthersPromisesInAnyCrash mixes transactions, compaction, tombstones, expectations, timeouts and deletions, and
// looks at the disk as crashes before its operations leave it. PARTLOG_SOAK=duration goes on for that long.
func TestTransactionsAndCompactionKeepEachOthersPromisesInAnyCrash(t *testing.T) {
	seeds, steps, one := uint64(6), 60, 12
	if testing.Short() {
		seeds, steps, one = 2, 40, 20
	}
	limit := soakTime(t)
	if limit > 0 {
		one = 3
	}
	began, distinct := time.Now(), map[uint64]bool{}
	for seed := uint64(1); seed <= seeds || time.Since(began) < limit; seed++ {
		tortureMix(t, seed, steps, one, distinct)
	}
	t.Logf("crash states: %d distinct, 0 lost", len(distinct))
	fmt.Printf("crash states: %d distinct, 0 lost\n", len(distinct))
}

func soakTime(t testing.TB) time.Duration {
	v := os.Getenv("PARTLOG_SOAK")
	if v == "" {
		return 0
	}
	d, err := time.ParseDuration(v)
	require.NoError(t, err, "PARTLOG_SOAK")
	return d
}

// tortureMix runs one script, and looks at crashes before one in so many operations.
func tortureMix(t *testing.T, seed uint64, steps, one int, distinct map[uint64]bool) {
	mode := []SyncMode{SyncAlways, SyncNever, SyncAlways}[seed%3]
	mem := vfs.NewCrashMem([]vfs.Profile{vfs.Strict, vfs.Ext4Like}[seed%2])
	disk := vfs.NewFault(mem)
	now := clock.NewManual(time.UnixMilli(1_700_000_000_000))
	s, err := Open("/s", mixConfig(disk, mode, now))
	require.NoError(t, err)
	_, err = s.CreateTopic(t.Context(), "t", TopicConfig{Partitions: 2})
	require.NoError(t, err)
	_, err = s.CreateTopic(t.Context(), "c", TopicConfig{Partitions: 2, CleanupPolicy: CleanupCompact, KeyIndex: true, MinCleanableDirtyRatio: 0.2, DeleteRetention: []time.Duration{Zero, 10 * time.Second}[seed%2]})
	require.NoError(t, err)
	l := &mixLedger{txns: newTxnLedger(), last: map[TopicPartition][]byte{}, lastAt: map[TopicPartition]Offset{}}
	m := newMix(t, s, l, rand.New(rand.NewPCG(seed, 11)))
	m.clock = now

	var failure error
	var mu sync.Mutex // guards all below; one operation at a time is looked at
	looks, what := rand.New(rand.NewPCG(seed, 13)), "create"
	look := func(crashed *vfs.Mem, promised *mixLedger, where string, durable bool) {
		hash := crashed.Hash()
		if distinct[hash] || failure != nil {
			return
		}
		distinct[hash] = true
		if err := checkMix(t, crashed, promised, mode, durable, now.Now(), hash); err != nil {
			failure = fmt.Errorf("seed %d, in %s, %s: %w", seed, what, where, err)
		}
	}
	disk.OnOp(func(op vfs.Op) {
		mu.Lock()
		defer mu.Unlock()
		if failure != nil || looks.IntN(one) > 0 {
			return
		}
		promised := l.clone() // before the disk: what is acknowledged meanwhile is not on it
		look(mem.KillClone(), promised, fmt.Sprintf("killed before %s", op), true)
		mem.EachCrash(2, func(crashed *vfs.Mem, label string) bool {
			look(crashed, promised, fmt.Sprintf("power lost before %s, keeping %s", op, label), mode == SyncAlways)
			return true
		})
	})
	for i := range steps {
		name, err := m.step()
		mu.Lock()
		what = fmt.Sprintf("step %d, after %s", i+1, name)
		err = errors.Join(err, failure)
		mu.Unlock()
		require.NoError(t, err, "seed %d, step %d: %s", seed, i, name)
	}
	disk.OnOp(nil)
	for _, id := range []string{"a", "b"} {
		if name := m.open[id]; name != "" {
			l.txns.set(name, "aborted")
		}
		newTxnClient(t, s, id) // fences whoever has a transaction open
	}
	require.NoError(t, l.check(t, s, true))
	require.NoError(t, l.use(t, s, true))
	require.NoError(t, s.Close())
}

// checkMix opens a disk after a crash and checks it; then, sometimes, uses the store, backs it up, and opens it again.
func checkMix(t testing.TB, crashed *vfs.Mem, l *mixLedger, mode SyncMode, durable bool, now time.Time, hash uint64) error {
	if hash%4 == 2 { // what producers have sent is in the batches too, also in those that compaction has emptied
		for _, tp := range slices.Concat(mixPlain, mixKeyed) {
			dir := filepath.Join("/s", dataDirName, segment.PartitionDirName(tp.Topic, tp.Partition))
			entries, _ := crashed.ReadDir(dir)
			for _, e := range entries {
				if segment.ParseName(e.Name()).Kind == segment.KindSnapshot {
					require.NoError(t, crashed.Remove(filepath.Join(dir, e.Name())))
				}
			}
		}
	}
	s, err := Open("/s", mixConfig(crashed, mode, clock.NewManual(now)))
	if err != nil {
		return err
	}
	if r := s.RecoveryReport(); r != nil && len(r.Failed) > 0 {
		return fmt.Errorf("partitions failed to open: %v", r.Failed)
	}
	if err := l.check(t, s, durable); err != nil {
		return err
	}
	switch hash % 4 {
	case 0, 2:
		err = l.use(t, s, durable)
	case 1:
		if err := s.Close(); err != nil {
			return err
		}
		if s, err = Open("/s", mixConfig(crashed, mode, clock.NewManual(now))); err != nil {
			return err
		}
		if s.RecoveryReport() != nil {
			return fmt.Errorf("recovery after a clean close: %+v", s.RecoveryReport())
		}
		if err = l.check(t, s, durable); err != nil {
			err = fmt.Errorf("closed and opened: %w", err)
		}
	}
	return errors.Join(err, s.Close())
}
