package partition

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/partlog/partlog/internal/vfs"
)

// txnLedger is what a test knows of the transactions it has made: each value names its transaction.
type txnLedger struct {
	mu      sync.Mutex
	values  map[string]map[TopicPartition][]string // of a transaction
	outcome map[string]string                      // "open", "committing", "committed", "aborting", "aborted"
	told    map[string][]ProducerID                // of a transactional id
}

func newTxnLedger() *txnLedger {
	return &txnLedger{values: map[string]map[TopicPartition][]string{}, outcome: map[string]string{}, told: map[string][]ProducerID{}}
}

// clone is what has been promised by now.
func (l *txnLedger) clone() *txnLedger {
	l.mu.Lock()
	defer l.mu.Unlock()
	c := newTxnLedger()
	for name, byPart := range l.values {
		c.values[name] = map[TopicPartition][]string{}
		for tp, vs := range byPart {
			c.values[name][tp] = slices.Clone(vs)
		}
	}
	maps.Copy(c.outcome, l.outcome)
	for id, ps := range l.told {
		c.told[id] = slices.Clone(ps)
	}
	return c
}

func (l *txnLedger) set(name, outcome string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.outcome[name] = outcome
}

func (l *txnLedger) sent(name string, tp TopicPartition, values ...string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.values[name] == nil {
		l.values[name] = map[TopicPartition][]string{}
		l.outcome[name] = "open"
	}
	l.values[name][tp] = append(l.values[name][tp], values...)
}

func (l *txnLedger) tell(id string, p ProducerID) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.told[id] = append(l.told[id], p)
}

// check holds an open store against the ledger. durable says that nothing promised may be missing; without it a loss of power has
// met a mode that allows that, and only what must never happen is looked for.
func (l *txnLedger) check(t testing.TB, s *Store, durable bool) error {
	settled(t, s)
	seen := map[string]map[TopicPartition][]string{}
	for _, topic := range s.index.Load().byName {
		if topic.internal {
			continue
		}
		for _, p := range *topic.parts.Load() {
			hw, err := s.ListOffsets(context.Background(), p.tp, TimestampLatest)
			if err != nil {
				return err
			}
			values, next := committed(t, s, p.tp)
			if next != hw {
				return fmt.Errorf("%s: last stable offset %d, high watermark %d: stuck", p.tp, next, hw)
			}
			for _, v := range values {
				name, _, _ := strings.Cut(v, "#")
				if seen[name] == nil {
					seen[name] = map[TopicPartition][]string{}
				}
				seen[name][p.tp] = append(seen[name][p.tp], v)
			}
		}
	}
	for name, want := range l.values {
		got, outcome := seen[name], l.outcome[name]
		whole := maps.EqualFunc(got, want, slices.Equal)
		switch {
		case outcome == "committed" && durable && !whole:
			return fmt.Errorf("transaction %s was committed with %v; visible is %v", name, want, got)
		case outcome == "committing" && durable && len(got) > 0 && !whole:
			return fmt.Errorf("transaction %s is half visible: %v of %v", name, got, want)
		case outcome != "committed" && outcome != "committing" && len(got) > 0:
			return fmt.Errorf("transaction %s is %s, and visible: %v", name, outcome, got)
		}
	}
	if !durable {
		return nil
	}
	for id, told := range l.told {
		c := newTxnClient(t, s, id)
		for _, old := range told {
			if c.pid.ID == old.ID && c.pid.Epoch <= old.Epoch {
				return fmt.Errorf("%s: epoch %d after %d", id, c.pid.Epoch, old.Epoch)
			}
			zombie := &txnClient{t: t, s: s, id: id, pid: old, seq: map[TopicPartition]int32{}}
			if err := zombie.trySend(TopicPartition{"t", 0}, "zombie"); err == nil {
				return fmt.Errorf("%s: %v writes after %v has come", id, old, c.pid)
			}
		}
	}
	return nil
}

// txnScript runs random transactions of two ids and notes them. It returns at the first error.
func txnScript(t testing.TB, s *Store, l *txnLedger, rng *rand.Rand, steps int) error {
	ctx := context.Background()
	clients := map[string]*txnClient{}
	names := map[string]string{}
	number := 0
	for range steps {
		id := []string{"a", "b"}[rng.IntN(2)]
		c := clients[id]
		if c == nil || rng.IntN(12) == 0 {
			if name := names[id]; name != "" {
				l.set(name, "aborting") // by the fence
				names[id] = ""
			}
			pid, err := s.InitProducerID(ctx, id, 60_000_000_000, NoProducerID)
			if err != nil {
				return err
			}
			clients[id] = &txnClient{t: t, s: s, id: id, pid: pid, seq: map[TopicPartition]int32{}}
			l.tell(id, pid)
			continue
		}
		switch k := rng.IntN(10); {
		case k < 5 || names[id] == "":
			if names[id] == "" {
				number++
				names[id] = fmt.Sprintf("%s%d", id, number)
			}
			tp := TopicPartition{[]string{"t", "u"}[rng.IntN(2)], int32(rng.IntN(2))}
			v := fmt.Sprintf("%s#%d", names[id], rng.IntN(1000))
			l.sent(names[id], tp, v)
			if err := c.trySend(tp, v); err != nil {
				return err
			}
		case k < 8:
			l.set(names[id], "committing")
			if err := c.tryEnd(true); err != nil {
				return err
			}
			l.set(names[id], "committed")
			names[id] = ""
		default:
			l.set(names[id], "aborting")
			if err := c.tryEnd(false); err != nil {
				return err
			}
			l.set(names[id], "aborted")
			names[id] = ""
		}
	}
	return nil
}

// TestTransactionsAreWholeOrNotThereAfterAnyCrash runs transactions on a disk that remembers what has been synced. Before every
// operation that changes it, it is taken as a kill and as losses of power may leave it, opened, and compared with what
// had been promised by then. Some opens are crashed as well. PARTLOG_SOAK=duration goes on for that long.
func TestTransactionsAreWholeOrNotThereAfterAnyCrash(t *testing.T) {
	seeds, steps, each := uint64(6), 24, 4
	if testing.Short() {
		seeds, steps, each = 2, 14, 3
	}
	var mu sync.Mutex
	distinct := map[uint64]bool{}
	soak, _ := time.ParseDuration(os.Getenv("PARTLOG_SOAK"))
	began := time.Now()
	for seed := uint64(1); seed <= seeds || time.Since(began) < soak; seed++ {
		mode := []SyncMode{SyncAlways, SyncNever, SyncAlways}[seed%3]
		mem := vfs.NewCrashMem([]vfs.Profile{vfs.Strict, vfs.Ext4Like}[seed%2])
		disk := vfs.NewFault(mem)
		s, err := Open("/s", Config{FS: disk, Sync: mode})
		require.NoError(t, err)
		for i, name := range []string{"t", "u"} {
			c := TopicConfig{Partitions: 2}
			if i == 1 && seed%3 == 1 {
				c.Sync = SyncAlways // in a store that does not sync
			}
			_, err = s.CreateTopic(t.Context(), name, c)
			require.NoError(t, err)
		}
		l := newTxnLedger()
		rng := rand.New(rand.NewPCG(seed, 7))
		var failure error
		visit := func(m *vfs.Mem, promised *txnLedger, what string, durable bool, depth int) {
			hash := m.Hash()
			mu.Lock()
			known := distinct[hash] || failure != nil
			distinct[hash] = true
			mu.Unlock()
			if known {
				return
			}
			if err := checkCrash(t, m, promised, mode, durable, depth); err != nil {
				mu.Lock()
				failure = errors.Join(failure, fmt.Errorf("seed %d, %s: %w", seed, what, err))
				mu.Unlock()
			}
		}
		var one sync.Mutex // one operation at a time is looked at
		ops := 0
		disk.OnOp(func(op vfs.Op) {
			one.Lock()
			defer one.Unlock()
			ops++
			depth := 0
			if ops%7 == 0 {
				depth = 1
			}
			promised := l.clone() // before the disk: what is acknowledged meanwhile is not on it
			visit(mem.KillClone(), promised, fmt.Sprintf("killed before %s", op), true, depth)
			mem.EachCrash(each, func(m *vfs.Mem, label string) bool {
				visit(m, promised, fmt.Sprintf("power lost before %s, %s", op, label), mode == SyncAlways, depth)
				return true
			})
		})
		require.NoError(t, txnScript(t, s, l, rng, steps))
		for _, id := range []string{"a", "b"} {
			newTxnClient(t, s, id) // fences whoever has a transaction open
		}
		settled(t, s)
		disk.OnOp(nil)
		require.NoError(t, failure)
		require.NoError(t, l.check(t, s, true))
		require.NoError(t, s.Close())
	}
	t.Logf("crash states: %d distinct, 0 lost", len(distinct))
}

// checkCrash opens a disk after a crash and checks it. With depth, the open is crashed at each of its operations too.
func checkCrash(t testing.TB, m *vfs.Mem, l *txnLedger, mode SyncMode, durable bool, depth int) error {
	if depth > 0 {
		disk := vfs.NewFault(m.KillClone())
		var failure error
		var one sync.Mutex
		disk.OnOp(func(op vfs.Op) {
			one.Lock()
			defer one.Unlock()
			if failure == nil && op.Seq%5 == 0 {
				failure = checkCrash(t, disk.Base().(*vfs.Mem).KillClone(), l, mode, durable, 0)
			}
		})
		s, err := Open("/s", Config{FS: disk, Sync: mode})
		if err != nil {
			return err
		}
		settled(t, s)
		disk.OnOp(nil)
		if err := errors.Join(failure, s.Close()); err != nil {
			return err
		}
	}
	s, err := Open("/s", Config{FS: m, Sync: mode})
	if err != nil {
		return err
	}
	err = l.check(t, s, durable)
	return errors.Join(err, s.Close())
}
