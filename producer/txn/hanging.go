package txn

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/partlog/partlog/internal/clock"
	"github.com/partlog/partlog/partition"
)

// Hanging is a transaction that is open in a partition and that no coordinator will end.
type Hanging struct {
	partition.TopicPartition
	Producer Producer
}

// Search says where FindHanging looks, and for what. The zero Search looks everywhere.
type Search struct {
	// Partitions are those looked at; default: all of Topics.
	Partitions []partition.TopicPartition
	// Topics are those looked at where no Partitions are named; default: all topics.
	Topics []string
	// OlderThan is how long a producer must have been silent in the partition; default 15 min, Kafka's
	// transaction.max.timeout.ms: a younger transaction may be about to become known to its coordinator.
	OlderThan time.Duration
	// Clock is the time seam. Nil means the system's clock.
	Clock partition.Clock
}

// FindHanging returns the transactions that hang, by partition and offset (find-hanging): the partition says that they are
// open, and the coordinator does not know the producer, or not that it writes to this partition. An error names the
// partition that could not be asked; what hangs elsewhere is not returned then.
func FindHanging(ctx context.Context, b Backend, s Search) ([]Hanging, error) {
	if s.OlderThan == 0 {
		s.OlderThan = 15 * time.Minute
	}
	if s.Clock == nil {
		s.Clock = clock.System
	}
	open, err := candidates(ctx, b, s)
	if err != nil || len(open) == 0 {
		return nil, err
	}
	known, err := transactionsOf(ctx, b, open)
	if err != nil {
		return nil, fmt.Errorf("find hanging transactions: %w", err)
	}
	return slices.DeleteFunc(open, func(h Hanging) bool {
		return slices.Contains(known[h.Producer.Producer.ID], h.TopicPartition)
	}), nil
}

// candidates returns what is open for longer than the search allows.
func candidates(ctx context.Context, b Backend, s Search) ([]Hanging, error) {
	tps := s.Partitions
	if len(tps) == 0 {
		all, err := b.Metadata(ctx, s.Topics)
		if err != nil {
			return nil, fmt.Errorf("find hanging transactions: %w", err)
		}
		for _, m := range all {
			if m.Err != nil {
				return nil, fmt.Errorf("find hanging transactions of topic %q: %w", m.Topic, m.Err)
			}
			for _, p := range m.Partitions {
				tps = append(tps, partition.TopicPartition{Topic: m.Topic, Partition: p.Partition})
			}
		}
	}
	now := s.Clock.Now()
	var open []Hanging
	for _, tp := range tps {
		producers, err := b.DescribeProducers(ctx, tp)
		if err != nil {
			return nil, fmt.Errorf("find hanging transactions of %s: %w", tp, err)
		}
		first := len(open)
		for _, p := range producers {
			if p.TxnStart >= 0 && now.Sub(p.LastTimestamp) > s.OlderThan {
				open = append(open, Hanging{TopicPartition: tp, Producer: p})
			}
		}
		slices.SortFunc(open[first:], func(a, b Hanging) int { return int(a.Producer.TxnStart - b.Producer.TxnStart) })
	}
	return open, nil
}

// transactionsOf returns, by producer id, the partitions of the transactions that coordinators know.
func transactionsOf(ctx context.Context, b Backend, open []Hanging) (map[int64][]partition.TopicPartition, error) {
	var f Filter
	for _, h := range open {
		if !slices.Contains(f.ProducerIDs, h.Producer.Producer.ID) {
			f.ProducerIDs = append(f.ProducerIDs, h.Producer.Producer.ID)
		}
	}
	listed, err := b.ListTransactions(ctx, f)
	if err != nil || len(listed) == 0 {
		return nil, err
	}
	var ids []string
	for _, l := range listed {
		ids = append(ids, l.TransactionalID)
	}
	described, err := b.DescribeTransactions(ctx, ids)
	if err != nil {
		return nil, err
	}
	known := map[int64][]partition.TopicPartition{}
	for _, d := range described {
		switch {
		case errors.Is(d.Err, partition.ErrTransactionalIDNotFound): // it has expired meanwhile
		case d.Err != nil:
			return nil, d.Err
		default:
			known[d.Producer.ID] = d.Partitions
		}
	}
	return known, nil
}

// AbortHanging ends the transaction that a producer has open in one partition, without its coordinator: it writes the abort
// marker there (abort). Only for transactions that FindHanging finds: partition.ErrInvalidTxnState if the producer has none
// open in the partition, or if its coordinator knows it.
func AbortHanging(ctx context.Context, b Backend, tp partition.TopicPartition, producerID int64) error {
	producers, err := b.DescribeProducers(ctx, tp)
	if err != nil {
		return fmt.Errorf("abort hanging transaction in %s: %w", tp, err)
	}
	for _, p := range producers {
		if p.Producer.ID == producerID && p.TxnStart >= 0 {
			return b.AbortHanging(ctx, tp, p)
		}
	}
	return fmt.Errorf("abort hanging transaction in %s: %w: producer %d has none open there", tp, partition.ErrInvalidTxnState, producerID)
}
