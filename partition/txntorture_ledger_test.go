package partition

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/partlog/partlog/internal/batch"
)

// The torture of transactions together with compaction, the key index, expectations, timeouts, retention of segments and deletion of
// topics. A mixLedger is told of each record before it is appended, with a name in a header, and of its offset when it is acknowledged.

var (
	mixPlain = []TopicPartition{{"t", 0}, {"t", 1}}
	mixKeyed = []TopicPartition{{"c", 0}, {"c", 1}}
	mixKeys  = []string{"k0", "k1", "k2", "k3"}
)

// mixRecord is a record that was, or was going to be, appended.
type mixRecord struct {
	name   string
	txn    string // "" for one outside transactions
	tp     TopicPartition
	key    string
	null   bool // a tombstone
	offset Offset
	acked  bool
}

type mixLedger struct {
	txns    *txnLedger // outcomes and epochs
	records []mixRecord
	last    map[TopicPartition][]byte // the last idempotent batch that was acknowledged
	lastAt  map[TopicPartition]Offset
}

func (l *mixLedger) clone() *mixLedger {
	l.txns.mu.Lock()
	c := &mixLedger{records: slices.Clone(l.records), last: maps.Clone(l.last), lastAt: maps.Clone(l.lastAt)}
	l.txns.mu.Unlock()
	c.txns = l.txns.clone()
	return c
}

// change tells the ledger of something in one piece.
func (l *mixLedger) change(f func()) {
	l.txns.mu.Lock()
	defer l.txns.mu.Unlock()
	f()
}

// seenRecord is a record as a reader has it.
type seenRecord struct {
	name, key string
	null      bool
	offset    Offset
}

// seeAll reads a partition to its end as a consumer does, by Kafka's algorithm over FetchResult.Aborted if committed.
func seeAll(s *Store, tp TopicPartition, committed bool) (seen []seenRecord, next Offset, err error) {
	if next, err = s.ListOffsets(context.Background(), tp, TimestampEarliest); err != nil {
		return nil, 0, err
	}
	for {
		rs, err := s.Fetch(context.Background(), FetchRequest{Partitions: []FetchPosition{{TopicPartition: tp, Offset: next, LeaderEpoch: -1, MaxBytes: 700}}, ReadCommitted: committed})
		if err != nil {
			return nil, 0, err
		}
		r := &rs[0]
		if r.Err != nil {
			return nil, 0, r.Err
		}
		if len(r.Batches) == 0 {
			return seen, next, nil
		}
		aborted, skip := r.Aborted, map[int64]bool{}
		var it batch.Iterator
		for rest := r.Batches; len(rest) > 0; {
			b, err := batch.Peek(rest)
			if err != nil {
				return nil, 0, err
			}
			rest = rest[len(b):]
			for len(aborted) > 0 && aborted[0].FirstOffset <= Offset(b.LastOffset()) {
				skip[aborted[0].ProducerID] = true
				aborted = aborted[1:]
			}
			from := next
			next = max(next, Offset(b.LastOffset())+1)
			b.Iterate(&it, maxDecompressed)
			if b.IsControl() {
				if it.Next() {
					if c, err := batch.ParseControl(it.Record()); err == nil && c.Type == batch.ControlAbort {
						delete(skip, b.ProducerID())
					}
				}
				continue
			}
			if b.IsTransactional() && skip[b.ProducerID()] {
				continue
			}
			for it.Next() {
				x := it.Record()
				if Offset(x.Offset) < from {
					continue
				}
				sr := seenRecord{key: string(x.Key), null: x.Value == nil, offset: Offset(x.Offset)}
				for _, h := range x.Headers {
					if h.Key == "name" {
						sr.name = string(h.Value)
					}
				}
				seen = append(seen, sr)
			}
			if err := it.Err(); err != nil {
				return nil, 0, err
			}
		}
		r.Lease.Release()
	}
}

// check holds an open store against the ledger. durable is as in txnLedger.check.
func (l *mixLedger) check(t testing.TB, s *Store, durable bool) error {
	settled(t, s)
	byName := map[string]*mixRecord{}
	for i := range l.records {
		byName[l.records[i].name] = &l.records[i]
	}
	visible := map[string]bool{}
	inTxn := map[string]bool{} // some record of it is visible
	seen := map[TopicPartition][]seenRecord{}
	for _, tp := range slices.Concat(mixPlain, mixKeyed) {
		hw, err := s.ListOffsets(context.Background(), tp, TimestampLatest)
		if err != nil {
			return err
		}
		all, _, err := seeAll(s, tp, false)
		if err != nil {
			return fmt.Errorf("%s: %w", tp, err)
		}
		known := map[Offset]string{}
		for _, x := range all {
			known[x.offset] = x.name
		}
		got, next, err := seeAll(s, tp, true)
		if err != nil {
			return fmt.Errorf("%s: %w", tp, err)
		}
		if next != hw {
			return fmt.Errorf("%s: last stable offset %d, high watermark %d: stuck", tp, next, hw)
		}
		seen[tp] = got
		for _, x := range got {
			r := byName[x.name]
			switch {
			case r == nil:
				return fmt.Errorf("%s: %+v was invented", tp, x)
			case visible[x.name]:
				return fmt.Errorf("%s: %+v is there twice", tp, x)
			case r.tp != tp || r.key != x.key || r.null != x.null || r.acked && r.offset != x.offset:
				return fmt.Errorf("%s: %+v was appended as %+v", tp, x, *r)
			case known[x.offset] != x.name:
				return fmt.Errorf("%s: %+v is not what read_uncommitted sees: %q", tp, x, known[x.offset])
			}
			visible[x.name] = true
			if r.txn != "" {
				inTxn[r.txn] = true
				if o := l.txns.outcome[r.txn]; o != "committed" && o != "committing" {
					return fmt.Errorf("%s: %+v of transaction %s, which is %s, is visible", tp, x, r.txn, o)
				}
			}
		}
	}
	// What has to be there, or something newer with its key.
	last := map[TopicPartition]map[string]*mixRecord{}
	for i := range l.records {
		r := &l.records[i]
		o := l.txns.outcome[r.txn]
		must := durable && r.acked && (r.txn == "" || o == "committed" || o == "committing" && inTxn[r.txn])
		if !must {
			continue
		}
		if r.tp.Topic == "t" {
			if !visible[r.name] {
				return fmt.Errorf("%s: %+v is not there; its transaction is %s", r.tp, *r, o)
			}
			continue
		}
		if last[r.tp] == nil {
			last[r.tp] = map[string]*mixRecord{}
		}
		if b := last[r.tp][r.key]; b == nil || b.offset < r.offset {
			last[r.tp][r.key] = r
		}
	}
	for _, tp := range mixKeyed {
		for _, key := range mixKeys {
			at, history := Offset(-1), []Offset(nil)
			for _, x := range seen[tp] {
				if x.key == key {
					at = x.offset
					history = append(history, at)
				}
			}
			switch want := last[tp][key]; {
			case want == nil || at >= want.offset:
			case want.null && at < 0:
			case want.null:
				return fmt.Errorf("%s: key %s was deleted at %d, and has its record at %d again", tp, key, want.offset, at)
			default:
				return fmt.Errorf("%s: last record of key %s is at %d, and was %+v", tp, key, at, *want)
			}
			p, err := s.part(tp, TopicID{})
			if err != nil {
				return err
			}
			log, err := p.open()
			if err != nil {
				return err
			}
			if o, err := log.LastOfKey([]byte(key)); err != nil || o != at {
				return fmt.Errorf("%s: key index has the last record of %s at %d, %v; it is at %d", tp, key, o, err, at)
			}
			var found []Offset
			for r, err := range s.ReadKey(context.Background(), ReadKeyRequest{TopicPartition: tp, Key: []byte(key), ReadCommitted: true}) {
				if err != nil {
					return err
				}
				found = append(found, r.Offset)
			}
			if !slices.Equal(found, history) {
				return fmt.Errorf("%s: key index reads %s at %v; it is at %v", tp, key, found, history)
			}
		}
	}
	return nil
}

// use appends to a store that has been checked, in every way, and looks whether producers are still known.
func (l *mixLedger) use(t testing.TB, s *Store, durable bool) error {
	if durable {
		for tp, b := range l.last {
			r, err := s.Append(context.Background(), AppendRequest{TopicPartition: tp, Batch: slices.Clone(b)})
			if err != nil || !r.Duplicate || r.BaseOffset != l.lastAt[tp] {
				return fmt.Errorf("%s: batch sent again: got %+v, %v; want a duplicate at %d", tp, r, err, l.lastAt[tp])
			}
		}
		for id, told := range l.txns.told {
			c := newTxnClient(t, s, id)
			for _, old := range told {
				if c.pid.ID == old.ID && c.pid.Epoch <= old.Epoch {
					return fmt.Errorf("%s: epoch %d after %d", id, c.pid.Epoch, old.Epoch)
				}
				zombie := &txnClient{t: t, s: s, id: id, pid: old, seq: map[TopicPartition]int32{}}
				if zombie.trySend(mixPlain[0], "zombie") == nil {
					return fmt.Errorf("%s: %v writes after %v has come", id, old, c.pid)
				}
			}
		}
	}
	m := newMix(t, s, l.clone(), rand.New(rand.NewPCG(1, 1)))
	m.number = 1_000_000
	for _, f := range []func() error{m.send, m.send, func() error { return m.end(true) }, m.plain, m.compact, m.expect} {
		if err := f(); err != nil {
			return err
		}
	}
	if m.open["a"] != "" || m.open["b"] != "" {
		for _, id := range []string{"a", "b"} {
			newTxnClient(t, s, id)
			l.txns.set(m.open[id], "aborted")
		}
	}
	if err := m.l.check(t, s, durable); err != nil {
		return fmt.Errorf("used: %w", err)
	}
	v, err := s.Verify(context.Background())
	if err == nil && v.Damaged() {
		err = fmt.Errorf("verify finds damage: %+v", *v)
	}
	return err
}
