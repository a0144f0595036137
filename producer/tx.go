package producer

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/partlog/partlog/group"
	"github.com/partlog/partlog/partition"
)

// Tx is an open transaction, as Transact gives it to its function. It is safe for any number of goroutines until that
// function returns; then every method is ErrTransactionEnded.
//
// A record's result says that it has been written. It becomes durable, and visible to readers of committed records, with
// all others of the transaction, when Transact returns nil. A record that cannot be sent makes the transaction one that
// can only be aborted: from then on sends are partition.ErrTransactionAbortable with the first error.
type Tx struct {
	p   *Producer
	ctx context.Context // of the call of Transact, whose scope this is
	id  partition.ProducerID

	begun  atomic.Bool // the coordinator may know of it
	closed atomic.Bool // over or err is set: nothing more is taken

	running sync.WaitGroup // commits of offsets; added to with mu held while the scope is open

	mu      sync.Mutex // guards all below; a leaf, taken with a lane's mu held
	over    bool
	err     error // the first
	lanes   []*lane
	sources []OffsetSource

	// Decided when the scope is left; they belong to the goroutine that ends the transaction.
	commit  bool
	unclear bool // an EndTxn has ended without an answer
	counted bool // as one whose outcome is not known
	told    bool // that it was aborted
}

// OffsetSource is whose offsets a transaction commits; met by *consumer.Consumer.
type OffsetSource interface {
	// TxnOffsets returns the positions after the records handed out so far, and in whose name to commit them: a
	// member of a generation, so that one whose partitions have gone to another is refused (KIP-447).
	TxnOffsets() (*group.ConsumerGroup, group.Membership, map[partition.TopicPartition]group.CommittedOffset, error)

	// TxnEnded is called once for each transaction that used the source, when its outcome is known. After an abort
	// the source goes back to what the group has committed.
	TxnEnded(committed bool)
}

// Send sends a record as part of the transaction and waits until it is written, not until it is durable: that is the
// commit's. Config.Acks and Record.Acks are not looked at. Errors are those of Producer.Send, and ErrTransactionEnded;
// any of them leaves the transaction to be aborted.
func (tx *Tx) Send(ctx context.Context, r Record) (Result, error) {
	if err := tx.usable(); err != nil {
		return tx.p.refusedSend(r, fmt.Errorf("send to topic %q: %w", r.Topic, err))
	}
	w := tx.p.waiters.Get().(*waiter)
	res, err := tx.p.send(ctx, tx, &r, w)
	if err != nil {
		tx.refuse(err)
		return tx.p.refusedSend(r, err)
	}
	if res.Err != nil {
		tx.doom(res.Err)
	}
	return res, res.Err
}

// SendAsync sends a record as part of the transaction and returns when it is in the producer's memory; done, which may
// be nil, gets the result as with Producer.SendAsync. Transact waits for all results and their callbacks before it
// commits, so a callback is not needed to learn of failures.
func (tx *Tx) SendAsync(ctx context.Context, r Record, done func(Result)) {
	err := tx.usable()
	if err != nil {
		err = fmt.Errorf("send to topic %q: %w", r.Topic, err)
	} else if err = tx.p.sendAsync(ctx, tx, &r, done); err != nil {
		tx.refuse(err)
	}
	if err != nil {
		tx.p.refusedAsync(r, err, done)
	}
}

// Forward sends a record and waits for it, as consumers do with records to be retried or buried: in the same
// transaction.
func (tx *Tx) Forward(ctx context.Context, topic string, key, value []byte, headers []partition.Header) error {
	_, err := tx.Send(ctx, Record{Topic: topic, Key: key, Value: value, Headers: headers})
	return err
}

// CommitOffsets commits the offsets of a consumer as part of the transaction: they count if and only if it commits, and
// after an abort the consumer goes back to what was committed before. It may be called at any place in the scope; an
// error before it leaves the consumer where it is, unless the scope is TransactFrom's. It waits as long as the context
// of Transact allows. A consumer that has lost its partitions is group.ErrIllegalGeneration or another of the group's
// errors, and the transaction can only be aborted.
func (tx *Tx) CommitOffsets(source OffsetSource) error {
	if err := tx.enter(source); err != nil {
		return fmt.Errorf("commit offsets: %w", err)
	}
	defer tx.running.Done()
	g, m, offsets, err := source.TxnOffsets()
	if err != nil {
		err = fmt.Errorf("commit offsets: %w", err)
		tx.doom(err)
		return err
	}
	return tx.commitOffsets(tx.ctx, g, m, offsets)
}

// CommitGroupOffsets is CommitOffsets for positions kept by the caller (Kafka's sendOffsetsToTransaction): offsets are
// of the next records to read. A Membership without a member, and group.NoGeneration, fences nobody.
func (tx *Tx) CommitGroupOffsets(ctx context.Context, g *group.ConsumerGroup, m group.Membership, offsets map[partition.TopicPartition]group.CommittedOffset) error {
	if err := tx.enter(nil); err != nil {
		return fmt.Errorf("commit offsets: %w", err)
	}
	defer tx.running.Done()
	return tx.commitOffsets(ctx, g, m, offsets)
}

func (tx *Tx) commitOffsets(ctx context.Context, g *group.ConsumerGroup, m group.Membership, offsets map[partition.TopicPartition]group.CommittedOffset) error {
	if len(offsets) == 0 {
		return nil
	}
	m.Group = g.ID()
	begin := tx.p.cfg.Clock.Now()
	err := tx.commitAt(ctx, g, group.CommitRequest{
		Membership: m, Offsets: offsets,
		Txn: &group.TxnCommit{TransactionalID: tx.p.cfg.TransactionalID, Producer: tx.id},
	})
	tx.p.stats.txn.offsetsTime.Add(int64(since(begin, tx.p.cfg.Clock.Now())))
	if err != nil {
		err = fmt.Errorf("commit offsets of group %q in transaction: %w", g.ID(), err)
		tx.doom(err)
	}
	return err
}

func (tx *Tx) commitAt(ctx context.Context, g *group.ConsumerGroup, r group.CommitRequest) error {
	c, err := g.Coordinator(ctx)
	if err != nil {
		return err
	}
	tx.begun.Store(true)
	return tx.p.again(ctx, tx.p.cfg.MaxBlock, func(ctx context.Context) error { return c.Commit(ctx, r) })
}

// usable returns why the transaction takes nothing more.
func (tx *Tx) usable() error {
	if tx == nil {
		return ErrNoTransaction
	}
	if !tx.closed.Load() {
		return nil
	}
	tx.mu.Lock()
	defer tx.mu.Unlock()
	return tx.usableLocked()
}

func (tx *Tx) usableLocked() error {
	switch {
	case tx.over:
		return ErrTransactionEnded
	case tx.err != nil:
		return fmt.Errorf("%w: %w", partition.ErrTransactionAbortable, tx.err)
	}
	return nil
}

// enter begins a commit of offsets, for which the end of the scope waits. source is to be told the outcome, if it is not nil.
func (tx *Tx) enter(source OffsetSource) error {
	tx.mu.Lock()
	defer tx.mu.Unlock()
	if err := tx.usableLocked(); err != nil {
		return err
	}
	tx.running.Add(1)
	if source != nil && !slices.Contains(tx.sources, source) {
		tx.sources = append(tx.sources, source)
	}
	return nil
}

// doom makes the transaction one that can only be aborted.
func (tx *Tx) doom(err error) {
	tx.mu.Lock()
	defer tx.mu.Unlock()
	if tx.err == nil {
		tx.err = err
		tx.closed.Store(true)
	}
}

// refuse is doom for a record that was not accepted. One that comes too late says nothing of the others.
func (tx *Tx) refuse(err error) {
	tx.mu.Lock()
	defer tx.mu.Unlock()
	if tx.err == nil && !tx.over {
		tx.err = err
		tx.closed.Store(true)
	}
}

// failure returns the first error.
func (tx *Tx) failure() error {
	tx.mu.Lock()
	defer tx.mu.Unlock()
	return tx.err
}

// tell tells the sources the outcome.
func (tx *Tx) tell(committed bool) {
	tx.mu.Lock()
	sources := tx.sources
	tx.sources = nil
	tx.mu.Unlock()
	for _, s := range sources {
		s.TxnEnded(committed)
	}
}
