package partition

import (
	"context"
	"fmt"
	"time"
)

// idBlockSize is how many producer ids one journal entry reserves, as a Kafka controller hands them to a broker.
const idBlockSize = 1000

// idBlock is what is left of a reserved block. What a process does not use is never used.
type idBlock struct{ next, end int64 }

// InitProducerID returns a producer id. With an empty txnID it is new, with epoch 0: no other producer of this store has
// had it or will have it (KIP-98); timeout and last are not used.
//
// With a txnID it is that of the transactional id, under a new epoch: all producers that had an older one are fenced from
// then on, also after a crash, and an open transaction of theirs is aborted; the call waits for its end.
// timeout bounds how long a transaction may be open before it is aborted. last is NoProducerID for a new instance, or
// the producer's own id so far, which goes on after an error unless somebody else has taken over: then it is ErrProducerFenced (KIP-360).
//
// Errors: ErrInvalidTransactionTimeout, ErrProducerFenced, ErrConcurrentTransactions if ctx ends first, *ConfigError for a txnID that
// is too long, ErrNoSpace, ErrStorage, ErrReadOnly, ErrClosed.
func (s *Store) InitProducerID(ctx context.Context, txnID string, timeout time.Duration, last ProducerID) (ProducerID, error) {
	if err := ctx.Err(); err != nil {
		return NoProducerID, err
	}
	var id ProducerID
	var err error
	if txnID == "" {
		id.ID, err = s.newProducerID(ctx)
	} else {
		id, err = s.initTransactional(ctx, txnID, timeout, last)
	}
	if err != nil {
		return NoProducerID, fmt.Errorf("init producer id: %w", err)
	}
	return id, nil
}

// newProducerID returns a producer id that nobody has had.
func (s *Store) newProducerID(ctx context.Context) (int64, error) {
	if s.config.Cluster != nil {
		return s.newSharedID(ctx)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed.Load() {
		return -1, ErrClosed
	}
	if s.ids.next == s.ids.end {
		first := s.cat.nextID
		var e encoder
		e.int(first + idBlockSize)
		if err := s.commitLocked(eventProducerIDs, e.buf); err != nil {
			return -1, err
		}
		s.ids = idBlock{first, first + idBlockSize}
	}
	id := s.ids.next
	s.ids.next++
	return id, nil
}

// reserveIDs makes sure that no producer gets an id below next, which an imported one may have: neither from a block to
// come nor from what is left of the present one.
func (s *Store) reserveIDs(next int64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if next > s.ids.next {
		s.ids.next = min(next, s.ids.end)
	}
	if next <= s.cat.nextID {
		return nil
	}
	var e encoder
	e.int(next)
	s.ids = idBlock{}
	return s.commitLocked(eventProducerIDs, e.buf)
}
