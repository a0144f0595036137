package partition

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/partlog/partlog/internal/clock"
	"github.com/partlog/partlog/internal/txn"
	"github.com/partlog/partlog/internal/vfs"
)

const testIDExpiration = 90 * time.Minute // it is looked every hour

// expiryLedger is what a test knows of transactional ids that expire.
type expiryLedger struct {
	*txnLedger
	idle map[string]bool // long enough to have expired
	gone map[string]bool // seen to have expired
}

func newExpiryLedger() *expiryLedger {
	return &expiryLedger{txnLedger: newTxnLedger(), idle: map[string]bool{}, gone: map[string]bool{}}
}

func (l *expiryLedger) clone() *expiryLedger {
	l.mu.Lock()
	c := &expiryLedger{idle: maps.Clone(l.idle), gone: maps.Clone(l.gone)}
	l.mu.Unlock()
	c.txnLedger = l.txnLedger.clone()
	return c
}

func (l *expiryLedger) note(id string, idle, gone bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.idle[id], l.gone[id] = idle, gone
}

// behind reports whether p is one that a transactional id can have had before q.
func behind(p, q ProducerID) bool { return p.ID < q.ID || p.ID == q.ID && p.Epoch < q.Epoch }

// fencedAs reports whether an old producer has been answered as Kafka answers it.
func fencedAs(err error) bool {
	return errors.Is(err, ErrInvalidProducerEpoch) || errors.Is(err, ErrProducerFenced) || errors.Is(err, ErrInvalidProducerIDMapping)
}

// check holds an open store against the ledger. durable is as in txnLedger.check; killed says that nothing that was written is missing.
func (l *expiryLedger) check(t testing.TB, s *Store, durable, killed bool) error {
	settled(t, s)
	ctx := context.Background()
	list, err := s.ListTransactions(ctx, TransactionFilter{})
	if err != nil {
		return err
	}
	listed := map[string]ProducerID{}
	for _, x := range list {
		listed[x.TransactionalID] = x.Producer
	}
	for id, told := range l.told {
		ds, err := s.DescribeTransactions(ctx, []string{id})
		if err != nil {
			return err
		}
		d := ds[0]
		there := d.Err == nil
		if has, ok := listed[id]; ok != there || there && has != d.Producer {
			return fmt.Errorf("%s: listed as %v (%v), described as %+v", id, has, ok, d)
		}
		last := told[len(told)-1]
		switch {
		case !there && !errors.Is(d.Err, ErrTransactionalIDNotFound):
			return fmt.Errorf("%s: %w", id, d.Err)
		case !there && durable && !l.idle[id]:
			return fmt.Errorf("%s is forgotten, and was not idle", id)
		case there && killed && l.gone[id] && d.Producer.ID == last.ID: // another would be the next producer's
			return fmt.Errorf("%s had expired, and is there: %+v", id, d)
		case there && len(d.Partitions) > 0, there && d.State != TransactionEmpty && d.State != TransactionCompleteCommit && d.State != TransactionCompleteAbort:
			return fmt.Errorf("%s is there in part: %+v", id, d)
		case there && durable && behind(d.Producer, last):
			return fmt.Errorf("%s has %v, and had %v", id, d.Producer, last)
		}
		if !durable {
			continue
		}
		for i, old := range told {
			if there && i == len(told)-1 && d.Producer == old {
				continue // it has the id still
			}
			zombie := &txnClient{t: t, s: s, id: id, pid: old, seq: map[TopicPartition]int32{}}
			if err := zombie.trySend(TopicPartition{"t", 0}, "zombie"); !fencedAs(err) { // the partition knows an epoch, or the coordinator an id
				return fmt.Errorf("%s (there: %v): %v writes: %w", id, there, old, err)
			}
			again := there && d.Producer == ProducerID{old.ID, old.Epoch + 1} // it may ask for the end that it has asked for (KIP-890)
			if err := zombie.tryEnd(true); !fencedAs(err) && !(again && (err == nil || errors.Is(err, ErrInvalidTxnState))) || !there && !errors.Is(err, ErrInvalidProducerIDMapping) {
				return fmt.Errorf("%s (there: %v): %v commits: %w", id, there, old, err)
			}
		}
		next, err := s.InitProducerID(ctx, id, time.Minute, last) // the producer goes on, if nobody else has come
		if err == nil && !behind(last, next) || err != nil && !errors.Is(err, ErrProducerFenced) {
			return fmt.Errorf("%s: %v goes on as %v: %w", id, last, next, err)
		}
		if next, err = s.InitProducerID(ctx, id, time.Minute, NoProducerID); err != nil {
			return err
		}
		for _, old := range told {
			if !behind(old, next) {
				return fmt.Errorf("%s: %v after %v", id, next, old)
			}
		}
	}
	return l.txnLedger.check(t, s, durable)
}

// expiryScript runs random transactions of three ids, most of which are idle for long at some time.
type expiryScript struct {
	t       testing.TB
	s       *Store
	l       *expiryLedger
	rng     *rand.Rand
	clock   *clock.Manual
	clients map[string]*txnClient
	open    map[string]string    // name of the open transaction, by id
	began   map[string]time.Time // that transaction
	used    map[string]time.Time // when an id was used last
	number  int
	expired int
}

func (x *expiryScript) step() (string, error) {
	ctx := context.Background()
	id := []string{"a", "b", "c"}[x.rng.IntN(3)]
	c := x.clients[id]
	switch k := x.rng.IntN(20); {
	case k < 3:
		return "minutes pass", x.pass([]time.Duration{20 * time.Second, 70 * time.Second, 20 * time.Minute}[k])
	case k < 6:
		return "hours pass", x.pass(time.Hour)
	case k < 8:
		if len(x.clients) == 0 {
			return "nothing", nil
		}
		return "compact", x.s.Compact(ctx, TopicPartition{txn.Topic, txn.PartitionFor(id, txn.Partitions)})
	case c == nil || k == 8:
		if name := x.open[id]; name != "" {
			x.l.set(name, "aborting") // by the fence
			x.open[id] = ""
		}
		pid, err := x.s.InitProducerID(ctx, id, time.Minute, NoProducerID)
		if err != nil {
			return "init", err
		}
		x.clients[id] = &txnClient{t: x.t, s: x.s, id: id, pid: pid, seq: map[TopicPartition]int32{}}
		x.uses(id, pid)
		return "init " + id, nil
	case k < 14 || x.open[id] == "":
		if x.open[id] == "" {
			x.number++
			x.open[id] = fmt.Sprint(id, x.number)
			x.began[id] = x.clock.Now()
		}
		tp := TopicPartition{[]string{"t", "u"}[x.rng.IntN(2)], int32(x.rng.IntN(2))}
		v := fmt.Sprintf("%s#%d", x.open[id], x.rng.IntN(1000))
		x.l.sent(x.open[id], tp, v)
		return "send " + id, c.trySend(tp, v)
	default:
		going, over := "committing", "committed"
		if k == 19 {
			going, over = "aborting", "aborted"
		}
		name := x.open[id]
		x.l.set(name, going)
		if err := c.tryEnd(k < 19); err != nil {
			return "end", err
		}
		x.l.set(name, over)
		x.open[id] = ""
		x.uses(id, c.pid)
		return "end " + id, nil
	}
}

func (x *expiryScript) uses(id string, p ProducerID) {
	x.l.tell(id, p)
	x.used[id] = x.clock.Now()
	x.l.note(id, false, false)
}

// pass lets time pass, and looks who has expired by it: those that are idle for long enough, and no others.
func (x *expiryScript) pass(d time.Duration) error {
	after := x.clock.Now().Add(d)
	for id := range x.clients {
		if x.open[id] != "" {
			if after.Sub(x.began[id]) < time.Minute {
				continue
			}
			x.l.set(x.open[id], "aborting") // by the timeout
			x.open[id] = ""
			x.used[id] = x.clock.Now()
			delete(x.clients, id)
		}
	}
	for id, used := range x.used {
		if x.open[id] == "" && after.Sub(used) >= testIDExpiration {
			x.l.note(id, true, false)
		}
	}
	x.clock.Advance(d)
	settled(x.t, x.s)
	for id := range x.used {
		ds, err := x.s.DescribeTransactions(context.Background(), []string{id})
		if err != nil {
			return err
		}
		switch gone := errors.Is(ds[0].Err, ErrTransactionalIDNotFound); {
		case gone && !x.l.idle[id]:
			return fmt.Errorf("%s has expired %v after its use", id, x.clock.Now().Sub(x.used[id]))
		case gone:
			x.l.note(id, true, true)
			delete(x.clients, id)
			delete(x.used, id)
			x.expired++
		case x.clock.Now().Sub(x.used[id]) >= testIDExpiration+3*time.Hour && x.open[id] == "":
			return fmt.Errorf("%s has not expired %v after its use", id, x.clock.Now().Sub(x.used[id]))
		}
	}
	return nil
}

// TestExpiredTransactionalIDsAreGoneOrThereAfterAnyCrash lets ids expire, and come back, on a disk that is looked at as crashes before its
// operations leave it: an id is gone only if it was idle for long enough, or it is there whole; its producers of
// before are refused with Kafka's errors; the next has a later epoch or a newer producer id; and what was committed stays
// committed. PARTLOG_SOAK=duration goes on for that long.
func TestExpiredTransactionalIDsAreGoneOrThereAfterAnyCrash(t *testing.T) {
	seeds, steps, one := uint64(6), 50, 6
	if testing.Short() {
		seeds, steps, one = 3, 40, 15
	}
	limit, began, distinct, expired := soakTime(t), time.Now(), map[uint64]bool{}, 0
	for seed := uint64(1); seed <= seeds || time.Since(began) < limit; seed++ {
		expired += tortureExpiry(t, seed, steps, one, distinct)
	}
	require.NotZero(t, expired)
	t.Logf("crash states: %d distinct, %d ids expired, 0 lost", len(distinct), expired)
}

func tortureExpiry(t *testing.T, seed uint64, steps, one int, distinct map[uint64]bool) (expired int) {
	mode := []SyncMode{SyncAlways, SyncNever, SyncAlways}[seed%3]
	mem := vfs.NewCrashMem([]vfs.Profile{vfs.Strict, vfs.Ext4Like}[seed%2])
	disk := vfs.NewFault(mem)
	now := clock.NewManual(time.UnixMilli(1_700_000_000_000))
	config := func(fs vfs.FS, c clock.Clock) Config {
		return Config{FS: fs, Sync: mode, Clock: c, LowSpaceBytes: Unlimited, OpenConcurrency: 1, TransactionalIDExpiration: testIDExpiration}
	}
	s, err := Open("/s", config(disk, now))
	require.NoError(t, err)
	for _, name := range []string{"t", "u"} {
		_, err = s.CreateTopic(t.Context(), name, TopicConfig{Partitions: 2})
		require.NoError(t, err)
	}
	l, rng := newExpiryLedger(), rand.New(rand.NewPCG(seed, 17))
	x := &expiryScript{t: t, s: s, l: l, rng: rng, clock: now, clients: map[string]*txnClient{}, open: map[string]string{}, began: map[string]time.Time{}, used: map[string]time.Time{}}

	var failure error
	var mu sync.Mutex // guards all below; one operation at a time is looked at
	looks, what := rand.New(rand.NewPCG(seed, 19)), "create"
	look := func(crashed *vfs.Mem, promised *expiryLedger, where string, durable, killed bool) {
		hash := crashed.Hash()
		if distinct[hash] || failure != nil {
			return
		}
		distinct[hash] = true
		s, err := Open("/s", config(crashed, clock.NewManual(now.Now())))
		if err == nil {
			err = errors.Join(promised.check(t, s, durable, killed), s.Close())
		}
		if err != nil {
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
		look(mem.KillClone(), promised, fmt.Sprintf("killed before %s", op), true, true)
		mem.EachCrash(3, func(crashed *vfs.Mem, label string) bool {
			look(crashed, promised, fmt.Sprintf("power lost before %s, keeping %s", op, label), mode == SyncAlways, false)
			return true
		})
	})
	for i := range steps {
		name, err := x.step()
		mu.Lock()
		what = fmt.Sprintf("step %d, after %s", i+1, name)
		err = errors.Join(err, failure)
		mu.Unlock()
		require.NoError(t, err, "seed %d, step %d: %s", seed, i, name)
	}
	disk.OnOp(nil)
	for id, name := range x.open {
		if name != "" {
			l.set(name, "aborted")
		}
		if _, ok := x.used[id]; ok {
			newTxnClient(t, s, id) // fences whoever has a transaction open
		}
	}
	require.NoError(t, l.check(t, s, true, true), "seed %d", seed)
	require.NoError(t, s.Close())
	return x.expired
}
