package log

import (
	"fmt"
	"slices"

	"github.com/stretchr/testify/require"

	"github.com/partlog/partlog/internal/batch"
)

// makeTxn builds a batch of n records of a transaction.
func makeTxn(id int64, epoch int16, sequence int32, n int, value string) []byte {
	var b batch.Builder
	b.Reset(nil, batch.Options{Transactional: true, ProducerID: id, Epoch: epoch, BaseSequence: sequence})
	for range n {
		b.Append(1000, nil, []byte(value), nil)
	}
	out, err := b.Finish()
	if err != nil {
		panic(err)
	}
	return out
}

func makeMarker(id int64, epoch int16, abort bool) []byte {
	kind := batch.ControlCommit
	if abort {
		kind = batch.ControlAbort
	}
	return batch.BuildControl(nil, kind, id, epoch, 0, 1000)
}

// txnClient appends transactions of some producers to a log, by the rules of transaction.version 2.
type txnClient struct {
	log       *Log
	lazy      bool // what is not durable need not be synced
	producers map[int64]*txnProducer
}

type txnProducer struct {
	epoch    int16
	sequence int32
	open     bool
}

func (c *txnClient) producer(id int64) *txnProducer {
	if c.producers == nil {
		c.producers = map[int64]*txnProducer{}
	}
	if c.producers[id] == nil {
		c.producers[id] = &txnProducer{}
	}
	return c.producers[id]
}

// send appends n records in the transaction of id, which it begins if there is none.
func (c *txnClient) send(id int64, n int, value string, durable bool) error {
	p := c.producer(id)
	guard, ongoing, err := c.log.TxnGuard(id, p.epoch, p.sequence)
	if err != nil {
		return err
	}
	if ongoing != p.open {
		return fmt.Errorf("producer %d: ongoing is %v", id, ongoing)
	}
	_, err = c.log.Append(makeTxn(id, p.epoch, p.sequence, n, value), AppendOptions{Durable: durable, Lazy: c.lazy, Guard: guard})
	if err == nil {
		p.open, p.sequence = true, p.sequence+int32(n)
	}
	return err
}

// end appends a marker of id.
func (c *txnClient) end(id int64, abort, durable bool) error {
	p := c.producer(id)
	_, err := c.log.Append(makeMarker(id, p.epoch+1, abort), AppendOptions{Durable: durable, Lazy: c.lazy, Origin: OriginCoordinator, TxnVersion: 2})
	if err == nil {
		p.epoch, p.sequence, p.open = p.epoch+1, 0, false
	}
	return err
}

// txnModel is what the batches of a log say about its transactions, told by a walk through all of them.
type txnModel struct {
	open      map[int64]Offset // by producer: where its transaction begins
	aborted   []AbortedTxn     // by marker
	committed []Offset         // of records of committed transactions, and of no transaction
	stable    Offset
}

func modelTxns(t require.TestingT, batches []byte, end Offset) *txnModel {
	m := &txnModel{open: map[int64]Offset{}, stable: end}
	pending := map[int64][]Offset{}
	for len(batches) > 0 {
		b, err := batch.Peek(batches)
		require.NoError(t, err)
		batches = batches[len(b):]
		id := b.ProducerID()
		if b.IsControl() {
			c, ok := marker(b)
			require.True(t, ok)
			first, open := m.open[id]
			delete(m.open, id)
			if c.Type == batch.ControlCommit {
				m.committed = append(m.committed, pending[id]...)
			} else if open {
				e := AbortedTxn{ProducerID: id, First: first, Last: Offset(b.BaseOffset()), LastStable: Offset(b.BaseOffset()) + 1}
				for _, o := range m.open {
					e.LastStable = min(e.LastStable, o)
				}
				m.aborted = append(m.aborted, e)
			}
			delete(pending, id)
			continue
		}
		for o := Offset(b.BaseOffset()); o <= Offset(b.LastOffset()); o++ {
			if b.IsTransactional() {
				pending[id] = append(pending[id], o)
			} else {
				m.committed = append(m.committed, o)
			}
		}
		if _, open := m.open[id]; b.IsTransactional() && !open {
			m.open[id] = Offset(b.BaseOffset())
		}
	}
	for _, o := range m.open {
		m.stable = min(m.stable, o)
	}
	slices.Sort(m.committed)
	m.committed = slices.DeleteFunc(m.committed, func(o Offset) bool { return o >= m.stable })
	return m
}

// readCommitted reads as Apache Kafka's consumer does with read_committed, maxBytes at a time, and returns the offsets of the records.
func readCommitted(t require.TestingT, l *Log, from Offset, maxBytes int) (offsets []Offset) {
	for {
		v, list, err := l.ReadCommitted(nil, from, noOffset, maxBytes)
		require.NoError(t, err)
		if len(v.Bytes) == 0 {
			return offsets
		}
		require.True(t, slices.IsSortedFunc(list, func(a, b AbortedTxn) int { return int(a.First - b.First) }))
		aborted := map[int64]bool{}
		for rest := v.Bytes; len(rest) > 0; {
			b, err := batch.Peek(rest)
			require.NoError(t, err)
			rest = rest[len(b):]
			for len(list) > 0 && int64(list[0].First) <= b.LastOffset() {
				aborted[list[0].ProducerID] = true
				list = list[1:]
			}
			if b.IsControl() {
				if c, _ := marker(b); c.Type == batch.ControlAbort {
					delete(aborted, b.ProducerID())
				}
				continue
			}
			if b.Count() == 0 || b.IsTransactional() && aborted[b.ProducerID()] {
				continue
			}
			for o := max(Offset(b.BaseOffset()), from); o <= Offset(b.LastOffset()); o++ {
				offsets = append(offsets, o)
			}
		}
		require.Greater(t, v.Next, from)
		from = v.Next
		v.Release()
	}
}

// requireTxns compares a log at rest with what its batches say.
func requireTxns(t require.TestingT, l *Log) *txnModel {
	var all []byte
	for next := l.Start(); next < l.Visible(); {
		var err error
		all, next, err = l.ReadInto(all, next, noOffset, 700)
		require.NoError(t, err)
	}
	m := modelTxns(t, all, l.Visible())
	require.Equal(t, m.stable, l.LastStable())
	states, err := l.Producers()
	require.NoError(t, err)
	open := map[int64]Offset{}
	for _, p := range states {
		if p.TxnStart >= 0 {
			open[p.ProducerID] = p.TxnStart
		}
	}
	require.Equal(t, m.open, open)

	end := l.LastStable()
	for _, r := range [][2]Offset{{0, end}, {end / 3, end}, {0, end / 2}, {end / 3, 2 * end / 3}, {end / 2, end/2 + 1}} {
		var want []AbortedTxn
		for _, a := range m.aborted {
			if a.Last >= r[0] && a.First < r[1] {
				want = append(want, a)
			}
		}
		slices.SortFunc(want, func(a, b AbortedTxn) int { return int(a.First - b.First) })
		got, err := l.Aborted(nil, r[0], r[1])
		require.NoError(t, err)
		require.Equal(t, want, got, "aborted in %v", r)
	}
	for _, from := range []Offset{0, end / 2} {
		i, _ := slices.BinarySearch(m.committed, from)
		require.Equal(t, slices.Clip(m.committed[i:]), append(m.committed[:0:0], readCommitted(t, l, from, 300)...))
	}
	return m
}
