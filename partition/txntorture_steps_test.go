package partition

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/partlog/partlog/internal/batch"
	"github.com/partlog/partlog/internal/clock"
	"github.com/partlog/partlog/internal/txn"
)

// mix runs steps on a store.
type mix struct {
	t       testing.TB
	s       *Store
	l       *mixLedger
	rng     *rand.Rand
	clock   *clock.Manual
	clients map[string]*txnClient
	open    map[string]string // name of the open transaction, by id
	number  int
	idem    ProducerID
	seq     map[TopicPartition]int32
	d       bool // topic d exists
}

func newMix(t testing.TB, s *Store, l *mixLedger, rng *rand.Rand) *mix {
	return &mix{t: t, s: s, l: l, rng: rng, clients: map[string]*txnClient{}, open: map[string]string{}, idem: NoProducerID, seq: map[TopicPartition]int32{}}
}

// batch builds one of n records and enters them in the ledger.
func (m *mix) batch(tp TopicPartition, name string, o batch.Options, n int, key string) ([]byte, []int) {
	var w batch.Builder
	w.Reset(nil, o)
	var entered []int
	for range n {
		m.number++
		r := mixRecord{name: fmt.Sprint(m.number), txn: name, tp: tp, offset: -1}
		value := fmt.Appendf(nil, "value %d %0*d", m.number, m.rng.IntN(120), 0)
		var k []byte
		if tp.Topic == "c" {
			if r.key = key; key == "" {
				r.key = mixKeys[m.rng.IntN(len(mixKeys))]
			}
			if k = []byte(r.key); m.rng.IntN(6) == 0 {
				r.null, value = true, nil
			}
		}
		w.Append(m.s.config.Clock.Now().UnixMilli(), k, value, []batch.Header{{Key: "name", Value: []byte(r.name)}})
		m.l.change(func() {
			entered = append(entered, len(m.l.records))
			m.l.records = append(m.l.records, r)
		})
	}
	b, err := w.Finish()
	require.NoError(m.t, err)
	return b, entered
}

func (m *mix) append(r AppendRequest, entered []int) error {
	a, err := m.s.Append(context.Background(), r)
	if err != nil {
		return fmt.Errorf("append to %s: %w", r.TopicPartition, err)
	}
	m.l.change(func() {
		for i, e := range entered {
			m.l.records[e].offset, m.l.records[e].acked = a.BaseOffset+Offset(i), true
		}
	})
	return nil
}

func (m *mix) client() (string, *txnClient, error) {
	id := []string{"a", "b"}[m.rng.IntN(2)]
	c := m.clients[id]
	if c != nil && m.rng.IntN(14) > 0 {
		return id, c, nil
	}
	if name := m.open[id]; name != "" {
		m.l.txns.set(name, "aborting") // by the fence
		m.open[id] = ""
	}
	pid, err := m.s.InitProducerID(context.Background(), id, time.Minute, NoProducerID)
	if err != nil {
		return "", nil, err
	}
	m.clients[id] = &txnClient{t: m.t, s: m.s, id: id, pid: pid, seq: map[TopicPartition]int32{}}
	m.l.txns.tell(id, pid)
	return id, m.clients[id], nil
}

// send appends to a transaction.
func (m *mix) send() error {
	id, c, err := m.client()
	if err != nil {
		return err
	}
	if m.open[id] == "" {
		m.number++
		m.open[id] = fmt.Sprintf("%s%d", id, m.number)
		m.l.txns.set(m.open[id], "open")
	}
	tps := slices.Concat(mixPlain, mixKeyed, mixKeyed)
	if m.d && m.rng.IntN(4) == 0 {
		tps = []TopicPartition{{"d", 0}}
	}
	tp, n := tps[m.rng.IntN(len(tps))], 1+m.rng.IntN(3)
	b, entered := m.batch(tp, m.open[id], batch.Options{Transactional: true, ProducerID: c.pid.ID, Epoch: c.pid.Epoch, BaseSequence: c.seq[tp]}, n, "")
	c.seq[tp] += int32(n)
	if tp.Topic == "d" { // what is in it is nobody's
		m.l.change(func() { m.l.records = m.l.records[:entered[0]] })
		entered = nil
	}
	return m.append(AppendRequest{TopicPartition: tp, Batch: b, Acks: []Acks{AcksLeader, AcksAll}[m.rng.IntN(2)], TransactionalID: id}, entered)
}

// end ends a transaction, if one is open.
func (m *mix) end(commit bool) error {
	for _, id := range []string{"a", "b"} {
		name, c := m.open[id], m.clients[id]
		if name == "" || m.rng.IntN(3) == 0 {
			continue
		}
		going, over := "aborting", "aborted"
		if commit {
			going, over = "committing", "committed"
		}
		m.l.txns.set(name, going)
		if err := c.tryEnd(commit); err != nil {
			return err
		}
		m.l.txns.set(name, over)
		m.l.txns.tell(id, c.pid)
		m.open[id] = ""
		return nil
	}
	return nil
}

// plain appends an idempotent batch outside transactions.
func (m *mix) plain() error {
	if m.idem == NoProducerID {
		var err error
		if m.idem, err = m.s.InitProducerID(context.Background(), "", 0, NoProducerID); err != nil {
			return err
		}
	}
	tps := slices.Concat(mixPlain, mixKeyed, mixKeyed)
	tp, n := tps[m.rng.IntN(len(tps))], 1+m.rng.IntN(2)
	b, entered := m.batch(tp, "", batch.Options{Idempotent: true, ProducerID: m.idem.ID, Epoch: m.idem.Epoch, BaseSequence: m.seq[tp]}, n, "")
	again := slices.Clone(b)
	m.seq[tp] += int32(n)
	m.l.change(func() { delete(m.l.last, tp) })
	if err := m.append(AppendRequest{TopicPartition: tp, Batch: b, Acks: AcksAll}, entered); err != nil {
		return err
	}
	m.l.change(func() { m.l.last[tp], m.l.lastAt[tp] = again, m.l.records[entered[0]].offset })
	return nil
}

// expect appends under a condition that holds, and then one that does not.
func (m *mix) expect() error {
	tp, key := mixKeyed[m.rng.IntN(len(mixKeyed))], mixKeys[m.rng.IntN(len(mixKeys))]
	p, err := m.s.part(tp, TopicID{})
	if err != nil {
		return err
	}
	l, err := p.open()
	if err != nil {
		return err
	}
	last, err := l.LastOfKey([]byte(key))
	if err != nil {
		return err
	}
	b, entered := m.batch(tp, "", batch.Options{}, 1, key)
	if err := m.append(AppendRequest{TopicPartition: tp, Batch: b, Acks: AcksAll, Expect: &Expect{Key: []byte(key), Last: last}}, entered); err != nil {
		return err
	}
	b, entered = m.batch(tp, "", batch.Options{}, 1, key)
	m.l.change(func() { m.l.records = m.l.records[:entered[0]] })
	if _, err = m.s.Append(context.Background(), AppendRequest{TopicPartition: tp, Batch: b, Acks: AcksAll, Expect: &Expect{Key: []byte(key), Last: last}}); !errors.Is(err, ErrVersionConflict) {
		return fmt.Errorf("%s: a record that expects %d of %s: %w", tp, last, key, err)
	}
	return nil
}

// compact compacts the keyed topic, or the coordinator's.
func (m *mix) compact() error {
	tp := mixKeyed[m.rng.IntN(len(mixKeyed))]
	if m.rng.IntN(3) == 0 && len(m.clients) > 0 {
		tp = TopicPartition{txn.Topic, txn.PartitionFor([]string{"a", "b"}[m.rng.IntN(2)], txn.Partitions)}
	}
	return m.s.Compact(context.Background(), tp)
}

// pass lets time pass: transactions time out, dirty partitions are compacted, tombstones expire, segments are sealed.
func (m *mix) pass(d time.Duration) error {
	if d > time.Minute {
		for id, name := range m.open {
			if name != "" {
				m.l.txns.set(name, "aborting")
				m.open[id] = ""
				delete(m.clients, id)
			}
		}
	}
	m.clock.Advance(d)
	return nil
}

// recreate makes topic d, or deletes it, also with a transaction open there.
func (m *mix) recreate() (err error) {
	if m.d {
		err = m.s.DeleteTopic(context.Background(), "d")
	} else {
		_, err = m.s.CreateTopic(context.Background(), "d", TopicConfig{})
	}
	if m.d = !m.d; m.d {
		for _, c := range m.clients {
			c.seq[TopicPartition{"d", 0}] = 0
		}
	}
	return err
}

func (m *mix) step() (string, error) {
	switch k := m.rng.IntN(40); {
	case k < 14:
		return "send", m.send()
	case k < 20:
		return "commit", m.end(true)
	case k < 23:
		return "abort", m.end(false)
	case k < 28:
		return "plain", m.plain()
	case k < 31:
		return "expect", m.expect()
	case k < 34:
		return "compact", m.compact()
	case k < 36:
		return "recreate", m.recreate()
	case k < 37:
		return "minutes pass", m.pass(80 * time.Second)
	default:
		return "seconds pass", m.pass(5 * time.Second)
	}
}
