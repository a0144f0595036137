package group

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/partlog/partlog/internal/clock"
	"github.com/partlog/partlog/internal/vfs"
	"github.com/partlog/partlog/partition"
)

// write is one attempt to change a committed offset. Every value is used once; 0 takes the offset away.
type write struct {
	value  partition.Offset
	status status
	of     int // the commit, or the transaction, that it is part of; 0 if that may be seen half
}

type status int

const (
	pending status = iota // in a transaction whose end nobody has asked for
	tried                 // it may count after a crash, or may not
	certain               // acknowledged: a crash may not lose it
	never                 // aborted
)

// ledger is what a test knows of what it has committed: the attempts in the order of the log.
type ledger struct {
	mu         sync.Mutex
	version    int                                              // of what is promised
	writes     map[string]map[partition.TopicPartition][]*write // by group
	generation map[string]Generation                            // acknowledged, 0 if the group may have been deleted
}

func newLedger() *ledger {
	return &ledger{writes: map[string]map[partition.TopicPartition][]*write{}, generation: map[string]Generation{}}
}

// clone is what has been promised by now.
func (l *ledger) clone() *ledger {
	l.mu.Lock()
	defer l.mu.Unlock()
	c := newLedger()
	for group, keys := range l.writes {
		c.writes[group] = map[partition.TopicPartition][]*write{}
		for tp, ws := range keys {
			for _, w := range ws {
				again := *w
				c.writes[group][tp] = append(c.writes[group][tp], &again)
			}
		}
	}
	c.version, c.generation = l.version, maps.Clone(l.generation)
	return c
}

// add notes an attempt.
func (l *ledger) add(group string, tp partition.TopicPartition, value partition.Offset, s status, of int) *write {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.writes[group] == nil {
		l.writes[group] = map[partition.TopicPartition][]*write{}
	}
	w := &write{value, s, of}
	l.version++
	l.writes[group][tp] = append(l.writes[group][tp], w)
	return w
}

// set says what became of attempts.
func (l *ledger) set(s status, ws ...*write) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.version++
	for _, w := range ws {
		w.status = s
	}
}

// allowed is what may be committed of a partition after a crash: the last certain value, or what was tried after it.
func allowed(ws []*write) []partition.Offset {
	out := []partition.Offset{0}
	for _, w := range ws {
		switch w.status {
		case certain:
			out = []partition.Offset{w.value}
		case tried:
			out = append(out, w.value)
		}
	}
	return out
}

// lastThatMayCount is the latest attempt that was neither aborted nor waits for its transaction's end.
func lastThatMayCount(ws []*write) *write {
	for _, w := range slices.Backward(ws) {
		if w.status == tried || w.status == certain {
			return w
		}
	}
	return nil
}

// check opens a disk after a crash and holds its groups against the ledger.
func (l *ledger) check(m *vfs.Mem, mode partition.SyncMode, durable bool) (err error) {
	store, err := partition.Open("/s", partition.Config{FS: m, Sync: mode})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	coordinators, err := Start(store, CoordinatorConfig{Clock: clock.NewManual(time.Unix(2e9, 0))})
	if err != nil {
		return err
	}
	c, err := coordinators.Find(context.Background(), "")
	if err != nil {
		return err
	}
	seen := make(map[int]bool) // commits whose outcome nobody was told, by whether they are there
	for group, keys := range l.writes {
		committed, err := c.Offsets(context.Background(), OffsetsRequest{Group: group, RequireStable: true})
		for errors.Is(err, ErrUnstableOffsetCommit) { // the store's open ends what was prepared, and aborts the rest
			committed, err = c.Offsets(context.Background(), OffsetsRequest{Group: group, RequireStable: true})
		}
		if err != nil {
			return err
		}
		for tp, ws := range keys {
			if may := allowed(ws); durable && !slices.Contains(may, committed[tp].Offset) {
				return fmt.Errorf("%s of %q is %d; it may be one of %v", tp, group, committed[tp].Offset, may)
			}
			if last := lastThatMayCount(ws); last != nil && last.status == tried && last.of != 0 {
				there := committed[tp].Offset == last.value
				if was, ok := seen[last.of]; ok && was != there {
					return fmt.Errorf("half of a commit or transaction is there: %s of %q is %d, tried was %d", tp, group, committed[tp].Offset, last.value)
				}
				seen[last.of] = there
			}
			counts := slices.ContainsFunc(ws, func(w *write) bool {
				return w.value == committed[tp].Offset && (w.status == tried || w.status == certain)
			})
			if !counts && committed[tp].Offset != 0 {
				return fmt.Errorf("%s of %q is %d, which was never committed", tp, group, committed[tp].Offset)
			}
		}
		d, err := c.Describe(context.Background(), group)
		if err != nil {
			return err
		}
		if durable && d.Generation < l.generation[group] {
			return fmt.Errorf("generation of %q is %d and was %d", group, d.Generation, l.generation[group])
		}
	}
	if stats := coordinators.Stats(); stats.CorruptRanges+stats.SkippedRecords > 0 {
		return fmt.Errorf("%d corrupt ranges, %d records skipped", stats.CorruptRanges, stats.SkippedRecords)
	}
	return nil
}

// crashScript changes a store's groups in all ways, noting before and after each what is promised.
type crashScript struct {
	t       *testing.T
	store   *partition.Store
	c       *coordinator
	time    *clock.Manual
	l       *ledger
	rng     *rand.Rand
	value   partition.Offset
	number  int // of commits and transactions
	clients map[string]*client
	txns    map[string]*openTxn
}

// openTxn is a transaction with what it has committed.
type openTxn struct {
	*transaction
	number int
	writes []*write
}

var crashGroups = []string{"billing", "shipping"}

func (s *crashScript) step() {
	group := crashGroups[s.rng.IntN(len(crashGroups))]
	switch k := s.rng.IntN(20); {
	case k < 6:
		s.commit(group)
	case k < 9:
		s.join(group)
	case k < 10:
		s.leave(group)
	case k < 14:
		s.txnCommit(group)
	case k < 17:
		s.txnEnd()
	case k < 18:
		s.deleteOffsets(group)
	case k < 19:
		s.leave(group)
		s.deleteGroup(group)
	default:
		s.expire()
	}
}

// offsets are new values for one or both partitions.
func (s *crashScript) offsets(group string, as status, of int) (map[partition.TopicPartition]CommittedOffset, []*write) {
	out := make(map[partition.TopicPartition]CommittedOffset)
	var ws []*write
	for p := range int32(1 + s.rng.IntN(2)) {
		s.value++
		out[tp("orders", p)] = CommittedOffset{Offset: s.value, LeaderEpoch: 3, Metadata: "m"}
		ws = append(ws, s.l.add(group, tp("orders", p), s.value, as, of))
	}
	return out, ws
}

func (s *crashScript) membership(group string) Membership {
	if m := s.clients[group]; m != nil {
		return m.joined.Membership
	}
	return outside(group)
}

func (s *crashScript) commit(group string) {
	s.number++
	offsets, ws := s.offsets(group, tried, s.number)
	require.NoError(s.t, s.c.Commit(s.t.Context(), CommitRequest{Membership: s.membership(group), Offsets: offsets}))
	s.l.set(certain, ws...)
}

// join enters the group, or has its member join again, which begins a generation. Every other member is static.
func (s *crashScript) join(group string) {
	if s.clients[group] == nil {
		g, _ := openGroup(s.t, s.store, group, Config{})
		s.clients[group] = newClient(s.t, g, "orders")
		if s.rng.IntN(2) == 0 {
			s.clients[group].request = func(r *JoinRequest) { r.InstanceID = "instance" }
		}
	}
	m := s.clients[group]
	require.NoError(s.t, m.enter(s.t.Context()))
	s.setGeneration(group, m.joined.Generation)
}

func (s *crashScript) setGeneration(group string, g Generation) {
	s.l.mu.Lock()
	defer s.l.mu.Unlock()
	s.l.version++
	s.l.generation[group] = g
}

func (s *crashScript) leave(group string) {
	if m := s.clients[group]; m != nil {
		require.NoError(s.t, s.c.Leave(s.t.Context(), group, LeavingMember{MemberID: m.joined.MemberID}))
		delete(s.clients, group)
	}
}

func (s *crashScript) txnCommit(group string) {
	id := []string{"tx1", "tx2"}[s.rng.IntN(2)]
	if s.txns[id] == nil {
		s.txns[id] = &openTxn{transaction: newTransaction(s.t, s.store, id)}
	}
	x := s.txns[id]
	if len(x.writes) == 0 {
		s.number++
		x.number = s.number
	}
	offsets, ws := s.offsets(group, pending, x.number)
	require.NoError(s.t, x.transaction.commit(s.c, s.membership(group), offsets))
	x.writes = append(x.writes, ws...)
}

func (s *crashScript) txnEnd() {
	x := s.txns[[]string{"tx1", "tx2"}[s.rng.IntN(2)]]
	if x == nil || len(x.writes) == 0 {
		return
	}
	if commit := s.rng.IntN(3) > 0; commit {
		s.l.set(tried, x.writes...)
		x.end(true)
		s.l.set(certain, x.writes...)
	} else {
		s.l.set(never, x.writes...)
		x.end(false)
	}
	x.writes = nil
}

// removal notes that all offsets of a group may go.
func (s *crashScript) removal(group string) []*write {
	return []*write{s.l.add(group, tp("orders", 0), 0, tried, 0), s.l.add(group, tp("orders", 1), 0, tried, 0)}
}

func (s *crashScript) deleteOffsets(group string) {
	if s.clients[group] != nil {
		return // it is subscribed
	}
	ws := s.removal(group)
	err := s.c.DeleteOffsets(s.t.Context(), group, tp("orders", 0), tp("orders", 1))
	if !errors.Is(err, ErrGroupIDNotFound) {
		require.NoError(s.t, err)
	}
	s.l.set(certain, ws...)
}

func (s *crashScript) deleteGroup(group string) {
	s.setGeneration(group, 0)
	ws := s.removal(group)
	err := s.c.DeleteGroups(s.t.Context(), group)
	if !errors.Is(err, ErrGroupIDNotFound) {
		require.NoError(s.t, err)
	}
	s.l.set(certain, ws...)
}

// expire lets time pass, and everything expire that may.
func (s *crashScript) expire() {
	s.time.Advance(time.Hour)
	removals, before := map[string][]*write{}, map[string]map[partition.TopicPartition]CommittedOffset{}
	for _, group := range crashGroups {
		var err error
		before[group], err = s.c.Offsets(s.t.Context(), OffsetsRequest{Group: group})
		require.NoError(s.t, err)
		if s.clients[group] == nil {
			s.setGeneration(group, 0)
		}
		removals[group] = s.removal(group)
	}
	s.c.mu.Lock()
	for g := range s.c.groupsLocked() {
		s.c.stepLocked(g, expireEvent{time.Minute})
	}
	s.c.unlock()
	for busy := true; busy; { // nobody is told when it is done
		busy = false
		s.c.mu.Lock()
		for g := range s.c.groupsLocked() {
			busy = busy || len(g.appends) > 0
		}
		s.c.mu.Unlock()
	}
	for group, ws := range removals {
		committed, err := s.c.Offsets(s.t.Context(), OffsetsRequest{Group: group})
		require.NoError(s.t, err)
		for p, w := range ws {
			_, was := before[group][tp("orders", int32(p))]
			_, is := committed[tp("orders", int32(p))]
			s.l.set(map[bool]status{true: certain, false: never}[was && !is], w)
		}
	}
}

// TestNoCommittedOffsetIsLostOrGoesBackAfterAnyCrash changes groups on a disk that remembers what has been synced. Before
// every operation that changes it, it is taken as a kill and as losses of power may leave it, opened, and compared with
// what had been promised by then: no committed offset is lost or goes back, none of an aborted transaction is there, no
// commit and no transaction is there half, no generation goes back. PARTLOG_SOAK=<duration> goes on for so long.
func TestNoCommittedOffsetIsLostOrGoesBackAfterAnyCrash(t *testing.T) {
	seeds, steps, each := uint64(8), 40, 3
	if testing.Short() {
		seeds, steps, each = 2, 25, 2
	}
	var mu sync.Mutex // guards distinct and failure
	type state struct {
		disk    uint64
		promise int
	}
	distinct := map[state]bool{}
	soak, _ := time.ParseDuration(os.Getenv("PARTLOG_SOAK"))
	began := time.Now()
	for seed := uint64(0); seed < seeds || time.Since(began) < soak; seed++ {
		mode := []partition.SyncMode{partition.SyncAlways, partition.SyncAlways, partition.SyncNever}[seed%3]
		mem := vfs.NewCrashMem([]vfs.Profile{vfs.Strict, vfs.Ext4Like}[seed%2])
		disk := vfs.NewFault(mem)
		store, err := partition.Open("/s", partition.Config{FS: disk, Sync: mode})
		require.NoError(t, err)
		createTopics(t, store, "orders")
		manual := clock.NewManual(time.Unix(1.7e9, 0))
		_, c := openGroup(t, store, "billing", Config{Coordinator: CoordinatorConfig{Clock: manual}})
		s := &crashScript{
			t: t, store: store, c: c.(*coordinator), time: manual, l: newLedger(), rng: rand.New(rand.NewPCG(seed, 7)),
			clients: map[string]*client{}, txns: map[string]*openTxn{},
		}
		var failure error
		visit := func(m *vfs.Mem, promised *ledger, what string, durable bool) {
			now := state{m.Hash(), promised.version}
			mu.Lock()
			known := distinct[now] || failure != nil
			distinct[now] = true
			mu.Unlock()
			if known {
				return
			}
			if err := promised.check(m, mode, durable); err != nil {
				mu.Lock()
				failure = errors.Join(failure, fmt.Errorf("seed %d, %s: %w", seed, what, err))
				mu.Unlock()
			}
		}
		var one sync.Mutex // one operation at a time is looked at
		disk.OnOp(func(op vfs.Op) {
			one.Lock()
			defer one.Unlock()
			promised := s.l.clone() // before the disk: what comes between must not be promised yet
			visit(mem.KillClone(), promised, fmt.Sprintf("killed before %s", op), true)
			mem.EachCrash(each, func(m *vfs.Mem, label string) bool {
				visit(m, promised, fmt.Sprintf("power lost before %s, %s", op, label), mode == partition.SyncAlways)
				return true
			})
		})
		for range steps {
			s.step()
			require.NoError(t, failure)
		}
		disk.OnOp(nil)
		require.NoError(t, failure)
		require.NoError(t, store.Close())
		require.NoError(t, s.l.clone().check(mem, mode, true))
	}
	t.Logf("crash states: %d distinct, 0 lost", len(distinct))
}
