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

// InitProducerID returns a new producer id with epoch 0, which no other producer of this store has had or will have
// (KIP-98). timeout and last are for transactional producers, which come with transactions: until then a txnID
// that is not empty is ErrUnsupported.
func (s *Store) InitProducerID(ctx context.Context, txnID string, timeout time.Duration, last ProducerID) (ProducerID, error) {
	if err := ctx.Err(); err != nil {
		return NoProducerID, err
	}
	if txnID != "" {
		return NoProducerID, fmt.Errorf("init producer id: %w: transactional id %q", ErrUnsupported, txnID)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed.Load() {
		return NoProducerID, ErrClosed
	}
	if s.ids.next == s.ids.end {
		first := s.cat.nextID
		var e encoder
		e.int(first + idBlockSize)
		if err := s.commitLocked(eventProducerIDs, e.buf); err != nil {
			return NoProducerID, fmt.Errorf("init producer id: %w", err)
		}
		s.ids = idBlock{first, first + idBlockSize}
	}
	id := s.ids.next
	s.ids.next++
	return ProducerID{ID: id}, nil
}
