package partition

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/partlog/partlog/log"
)

// ackList is the appends of a partition that wait for the other replicas (Kafka's delayed produce): each a node in its own waiter.
type ackList struct {
	waiting atomic.Int32
	mu      sync.Mutex // guards first, and the nodes in the list
	first   *ackNode
}

// ackNode is an append's place in the list.
type ackNode struct {
	w          *waiter
	last       Offset // of its batch
	prev, next *ackNode
}

func (a *ackList) add(n *ackNode) {
	a.mu.Lock()
	if n.next = a.first; n.next != nil {
		n.next.prev = n
	}
	a.first = n
	a.mu.Unlock()
	a.waiting.Add(1)
}

func (a *ackList) remove(n *ackNode) {
	a.waiting.Add(-1)
	a.mu.Lock()
	if n.prev != nil {
		n.prev.next = n.next
	} else {
		a.first = n.next
	}
	if n.next != nil {
		n.next.prev = n.prev
	}
	a.mu.Unlock()
	*n = ackNode{}
}

// wakeAcks wakes the appends whose batches lie below to. None is missed: an append adds itself and then looks at the high watermark and at the role,
// whoever changes one of them does so first and then looks for appends.
func (p *part) wakeAcks(to Offset) {
	if p.acks.waiting.Load() == 0 {
		return
	}
	p.acks.mu.Lock()
	defer p.acks.mu.Unlock()
	for n := p.acks.first; n != nil; n = n.next {
		if n.last < to {
			n.w.ring()
		}
	}
}

// highWatermarkMoved wakes whoever waits for the high watermark.
func (p *part) highWatermarkMoved(to Offset) {
	p.wakeAcks(to)
	if p.waiting.Load() != 0 {
		p.wakeFetches()
	}
	if !p.touched.Load() {
		p.s.shell.touch(p) // for the checkpoint
	}
}

// admit says under which role a batch may be appended, or why not.
func (p *part) admit(acks Acks) (*role, error) {
	r := p.role.Load()
	if r == nil || r.Role != RoleLeader {
		return nil, fmt.Errorf("%w: %s", ErrNotLeaderOrFollower, p.tp)
	}
	if acks == AcksAll && r.ISR < r.MinISR {
		return nil, fmt.Errorf("%w: %s has %d, and needs %d", ErrNotEnoughReplicas, p.tp, r.ISR, r.MinISR)
	}
	return r, nil
}

// written is a batch that is in the log of its leader, and not acknowledged yet.
type written struct {
	log.AppendResult
	role    *role // nil: nothing more is waited for
	timeout time.Duration
	err     error
}

// write appends a batch as the leader. What is part of a transaction is to be replicated whatever acks say: its commit does not look again; and so
// is what a coordinator writes.
func (p *part) write(ctx context.Context, b []byte, o appendOptions) (w written) {
	if o.txnID != "" || o.internal {
		o.acks, o.lazy = AcksAll, false
	}
	r, err := p.admit(o.acks)
	if err == nil {
		w.AppendResult, err = p.appendLocal(ctx, b, o)
		if errors.Is(err, ErrInvalidTxnState) && p.role.Load().Epoch != r.Epoch {
			// What was known of the transaction when the append began may have been taken back meanwhile, by another leader's log.
			err = fmt.Errorf("%w: %s: %v", ErrNotLeaderOrFollower, p.tp, err)
		}
	} else {
		p.counters.failedAppends.Add(1)
	}
	if w.err = err; err == nil && o.acks == AcksAll {
		w.role, w.timeout = r, o.timeout
	}
	return w
}

// result waits until the batch is acknowledged.
func (w *written) result(ctx context.Context, p *part) (AppendResult, error) {
	if w.err == nil && w.role != nil {
		if w.err = p.awaitReplicas(ctx, w.role, w.Last, w.timeout); w.err != nil {
			p.counters.failedAppends.Add(1)
		}
	}
	if w.err != nil {
		return AppendResult{}, w.err
	}
	return resultOf(w.AppendResult), nil
}

// replicated says whether the batch that ends with offset last, appended under r, is acknowledged, or will never be.
func (p *part) replicated(r *role, last Offset) (bool, error) {
	l := p.log.Load()
	passed := l != nil && l.Visible() > last
	// In this order, see role.
	now := p.role.Load()
	switch {
	case p.s.closed.Load():
		return false, ErrClosed
	case p.t.deleted.Load():
		return false, unknownTopic(p.tp.Topic)
	case now.Role != RoleLeader || now.Epoch != r.Epoch:
		return false, fmt.Errorf("%w: %s, since the batch with offset %d was written: %w", ErrNotLeaderOrFollower, p.tp, last, ErrWritten)
	case now.ISR < now.MinISR:
		return false, fmt.Errorf("%w: %s has %d, and needs %d", ErrNotEnoughReplicasAfterAppend, p.tp, now.ISR, now.MinISR)
	}
	return passed, nil
}

// awaitReplicas waits until the high watermark has passed a batch that was appended under r. A timeout of 0 is none.
func (p *part) awaitReplicas(ctx context.Context, r *role, last Offset, timeout time.Duration) error {
	done, err := p.replicated(r, last)
	if done || err != nil {
		return err
	}
	s := p.s
	w, _ := s.waiters.Get().(*waiter)
	if w == nil {
		w = newWaiter()
	}
	if timeout <= 0 {
		timeout = endless
	}
	w.ack.w, w.ack.last = w, last
	p.acks.add(&w.ack)
	waited := w.await(ctx, s, timeout, func() bool {
		done, err = p.replicated(r, last)
		return done || err != nil
	})
	p.acks.remove(&w.ack)
	w.leave()
	s.waiters.Put(w)
	switch {
	case done || err != nil:
		return err
	case errors.Is(waited, ErrClosed):
		return ErrClosed
	case waited != nil:
		return fmt.Errorf("%w: the batch with offset %d of %s is written, and was not replicated by then: %w", ErrTimeout, last, p.tp, waited)
	}
	if done, err = p.replicated(r, last); done || err != nil {
		return err
	}
	return fmt.Errorf("%w: the batch with offset %d of %s is written, and was not replicated within %v", ErrTimeout, last, p.tp, timeout)
}
