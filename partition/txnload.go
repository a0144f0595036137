package partition

import (
	"errors"
	"fmt"
	"path/filepath"

	"github.com/partlog/partlog/internal/batch"
	"github.com/partlog/partlog/internal/txn"
	"github.com/partlog/partlog/log"
)

// load reads __transaction_state, looks for transactions that a crash has taken from it, and begins to finish and to
// abort. Requests wait for the reading, not for what follows.
func (c *txnCoordinator) load() {
	err := c.read()
	if err != nil {
		c.err = fmt.Errorf("read %s: %w", txn.Topic, err)
		c.giveUp()
		close(c.ready)
		return
	}
	var effects []txn.Effect
	c.mu.Lock()
	if !c.s.readOnly {
		effects = c.stepLocked(txn.Start{})
	}
	c.mu.Unlock()
	close(c.ready)
	c.carryOut(effects)
}

// giveUp has another coordinator take over, with the next request or after a while: the disk may have been full. Half of what
// there is to know is not enough to end any transaction.
func (c *txnCoordinator) giveUp() {
	s := c.s
	s.txnStart.Lock()
	defer s.txnStart.Unlock()
	s.txns.CompareAndSwap(c, nil)
	s.shell.after(lastTxnRetry, func() { _, _ = s.startTransactions() })
}

func (c *txnCoordinator) read() error {
	next := int64(0)           // producer id
	home := map[string]*part{} // where an id was found
	if t, err := c.s.lookup(txn.Topic); err == nil {
		for _, p := range *t.parts.Load() {
			n, err := c.readPart(p, home)
			if err != nil {
				return err
			}
			next = max(next, n)
		}
	}
	if c.s.readOnly {
		return nil
	}
	for _, p := range c.s.suspects {
		if _, err := c.lookForOpen(p); err != nil {
			return err
		}
	}
	return c.s.reserveIDs(next)
}

// readPart replays one partition and returns the producer id after the largest in it. What is damaged is left out and told: the
// last record before it counts for its ids.
func (c *txnCoordinator) readPart(p *part, home map[string]*part) (next int64, err error) {
	if p.start.clean && p.start.end == 0 && p.log.Load() == nil {
		return 0, nil // has no directory
	}
	l, err := p.open()
	if err != nil {
		return 0, err
	}
	var buf []byte
	var it batch.Iterator
	for from := l.Start(); from < l.End(); {
		var to Offset
		buf, to, err = l.ReadInto(buf[:0], from, l.End(), defaultPartitionFetchBytes)
		if bad, ok := errors.AsType[*log.CorruptionError](err); ok && bad.NextOffset > from {
			c.s.warn(p.dir(), fmt.Sprintf("transactions of the records from %d to %d are as they were before: %v", from, bad.NextOffset, err))
			from = bad.NextOffset
			continue
		}
		if errors.Is(err, ErrOffsetOutOfRange) && l.Start() > from {
			from = l.Start()
			continue
		}
		if err != nil {
			return next, p.gone(err)
		}
		if to == from {
			return next, nil
		}
		for rest := buf; len(rest) > 0; {
			b, err := batch.Peek(rest)
			if err != nil {
				return next, fmt.Errorf("%s at offset %d: %w", p.tp, from, err)
			}
			rest = rest[len(b):]
			if b.IsControl() {
				continue
			}
			b.Iterate(&it, maxDecompressed)
			for it.Next() {
				if r := it.Record(); Offset(r.Offset) >= from {
					next = max(next, c.replay(p, r, home))
				}
			}
			if err := it.Err(); err != nil {
				c.s.warn(p.dir(), fmt.Sprintf("batch at offset %d of a transaction's state does not decode: %v", b.BaseOffset(), err))
			}
		}
		from = to
	}
	return next, nil
}

// replay takes over one record. Of an id that is in two partitions, as after an import that had to guess their number, the
// newer producer counts.
func (c *txnCoordinator) replay(p *part, r *batch.Record, home map[string]*part) (next int64) {
	id, ok, err := txn.ParseKey(r.Key)
	ev := txn.Replay{ID: id}
	if err == nil && ok && r.Value != nil {
		var m txn.Meta
		if m, ok, err = txn.ParseValue(id, r.Value); ok {
			ev.Meta = &m
			next = max(m.ProducerID, m.Next) + 1
		}
	}
	if err != nil {
		c.s.warn(p.dir(), fmt.Sprintf("record at offset %d, key %q: %v; it was left out", r.Offset, r.Key, err))
	}
	if !ok || err != nil {
		return next
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if home[id] != nil && home[id] != p {
		if old, known := c.m.Describe(id); known && (ev.Meta == nil || old.NewerThan(ev.Meta)) {
			return next
		}
	}
	home[id] = p
	c.m.Step(c.now(), ev, nil)
	return next
}

// lookForOpen tells the machine of the transactions that are open in a partition that went through recovery; and, if
// records of ids may have been lost, of the epochs that the partition has seen.
func (c *txnCoordinator) lookForOpen(p *part) (effects []txn.Effect, err error) {
	l := p.log.Load()
	if l == nil {
		p.suspect.Store(true) // could not be opened: to be looked at again by the next open, should it work by then
		return nil, nil
	}
	if p.t.deleted.Load() || p.tp.Topic == txn.Topic || !c.loses() && l.LastStable() >= l.End() {
		return nil, nil // nothing is open
	}
	producers, err := l.Producers()
	if err == nil {
		err = l.Park() // of thousands, none shall stay open for this
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", filepath.Base(p.dir()), err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, x := range producers {
		if x.TxnStart >= 0 {
			effects = c.m.Step(c.now(), txn.Found{ProducerID: x.ProducerID, Epoch: x.Epoch, Partition: txn.Partition{Topic: p.tp.Topic, Index: p.tp.Partition}}, effects)
		} else {
			effects = c.m.Step(c.now(), txn.Seen{ProducerID: x.ProducerID, Epoch: x.Epoch}, effects)
		}
	}
	return effects, nil
}

// takeTransactions ends the transactions that are open in partitions which have just been imported: those of an imported
// __transaction_state as it says, those that no id of this store has by an abort.
func (s *Store) takeTransactions(parts []*part) error {
	c := s.txns.Load()
	if c == nil && len(parts) > 0 {
		s.suspects = parts
		s.openTransactions()
		parts, c = nil, s.txns.Load()
	}
	if c == nil {
		return nil
	}
	<-c.ready // also for the producer ids that are taken
	if c.err != nil || len(parts) == 0 {
		return c.err
	}
	if err := c.enter(); err != nil {
		return err
	}
	defer c.work.Done()
	for _, p := range parts {
		effects, err := c.lookForOpen(p)
		if err != nil {
			return err
		}
		c.carryOut(effects)
	}
	return nil
}

// loses reports whether a loss of power may take records of ids that were acknowledged.
func (c *txnCoordinator) loses() bool {
	t, err := c.s.lookup(txn.Topic)
	return err == nil && t.settings.Load().log.Sync != SyncAlways
}
