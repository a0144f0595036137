package kafkatest

import (
	"cmp"
	"context"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/partlog/partlog/group"
	"github.com/partlog/partlog/partition"
)

// Backend is a store in this process whose calls fail by the rules that requests to a Cluster fail by. It meets producer.Backend,
// group.Backend and consumer.Source, so that code written on producer, group and consumer is tested without any listener.
//
// A call is the request that a client would send for it: Append is Produce, a commit OffsetCommit or, in a transaction,
// TxnOffsetCommit, and so on. A rule's Error is the error of the packages below for that code, or a *CodeError where they
// have none. With Close, Drop, Truncate, Corrupt and Crash the answer is lost: the error is ErrLost, which is retriable as
// partition.ErrTimeout is, before the call has had any effect, or after it (Apply, Truncate, Corrupt). Delays go by the store's
// clock. Versions, Principal, Brokers and Listener match no call; Slow, Match and Do are for requests over the wire, and a
// rule with Match matches nothing here.
//
// What the coordinator of groups does itself is not subject to rules: it is behind them, as in a broker. Backend is safe for
// concurrent use. It does not close the store.
type Backend struct {
	store  *partition.Store
	config BackendConfig
	rules  *RuleSet
}

// BackendConfig holds the settings of a Backend. The zero BackendConfig is valid.
type BackendConfig struct {
	ClientID string // for rules; default none
	Seed     uint64 // of probabilities; default 1
	// Coordinator is that of groups, unless the store has one already: what group.Config says of it does not count here.
	Coordinator group.CoordinatorConfig
	Rules       []Rule // in force from the start
}

// NewBackend wraps a store. The error says what is malformed in a rule.
func NewBackend(s *partition.Store, c BackendConfig) (*Backend, error) {
	if c.Coordinator.Clock == nil {
		c.Coordinator.Clock = s.Clock()
	}
	b := &Backend{store: s, config: c, rules: NewRules(max(c.Seed, 1), s.Clock())}
	for _, r := range c.Rules {
		if _, err := b.rules.Add(r); err != nil {
			return nil, err
		}
	}
	return b, nil
}

// Rules returns the rules by which calls fail.
func (b *Backend) Rules() *RuleSet { return b.rules }

// Inject puts a rule in force. A rule that is malformed is a mistake in a test, and panics; RuleSet.Add returns it.
func (b *Backend) Inject(r Rule) *Armed {
	a, err := b.rules.Add(r)
	if err != nil {
		panic("BUG: " + err.Error())
	}
	return a
}

// decide counts a call, waits as long as rules want, and returns the rule that decides about it, nil if none does.
func (b *Backend) decide(ctx context.Context, key kmsg.Key, items ...item) (*Rule, error) {
	acting := b.rules.fire(&event{key: int16(key), version: -1, clientID: b.config.ClientID, broker: -1, items: func() []item { return items }})
	for _, a := range acting {
		if !wait(ctx, b.rules.clock, a.rule.Delay) {
			return nil, ctx.Err()
		}
	}
	for _, a := range acting {
		if a.rule.ends() && a.rule.Do == nil {
			return &a.rule, nil
		}
	}
	return nil, nil
}

// lost reports whether nobody hears the answer, and whether the call has had its effect by then.
func (r *Rule) lost() (lost, applied bool) {
	before := r.Close || r.Drop || r.Crash != 0
	after := r.Truncate > 0 || r.Corrupt > 0
	return before || after, r.Apply || after && !before
}

// call makes a call that succeeds or fails as a whole.
func call[T any](ctx context.Context, b *Backend, key kmsg.Key, items []item, next func() (T, error)) (T, error) {
	var none T
	r, err := b.decide(ctx, key, items...)
	if err != nil {
		return none, err
	}
	if r == nil {
		return next()
	}
	if lost, applied := r.lost(); lost {
		if applied {
			next()
		}
		return none, ErrLost
	}
	if r.Error != 0 && !r.Apply {
		return none, b.after(ctx, r, codeError(r.Error))
	}
	v, err := next()
	if r.Error != 0 && err == nil {
		v, err = none, codeError(r.Error)
	}
	if werr := b.after(ctx, r, nil); werr != nil {
		return none, werr
	}
	return v, err
}

// after holds an answer back.
func (b *Backend) after(ctx context.Context, r *Rule, err error) error {
	if !wait(ctx, b.rules.clock, r.DelayAnswer) {
		return ctx.Err()
	}
	return err
}

func topicItem(topic string) item { return item{topic: topic, hasTopic: topic != ""} }

func partitionItem(tp partition.TopicPartition) item {
	return item{topic: tp.Topic, partition: tp.Partition, hasTopic: true, hasPartition: true}
}

func txnItem(id string) item { return item{txn: id, hasTxn: id != ""} }

// Metadata is partition.Store.Metadata, as Metadata.
func (b *Backend) Metadata(ctx context.Context, topics []string) ([]partition.Metadata, error) {
	items := make([]item, len(topics))
	for i, t := range topics {
		items[i] = topicItem(t)
	}
	return call(ctx, b, kmsg.Metadata, items, func() ([]partition.Metadata, error) { return b.store.Metadata(ctx, topics) })
}

// Append is partition.Store.Append, as Produce.
func (b *Backend) Append(ctx context.Context, r partition.AppendRequest) (partition.AppendResult, error) {
	it := partitionItem(r.TopicPartition)
	it.txn, it.hasTxn = r.TransactionalID, r.TransactionalID != ""
	return call(ctx, b, kmsg.Produce, []item{it}, func() (partition.AppendResult, error) { return b.store.Append(ctx, r) })
}

// ListOffsets is partition.Store.ListOffsets, as ListOffsets.
func (b *Backend) ListOffsets(ctx context.Context, tp partition.TopicPartition, timestamp int64) (partition.Offset, error) {
	return call(ctx, b, kmsg.ListOffsets, []item{partitionItem(tp)}, func() (partition.Offset, error) { return b.store.ListOffsets(ctx, tp, timestamp) })
}

// epochEnd is what EpochEnd answers.
type epochEnd struct {
	epoch partition.LeaderEpoch
	end   partition.Offset
}

// EpochEnd is partition.Store.EpochEnd, as OffsetForLeaderEpoch.
func (b *Backend) EpochEnd(ctx context.Context, tp partition.TopicPartition, epoch partition.LeaderEpoch) (partition.LeaderEpoch, partition.Offset, error) {
	e, err := call(ctx, b, kmsg.OffsetForLeaderEpoch, []item{partitionItem(tp)}, func() (e epochEnd, err error) {
		e.epoch, e.end, err = b.store.EpochEnd(ctx, tp, epoch)
		return e, err
	})
	return e.epoch, e.end, err
}

// InitProducerID is partition.Store.InitProducerID, as InitProducerId.
func (b *Backend) InitProducerID(ctx context.Context, txnID string, timeout time.Duration, last partition.ProducerID) (partition.ProducerID, error) {
	return call(ctx, b, kmsg.InitProducerID, []item{txnItem(txnID)}, func() (partition.ProducerID, error) {
		return b.store.InitProducerID(ctx, txnID, timeout, last)
	})
}

// EndTxn is partition.Store.EndTxn, as EndTxn.
func (b *Backend) EndTxn(ctx context.Context, txnID string, id partition.ProducerID, commit bool) (partition.ProducerID, error) {
	return call(ctx, b, kmsg.EndTxn, []item{txnItem(txnID)}, func() (partition.ProducerID, error) { return b.store.EndTxn(ctx, txnID, id, commit) })
}

// Fetch is partition.Store.Fetch, as Fetch. An Error of a rule is for the partitions that the rule is about, at once; the
// others are read.
func (b *Backend) Fetch(ctx context.Context, r partition.FetchRequest) ([]partition.FetchResult, error) {
	items := make([]item, len(r.Partitions))
	for i := range r.Partitions {
		items[i] = partitionItem(r.Partitions[i].TopicPartition)
	}
	rule, err := b.decide(ctx, kmsg.Fetch, items...)
	if err != nil {
		return nil, err
	}
	if rule == nil {
		return b.store.Fetch(ctx, r)
	}
	if lost, _ := rule.lost(); lost {
		return nil, ErrLost
	}
	failed := make([]bool, len(items))
	asked := r
	asked.Reuse = nil
	if rule.Error != 0 {
		asked.MaxWait, asked.Partitions = 0, nil
		for i := range items {
			if failed[i] = rule.picks(items[i]); !failed[i] {
				asked.Partitions = append(asked.Partitions, r.Partitions[i])
			}
		}
	}
	var read []partition.FetchResult
	if len(asked.Partitions) > 0 {
		if read, err = b.store.Fetch(ctx, asked); err != nil {
			return nil, err
		}
	}
	if err := b.after(ctx, rule, nil); err != nil {
		for i := range read {
			read[i].Lease.Release()
		}
		return nil, err
	}
	out := make([]partition.FetchResult, 0, len(items))
	for i := range items {
		if failed[i] {
			out = append(out, partition.FetchResult{TopicPartition: r.Partitions[i].TopicPartition, Err: codeError(rule.Error)})
		} else {
			out = append(out, read[0])
			read = read[1:]
		}
	}
	return out, nil
}

// Service is partition.Store.Service. That of groups is started with BackendConfig.Coordinator, and answers by the rules.
func (b *Backend) Service(name string, start func() (io.Closer, error)) (io.Closer, error) {
	if name != "group" {
		return b.store.Service(name, start)
	}
	all, err := group.Start(b.store, b.config.Coordinator)
	if err != nil {
		return nil, err
	}
	return &coordinators{all, b}, nil
}

// CodeError is an error code that the packages below have no error for, as a broker answers it.
type CodeError struct{ Code int16 }

// Error names the code.
func (e *CodeError) Error() string { return ErrorName(e.Code) }

// Retriable reports whether Kafka's clients try again after it.
func (e *CodeError) Retriable() bool { return retriable(e.Code) }

// lostError is ErrLost.
type lostError struct{}

func (lostError) Error() string        { return "the answer was lost, by a rule of the test" }
func (lostError) Is(target error) bool { return target == partition.ErrTimeout || target == ErrRule }

// ErrLost is the error of a call whose answer a rule has lost: nobody knows whether it has had an effect. It is
// partition.ErrTimeout and ErrRule too.
var ErrLost error = lostError{}

// commitItems are what a commit is about.
func commitItems(r group.CommitRequest) (all []item) {
	for _, tp := range slices.SortedFunc(maps.Keys(r.Offsets), func(a, b partition.TopicPartition) int {
		return cmp.Or(strings.Compare(a.Topic, b.Topic), int(a.Partition)-int(b.Partition))
	}) {
		it := partitionItem(tp)
		it.group, it.hasGroup = r.Group, true
		if r.Txn != nil {
			it.txn, it.hasTxn = r.Txn.TransactionalID, true
		}
		all = append(all, it)
	}
	return all
}
