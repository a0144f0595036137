package txn

import (
	"fmt"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// world is a store around a machine, reduced to what the machine's promises are about: a log of which a crash keeps what was
// durable and a part of what was not, and partitions in which transactions are open.
type world struct {
	t       *rapid.T
	m       Machine
	now     int64
	fresh   int64
	log     []logged
	writes  []Write // not answered
	marks   []Mark
	laters  []Later
	holding bool // effects wait for the test to answer them
	open    map[Partition]map[int64]int16
	told    map[string]producerEpoch
	decided map[producerEpoch]bool // outcome by transaction: commit
	ended   map[Partition]map[producerEpoch]bool
	answer  *Answer
}

func (w *world) step(ev Event) *Answer {
	w.answer = nil
	w.do(w.m.Step(w.now, ev, nil), ev)
	checkInvariants(w.t, &w.m)
	return w.answer
}

func (w *world) do(effects []Effect, ev Event) {
	for _, e := range effects {
		switch e := e.(type) {
		case NeedID:
			w.fresh++
			switch again := ev.(type) {
			case Init:
				again.Fresh = w.fresh
				ev = again
			case End:
				again.Fresh = w.fresh
				ev = again
			}
			w.do(w.m.Step(w.now, ev, nil), ev)
		case Write:
			w.writes = append(w.writes, e)
			if !w.holding {
				w.write(len(w.writes)-1, nil)
			}
		case Mark:
			w.marks = append(w.marks, e)
			if !w.holding {
				w.mark(len(w.marks)-1, len(e.Partitions))
			}
		case Later:
			w.laters = append(w.laters, e)
		case Answer:
			w.answer = &e
		}
	}
}

func (w *world) write(i int, err error) {
	e := w.writes[i]
	w.writes = slices.Delete(w.writes, i, i+1)
	if err == nil {
		r := logged{key: AppendKey(nil, e.Meta.ID), durable: e.Durable}
		if e.Meta.State != Dead {
			r.value = AppendValue(nil, &e.Meta)
		}
		w.log = append(w.log, r)
		if e.Meta.State.Prepared() && e.Meta.bumps() {
			w.decide(producerEpoch{e.Meta.ProducerID, e.Meta.Epoch - 1}, e.Meta.State == PrepareCommit)
		}
	}
	w.do(w.m.Step(w.now, Written{ID: e.Meta.ID, Err: err}, nil), nil)
}

func (w *world) decide(p producerEpoch, commit bool) {
	before, known := w.decided[p]
	require.True(w.t, !known || before == commit, "transaction %v has two outcomes", p)
	w.decided[p] = commit
}

// mark writes the first n markers of an attempt.
func (w *world) mark(i, n int) {
	e := w.marks[i]
	w.marks = slices.Delete(w.marks, i, i+1)
	for _, p := range e.Partitions[:n] {
		if epoch, ok := w.open[p][e.ProducerID]; ok {
			require.True(w.t, e.Epoch > epoch || e.Version < 2 && e.Epoch == epoch, "marker %d/%d for epoch %d", e.ProducerID, e.Epoch, epoch)
			delete(w.open[p], e.ProducerID)
			if w.ended[p] == nil {
				w.ended[p] = map[producerEpoch]bool{}
			}
			w.ended[p][producerEpoch{e.ProducerID, epoch}] = e.Commit
		}
	}
	w.do(w.m.Step(w.now, Marked{ProducerID: e.ProducerID, Epoch: e.Epoch, Orphan: e.Orphan, Done: e.Partitions[:n]}, nil), nil)
}

// crash keeps all durable records and some that came after the last of them, and some of the data of undecided transactions.
func (w *world) crash() {
	keep := len(w.log)
	for keep > 0 && !w.log[keep-1].durable && rapid.Bool().Draw(w.t, "lose") {
		keep--
	}
	w.log = w.log[:keep]
	for p, byID := range w.open {
		for _, id := range slices.Sorted(keys(byID)) {
			if commit := w.decided[producerEpoch{id, byID[id]}]; !commit && rapid.Bool().Draw(w.t, "lose data") {
				delete(w.open[p], id)
			}
		}
	}
	w.m = Machine{MaxTimeout: w.m.MaxTimeout}
	w.writes, w.marks, w.laters = nil, nil, nil
	for _, r := range w.log {
		id, _, err := ParseKey(r.key)
		require.NoError(w.t, err)
		ev := Replay{ID: id}
		if r.value != nil {
			m, _, err := ParseValue(id, r.value)
			require.NoError(w.t, err)
			ev.Meta = &m
		}
		w.m.Step(w.now, ev, nil)
	}
	for _, p := range allPartitions {
		for _, id := range slices.Sorted(keys(w.open[p])) {
			w.m.Step(w.now, Found{ProducerID: id, Epoch: w.open[p][id], Partition: p}, nil)
		}
	}
	w.step(Start{})
}

func keys[K comparable, V any](m map[K]V) func(func(K) bool) {
	return func(yield func(K) bool) {
		for k := range m {
			if !yield(k) {
				return
			}
		}
	}
}

var allPartitions = []Partition{{"t", 0}, {"t", 1}, {"u", 0}}

// TestMachineKeepsItsPromisesUnderAnyEvents holds the machine, under requests of producers old and new, failures of writes and markers,
// timeouts, expiry and crashes, against what it is for: one outcome for each transaction, the same in every partition; epochs that never
// go back; nothing that stays open.
func TestMachineKeepsItsPromisesUnderAnyEvents(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := &world{t: t, now: 1_700_000_000_000, fresh: 100, open: map[Partition]map[int64]int16{}, told: map[string]producerEpoch{},
			decided: map[producerEpoch]bool{}, ended: map[Partition]map[producerEpoch]bool{}}
		w.m.MaxTimeout = 900_000
		for _, p := range allPartitions {
			w.open[p] = map[int64]int16{}
		}
		producers := map[string][]producerEpoch{} // that have ever been
		pick := func(id string) (producerEpoch, bool) {
			ps := producers[id]
			if len(ps) == 0 {
				return producerEpoch{}, false
			}
			return ps[len(ps)-1-rapid.SampledFrom([]int{0, 0, 0, 0, 1, 2}).Draw(t, "which")%len(ps)], true
		}
		tell := func(id string, a *Answer) {
			if a == nil || a.Err != nil {
				return
			}
			p := producerEpoch{a.ProducerID, a.Epoch}
			last, known := w.told[id]
			require.True(t, !known || p.id > last.id || p.id == last.id && p.epoch >= last.epoch, "%s: %v after %v", id, p, last)
			w.told[id] = p
			producers[id] = append(producers[id], p)
		}
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			w.now += rapid.Int64Range(0, 30_000).Draw(t, "ms")
			id := rapid.SampledFrom([]string{"a", "b"}).Draw(t, "id")
			w.holding = rapid.IntRange(0, 3).Draw(t, "hold") == 0
			switch rapid.SampledFrom([]string{"init", "again", "add", "add", "add", "end", "end", "written", "written", "marked", "marked", "resume", "tick", "expire", "crash", "abort", "old"}).Draw(t, "what") {
			case "init":
				tell(id, w.step(Init{Call: 1, ID: id, Timeout: 60_000, Last: None, LastEpoch: None, Fresh: None}))
			case "again":
				if p, ok := pick(id); ok {
					tell(id, w.step(Init{Call: 1, ID: id, Timeout: 60_000, Last: p.id, LastEpoch: p.epoch, Fresh: None}))
				}
			case "add":
				if p, ok := pick(id); ok {
					part := rapid.SampledFrom(allPartitions).Draw(t, "partition")
					a := w.step(Add{Call: 1, ID: id, ProducerID: p.id, Epoch: p.epoch, Partitions: []Partition{part}, Version: 2})
					if a != nil && a.Err == nil {
						_, over := w.decided[p]
						require.False(t, over, "%v is decided, and goes on", p)
						_, open := w.open[part][p.id]
						require.True(t, !open || w.open[part][p.id] == p.epoch, "%v: epoch %d is open", p, w.open[part][p.id])
						w.open[part][p.id] = p.epoch
					}
				}
			case "end":
				if p, ok := pick(id); ok {
					commit := rapid.Bool().Draw(t, "commit")
					a := w.step(End{Call: 1, ID: id, ProducerID: p.id, Epoch: p.epoch, Commit: commit, Version: 2, Fresh: None})
					tell(id, a)
					if a != nil && a.Err == nil {
						require.Equal(t, commit, w.decided[p], "%v: what was answered", p)
					}
				}
			case "written":
				if len(w.writes) > 0 {
					err := error(nil)
					if rapid.Bool().Draw(t, "full") {
						err = errFull
					}
					w.write(0, err)
				}
			case "marked":
				if len(w.marks) > 0 {
					w.mark(0, rapid.IntRange(0, len(w.marks[0].Partitions)).Draw(t, "markers"))
				}
			case "resume":
				if len(w.laters) > 0 {
					l := w.laters[0]
					w.laters = w.laters[1:]
					w.step(Resume(l))
				}
			case "tick":
				w.step(Tick{})
			case "expire":
				w.step(Expire{Idle: rapid.SampledFrom([]int64{1_000, 1 << 40}).Draw(t, "idle")})
			case "abort":
				w.step(Abort{Call: 1, ID: id})
			case "old": // epochs that have nearly run out
				if e := w.m.byID[id]; e != nil && !e.busy() && e.meta.State == Empty && e.meta.Epoch >= 0 && e.meta.Epoch < 32000 {
					e.meta.Epoch = 32764
					w.log = append(w.log, logged{key: AppendKey(nil, id), value: AppendValue(nil, &e.meta), durable: true})
				}
			case "crash":
				w.crash()
			}
		}
		// In the end everything succeeds, and everything comes to an end.
		w.holding = false
		w.crash()
		for len(w.writes)+len(w.marks)+len(w.laters) > 0 {
			switch {
			case len(w.writes) > 0:
				w.write(0, nil)
			case len(w.marks) > 0:
				w.mark(0, len(w.marks[0].Partitions))
			default:
				l := w.laters[0]
				w.laters = w.laters[1:]
				w.step(Resume(l))
			}
		}
		require.Zero(t, w.m.Open())
		for _, p := range allPartitions {
			require.Empty(t, w.open[p], "%v: open", p)
			for txn, commit := range w.ended[p] {
				require.Equal(t, w.decided[txn], commit, fmt.Sprintf("%v in %v", txn, p))
			}
		}
		w.m.Each(func(m Meta) { require.False(t, m.State.Prepared()) })
	})
}
